"""One real server for the stories that need no server of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`headway up` on a new home with the sample project."""
    server = Served(tmp_path_factory.mktemp("served") / "home").start()
    yield server
    server.stop()
