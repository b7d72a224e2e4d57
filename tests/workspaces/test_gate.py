"""Who gets to Jupyter, on which port, and as whom."""

from __future__ import annotations

import json

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from headway.people import members, sessions, tokens
from headway.people.rules import Who
from headway.workspaces import service

from .conftest import Site, until

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def ada(site: Site) -> Who:
    return site.person("Ada Lovelace", "editor")


@pytest.fixture(scope="module")
def victor(site: Site) -> Who:
    return site.person("Victor Viewer", "viewer")


@pytest.fixture(scope="module")
def stranger(site: Site) -> Who:
    return site.person("Sam Stranger", None)


@pytest.fixture(scope="module", autouse=True)
def opened(site: Site, ada: Who) -> None:
    site.write("study.ipynb")
    site.ready()
    with site.host.database.write() as db:
        service.open(db, site.host, ada, site.project)
    with site.client(ada, site.notebooks) as browser:
        until(lambda: browser.get("/notebooks/churn/api/me").status_code == 200)


def xsrf(browser: httpx.Client, site: Site) -> dict[str, str]:
    """What a page of Jupyter sends with its writes."""
    browser.get("/notebooks/churn/lab", headers=PAGE)
    return {"X-XSRFToken": browser.cookies["_xsrf"], "Origin": site.notebooks}


def talk(site: Site, who: Who | None, path: str, origin: str | None = None) -> ClientConnection:
    headers = {"Cookie": f"{sessions.PLAIN_COOKIE}={site.session(who)}"} if who else {}
    where = site.notebooks.replace("http", "ws") + path
    return connect(where, additional_headers=headers, origin=origin or site.notebooks, proxy=None, open_timeout=10)  # type: ignore[arg-type]


def test_jupyter_knows_who_is_there(site: Site, ada: Who) -> None:
    with site.client(ada, site.notebooks) as browser:
        found = browser.get("/notebooks/churn/api/me").json()["identity"]
        assert (found["username"], found["display_name"], found["initials"]) == (ada.user_id, "Ada Lovelace", "AL")
        forged = {"X-Headway-Identity": "x.y"}
        assert browser.get("/notebooks/churn/api/me", headers=forged).json()["identity"]["name"] == "Ada Lovelace"


def test_nobody_gets_in_beside_the_gate(site: Site) -> None:
    from headway.workspaces import process

    path = process.socket(site.host, site.project.id)
    assert path.stat().st_mode & 0o777 == 0o600
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost") as direct:
        for forged in ({}, {"X-Headway-Identity": "a.b"}, {"Authorization": "token x"}, {"X-Headway-Identity": ""}):
            assert direct.get("/notebooks/churn/api/contents", headers=forged).status_code == 403
        assert direct.get("/notebooks/churn/api/kernels").status_code == 403


def test_kernels_are_the_projects_environments(site: Site, ada: Who) -> None:
    with site.client(ada, site.notebooks) as browser:
        found = browser.get("/notebooks/churn/api/kernelspecs").json()
        assert found["default"] == "python3"
        assert list(found["kernelspecs"]) == ["python3"]
        spec = found["kernelspecs"]["python3"]["spec"]
        assert spec["display_name"].startswith("Python 3.") and spec["display_name"].endswith("· default")
        assert "/environments/" in spec["argv"][0]


@pytest.mark.parametrize(
    ("role", "status"), [("ada", {200, 201}), ("victor", {403}), ("stranger", {404}), ("nobody", {401})]
)
def test_who_may_write(site: Site, request: pytest.FixtureRequest, role: str, status: set[int]) -> None:
    """The first row is the control: the same requests, by somebody who may."""
    who = None if role == "nobody" else request.getfixturevalue(role)
    before = site.write("target.ipynb").read_bytes()
    body = {"type": "notebook", "format": "json", "content": json.loads(before) | {"cells": []}}
    with site.client(who, site.notebooks) as browser:
        headers = xsrf(browser, site) if role == "ada" else {"Origin": site.notebooks}
        saved = browser.put("/notebooks/churn/api/contents/target.ipynb", json=body, headers=headers)
        kernel = browser.post("/notebooks/churn/api/kernels", json={"name": "python3"}, headers=headers)
        terminal = browser.post("/notebooks/churn/api/terminals", json={}, headers=headers)
        looked = browser.get("/notebooks/churn/api/contents")
    assert {saved.status_code, kernel.status_code, terminal.status_code, looked.status_code} <= status
    after = (site.host.settings.path("projects", "churn") / "target.ipynb").read_bytes()
    assert (after != before) == (role == "ada")
    if role == "ada":
        with site.client(who, site.notebooks) as browser:
            browser.delete(f"/notebooks/churn/api/kernels/{kernel.json()['id']}", headers=xsrf(browser, site))


def test_jupyters_own_check_against_forged_requests_is_on(site: Site, ada: Who) -> None:
    with site.client(ada, site.notebooks) as browser:
        answer = browser.post("/notebooks/churn/api/kernels", json={}, headers={"Origin": site.notebooks})
        assert answer.status_code == 403 and "_xsrf" in answer.text
        for origin in (site.url, "http://evil.example", "null"):
            answer = browser.post(
                "/notebooks/churn/api/kernels", json={}, headers=xsrf(browser, site) | {"Origin": origin}
            )
            assert answer.status_code == 403, origin
            assert "another site" in answer.text


