"""A whole server in this process, on two real ports, with its loops, a project, and an environment that has a kernel.

Made once for the module: what these tests look at is how people meet in one running workspace.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from headway import parts, server
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.environments import service as environments
from headway.environments.tables import ProjectEnvironment
from headway.people import members, sessions
from headway.people import service as people
from headway.people.credentials import digest, new_secret
from headway.people.rules import Who
from headway.people.tables import UserSession
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Base, Database
from headway.storage.vault import Vault
from tests.conftest import PACKAGES

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "first",
            "metadata": {},
            "source": "print(6 * 7)",
            "outputs": [],
            "execution_count": None,
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def until(found: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


class Site:
    """The running server. `url` is the pages' origin, `notebooks` the other one."""

    def __init__(self, home: Path) -> None:
        self._stack = contextlib.ExitStack()
        sockets = [self._listen(), self._listen()]
        ports = [one.getsockname()[1] for one in sockets]
        self.url, self.notebooks = (f"http://127.0.0.1:{port}" for port in ports)
        settings = Settings(home=home, port=ports[0], notebooks_port=ports[1], default_requirements="six")
        server.pillars()
        database = Database(settings.database)
        Base.metadata.create_all(database.engine)
        self.host = Host(
            settings,
            database,
            Blobs(home / "blobs"),
            Vault.open(home / "key"),
            LocalEngine(settings),
            parts.install(settings.path("runtime")),
        )
        with database.write() as db:
            self.owner = people.as_who(people.ensure_owner(db))
            self.project = self._project(db, "Churn")
            self.other = self._project(db, "Other")
        app = server.build(self.host)
        app.state.notebooks_port = ports[1]
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=1,
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=(sockets,), daemon=True)
        self._thread.start()
        until(lambda: self._server.started)

    def _listen(self) -> socket.socket:
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        return listener

    def _project(self, db: object, name: str) -> Project:
        return projects.create(db, self.owner, name)  # type: ignore[arg-type]

    def person(self, name: str, role: str | None) -> Who:
        with self.host.database.write() as db:
            user = people.create_user(db, name.lower().replace(" ", "-"), full_name=name)
            if role:
                members.add(db, self.project.id, user.id, role)
            return people.as_who(user)

    def session(self, who: Who) -> str:
        """The value of a session cookie of that person."""
        secret, moment = new_secret(), int(time.time() * 1000)
        with self.host.database.write() as db:
            db.add(
                UserSession(
                    digest=digest(secret),
                    user_id=who.user_id,
                    created_at=moment,
                    seen_at=moment,
                    expires_at=moment + 86_400_000,
                    browser="test",
                    address="",
                )
            )
        return secret

    def client(self, who: Who | None = None, base: str = "") -> httpx.Client:
        cookies = {sessions.PLAIN_COOKIE: self.session(who)} if who else {}
        return httpx.Client(base_url=base or self.url, cookies=cookies, timeout=30, trust_env=False)

    def write(self, name: str, notebook: object = NOTEBOOK) -> Path:
        path = projects.folder(self.host, self.project) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook))
        return path

    def ready(self) -> None:
        """Wait for the project's environment."""

        def there() -> bool:
            with self.host.database.read() as db:
                row = environments.for_project(db, self.project)
                failed = environments.listed(db, self.owner, self.project)
            assert not [one for one in failed if one.state == "failed"], [one.message for one in failed]
            return row is not None

        until(there, 120)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        for _, handle, status in self.host.engine.list():
            if not status.over:
                self.host.engine.cancel(handle, 1.0)
                until(lambda handle=handle: self.host.engine.status(handle).settled)  # type: ignore[misc]
        self._stack.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    before = os.environ.get("UV_CACHE_DIR")
    os.environ["UV_CACHE_DIR"] = str(PACKAGES)
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        yield made
    finally:
        made.close()
        if before is None:
            del os.environ["UV_CACHE_DIR"]
        else:
            os.environ["UV_CACHE_DIR"] = before


__all__ = ["NOTEBOOK", "ProjectEnvironment", "Site", "site", "until"]
