"""The runs explorer in a real browser, against a real server."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from headway.people import sessions
from headway.tracking import experiments, service
from headway.tracking.store.record import Metric
from tests.tracking.serving import Server, serve

COUNT = 260
BAD = "<b>x</b>"
START = 1_700_000_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Projects with 260 runs (auc rises with the number, the newest twenty have curves), with five, and with none."""
    with serve(tmp_path_factory.mktemp("explorer")) as server:
        found: dict[str, Any] = {"server": server, "slugs": {}}
        for name, count in (("Many", COUNT), ("Five", 5), ("Empty", 0)):
            project = server.world.project(name, server.who)
            found["slugs"][name] = project.slug
            if count:
                _fill(server, project.id, count)
        found["session"] = server.world.session(server.who)
        yield found


def _fill(server: Server, project: str, count: int) -> None:
    with server.world.host.database.write() as db:
        experiment = experiments.ensure(db, project, "train.py").id
        for i in range(count):
            run = service.create_run(db, server.who, project_id=project, experiment_id=experiment, name=f"run-{i:03d}",
                                     start_time=START + i * 1000)  # fmt: skip
            curve = (
                [Metric("loss", 1 / (s + 1) + i / 100, START + i * 1000 + s, s) for s in range(8)]
                if i >= count - 20
                else []
            )
            params = [("lr", "0.1" if i % 2 else "0.01"), ("model", ("forest", "mlp", BAD)[i % 3]), ("same", "1")]
            service.log_batch(db, run.uuid, [Metric("auc", i / 1000, 1), *curve], params, who=server.who)
            if i != count - 1:  # the newest goes on
                service.update_run(db, server.who, run.uuid, status="FINISHED", end_time=START + i * 1000 + 500)


@pytest.fixture
def tab(browser: Browser, site: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(base_url=site["server"].url, viewport={"width": 1300, "height": 900})
    context.add_cookies([{"name": sessions.PLAIN_COOKIE, "value": site["session"], "url": site["server"].url}])
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
    yield page
    assert problems == []
    context.close()


def open_runs(tab: Page, site: dict[str, Any], query: str = "", name: str = "Many") -> Locator:
    """The rows of the explorer, once it is alive."""
    tab.goto(f"/p/{site['slugs'][name]}/runs?{query}")
    expect(tab.locator(".runs.alive")).to_be_attached()
    expect(tab.locator(".runs-table colgroup")).to_be_attached()
    return tab.locator(".runs-table tbody tr[data-id]")


def names(rows: Locator) -> list[str]:
    return rows.locator("td.main a").all_inner_texts()


def column(tab: Page, id: str) -> int:
    """The number of a column's cells in their rows."""
    return int(tab.locator(f'.runs-table th[data-col="{id}"]').evaluate("th => th.cellIndex"))


def menu(tab: Page, id: str, choice: str) -> None:
    """Choose something in a column's menu."""
    head = tab.locator(f'.runs-table th[data-col="{id}"]')
    head.hover()
    head.locator("summary").click()
    head.get_by_role("button", name=choice, exact=True).click()


def test_only_what_is_seen_is_in_the_document(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    expect(tab.locator(".runs-count")).to_have_text(f"{COUNT} runs")
    expect(rows.first).to_contain_text(f"run-{COUNT - 1:03d}")
    assert rows.count() < 60
    rows.first.focus()
    tab.keyboard.press("End")
    expect(tab.locator("tr:focus")).to_contain_text("run-000")
    assert rows.count() < 60
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("x")
    expect(tab.locator(".runs-count")).to_have_text(f"1 of {COUNT} selected")
    tab.keyboard.press("Home")
    expect(tab.locator("tr:focus")).to_contain_text(f"run-{COUNT - 1:03d}")
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile(r"/runs/\w{32}"))


def test_columns_that_differ_sorted_by_a_click(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    heads = tab.locator(".runs-table th[data-col]").evaluate_all("ths => ths.map((th) => th.dataset.col)")
    assert {"metrics.auc", "params.lr", "params.model"} <= set(heads) and "params.same" not in heads
    sort = tab.locator('th[data-col="metrics.auc"] .sort-button')
    sort.click()
    expect(tab).to_have_url(re.compile(r"sort=metrics\.auc\+DESC"))
    sort.click()
    expect(rows.first).to_contain_text("run-000")
    tab.go_back()
    expect(rows.first).to_contain_text(f"run-{COUNT - 1:03d}")
    menu(tab, "metrics.auc", "Highest value")
    expect(tab.locator('th[data-col="max(metrics.auc)"]')).to_be_visible()
    expect(rows.first.locator("td").nth(column(tab, "max(metrics.auc)"))).to_have_text(f"{(COUNT - 1) / 1000:.4f}")
    assert "<b>x</b>" in tab.locator(".runs-table").inner_text()  # text, never markup


def test_columns_are_arranged_and_kept_in_the_address(tab: Page, site: dict[str, Any]) -> None:
    open_runs(tab, site)
    menu(tab, "params.model", "Pin to the left")
    assert column(tab, "params.model") == 2
    menu(tab, "params.lr", "Hide")
    expect(tab.locator('th[data-col="params.lr"]')).to_have_count(0)
    menu(tab, "metrics.auc", "Move left")
    grip = tab.locator('th[data-col="status"] .col-grip')
    grip.hover()  # the head is drawn anew after a move
    box = grip.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 4, box["y"] + 10)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 64, box["y"] + 10, steps=3)
    tab.mouse.up()
    expect(tab).to_have_url(re.compile(r"width=status%3A196"))
    before = tab.locator(".runs-table thead").inner_text()
    tab.reload()
    expect(tab.locator(".runs-table colgroup")).to_be_attached()
    assert tab.locator(".runs-table thead").inner_text() == before


