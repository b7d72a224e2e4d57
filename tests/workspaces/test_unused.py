"""A workspace that nobody uses stops; one in which a kernel works, or that somebody looks at, does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.sync.client import connect

from headway.clock import now_ms
from headway.people import sessions
from headway.people.tables import Token
from headway.projects.tables import Project
from headway.workspaces import loop, presence, service
from headway.workspaces.tables import Workspace

from .conftest import Site, until

HOUR = presence.HOUR_MS


def test_idle() -> None:
    one, two = Project(id="1", slug="one", name=""), Project(id="2", slug="two", name="")
    found = [(one, 0), (two, 20 * HOUR)]
    assert presence.idle(found, 25 * HOUR, 24) == [one]
    assert presence.idle(found, 25 * HOUR, 0) == []
    assert presence.idle(found, 24 * HOUR, 24) == []


def message(kind: str, content: dict[str, Any]) -> str:
    header = {"msg_id": kind, "msg_type": kind, "session": "s", "username": "", "version": "5.3", "date": ""}
    return json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"})


def execute(site: Site, cookie: str, kernel: str, code: str, wait: str) -> None:
    """Run code in the kernel until a status of that name comes for it."""
    where = f"{site.notebooks.replace('http', 'ws')}/notebooks/churn/api/kernels/{kernel}/channels?session_id=s"
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    with connect(where, additional_headers={"Cookie": cookie}, origin=site.notebooks, proxy=None) as channel:  # type: ignore[arg-type]
        channel.send(message("execute_request", content))
        while True:
            said = json.loads(channel.recv(timeout=60))
            about = said["parent_header"].get("msg_type") == "execute_request"
            if about and said["msg_type"] == "status" and said["content"]["execution_state"] == wait:
                return


@pytest.fixture
def kernel(site: Site) -> tuple[str, str]:
    """(a cookie, the id of a kernel) of the running workspace."""
    who = site.person("Una User", "editor")
    site.ready()
    with site.host.database.write() as db:
        service.open(db, site.host, who, site.project)
    with site.client(who, site.notebooks) as browser:
        until(lambda: browser.get("/notebooks/churn/api/me").status_code == 200)
        browser.get("/notebooks/churn/lab", headers={"accept": "text/html"})
        headers = {"X-XSRFToken": browser.cookies["_xsrf"], "Origin": site.notebooks}
        answer = browser.post("/notebooks/churn/api/kernels", json={"name": "python3"}, headers=headers)
        cookie = f"{sessions.PLAIN_COOKIE}={browser.cookies[sessions.PLAIN_COOKIE]}"
    return cookie, answer.json()["id"]


def test_what_nobody_uses_stops(site: Site, kernel: tuple[str, str]) -> None:
    def state() -> str:
        with site.host.database.read() as db:
            return service.state(db, site.project).state

    def live_tokens() -> int:
        with site.host.database.read() as db:
            owner = f"workspace {site.project.id}"
            return db.query(Token).filter(Token.owner == owner, Token.revoked_at.is_(None)).count()

    later = now_ms() + 25 * HOUR
    loop.tidy(site.host, now_ms())  # what the gate saw is in the table now
    execute(site, *kernel, "import time; time.sleep(3600)", "busy")
    loop.tidy(site.host, later)
    assert state() == "running", "a kernel works"

    with site.client(site.owner, site.notebooks) as browser:
        browser.get("/notebooks/churn/lab", headers={"accept": "text/html"})
        headers = {"X-XSRFToken": browser.cookies["_xsrf"], "Origin": site.notebooks}
        browser.post(f"/notebooks/churn/api/kernels/{kernel[1]}/interrupt", headers=headers)
        until(lambda: browser.get(f"/notebooks/churn/api/kernels/{kernel[1]}").json()["execution_state"] == "idle")
    loop.tidy(site.host, now_ms() + 23 * HOUR)
    assert state() == "running", "somebody was there less than a day ago"

    loop.tidy(site.host, later + HOUR)
    until(lambda: state() == "stopped")
    assert live_tokens() == 1, "what its kernels recorded last is still on its way"
    loop.tidy(site.host, later + 2 * HOUR)
    assert live_tokens() == 0
    with site.host.database.read() as db:
        row = db.get(Workspace, site.project.id)
        assert row is not None and not row.recording
