"""What is alive: server-sent events. An event's id is a byte offset, so a viewer that comes back goes on where it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

POLL_S = 0.15
PING_S = 15.0
PIECE = 256 * 1024


def event(data: Any, *, name: str = "", id: int | str | None = None) -> bytes:
    """One event on the wire; `data` is sent as JSON unless it is a string."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    lines = ([f"id: {id}"] if id is not None else []) + ([f"event: {name}"] if name else [])
    # Only \n ends a line here; a lone \r inside the data would end one for the browser, so text with \r must come as JSON.
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def sse(events: AsyncIterator[bytes]) -> StreamingResponse:
    """A stream of server-sent events that no proxy should hold back."""
    return StreamingResponse(events, media_type="text/event-stream",
                             headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip


def resume_offset(request: Request, default: int = 0) -> int:
    """Where the viewer left off: `Last-Event-ID`, else `?offset=`, else `default`."""
    for raw in (request.headers.get("last-event-id"), request.query_params.get("offset")):
        if raw is not None and raw.isdigit():
            return int(raw)
    return default


async def tail(
    request: Request, path: Path, offset: int, ended: Callable[[], bool]
) -> AsyncIterator[tuple[int, bytes]]:
    """Pieces of a growing file as (offset behind the piece, bytes), until `ended()` and all was read, or the viewer left.

    An empty piece is a sign of life for idle connections. `ended` is called on a thread, it may read the database.
    """
    idle = 0.0
    while not await request.is_disconnected():
        over = await asyncio.to_thread(ended)  # asked before reading, so what was written before the end is not missed
        piece = await asyncio.to_thread(_read, path, offset)
        if piece:
            idle = 0.0
            offset += len(piece)
            yield offset, piece
        elif over:
            return
        else:
            await asyncio.sleep(POLL_S)
            idle += POLL_S
            if idle >= PING_S:
                idle = 0.0
                yield offset, b""


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)
    except FileNotFoundError:
        return b""
