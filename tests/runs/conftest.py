"""A host with a project whose environment is this interpreter's, and the loops turned by hand."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import headway.server  # noqa: F401  every pillar's tables
from headway.clock import new_id, now_ms
from headway.engines import keeper, runtime
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.environments.tables import Environment, ProjectEnvironment
from headway.people.rules import Who
from headway.people.tables import User
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
    settings = Settings.load({}, home=home, database_url=url or f"sqlite:///{home / 'headway.db'}")
    database = Database(settings.database)
    Base.metadata.create_all(database.engine)
    return Host(
        settings,
        database,
        Blobs(home / "blobs"),
        Vault.open(home / "key"),
        LocalEngine(settings),
        runtime.install(settings),
    )


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
    except FileNotFoundError:
        return False
