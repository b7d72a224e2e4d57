"""A page that is open while a run goes on, in a real browser, with the official client on the other side."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import event

from headway.people import sessions
from headway.tracking import artifacts
from tests.tracking.serving import Server, client_of, serve

POINTS = "() => document.querySelector('figure[data-chart]')?.chart?.data?.series[0]?.x.length ?? 0"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("live")) as server:
        yield server


@pytest.fixture
def context(browser: Browser, live: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=live.url, viewport={"width": 1280, "height": 900})
    secret = live.world.session(live.who)
    context.add_cookies([{"name": sessions.PLAIN_COOKIE, "value": secret, "url": live.url}])
    yield context
    context.close()


@pytest.fixture
def client(live: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with client_of(live, monkeypatch) as mlflow:
        yield mlflow.MlflowClient()


def until(question: Callable[[], object], page: Page) -> None:
    """Ask until it is true, while the page's own time goes on."""
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def viewers(live: Server) -> int:
    hub = getattr(live.world.app.state, "live", None)
    return len(hub._viewers) if hub else 0


def begun(client: Any, live: Server) -> str:
    run = client.create_run(client.create_experiment(f"e{time.monotonic_ns()}"))
    for step in range(3):
        client.log_metric(run.info.run_id, "loss", 1 / (step + 1), step=step)
    return str(run.info.run_id)


def test_a_chart_grows_while_the_client_logs(context: BrowserContext, live: Server, client: Any) -> None:
    run = begun(client, live)
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"/p/{live.project.slug}/runs/{run}")
    expect(page.locator(".page-state")).to_contain_text("running")
    until(lambda: page.evaluate(POINTS) == 3 and viewers(live) == 1, page)
    page.on("request", lambda request: asked.append(request.url))
    for step in range(3, 9):
        client.log_metric(run, "loss", 1 / (step + 1), step=step)
    until(lambda: page.evaluate(POINTS) == 9, page)
    course = page.locator("#run-metrics td.spark path")
    assert (course.get_attribute("d") or "").count("L") == 8  # it went on with the chart
    last = page.locator("#run-metrics tbody tr").first
    expect(last).to_contain_text("0.1111")
    expect(last.locator("[data-live-part=step]")).to_have_text("8")
    assert asked == []  # nothing was asked for: the stream brought it
    # what is new on the page is asked for once, as a part of it
    client.log_metric(run, "accuracy", 0.75)
    client.log_param(run, "depth", 4)
    expect(page.locator("#run-metrics")).to_contain_text("accuracy")
    expect(page.locator("#run-params")).to_contain_text("depth")
    assert page.evaluate(POINTS) == 9
    client.set_terminated(run)
    expect(page.locator(".page-state")).to_contain_text("finished")
    until(lambda: viewers(live) == 0, page)
    assert wrong == []


def test_the_database_is_asked_as_often_for_five_pages_as_for_one(
    context: BrowserContext, live: Server, client: Any
) -> None:
    run = begun(client, live)
    page = context.new_page()
    page.goto("/settings")
    said: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(live.world.host.database.engine, "before_cursor_execute", note)
    counts = []
    for number in (1, 5):  # a browser opens six connections to one host
        page.evaluate(
            """async ([url, number]) => {
                window.streams = Array.from({ length: number }, () => new AbortController());
                window.came = 0;
                for (const one of window.streams) {
                    const answer = await fetch(url, { signal: one.signal });
                    const reader = answer.body.getReader();
                    (async () => { for (;;) { const { done, value } = await reader.read(); if (done) return;
                        if (new TextDecoder().decode(value).includes("event: run")) window.came += 1; } })().catch(() => {});
                }
            }""",
            [f"/p/{live.project.slug}/live?runs={run}", number],
        )
        until(lambda number=number: viewers(live) == number, page)  # type: ignore[misc]
        said.clear()
        client.log_metric(run, "loss", 0.5, step=100 + number)
        until(lambda number=number: page.evaluate("window.came") >= number, page)  # type: ignore[misc]
        counts.append(len([one for one in said if "series_chunks" in one and one.lstrip().startswith("SELECT")]))
        page.evaluate("window.streams.forEach((one) => one.abort())")
        until(lambda: viewers(live) == 0, page)
    event.remove(live.world.host.database.engine, "before_cursor_execute", note)
    assert counts == [1, 1]


def test_a_hidden_tab_gives_its_connection_back_and_catches_up(
    context: BrowserContext, live: Server, client: Any
) -> None:
    run = begun(client, live)
    page = context.new_page()
    page.clock.install()
    page.goto(f"/p/{live.project.slug}/runs/{run}")
    until(lambda: page.evaluate(POINTS) == 3 and viewers(live) == 1, page)
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away })")
    page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.fast_forward(11_000)
    until(lambda: viewers(live) == 0, page)
    client.log_metric(run, "loss", 0.1, step=7)
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    until(lambda: page.evaluate(POINTS) == 4, page)
    client.set_terminated(run)


def test_pictures_tables_and_notes_by_keyboard(context: BrowserContext, live: Server, client: Any) -> None:
    run = begun(client, live)
    client.log_batch(run, params=[_param(f"layer{i}.size", str(i)) for i in range(12)])
    with live.world.host.database.write() as db:
        for n in range(3):
            artifacts.put(db, run, f"plots/p{n}.png", live.world.host.blobs.put(b"\x89PNG" + bytes([n])))
    client.set_terminated(run)
    page = context.new_page()
    page.goto(f"/p/{live.project.slug}/runs/{run}")
    page.locator("a[data-figure]").first.press("Enter")
    box = page.locator("dialog.lightbox")
    expect(box).to_contain_text("1 of 3")
    page.keyboard.press("ArrowLeft")
    expect(box).to_contain_text("p2.png")
    page.keyboard.press("Home")
    expect(box).to_contain_text("p0.png")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    finder = page.get_by_placeholder("Find a parameter")
    finder.fill("layer1 size")
    expect(page.locator("#run-params tbody tr:visible")).to_have_count(3)  # layer1, layer10, layer11
    finder.press("Escape")
    expect(page.locator("#run-params tbody tr:visible")).to_have_count(12)
    page.get_by_text("Write what this run is about").click()
    page.get_by_label("Notes, in markdown").fill("It **works**")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".prose strong")).to_have_text("works")
    page.get_by_text("Add a tag").click()
    page.get_by_label("Name of the tag").fill("team")
    page.get_by_label("Value of the tag").fill("vision")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#tags")).to_contain_text("team: vision")
    page.get_by_label("Remove the tag team").click()
    expect(page.locator("#tags")).not_to_contain_text("team: vision")


def _param(key: str, value: str) -> Any:
    from mlflow.entities import Param

    return Param(key, value)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways_and_all_has_a_name(
    context: BrowserContext, live: Server, client: Any, width: int
) -> None:
    run, other = begun(client, live), begun(client, live)
    for one in (run, other):
        client.log_batch(one, params=[_param("a_very_long_name_of_a_parameter." * 4, one * 6)])
        client.set_terminated(one)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    for path in (f"runs/{run}", f"runs/{run}?tab=metrics", f"runs/{run}?tab=files", f"compare?runs={run},{other}"):
        page.goto(f"/p/{live.project.slug}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("h1").count() == 1
        nameless = page.evaluate(
            "[...document.querySelectorAll('main button, main a, main input')].filter((e) => e.type !== 'hidden' &&"
            " !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.placeholder || e.title)).length"
        )
        assert nameless == 0, path
    assert re.search(r"compare\?runs=", page.url)
