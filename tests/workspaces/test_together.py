"""Two people in one notebook, each in a browser of their own, through our gate: as they really would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from headway.people import sessions
from headway.people.rules import Who
from tests.conftest import PATIENCE_MS

from .conftest import NOTEBOOK, Site, until

STARTS_MS = 120_000
CODE = ".jp-Notebook .jp-Cell .cm-content"


@pytest.fixture(scope="module")
def chromium(browser: Browser) -> Iterator[Browser]:
    """The browser of all tests, with patience for JupyterLab's start."""
    expect.set_options(timeout=STARTS_MS)
    yield browser
    expect.set_options(timeout=PATIENCE_MS)


def saved_outputs(path: Path) -> str:
    """The first cell's outputs as the file has them; "" while the file is just being written."""
    try:
        return json.dumps(json.loads(path.read_text())["cells"][0]["outputs"])
    except json.JSONDecodeError:
        return ""


def enter(site: Site, chromium: Browser, who: Who, notebook: str) -> Page:
    """As from a link: the page that starts what is needed, then JupyterLab."""
    context = chromium.new_context()
    context.add_cookies(
        [
            {
                "name": sessions.PLAIN_COOKIE,
                "value": site.session(who),
                "url": site.url,
                "httpOnly": True,
                "sameSite": "Lax",
            }
        ]
    )
    page = context.new_page()
    page.set_default_timeout(STARTS_MS)
    page.goto(f"{site.url}/p/churn/notebooks/{notebook}/open")
    page.wait_for_url(f"{site.notebooks}/notebooks/churn/lab/**/{notebook}")
    page.wait_for_selector(CODE)
    return page


def test_two_people_one_notebook(site: Site, chromium: Browser) -> None:
    path = site.write("together.ipynb")
    site.ready()
    ada, grace = site.person("Ada Together", "editor"), site.person("Grace Together", "owner")
    first, second = enter(site, chromium, ada, "together.ipynb"), enter(site, chromium, grace, "together.ipynb")

    first.click(CODE)
    first.keyboard.press("End")
    first.keyboard.type("\nprint('from', 'ada')")
    expect(second.locator(CODE).first).to_contain_text("print('from', 'ada')")
    expect(second.locator(".jp-remote-userFlag-name")).to_have_text("Ada Together")

    second.click(CODE)
    second.keyboard.press("Control+End")
    second.keyboard.type("\nprint('from', 'grace')")
    expect(first.locator(CODE).first).to_contain_text("print('from', 'grace')")

    expect(second.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
    second.keyboard.press("Shift+Enter")
    for page in (first, second):
        expect(page.locator(".jp-OutputArea-output").first).to_contain_text("42\nfrom ada\nfrom grace")
    until(lambda: "from grace" in saved_outputs(path))
    # no news from elsewhere, no manager that would fetch extensions
    assert first.locator("text=Would you like to receive official Jupyter news?").count() == 0
    assert first.locator('[data-id="extensionmanager.main-view"]').count() == 0
    for page in (first, second):
        page.context.close()


def test_a_script_in_an_output_can_not_act_as_its_reader(site: Site, chromium: Browser) -> None:
    """The hostile cell runs in the reader's JupyterLab; it gets nothing from headway's own origin and changes nothing there."""
    attack = f"""
    (async () => {{
      const got = [];
      for (const [path, options] of [
        ["/p/churn/people", {{credentials: "include"}}],
        ["/api/v1/projects", {{credentials: "include"}}],
        ["/p/churn/notebooks/stop", {{method: "POST", credentials: "include"}}],
        ["/api/2.0/mlflow/experiments/create", {{method: "POST", credentials: "include", body: '{{"name": "evil"}}'}}],
      ]) {{
        try {{
          const answer = await fetch("{site.url}" + path, options);
          got.push(path + " " + answer.status);
        }} catch (error) {{ got.push(path + " refused"); }}
      }}
      got.push("cookie:" + document.cookie.includes("headway="));
      document.title = JSON.stringify(got);
    }})();
    """
    source = f"from IPython.display import Javascript\nJavascript({json.dumps(attack)})"
    site.write("hostile.ipynb", NOTEBOOK | {"cells": [NOTEBOOK["cells"][0] | {"source": source}]})  # type: ignore[operator,index]
    site.ready()
    owner = site.person("Olga Owner", "owner")
    page = enter(site, chromium, owner, "hostile.ipynb")
    page.click(CODE)
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
    page.keyboard.press("Shift+Enter")
    page.wait_for_function("document.title.startsWith('[')")
    got = json.loads(page.title())
    assert [line.split(" ", 1)[1] for line in got[:-1]] == ["refused"] * 4
    assert got[-1] == "cookie:false"
    with site.client(owner) as browser:
        assert browser.get("/p/churn/notebooks").status_code == 200
        found = browser.post(
            "/api/2.0/mlflow/experiments/search", json={"max_results": 100}, headers={"Origin": site.url}
        )
        assert "evil" not in found.text
    page.context.close()


def test_the_kernel_is_in_the_projects_environment(site: Site, chromium: Browser) -> None:
    source = "import sys, os; print(sys.prefix, os.environ['HEADWAY_PROJECT'], 'HEADWAY_SPOOL' in os.environ, sep='|')"
    site.write("where.ipynb", NOTEBOOK | {"cells": [NOTEBOOK["cells"][0] | {"source": source}]})  # type: ignore[operator,index]
    site.ready()
    page = enter(site, chromium, site.person("Kim Kernel", "editor"), "where.ipynb")
    page.click(CODE)
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("|churn|True")
    assert "/environments/" in page.locator(".jp-OutputArea-output").first.inner_text()
    page.context.close()
