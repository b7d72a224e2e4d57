"""Charts in a real browser: zoom, smoothing, axes, names, keys, saving; and the arithmetic under them."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

MODULE = "(name) => import(document.querySelector('script[type=module]').src.replace('app.js', name))"


def module(tab: Page, name: str, call: str, *arguments: Any) -> Any:
    """What a function of one of our modules answers: `call` names it, `arguments` are JSON."""
    return tab.evaluate(
        f"async ([name, args]) => {{ const m = await ({MODULE})(name); return m.{call}(...args); }}",
        [name, list(arguments)],
    )


@pytest.fixture
def chart(tab: Page) -> Locator:
    """The first chart of the gallery: five lines over 1,000 steps."""
    tab.goto("/")
    found = tab.locator(".chart").first
    found.scroll_into_view_if_needed()
    expect(found.locator("canvas")).to_be_attached()
    return found


def drag(tab: Page, over: Locator, start: float, end: float) -> None:
    box = over.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] * start, box["y"] + 50)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * end, box["y"] + 50, steps=4)
    tab.mouse.up()


def test_zooming_asks_for_more_and_a_double_click_shows_all(tab: Page, chart: Locator) -> None:
    with tab.expect_request(re.compile("from=")) as zoomed:
        drag(tab, chart.locator(".u-over"), 0.25, 0.5)
    query = dict(part.split("=") for part in zoomed.value.url.split("?")[1].split("&"))
    assert 200 < int(query["from"]) < 300
    assert 450 < int(query["to"]) < 550
    expect(chart.get_by_label("Show all")).to_be_visible()
    with tab.expect_request(re.compile(r"/series(?!.*from=)")):
        chart.locator(".u-over").dblclick()
    expect(chart.get_by_label("Show all")).to_be_hidden()


def test_axes_smoothing_and_means(tab: Page, chart: Locator) -> None:
    chart.get_by_label("Smoothing and axes").click()
    with tab.expect_request(re.compile("x=relative")):
        chart.get_by_role("button", name="Since start").click()
    with tab.expect_request(re.compile("x=time")):
        chart.get_by_role("button", name="Time", exact=True).click()
    chart.get_by_label("Smoothing", exact=True).fill("0.9")
    expect(chart.locator("output")).to_have_text("0.90")
    assert chart.evaluate("figure => [figure.chart.offset, figure.chart.lines.length]") == [
        5,
        5,
    ]  # the raw lines, faint
    chart.get_by_label("Mean and range of the lines").check()
    assert chart.evaluate("figure => [figure.chart.hasBand, figure.chart.lines.length]") == [True, 1]
    tab.reload()
    assert tab.evaluate("JSON.parse(localStorage['headway.chart']).smooth") == 0.9


def test_names_hide_lines_and_the_cursor_tells_values(tab: Page, chart: Locator) -> None:
    names = chart.locator(".chart-labels button")
    expect(names).to_have_count(5)
    first = names.first.inner_text()
    names.first.click()
    expect(names).to_have_count(4)
    chart.locator(".chart-legend button").click()
    expect(names).to_have_count(5)
    chart.locator(".chart-plot").focus()
    tab.keyboard.press("ArrowRight")
    expect(chart.locator(".chart-tip")).to_contain_text("step 0")
    expect(chart.locator(".chart-tip")).to_contain_text(first)
    with tab.expect_request(re.compile("from=0")):
        tab.keyboard.press("+")


def test_a_chart_fills_the_window_and_is_saved(tab: Page, chart: Locator) -> None:
    chart.get_by_label("Full screen").click()
    assert chart.evaluate("figure => figure.getBoundingClientRect().height === innerHeight")
    tab.keyboard.press("Escape")
    assert not chart.evaluate("figure => figure.classList.contains('full')")
    for choice, start in (("Picture (PNG)", b"\x89PNG"), ("Values (CSV)", b"step,")):
        chart.get_by_label("Save the chart").click()
        with tab.expect_download() as saved:
            chart.get_by_role("button", name=choice).click()
        content = saved.value.path().read_bytes()
        assert content.startswith(start)
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert len(rows[0]) == 6
    assert all(len(row) == 6 and float(row[1]) for row in rows[1:3])


def test_points_that_came_since_are_drawn_without_asking(chart: Locator) -> None:
    key = chart.evaluate("figure => figure.chart.data.series[1].key ?? figure.chart.data.series[1].name")
    ends = chart.evaluate(
        """async (figure, key) => {
          figure.chart.data.series[1].key = key;
          const detail = { key, steps: [990, 5000], times: [1, 2], values: [1, 0.5] };
          figure.dispatchEvent(new CustomEvent("headway:points", { detail }));
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          return figure.chart.chart.data.map((column) => column.at(-1)); }""",
        key,
    )
    assert ends[0] == 5000 and ends[2] == 0.5  # the step that was there already is not drawn twice


def test_the_arithmetic(tab: Page) -> None:
    tab.goto("/bare")
    smooth = module(tab, "series.js", "smoothed", [1, None, 3, 5], 0.5)
    assert smooth == [1, None, pytest.approx(1.75 / 0.75), pytest.approx(3.375 / 0.875)]
    lines = [
        {"x": [0, 2], "y": [0, 2], "group": "a"},
        {"x": [1, 2, 3], "y": [3, 4, 9], "group": "a"},
        {"x": [5], "y": [7]},
    ]
    mean, alone = module(tab, "series.js", "averaged", lines)
    assert (mean["name"], mean["x"], mean["y"]) == ("a", [0, 1, 2, 3], [0, 2, 3, 9])
    assert (mean["low"], mean["high"], mean["members"]) == ([0, 1, 2, 9], [0, 3, 4, 9], 2)
    assert (alone["name"], alone["y"]) == ("All", [7])
    columns = module(tab, "series.js", "joined", [{"x": [3, 1, 3], "y": [1, 2, 4]}, {"x": [2], "y": [None]}])
    assert columns == [[1, 2, 3], [2, None, 4], [None, None, None]]
    cells = [module(tab, "numbers.js", "quoted", text) for text in ("=1+1", "-3.5", "a,b", 'say "x"', "plain", "@x")]
    assert cells == ["'=1+1", "-3.5", '"a,b"', '"say ""x"""', "plain", "'@x"]
    spans = [module(tab, "numbers.js", "span", ms) for ms in (850, 3200, 185_000, 7_800_000, 200_000_000, -3200)]
    assert spans == ["850 ms", "3.2 s", "3 min 05 s", "2 h 10 min", "2 d 7 h", "−3.2 s"]
