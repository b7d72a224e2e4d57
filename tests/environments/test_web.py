"""Environments over HTTP: JSON and pages, every role."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from headway import server
from headway.clock import now_ms
from headway.environments import service
from headway.people import sessions
from headway.people.credentials import digest, new_secret
from headway.people.rules import Who
from headway.people.tables import UserSession
from headway.projects import service as projects

from .conftest import World

API = "/api/v1/projects/churn/environments"
PAGES = "/p/churn/environments"
HTML = {"accept": "text/html"}


class Browser:
    """A person with a session; the CSRF token is taken from a page, as a browser does."""

    def __init__(self, world: World, client: TestClient, who: Who | None) -> None:
        self.client, self.csrf = client, ""
        self.headers = {"host": "127.0.0.1"}
        if who is None:
            return
        secret = new_secret()
        with world.host.database.write() as db:
            db.add(UserSession(digest=digest(secret), user_id=who.user_id, created_at=now_ms(), seen_at=now_ms(),
                               expires_at=now_ms() + 10**7, browser="", address=""))  # fmt: skip
        self.headers["cookie"] = f"{sessions.PLAIN_COOKIE}={secret}"
        page = self.get("/new-project", **HTML)
        self.csrf = re.search(r'name="csrf" content="([^"]+)"', page.text)[1]  # type: ignore[index]

    def get(self, path: str, **headers: str):  # type: ignore[no-untyped-def]
        return self.client.get(path, headers=self.headers | headers, follow_redirects=False)

    def post(self, path: str, json: object = None, data: dict[str, str] | None = None, **headers: str):  # type: ignore[no-untyped-def]
        sent = self.headers | {"x-csrf-token": self.csrf} | headers
        return self.client.post(path, json=json, data=data, headers=sent, follow_redirects=False)


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    with TestClient(server.build(world.host, loops=False), base_url="http://127.0.0.1") as client:
        yield client


def test_ask_look_cancel_use(world: World, client: TestClient) -> None:
    owner = Browser(world, client, world.owner)
    answer = owner.post(API, json={"text": "iniconfig==2.1.0", "name": "mine"})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert (made["state"], made["name"], made["requirements"], made["current"]) == (
        "asked", "mine", ["iniconfig==2.1.0"], False,
    )  # fmt: skip
    world.without_kernels()
    world.over(made["id"])
    shown = owner.get(f"{API}/{made['id']}").json()
    assert shown["state"] == "ready" and shown["current"] and shown["packages"] == 1 and shown["size"] > 0
    assert "iniconfig==2.1.0" in owner.get(f"{API}/{made['id']}/lock").text
    log = owner.get(f"{API}/{made['id']}/log").text
    assert "Ready in" in log and owner.get(f"{API}/{made['id']}/log?offset={len(log) - 4}").text == log[-4:]
    assert owner.post(f"{API}/{made['id']}/cancel").status_code == 409
    other = owner.post(API, json={"text": "iniconfig", "use": False}).json()
    assert owner.post(f"{API}/{other['id']}/cancel").json()["state"] == "cancelled"
    assert owner.post(f"{API}/{other['id']}/use").status_code == 409
    listed = owner.get(API).json()
    assert [row["id"] for row in listed["environments"]] == [other["id"], made["id"]] and listed["current"] == made[
        "id"
    ]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"text": "numpy\n-e ."}, 400, "Line 2: -e"),
        ({"text": "x", "kind": "npm"}, 422, "kind"),
        ({}, 422, "text"),
        ({"text": ""}, 400, "No requirement"),
        ({"text": "a" * 300_000}, 413, "256 KiB"),
    ],
)
def test_bad_asks(world: World, client: TestClient, body: object, status: int, message: str) -> None:
    owner = Browser(world, client, world.owner)
    answer = owner.post(API, json=body)
    assert answer.status_code == status and message in answer.json()["error"]["message"]
    assert owner.get(API).json()["environments"] == []


def test_roles(world: World, client: TestClient) -> None:
    row = world.ask("iniconfig")
    with world.host.database.write() as db:
        other = projects.create(db, world.owner, "Other")
        stranger_to = service.ensure_default(db, other.id)
    assert stranger_to is not None
    viewer, editor = (
        Browser(world, client, world.member("vic", "viewer")),
        Browser(world, client, world.member("ed", "editor")),
    )
    expert, nobody = Browser(world, client, world.member("ex", "expert")), Browser(world, client, None)
    reads = [API, f"{API}/{row.id}", f"{API}/{row.id}/lock", f"{API}/{row.id}/log", PAGES, f"{PAGES}/{row.id}"]
    for path in reads:
        assert viewer.get(path).status_code == editor.get(path).status_code == 200, path
        assert expert.get(path).status_code == 403, path
        assert nobody.get(path).status_code == 401, path
        assert editor.get(path.replace("churn", "other")).status_code == 404, path
    for path in (f"{API}/{row.id}/use", f"{API}/{row.id}/cancel", f"{PAGES}/{row.id}/use", f"{PAGES}/{row.id}/cancel"):
        assert viewer.post(path).status_code == 403, path
        assert nobody.post(path).status_code == 401, path
        # another project's environment through one's own project, and a missing one, are the same
        for wrong in (stranger_to.id, "0" * 32):
            assert editor.post(path.replace(row.id, wrong)).status_code == 404, path
    assert viewer.post(API, json={"text": "six"}).status_code == 403
    assert viewer.get(f"{PAGES}/new").status_code == 403
    assert editor.post(f"{API}/{row.id}/cancel").status_code == 200


def test_pages(world: World, client: TestClient) -> None:
    owner = Browser(world, client, world.owner)
    assert "No environment yet" in owner.get(PAGES, **HTML).text
    assert "scikit-learn" in owner.get(f"{PAGES}/new", **HTML).text
    wrong = owner.post(f"{PAGES}/new", data={"text": "numpy\n--pre\n", "use": "on"}, **HTML)
    assert wrong.status_code == 422 and "Line 2: --pre" in wrong.text and "numpy\n--pre" in wrong.text
    conda = "dependencies:\n  - numpy=2\n  - cudatoolkit"
    half = owner.post(f"{PAGES}/new", data={"text": conda, "kind": "conda"}, **HTML)
    assert half.status_code == 422 and "numpy==2.*" in half.text
    made = owner.post(f"{PAGES}/new", data={"text": "iniconfig<2.1", "name": "<b>mine</b>", "use": "on"}, **HTML)
    assert made.status_code == 303
    there = made.headers["location"]
    assert "Cancel" in owner.get(there, **HTML).text
    world.without_kernels()
    world.over(there.rsplit("/", 1)[1])
    shown = owner.get(there, **HTML).text
    assert "in use" in shown and "iniconfig" in shown and "&lt;b&gt;mine" in shown and "<b>mine" not in shown
    second = owner.post(f"{PAGES}/new", data={"text": "iniconfig==2.1.0"}, **HTML).headers["location"]
    world.without_kernels()
    world.over(second.rsplit("/", 1)[1])
    compared = owner.get(second, **HTML).text
    assert "Against the one in use" in compared and "Use for this project" in compared
    assert owner.post(f"{second}/use", **HTML).status_code == 303
    assert world.current().id == second.rsplit("/", 1)[1]  # type: ignore[union-attr]


def test_the_log_streams_until_the_end(world: World, client: TestClient) -> None:
    owner = Browser(world, client, world.owner)
    row = world.ask_lock("iniconfig==2.1.0")
    turning = threading.Thread(target=world.over, args=(row.id,))
    turning.start()
    said = owner.get(f"{PAGES}/{row.id}/log").text  # returns when the stream ends
    turning.join()
    assert "iniconfig==2.1.0" in said
    assert said.endswith('event: end\ndata: {"status":"ready"}\n\n')
    offset = re.findall(r"id: (\d+)", said)[-1]
    again = owner.get(f"{PAGES}/{row.id}/log", **{"last-event-id": offset}).text
    assert again == 'event: end\ndata: {"status":"ready"}\n\n'