def test_rows_that_arrive_leave_the_open_menu_and_the_focus(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    held: list[Route] = []
    tab.route("**/table?*", lambda route: held.append(route))
    sort = tab.locator('th[data-col="metrics.auc"] .sort-button')
    sort.focus()
    with tab.expect_request("**/table?*"):
        tab.keyboard.press("Enter")
    tab.locator('th[data-col="params.lr"]').hover()
    tab.locator('th[data-col="params.lr"] summary').click()
    tab.route("**/table?*", lambda route: route.continue_())
    while held:
        held.pop().continue_()
    expect(tab.locator('th[data-col="metrics.auc"]')).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text("run-")
    expect(tab.locator('th[data-col="params.lr"] summary')).to_be_focused()
    tab.locator('th[data-col="params.lr"]').get_by_role("button", name="Hide", exact=True).click()
    expect(tab.locator('th[data-col="params.lr"]')).to_have_count(0)


def test_a_menu_goes_with_its_button_and_closes_once_that_is_out_of_view(tab: Page, site: dict[str, Any]) -> None:
    open_runs(tab, site)
    head = tab.locator('.runs-table th[data-col="params.model"]')
    head.locator("summary").click()
    choice = head.get_by_role("button", name="Hide", exact=True)
    expect(choice).to_be_visible()
    tab.locator(".runs-scroll").evaluate("scroll => scroll.dispatchEvent(new Event('scroll'))")
    tab.locator(".runs").evaluate("runs => { runs.style.marginTop = '40px'; }")  # as when charts arrive above the table
    tab.wait_for_function(
        """() => {
            const th = document.querySelector('.runs-table th[data-col="params.model"]');
            const [button, items] = ["summary", ".menu-items"].map((one) => th.querySelector(one).getBoundingClientRect());
            return Math.min(Math.abs(items.top - button.bottom - 4), Math.abs(button.top - items.bottom - 4)) < 1.5;
        }"""
    )
    expect(choice).to_be_visible()
    tab.set_viewport_size({"width": 420, "height": 700})
    tab.locator(".runs-scroll").evaluate("scroll => { scroll.scrollLeft = 0; }")
    expect(choice).to_be_hidden()


def test_a_filter_is_completed_and_its_errors_are_pointed_at(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    field = tab.get_by_label("Filter", exact=True)
    field.press_sequentially("au")
    expect(tab.locator(".completions li").first).to_contain_text("metrics.auc")
    field.press("Tab")
    expect(field).to_have_value("metrics.auc ")
    expect(tab.locator(".completions li").first).to_contain_text(">")
    field.press("ArrowDown")
    field.press("Enter")
    field.press_sequentially("0.25 and params.lr = ")
    expect(tab.locator(".completions li").first).to_contain_text("'0.")
    field.fill("metrics.auc > 0.25 and params.lr = x")
    field.press("Enter")
    expect(tab.locator(".query-problem")).to_contain_text("at character 36")
    expect(tab.locator(".query-marks u")).to_have_text("x")
    field.fill("metrics.auc > 0.25 and params.lr = '0.1'")
    field.press("Enter")
    expect(tab.locator(".runs-count")).to_have_text("5 runs")
    expect(tab.locator(".query-problem")).to_have_count(0)
    assert names(rows) == ["run-259", "run-257", "run-255", "run-253", "run-251"]
    field.fill("run-01")
    field.press("Enter")
    expect(tab.locator(".runs-count")).to_have_text("10 runs")
    field.fill("nothing-like-it")
    field.press("Enter")
    tab.get_by_role("button", name="Clear the filter").click()
    expect(tab.locator(".runs-count")).to_have_text(f"{COUNT} runs")
    field.click()
    expect(tab.locator(".completions li").filter(has_text="params.lr = '0.1'").first).to_be_visible()  # lately


def test_selecting_a_range_tagging_exporting_deleting_restoring(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site, "filter=run-00")
    expect(tab.locator(".runs-count")).to_have_text("10 runs")
    rows.nth(1).locator("input").click()
    rows.nth(3).locator("input").click(modifiers=["Shift"])
    expect(tab.locator(".runs-count")).to_have_text("3 of 10 selected")
    compare = tab.locator(".runs-actions").get_by_role("link", name="Compare")
    assert len((compare.get_attribute("href") or "").split(",")) == 3
    tab.locator(".runs-actions summary", has_text="Tag").click()
    tab.get_by_label("Name of the tag").fill("team")
    tab.get_by_label("Value of the tag").fill("risk")
    tab.get_by_role("button", name="Set").click()
    expect(tab.locator(".toast").last).to_contain_text("3 runs tagged")
    tab.get_by_label("Filter", exact=True).fill("tags.team = 'risk'")
    tab.get_by_label("Filter", exact=True).press("Enter")
    expect(tab.locator(".runs-count")).to_have_text("3 runs")
    tab.get_by_label("Export").click()
    with tab.expect_download() as saved:
        tab.get_by_role("link", name="All columns, CSV").click()
    with saved.value.path().open(newline="") as file:
        assert [row["tags.team"] for row in csv.DictReader(file)] == ["risk"] * 3
    tab.get_by_label("Select all that match").check()
    expect(tab.locator(".runs-count")).to_have_text("3 of 3 selected")
    tab.locator(".runs-actions").get_by_role("button", name="Delete").click()
    tab.locator("#confirm [data-yes]").click()
    expect(tab.locator(".toast").last).to_contain_text("3 runs deleted")
    deleted = open_runs(tab, site, "deleted=true")
    expect(tab.locator(".runs-count")).to_have_text("3 runs")
    assert sorted(names(deleted)) == ["run-006", "run-007", "run-008"]
    tab.get_by_label("Select all that match").check()
    tab.locator(".runs-actions").get_by_role("button", name="Restore").click()
    expect(tab.locator(".runs-none")).to_be_visible()


def test_a_view_is_saved_opened_and_begun_with(tab: Page, site: dict[str, Any]) -> None:
    open_runs(tab, site, "sort=metrics.auc+ASC&filter=run-1", name="Many")
    views = tab.locator(".runs-query details.menu")
    views.locator("summary").click()
    tab.get_by_label("Name of a new view").fill("the ones")
    views.get_by_role("button", name="Save", exact=True).click()
    expect(views.locator("summary")).to_have_text("the ones")
    tab.get_by_label("Begin with it: the ones").click()
    expect(tab.locator(".toast").last).to_contain_text("begins with the ones")
    tab.goto(f"/p/{site['slugs']['Many']}/runs")
    expect(tab).to_have_url(re.compile(r"view=\d+&filter=run-1&sort=metrics\.auc\+ASC"))
    expect(tab.locator(".runs-table tbody tr[data-id]").first).to_contain_text("run-100")
    tab.locator('th[data-col="metrics.auc"] .sort-button').click()
    expect(views.locator("summary")).to_have_text("the ones *")
    views.locator("summary").click()
    tab.get_by_label("Delete: the ones").click()
    expect(views.locator("summary")).to_have_text("Views")


def test_groups_fold_and_the_chooser_finds_columns(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    menu(tab, "params.model", "Group by it")
    groups = tab.locator(".runs-table tr.group")
    expect(groups).to_have_count(3)
    expect(groups.first).to_contain_text("forest87")
    expect(groups.first.locator("td.num").last).not_to_be_empty()  # the mean of a metric
    figure = tab.locator(".runs-panel figure[data-chart*='/bands?']")  # of all runs, by the server
    expect(figure.locator(".chart-labels button").filter(has_text="forest")).to_contain_text(
        "×7"
    )  # that have the metric
    groups.first.click()
    expect(rows.first).to_contain_text("run-258")
    assert set(rows.locator(f"td:nth-child({column(tab, 'params.model') + 1})").all_inner_texts()) == {"forest"}
    tab.get_by_title("Don't group").click()
    expect(rows.first).to_contain_text("run-259")
    tab.locator("summary", has_text="Columns").click()
    tab.get_by_label("Search columns").fill("sam")
    tab.locator(".choices label", has_text="same").locator("input").check()
    expect(tab.locator('th[data-col="params.same"]')).to_be_visible()


def test_charts_follow_the_selection_and_the_row_under_the_hand(tab: Page, site: dict[str, Any]) -> None:
    rows = open_runs(tab, site)
    chart = tab.locator(".runs-panel figure")
    expect(chart.locator("canvas")).to_be_attached()
    tab.wait_for_function("document.querySelector('.runs-panel figure').chart?.lines?.length === 10")
    expect(rows.first.locator(".swatch")).to_be_visible()
    with tab.expect_response(re.compile("/series")):
        rows.nth(0).locator("input").click()
        rows.nth(12).locator("input").click()
    expect(tab.locator(".runs-panel .note").first).to_have_text("2 selected")
    expect(chart).to_have_count(1)  # the same chart, of others
    assert chart.evaluate("""async (figure) => {
      while (figure.chart.lines.length !== 2) await new Promise((done) => setTimeout(done, 20));
      return figure.chart.lines.map((one) => one.name); }""") == ["run-259", "run-247"]  # fmt: skip
    tab.evaluate("""() => { window.heard = new Promise((done) => {
      document.addEventListener('headway:run', (event) => done(event.detail.key), { once: true }); }); }""")
    rows.nth(3).hover()
    assert tab.evaluate("window.heard") == rows.nth(3).get_attribute("data-id")
    tab.evaluate("key => document.dispatchEvent(new CustomEvent('headway:run', { detail: { key } }))",
                 rows.nth(5).get_attribute("data-id"))  # fmt: skip
    expect(tab.locator(".runs-table tr[data-stressed]")).to_contain_text("run-254")


def test_parallel_ranges_and_the_box_of_a_scatter_select_runs(tab: Page, site: dict[str, Any]) -> None:
    open_runs(tab, site, "panel=parallel")
    expect(tab.locator(".parallel-line")).to_have_count(COUNT)
    grip = tab.locator(".parallel-grip").last
    box = grip.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 14, box["y"] + 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 14, box["y"] + box["height"] * 0.3, steps=3)
    tab.mouse.up()
    select = tab.locator(".panel-tools button", has_text="Select ")
    count = int(select.inner_text().split()[1])
    assert 40 < count < 120
    tab.get_by_role("button", name="Filter by these ranges").click()
    expect(tab.locator(".runs-count")).to_have_text(f"{count} runs")
    expect(tab.get_by_label("Filter", exact=True)).to_have_value(
        re.compile(r"^metrics\.auc >= 0\.1\d+ AND metrics\.auc <= 0\.259")
    )
    tab.get_by_role("tab", name="Scatter").click()
    expect(tab.locator(".scatter circle")).to_have_count(count)
    area = tab.locator(".scatter").bounding_box()
    assert area is not None
    tab.mouse.move(area["x"] + 60, area["y"] + 12)
    tab.mouse.down()
    tab.mouse.move(area["x"] + area["width"] - 4, area["y"] + area["height"] - 36, steps=3)
    tab.mouse.up()
    expect(tab.locator(".runs-count")).to_have_text(f"{count} of {count} selected")


def test_running_runs_change_and_new_ones_come_without_moving_the_page(tab: Page, site: dict[str, Any]) -> None:
    server: Server = site["server"]
    rows = open_runs(tab, site, name="Five")
    expect(rows).to_have_count(5)
    running = rows.first.get_attribute("data-id") or ""
    expect(rows.first.locator(".dot")).to_have_text("running")
    with tab.expect_event("console", lambda said: "following" in said.text):
        tab.evaluate("""() => { const { live } = document.querySelector('.runs').explorer;
          const look = () => live.followed.size && live.ready ? console.log('following') : setTimeout(look, 20); look(); }""")
    with server.world.host.database.write() as db:
        service.log_batch(db, running, [Metric("auc", 0.7777, 2, 1)], who=server.who)
    expect(rows.first).to_contain_text("0.7777")
    with server.world.host.database.write() as db:
        service.update_run(db, server.who, running, status="FINISHED")
    expect(rows.first.locator(".dot")).to_have_text("finished")
    with server.world.host.database.write() as db:
        old = service.get_run(db, server.who, running)
        service.create_run(db, server.who, project_id=old.project_id, experiment_id=old.experiment_id, name="brand new")
    expect(rows.first).to_contain_text("brand new")
    expect(tab.locator(".runs-count")).to_have_text("6 runs")


@pytest.mark.parametrize("name", ["Many", "Five", "Empty"])
def test_a_narrow_screen(browser: Browser, site: dict[str, Any], name: str) -> None:
    context = browser.new_context(base_url=site["server"].url, viewport={"width": 360, "height": 780}, has_touch=True)
    context.add_cookies([{"name": sessions.PLAIN_COOKIE, "value": site["session"], "url": site["server"].url}])
    page = context.new_page()
    page.goto(f"/p/{site['slugs'][name]}/runs?view=none")
    expect(page.locator(".runs.alive")).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if name == "Empty":
        expect(page.get_by_text("No runs yet")).to_be_visible()
    else:
        scroll = page.locator(".runs-scroll")
        assert scroll.evaluate("box => box.scrollWidth > box.clientWidth")
        first = page.locator(".runs-table tbody td.main").first
        scroll.evaluate("box => (box.scrollLeft = 300)")
        expect(first).to_be_in_viewport()  # the name stays
    context.close()


def test_without_scripts_the_table_can_be_read(browser: Browser, site: dict[str, Any]) -> None:
    context = browser.new_context(base_url=site["server"].url, java_script_enabled=False)
    context.add_cookies([{"name": sessions.PLAIN_COOKIE, "value": site["session"], "url": site["server"].url}])
    page = context.new_page()
    page.goto(f"/p/{site['slugs']['Many']}/runs?view=none")
    rows = page.locator(".runs-table tbody tr[data-id]")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(rows.first).to_contain_text("run-209")
    page.get_by_role("link", name="auc").click()
    expect(rows.first).to_contain_text(f"run-{COUNT - 1:03d}")
    context.close()


def test_an_address_that_mlflows_client_prints_leads_to_the_page_it_means(tab: Page, site: dict[str, Any]) -> None:
    run = open_runs(tab, site).first.get_attribute("data-id")
    tab.goto("about:blank")
    tab.goto(f"/#/experiments/1/runs/{run}")
    expect(tab).to_have_url(re.compile(f"/p/{site['slugs']['Many']}/runs/{run}$"))
    tab.goto("about:blank")
    tab.goto("/#/experiments/999999")
    expect(tab.locator("#content")).to_contain_text("Is it in another project?")
