"""One server for all tests of this folder, on SQLite and on PostgreSQL; each test uses names of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.tracking.serving import Server, client_of, serve_on


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with a project and a token."""
    with serve_on(request.param, request, tmp_path_factory) as server:
        yield server


@pytest.fixture
def mlflow(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The official MLflow client, pointed at the server."""
    with client_of(server, monkeypatch) as client:
        yield client
