"""The port of the notebooks' origin: the one after the gateway's, a free one, the one that was chosen, or none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway import up
from headway.errors import Conflict
from headway.settings import Settings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield other.getsockname()[1]


def test_the_port_after_the_gateways_or_a_free_one(tmp_path: Path, taken: int) -> None:
    settings = Settings(home=tmp_path, gateway_port=taken - 1)
    with up.notebooks_listening(settings) as found:
        assert found is not None and found.getsockname()[1] not in (0, taken)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with up.notebooks_listening(Settings(home=tmp_path, gateway_port=free - 1)) as found:
        assert found is not None and found.getsockname()[1] == free


def test_a_chosen_port_is_that_one_or_an_error(tmp_path: Path, taken: int) -> None:
    with (
        pytest.raises(Conflict, match=f"Port {taken} is in use"),
        up.notebooks_listening(Settings(home=tmp_path, notebooks_port=taken)),
    ):
        pass


def test_behind_a_proxy_that_gives_them_no_address(tmp_path: Path) -> None:
    alone = Settings(home=tmp_path, public_url="https://ml.example.org", behind_proxy=True)
    with up.notebooks_listening(alone) as found:
        assert found is None
    both = Settings(home=tmp_path, public_url="https://ml.example.org", notebooks_url="https://ml.example.org:8443")
    with up.notebooks_listening(both) as found:
        assert found is not None
