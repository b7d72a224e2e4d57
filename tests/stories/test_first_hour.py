"""The first hour, as a new user lives it: the printed link, a notebook without a tracking line, Deploy, predict, roll back."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.served import Served, until

pytestmark = [pytest.mark.story, pytest.mark.timeout(600)]
PROJECT = "/p/sample-project"


@pytest.fixture
def tab(served: Served, browser: Browser) -> Iterator[Page]:
    """A signed-in tab; a script error, a blocked resource or a request to another host fails the story."""
    context = served.signed_in(browser, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("console", lambda line: problems.append(f"console: {line.text}") if line.type == "error" else None)
    page.on("request", lambda request: problems.append(f"asks {request.url}") if _elsewhere(request.url) else None)
    yield page
    context.close()
    assert problems == []


def _elsewhere(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost")


def environment_ready(served: Served) -> bool:
    state = served.json("env", "show", "--project", "sample-project")["state"]
    assert state not in ("failed", "cancelled")
    return bool(state == "ready")


def test_the_first_hour(served: Served, tab: Page) -> None:
    tab.goto("/")
    expect(tab.get_by_role("heading", name="The first hour")).to_be_visible()
    until(lambda: environment_ready(served), 300, "the environment")

    run_id = run_the_notebook(served, tab)
    look_at_the_run(tab, run_id)
    deploy_a_model(tab, run_id, "Pipeline", first=True)
    predict_in_the_form(tab)
    key = make_a_key(tab)
    predict_with_the_key(served, key)

    deploy_a_model(tab, run_id, "DummyRegressor", first=False)
    expect(row(tab, 2)).to_contain_text("100 %")
    tab.get_by_role("button", name="Roll back to 1").click()
    tab.get_by_role("dialog").get_by_role("button", name=re.compile("Roll back|Yes|OK", re.I)).click()
    expect(row(tab, 1)).to_contain_text("100 %")
    until(lambda: predict_with_the_key(served, key) == "1", 20, "revision 1 to answer again")


def run_the_notebook(served: Served, tab: Page) -> str:
    tab.goto(f"{PROJECT}/new-run?path=train.ipynb")
    tab.get_by_label("search_rounds").fill("2")
    tab.get_by_label("epochs").fill("25")
    tab.get_by_role("button", name="Start").click()
    tab.wait_for_url(re.compile(r"/runs/[0-9a-f]{32}"))
    run_id = tab.url.split("/runs/")[1][:32]
    shown = until(lambda: ended(served, run_id), 300, "the run")
    assert shown["status"] == "finished", shown["cause"]
    assert str(shown["params"]["search_rounds"]) == "2"
    return run_id


def ended(served: Served, run_id: str) -> dict[str, Any] | None:
    shown: dict[str, Any] = served.json("runs", "show", run_id)
    return shown if shown["status"] not in ("queued", "running") else None


def look_at_the_run(tab: Page, run_id: str) -> None:
    """Nothing in the notebook logs anything; all of this was found."""
    tab.goto(f"{PROJECT}/runs/{run_id}")
    content = tab.locator("#content")
    for found in ("finished", "rmse", "r2", "learning_rate", "n_estimators", "RandomForestRegressor", "Pipeline"):
        expect(content).to_contain_text(found)
    tab.get_by_role("link", name=re.compile("^Data")).click()
    expect(content).to_contain_text("cars.csv")
    tab.get_by_role("link", name="Code", exact=True).click()
    expect(content).to_contain_text("from sklearn.model_selection import RandomizedSearchCV")
    tab.get_by_role("link", name="Environment", exact=True).first.click()
    expect(content).to_contain_text("scikit-learn")
    tab.get_by_role("link", name="Output", exact=True).click()
    expect(content).to_contain_text("A light Japanese car of 1980")
    tab.goto(f"{PROJECT}/runs")
    expect(content).to_contain_text("train.ipynb")


def deploy_a_model(tab: Page, run_id: str, kind: str, *, first: bool) -> None:
    """Run page, Deploy, Deploy: three clicks at most."""
    tab.goto(f"{PROJECT}/runs/{run_id}")
    tab.locator("tr", has_text=kind).get_by_role("button", name="Deploy").first.click()
    tab.get_by_label("Name of the endpoint").fill("cars")
    tab.get_by_role("button", name="Deploy", exact=True).click()
    tab.wait_for_url(re.compile(f"{PROJECT}/endpoints/cars"))
    expect(row(tab, 1 if first else 2)).to_contain_text("live", timeout=180_000)


def row(tab: Page, revision: int):  # type: ignore[no-untyped-def]
    """The revision's line in the endpoint's table."""
    return tab.locator("table tr", has=tab.locator("td", has_text=re.compile(rf"^\s*{revision}\s*$"))).first


def predict_in_the_form(tab: Page) -> None:
    tab.goto(f"{PROJECT}/endpoints/cars/use")
    tab.get_by_role("button", name="Predict").click()
    answer = tab.locator(".stat", has_text="Prediction")
    expect(answer).to_contain_text(re.compile(r"\d+\.\d+"))


def make_a_key(tab: Page) -> str:
    tab.goto(f"{PROJECT}/endpoints/cars/keys")
    tab.get_by_label("What is it for?").fill("the app")
    tab.get_by_role("button", name="Make a key").click()
    expect(tab.locator("#content")).to_contain_text("hw")
    found = re.search(r"\bhw\w*_[A-Za-z0-9_-]{20,}", tab.locator("#content").inner_text())
    assert found
    return found.group()


def predict_with_the_key(served: Served, key: str) -> str:
    """As an app would call it: at the gateway, with a key. Returns the number of the revision that answered."""
    url = served.json("endpoints", "show", "cars")["url"]
    with httpx.Client(timeout=30) as app:
        schema = app.get(f"{url}/schema", headers={"authorization": f"Bearer {key}"})
        assert schema.status_code == 200, schema.text
        body = schema.json()["example"]
        answer = app.post(f"{url}/invocations", json=body, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == len(body["dataframe_split"]["data"])
        assert app.post(f"{url}/invocations", json=body).status_code == 401
        return answer.headers["x-headway-revision"]
