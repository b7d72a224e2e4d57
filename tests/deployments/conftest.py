"""A gateway with one replica, shared by a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.running import Data, whole
from tests.modelserver.conftest import numbers, tensor

__all__ = ["data", "numbers", "tensor"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, numbers: Path) -> Iterator[Data]:
    """The endpoint demo/model: a classifier of two columns, on one replica."""
    made = Data(tmp_path_factory.mktemp("g"))
    try:
        made.start_replica(numbers, "r1")
        made.start_gateway()
        made.routes(whole())
        yield made
    finally:
        made.close()
