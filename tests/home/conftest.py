from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scene import Scene, make
from tests.world import World
from tests.world import world as made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server of its own for each test."""
    with made(tmp_path / "home") as one:
        yield one


@pytest.fixture
def scene(world: World) -> Scene:
    """A project with one of everything."""
    return make(world)
