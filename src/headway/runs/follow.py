"""Following a run over server-sent events: resumable by offset, ended with its status, cut off when the right to see it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request

from headway.engines.host import Host
from headway.people import guard
from headway.people.rules import VIEW, Who
from headway.runs import launch, output
from headway.runs.tables import Execution
from headway.web import live

_ASK_S = 0.5
_CELLS_S = 0.3


@dataclass(frozen=True)
class Now:
    """How the run is: None when nobody may look any more."""

    status: str
    cause: str
    over: bool
    place: Path


class Watch:
    """Asks the database now and then, on a thread."""

    def __init__(self, host: Host, who: Who, run_id: str) -> None:
        self._host, self._who, self._run_id = host, who, run_id
        self._asked = 0.0
        self._known: Now | None = None

    async def now(self) -> Now | None:
        """The run's state, at most half a second old."""
        if time.monotonic() - self._asked > _ASK_S:
            self._known = await asyncio.to_thread(self._ask)
            self._asked = time.monotonic()
        return self._known

    def _ask(self) -> Now | None:
        with self._host.database.read() as db:
            row = db.get(Execution, self._run_id)
            if row is None or not guard.may(db, self._who, VIEW, row.project_id):
                return None
            return Now(row.status, row.cause, row.over, launch.folder(self._host, row))


async def text(request: Request, host: Host, who: Who, row: Execution, offset: int) -> AsyncIterator[bytes]:
    """`output` events with `{"text"}` and the offset behind it as id; at last `end` with `{"status", "cause"}`."""

    def piece(place: Path, at: int) -> tuple[list[Any], int]:
        said, after = output.read(place, row.kind, at)
        return ([{"text": said}] if said else []), after

    async for data in _follow(request, Watch(host, who, row.run_id), offset, "output", piece, live.POLL_S):
        yield data


async def cells(
    request: Request,
    host: Host,
    who: Who,
    row: Execution,
    offset: int,
    draw: Callable[[output.ShownCell], dict[str, Any]],
) -> AsyncIterator[bytes]:
    """`cell` events with what `draw` makes of a cell that changed; at last `end`."""
    pictures: dict[Path, output.Notebook] = {}

    def piece(place: Path, at: int) -> tuple[list[Any], int]:
        picture = pictures.get(place)
        if picture is None:
            picture = pictures[place] = output.Notebook(place)
            while picture.offset < at:  # what the viewer has seen already
                before = picture.offset
                picture.catch_up(until=at)
                if picture.offset == before:
                    break
        return [draw(cell) for cell in picture.catch_up()], picture.offset

    async for data in _follow(request, Watch(host, who, row.run_id), offset, "cell", piece, _CELLS_S):
        yield data


async def _follow(
    request: Request,
    watch: Watch,
    offset: int,
    name: str,
    piece: Callable[[Path, int], tuple[list[Any], int]],
    poll_s: float,
) -> AsyncIterator[bytes]:
    idle = 0.0
    while not await request.is_disconnected():
        now = await watch.now()  # asked before reading, so what was written before the end is not missed
        if now is None:
            return
        items, after = await asyncio.to_thread(piece, now.place, offset)
        for at, item in enumerate(items):
            yield live.event(item, name=name, id=after if at == len(items) - 1 else None)
        if after != offset:
            behind = after - offset >= output.PIECE // 2  # there is more already
            offset, idle = after, 0.0
            if behind or not items:
                continue
        elif now.over:
            yield live.event({"status": now.status, "cause": now.cause}, name="end", id=offset)
            return
        else:
            idle += poll_s
            if idle >= live.PING_S:
                idle = 0.0
                yield b": still here\n\n"
        await asyncio.sleep(poll_s)
