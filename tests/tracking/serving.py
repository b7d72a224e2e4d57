"""A real server on a real port, for the official MLflow client to talk to."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import create_engine, make_url, text

from tests.world import World

os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    DO_NOT_TRACK="true",
    MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
)


class Server:
    """A World that answers on a port, from a thread."""

    def __init__(self, world: World) -> None:
        self.world = world
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.who = world.user("ada", admin=True)
        self.project = world.project("Churn", self.who)
        self.token = world.token(self.who, scope="all")
        self._server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)


@contextlib.contextmanager
def serve(home: Path, **settings: Any) -> Iterator[Server]:
    """A server of its own."""
    world = World(home, **settings)
    server = Server(world)
    try:
        yield server
    finally:
        server.stop()
        world.host.database.close()


@contextlib.contextmanager
def serve_on(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite, or on PostgreSQL in a database of its own (tests of the store empty theirs)."""
    settings = {}
    if kind == "postgres":
        url = make_url(request.getfixturevalue("postgres_url"))
        name = f"server_{time.monotonic_ns()}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        settings["database_url"] = url.set(database=name).render_as_string(hide_password=False)
    with serve(tmp_path_factory.mktemp(f"home-{kind}"), **settings) as server:
        yield server


@contextlib.contextmanager
def client_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The official client, pointed at the server."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", server.token)
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    yield mlflow
    while mlflow.active_run() is not None:
        mlflow.end_run()
