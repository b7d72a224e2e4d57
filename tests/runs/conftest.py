"""A host with a project whose environment is this interpreter's, and the loops turned by hand."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn

from headway import parts, server
from headway.clock import new_id, now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.environments.tables import Environment, ProjectEnvironment
from headway.people import members, sessions
from headway.people import service as people
from headway.people.credentials import csrf_for, digest, new_secret
from headway.people.rules import Who
from headway.people.tables import User, UserSession
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import loop, service
from headway.runs.tables import Execution
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Base, Database
from headway.storage.vault import Vault

T = TypeVar("T")


def make_host(home: Path, url: str = "") -> Host:
    server.pillars()
    settings = Settings.load({}, home=home, database_url=url or f"sqlite:///{home / 'headway.db'}")
    if not url:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty_database(), home / "headway.db")
    database = Database(settings.database)
    if url:
        Base.metadata.create_all(database.engine)
    return Host(
        settings,
        database,
        Blobs(home / "blobs"),
        Vault.open(home / "key"),
        LocalEngine(settings),
        parts.install(settings.path("runtime")),
    )


@cache
def _empty_database() -> Path:
    """A file with all tables, made once: every test begins with a copy."""
    folder = tempfile.TemporaryDirectory(prefix="headway-runs-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "empty.db"
    database = Database(f"sqlite:///{path}")
    Base.metadata.create_all(database.engine)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


class Bench:
    """A project on a host, and verbs that wait."""

    def __init__(self, host: Host) -> None:
        self.host = host
        with host.database.write() as db:
            user = User(id=new_id(), name=f"ada{new_id()[:6]}", admin=True, created_at=now_ms())
            db.add(user)
            db.flush()
            self.who = Who(user.id, user.name, True)
            self.project: Project = projects.create(db, self.who, "Bench")
            environment = Environment(
                id=new_id(), project_id=self.project.id, name="this", kind="requirements", asked="", requirements="[]",
                state="ready", folder=sys.prefix, created_at=now_ms(),
            )  # fmt: skip
            db.add(environment)
            db.flush()
            db.add(ProjectEnvironment(project_id=self.project.id, current_id=environment.id, wanted_id=environment.id))
        self.folder = projects.folder(host, self.project)

    def script(self, source: str, name: str = "train.py") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return name

    def notebook(self, *cells: str, name: str = "train.ipynb", parameters: str = "") -> str:
        made: list[dict[str, Any]] = []
        for number, source in enumerate([parameters, *cells] if parameters else cells):
            tags = {"tags": ["parameters"]} if parameters and number == 0 else {}
            made.append({"cell_type": "code", "id": f"c{number}", "metadata": tags, "source": source, "outputs": [],
                         "execution_count": None})  # fmt: skip
        (self.folder / name).write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return name

    def submit(self, path: str, params: dict[str, Any] | None = None, **more: Any) -> str:
        with self.host.database.write() as db:
            return service.submit(db, self.host, self.who, self.project, path, params, **more).run_id

    def row(self, run_id: str) -> Execution:
        with self.host.database.read() as db:
            found = db.get(Execution, run_id)
            assert found is not None
            return found

    def turn(self) -> None:
        keeper.step(self.host, now_ms())
        loop.step(self.host, now_ms())

    def until(self, condition: Callable[[], T], seconds: float = 60.0) -> T:
        deadline = time.monotonic() + seconds
        while True:
            self.turn()
            if value := condition():
                return value
            assert time.monotonic() < deadline, "the loops did not come that far"
            time.sleep(0.02)

    def status(self, run_id: str, status: str) -> Execution:
        return self.until(lambda: row if (row := self.row(run_id)).status == status else None)

    def over(self, run_id: str) -> Execution:
        return self.until(lambda: row if (row := self.row(run_id)).over else None)

    def place(self, run_id: str) -> Path:
        return self.host.settings.path("runs", run_id, f"a{self.row(run_id).attempt}")

    def output(self, run_id: str) -> str:
        return (self.place(run_id) / "output.log").read_text()

    def saw(self, run_id: str, text: str, file: str = "output.log") -> None:
        path = self.place(run_id) / file
        self.until(lambda: path.exists() and text in path.read_text(errors="replace"))

    def process(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place(run_id) / "process.json").read_text())
        return found


@pytest.fixture(autouse=True)
def _as_outside_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # ipykernel behaves otherwise where it sees it


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(make_host(tmp_path / "home"))
    yield bench
    stop_all(bench.host)
    bench.host.database.close()


def stop_all(host: Host) -> None:
    """End whatever a test left running."""
    handles = [handle for _, handle, status in host.engine.list() if not status.settled]
    for handle in handles:
        host.engine.cancel(handle, 0.0)
    deadline = time.monotonic() + 20
    while any(not host.engine.status(handle).settled for handle in handles) and time.monotonic() < deadline:
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # gone, or going while it is read
        return False


class Site(Bench):
    """A bench behind a real server, with the loops of engines and runs alone (this environment is none of the store's)."""

    def __init__(self, home: Path) -> None:
        self._stack = contextlib.ExitStack()
        self._clients: dict[str | None, httpx.Client] = {}
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        host = make_host(home)
        object.__setattr__(host.settings, "port", port)
        super().__init__(host)
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(
            server.build(host, loops=False),
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=1,
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self._over = threading.Event()
        self._loops = threading.Thread(target=self._turn_on, daemon=True)
        self._loops.start()
        self.until(lambda: self._server.started)

    @property
    def api(self) -> httpx.Client:
        """A program of an editor, at the project's part of the API."""
        if "api" not in self._clients:
            client = self._stack.enter_context(self._browser("editor"))
            client.base_url = httpx.URL(f"{self.url}/api/v1/projects/{self.project.slug}/")
            self._clients["api"] = client
        return self._clients["api"]

    def _turn_on(self) -> None:
        while not self._over.wait(0.03):
            super().turn()

    def turn(self) -> None:
        """The loops turn by themselves."""

    def client(self, role: str | None = "owner") -> httpx.Client:
        """The browser of somebody with this role; None: signed in, but no member."""
        if role not in self._clients:
            self._clients[role] = self._stack.enter_context(self._browser(role))
        return self._clients[role]

    def _browser(self, role: str | None) -> httpx.Client:
        with self.host.database.write() as db:
            user = people.create_user(db, f"p{new_id()[:8]}", full_name="Somebody")
            if role:
                members.add(db, self.project.id, user.id, role)
            secret, moment = new_secret(), now_ms()
            db.add(UserSession(digest=digest(secret), user_id=user.id, created_at=moment, seen_at=moment,
                               expires_at=moment + 86_400_000, browser="", address=""))  # fmt: skip
        client = httpx.Client(base_url=self.url, cookies={sessions.PLAIN_COOKIE: secret}, timeout=30, trust_env=False)
        client.headers["X-CSRF-Token"] = csrf_for(secret)
        client.headers["Origin"] = self.url
        return client

    def close(self) -> None:
        self._over.set()
        self._loops.join(timeout=20)
        stop_all(self.host)
        self._stack.close()
        self._server.should_exit = True
        self._thread.join(timeout=20)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()
