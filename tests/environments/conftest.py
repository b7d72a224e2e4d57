"""A host with real builds. All tests share one package cache, so that a package is downloaded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.clock import now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.environments import loop, service, store
from headway.environments.states import OVER
from headway.environments.tables import Environment, ProjectEnvironment
from headway.people import service as people
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Base, Database
from headway.storage.vault import Vault
from tests.conftest import PACKAGES


@pytest.fixture(autouse=True)
def package_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(PACKAGES))


class World:
    """A host, a project in it, its owner; `turn` is what the server's loops do."""

    def __init__(self, home: Path) -> None:
        settings = Settings(home=home)
        database = Database(f"sqlite:///{home / 'headway.db'}")
        Base.metadata.create_all(database.engine)
        self.host = Host(
            settings, database, Blobs(home / "blobs"), Vault.open(home / "key"), LocalEngine(settings), home / "runtime"
        )
        with database.write() as db:
            self.owner = people.as_who(people.ensure_owner(db))
            self.project = projects.create(db, self.owner, "Churn")
            # this project chooses for itself: the usual environment would be half a gigabyte
            db.add(ProjectEnvironment(project_id=self.project.id))
        self.store = loop.store(self.host)

    def turn(self) -> None:
        keeper.step(self.host, now_ms())
        loop.step(self.host, now_ms())

    def until(self, found: Callable[[], bool], seconds: float = 90.0) -> None:
        end = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < end, "waited too long"
            self.turn()
            time.sleep(0.02)

    def row(self, environment_id: str) -> Environment:
        with self.host.database.read() as db:
            return service.by_id(db, environment_id)

    def over(self, *ids: str) -> list[Environment]:
        self.until(lambda: all(self.row(one).state in OVER for one in ids))
        return [self.row(one) for one in ids]

    def ask_lock(self, *pins: str, project: Project | None = None) -> Environment:
        with self.host.database.write() as db:
            return service.ask_lock(db, (project or self.project).id, list(pins))

    def ask(self, text: str, who: Who | None = None, kernel: bool = False, **options: bool) -> Environment:
        """Ask as a person does; `kernel` False leaves ipykernel's thirty packages out."""
        with self.host.database.write() as db:
            row = service.ask(db, who or self.owner, self.project, text, **options)
            row.kernel = kernel
            return row

    def without_kernels(self) -> None:
        """The same for what was asked for over HTTP."""
        with self.host.database.write() as db:
            for row in service.listed(db, self.owner, self.project):
                row.kernel = False

    def current(self) -> Environment | None:
        with self.host.database.read() as db:
            return service.for_project(db, self.project)

    def log(self, row: Environment) -> str:
        path = loop.folder(self.host, row.id, row.attempt) / "output.log"
        return path.read_text() if path.exists() else ""

    def member(self, name: str, role: str) -> Who:
        from headway.people import members

        with self.host.database.write() as db:
            user = people.create_user(db, name, full_name=name.title())
            members.add(db, self.project.id, user.id, role)
            return people.as_who(user)

    def close(self) -> None:
        for _, handle, status in self.host.engine.list():
            if not status.over:
                self.host.engine.cancel(handle, 0.0)
                self.until(lambda handle=handle: self.host.engine.status(handle).settled)  # type: ignore[misc]
        self.host.database.close()
        store.remove(self.store.root)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()
