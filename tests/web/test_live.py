"""Server-sent events: ids are offsets, nothing is lost or doubled for a viewer that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.requests import Request

from headway.web import live

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """On a thread of its own: this one may have the browser's event loop already."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


class Viewer:
    """Stands in for a request whose viewer leaves after so many questions."""

    def __init__(self, patience: int = 10_000) -> None:
        self.patience = patience

    async def is_disconnected(self) -> bool:
        self.patience -= 1
        return self.patience < 0


@pytest.mark.parametrize(
    ("made", "wire"),
    [
        (live.event("a"), b"data: a\n\n"),
        (live.event({"a": 1}, name="x", id=5), b'id: 5\nevent: x\ndata: {"a":1}\n\n'),
        (live.event("two\nlines"), b"data: two\ndata: lines\n\n"),
        (live.event({"bar": "50%\r60%"}), b'data: {"bar":"50%\\r60%"}\n\n'),
    ],
)
def test_an_event_on_the_wire(made: bytes, wire: bytes) -> None:
    assert made == wire


@pytest.mark.parametrize(
    ("headers", "query", "offset"),
    [
        ({}, b"", 7),
        ({"last-event-id": "12"}, b"offset=3", 12),
        ({}, b"offset=3", 3),
        ({"last-event-id": "x"}, b"offset=-1", 7),
    ],
)
def test_where_a_viewer_goes_on(headers: dict[str, str], query: bytes, offset: int) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "headers": raw, "query_string": query})
    assert live.resume_offset(request, 7) == offset


def test_a_growing_file_arrives_whole_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    writes = iter([b"one\n", b"two\n", b"three\n"])
    over = False

    def ended() -> bool:
        nonlocal over
        was = over
        piece = next(writes, None)
        if piece is None:
            over = True
        else:
            with path.open("ab") as file:
                file.write(piece)
        return was

    async def view(offset: int) -> list[tuple[int, bytes]]:
        return [piece async for piece in live.tail(Viewer(), path, offset, ended)]  # type: ignore[arg-type]

    pieces = run(view(0))
    assert b"".join(data for _, data in pieces) == b"one\ntwo\nthree\n"
    assert [offset for offset, _ in pieces] == [4, 8, 14]
    assert b"".join(data for _, data in run(view(8))) == b"three\n"


def test_a_viewer_that_left_is_let_go(tmp_path: Path) -> None:
    async def view() -> int:
        return len([piece async for piece in live.tail(Viewer(3), tmp_path / "none", 0, lambda: False)])  # type: ignore[arg-type]

    assert run(view()) == 0
