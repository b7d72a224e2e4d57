"""Every route, asked by everybody: a stranger, an outsider, each role, an administrator, and tokens that may less.

What each route asks for is declared in `route_needs.txt`. A route that isn't there fails the test, so that nobody can add
one without saying who may use it. MLflow's endpoints hide behind a few catch-alls and are walked over by their own table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from headway.people.rules import ROLES, SCOPES, VERBS
from tests.requests import Ask, fill
from tests.routes import Known, all_routes
from tests.scene import Scene, make
from tests.world import world as open_world

TABLE = Path(__file__).parent / "route_needs.txt"
LINES = [line.split(None, 2) for line in TABLE.read_text().splitlines() if line.strip() and not line.startswith("#")]
NEEDS = {f"{method} {path}": need.strip() for method, path, need in LINES}
MISSING = "no-such-project"


@dataclass(frozen=True)
class Asker:
    """One who asks: `role` in the project (None: no member); `scope` None for a browser, else what a token may."""

    name: str
    role: str | None
    admin: bool = False
    scope: str | None = None
    elsewhere: bool = False  # a token of another project

    @property
    def verbs(self) -> frozenset[str]:
        own = frozenset(VERBS) if self.admin else ROLES.get(self.role or "", frozenset())
        return own if self.scope is None else own & SCOPES[self.scope]

    @property
    def sees(self) -> bool:
        return not self.elsewhere and (self.admin or self.role is not None)


ASKERS = [
    *(Asker(role, role) for role in ROLES),
    Asker("outsider", None),
    Asker("admin", None, admin=True),
    Asker("a token to read", "owner", scope="read"),
    Asker("a run's token", "owner", scope="run"),
    Asker("a token to deploy", "owner", scope="deploy"),
    Asker("a token of another project", "owner", scope="all", elsewhere=True),
    Asker("an admin's token of another project", None, admin=True, scope="all", elsewhere=True),
]


def expected(need: str, asker: Asker) -> str:
    """`may`, `401`, `403` or `404`."""
    need, _, rest = need.partition(" ")
    verb = need.rstrip("~!")
    if "!" in need and asker.scope is not None:
        return "403"
    server = asker.scope is None or (not asker.elsewhere and asker.scope != "read" and asker.scope != "deploy")
    match verb:
        case "open" | "signed":
            return "may"
        case "person":
            return "may" if asker.scope is None else "403"
        case "admin":
            return "may" if asker.admin and asker.scope is None else "403"
        case "create":
            return "may" if server else "403"
        case "token":
            return "403" if asker.elsewhere else "may"
        case "mine":
            return "may" if asker.role == "owner" else "404"
    if not asker.sees:
        return "404"
    if verb == "member" or verb in asker.verbs or (rest == "or self" and asker.role == "viewer"):
        return "may"
    return "403"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_world(tmp_path_factory.mktemp("roles") / "home") as world:
        yield make(world)


@pytest.fixture(scope="module")
def known(scene: Scene) -> dict[str, Known]:
    return {
        route.name: route
        for route in all_routes(scene.world.app)
        if not re.search(r"/mlflow(-artifacts)?/", route.path)
    }


@pytest.fixture(scope="module")
def clients(scene: Scene) -> dict[str, TestClient]:
    """A client for each asker: browsers hold a session, programs a token."""
    world = scene.world
    other = world.project("Elsewhere", scene.people["owner"])
    made = {}
    for asker in ASKERS:
        who = scene.people["admin" if asker.admin else asker.role or "outsider"]
        if asker.scope is None:
            made[asker.name] = world.client(who, page=True)
        else:
            token = world.token(who, scope=asker.scope, project_id=other.id if asker.elsewhere else None)
            made[asker.name] = world.client(token=token)
    made["stranger"] = world.client(page=True)
    scene.keep()
    return made


def test_every_route_says_who_may_use_it(known: dict[str, Known]) -> None:
    undeclared = sorted(set(known) - set(NEEDS))
    gone = sorted(set(NEEDS) - set(known))
    assert not undeclared, f"say in {TABLE.name} who may use: {undeclared}"
    assert not gone, f"these are no routes any more: {gone}"


@pytest.mark.parametrize("name", [name for name, need in NEEDS.items() if need not in ("open", "elsewhere")])
def test_route(name: str, scene: Scene, known: dict[str, Known], clients: dict[str, TestClient]) -> None:
    if name not in known:
        pytest.fail(f"there is no such route: {name}")
    need, ask = NEEDS[name], fill(known[name], scene)
    if known[name].method != "GET":
        scene.restore()
    problem = _stranger(ask, clients["stranger"])
    assert not problem, f"{name}: {problem}"
    for asker in ASKERS:
        wanted = expected(need, asker)
        if wanted == "may" and "~" in need:
            continue
        answer = ask.send(clients[asker.name])
        problem = _judge(
            wanted, answer, lambda one=asker: fill(known[name], scene, slug=MISSING).send(clients[one.name])
        )
        assert not problem, f"{name} for {asker.name}: {problem}"
        if wanted == "may" and known[name].method != "GET":
            scene.restore()


def _stranger(ask: Ask, client: TestClient) -> str:
    answer = ask.send(client)
    if ask.path.startswith("/api/"):
        fine = answer.status_code == 401 and answer.json()["error"]["code"] == "UNAUTHENTICATED"
        return "" if fine else f"a stranger got {answer.status_code}, not 401"
    fine = answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")
    return "" if fine else f"a stranger got {answer.status_code}, not the way to the sign-in"


def _judge(wanted: str, answer: Response, of_missing: Any) -> str:
    got = answer.status_code
    if wanted == "403":
        return "" if got == 403 else f"expected 403, got {got}: {answer.text[-300:]}"
    if wanted == "404":
        missing = of_missing()
        if (got, missing.status_code) != (404, 404):
            return f"expected 404 for a foreign and for a missing one, got {got} and {missing.status_code}"
        return "" if _plain(answer) == _plain(missing) else "the answers for a foreign and a missing one differ"
    if got in (401, 403) or (got >= 500 and got != 503):
        return f"expected that this is allowed, got {got}: {answer.text[-300:]}"
    if got == 404 and "There is no such project" in answer.text:
        return "expected that this is allowed, but the project was hidden"
    return ""


def _plain(answer: Response) -> str:
    """The body without what differs between any two answers: ids of form fields, and the address that was asked for."""
    return re.sub(rf"u\d+\b|{MISSING}|churn", "", answer.text)