def test_websockets_are_for_editors_from_our_page(site: Site, ada: Who, victor: Who, stranger: Who) -> None:
    path = "/notebooks/churn/api/events/subscribe"
    with talk(site, ada, path) as control:
        control.ping().wait(5)
    for who, origin, status in (
        (victor, None, 403),
        (stranger, None, 404),
        (None, None, 401),
        (ada, "http://evil.example", 403),
        (ada, site.url, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            talk(site, who, path, origin)
        assert refused.value.response.status_code == status, (who, origin)


def test_a_runs_token_opens_no_notebooks(site: Site, ada: Who) -> None:
    with site.host.database.write() as db:
        secret = tokens.create_for_run(db, ada.user_id, project_id=site.project.id, owner="test")
        own = tokens.create(db, ada, "mine", scope="run", project_id=site.project.id)[1]
    with site.client(base=site.notebooks) as program:
        refused = program.get("/notebooks/churn/api/contents", headers={"Authorization": f"Bearer {secret}"})
        assert refused.status_code == 403 and "run's own token" in refused.text
        control = program.get("/notebooks/churn/api/contents", headers={"Authorization": f"Bearer {own}"})
        assert control.status_code == 200


def test_a_role_that_ends_ends_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.workspaces import gate

    monkeypatch.setattr(gate, "RECHECK_S", 0.1)
    bob = site.person("Bob", "editor")
    with talk(site, bob, "/notebooks/churn/api/events/subscribe") as talking:
        talking.ping().wait(5)
        with site.host.database.write() as db:
            members.set_role(db, site.owner, site.project.id, bob.user_id, "viewer")
        with pytest.raises(ConnectionClosed):
            talking.recv(timeout=10)
        assert talking.close_code == 1008


def test_two_origins(site: Site, ada: Who) -> None:
    with site.client(ada) as main, site.client(ada, site.notebooks) as other:
        led = main.get("/notebooks/churn/lab?x=1", headers=PAGE)
        assert (led.status_code, led.headers["location"]) == (307, f"{site.notebooks}/notebooks/churn/lab?x=1")
        assert main.get("/notebooks/churn/api/contents").status_code == 404
        assert main.post("/notebooks/churn/api/kernels", headers={"Origin": site.url}).status_code == 404
        # nothing of headway is on the notebooks' origin: a script there finds no page, no form, no API
        for path in ("/", "/p/churn", "/api/v1/projects", "/settings", "/api/2.0/mlflow/experiments/search", "/health"):
            assert other.get(path).status_code == 404, path
            assert other.get(path, headers=PAGE).headers["location"] == site.url + path
        assert other.post("/logout", headers={"Origin": site.notebooks}).status_code == 404
        # and what a script there sends to headway itself comes from another site
        for path in ("/p/churn/notebooks/stop", "/logout"):
            answer = main.post(path, headers={"Origin": site.notebooks})
            assert answer.status_code == 403 and "another site" in answer.text


def test_viewers_read_our_page(site: Site, ada: Who, victor: Who, stranger: Who) -> None:
    with site.client(victor) as browser, site.client(victor, site.notebooks) as other:
        led = other.get("/notebooks/churn/lab/tree/study.ipynb", headers=PAGE)
        assert (led.status_code, led.headers["location"]) == (303, f"{site.url}/p/churn/notebooks")
        led = browser.get("/p/churn/notebooks/study.ipynb/open", headers=PAGE)
        assert led.headers["location"] == "/p/churn/notebooks/study.ipynb"
        shown = browser.get("/p/churn/notebooks/study.ipynb", headers=PAGE)
        assert shown.status_code == 200 and "6" in shown.text and "Open in JupyterLab" not in shown.text
        listed = browser.get("/p/churn/notebooks", headers=PAGE)
        assert "study.ipynb" in listed.text and "New notebook" not in listed.text
    with site.client(stranger) as browser:
        for path in ("", "/study.ipynb", "/study.ipynb/open"):
            assert browser.get("/p/churn/notebooks" + path).status_code == 404
    with site.client(ada) as browser:
        led = browser.get("/p/churn/notebooks/study.ipynb/open", headers=PAGE)
        assert led.headers["location"] == (
            f"{site.notebooks}/notebooks/churn/lab/workspaces/{ada.user_id[:12]}/tree/study.ipynb"
        )


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("gone.ipynb", None, 404, "no 'gone.ipynb'"),
        ("broken.ipynb", b'{"cells": [', 422, "JSON is broken at line 1"),
        ("text.txt", b"x", 400, "is not a notebook"),
        ("list.ipynb", b"[]", 422, "no list of cells"),
        ("../../key", None, 400, "not a path inside"),
    ],
)
def test_what_is_no_notebook(site: Site, ada: Who, name: str, content: bytes | None, status: int, words: str) -> None:
    if content is not None:
        (site.host.settings.path("projects", "churn") / name).write_bytes(content)
    with site.client(ada) as browser:
        answer = browser.get(f"/p/churn/notebooks/{name.replace('/', '%2F')}")
        assert answer.status_code == status and words in answer.json()["error"]["message"]
        assert content is None or (site.host.settings.path("projects", "churn") / name).read_bytes() == content
