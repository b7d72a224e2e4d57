"""The stream of an open page: server-sent events about the runs that it shows, one connection for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from headway.errors import BadInput, HeadwayError
from headway.people import cache, guard
from headway.people.guard import Signed
from headway.people.rules import VIEW, Who
from headway.projects import service as projects
from headway.tracking.live import changes
from headway.tracking.live.hub import Hub, Viewer
from headway.tracking.store import record
from headway.web import live
from headway.web.edge import ReadDb

router = APIRouter(include_in_schema=False)

MOST = 100
LOOK_S = 5.0
"""Between looks whether the viewer is still there."""
IDENTIFY_S = 60.0


_making = threading.Lock()


def hub_of(app: Any) -> Hub:
    """The hub of this server, made when it is first needed."""
    with _making:
        if not hasattr(app.state, "live"):
            app.state.live = Hub(app.state.host.database)
        hub: Hub = app.state.live
        return hub


@router.get("/p/{slug}/live")
def follow(
    request: Request, who: Signed, db: ReadDb, slug: str, runs: str = "", news: bool = False, last: str = ""
) -> Response:
    """What is new in these runs. `runs`: ids by comma, each with the version that the page shows behind a colon. `news`: the
    project's new runs too. Events: `here` (it begins), `run` (what changed), `new` (a run began), `stale` (load anew). An id is
    how far the viewer has seen; one that comes back sends it as `Last-Event-ID` or `last`, and misses nothing."""
    project = projects.by_slug(db, who, slug, VIEW)
    seen, newest = asked(runs, request.headers.get("last-event-id", "") or last)
    found = {row.uuid for row in changes.versions(db, list(seen)) if row.project_id == project.id}
    for run in seen:
        if run not in found:
            raise record.no_run(run)
    if not seen and not news:
        raise BadInput("Say what to follow.", hint="runs=<id>,<id> or news=true", field="runs")
    return live.sse(_stream(request, who, project.id, seen, news, newest))


def asked(runs: str, last: str) -> tuple[dict[str, int | None], int | None]:
    """The runs asked for with the versions that the viewer has seen, and the last run it knows, where it says. Raises
    `BadInput`."""
    seen: dict[str, int | None] = {}
    for part in filter(None, runs.split(",")):
        run, _, version = part.partition(":")
        seen[run] = _number(version)
    if len(seen) > MOST:
        raise BadInput(f"{len(seen)} runs are too many to follow.", hint=f"At most {MOST}.", field="runs")
    before, _, newest = last.partition("n")
    versions = [_number(version) for version in before.split(".")]
    if len(versions) == len(seen) and None not in versions:
        seen = dict(zip(seen, versions, strict=True))
    return seen, _number(newest)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def _stream(
    request: Request, who: Who, project_id: str, seen: dict[str, int | None], news: bool, newest: int | None
) -> AsyncIterator[bytes]:
    hub = hub_of(request.app)
    viewer = Viewer(who, project_id, {run: v for run, v in seen.items() if v is not None}, news, newest)
    try:
        try:
            await to_thread.run_sync(hub.follow, viewer, list(seen))
        except HeadwayError as problem:
            yield live.event({"message": problem.message}, name="refused")
            return
        yield b"retry: 2000\n\n"
        watch = _Identity(request, who)
        async for piece in _pieces(request, viewer, watch, list(seen)):
            yield piece
    finally:
        hub.leave(viewer)


class _Identity:
    """Whether it is still the same person: asked when something was revoked on this server, and every minute."""

    def __init__(self, request: Request, who: Who) -> None:
        self._request, self._who = request, who
        self._memory = cache.of(request.app.state.host.database.engine)
        self._generation = self._memory.generation
        self._asked = asyncio.get_running_loop().time()

    async def holds(self) -> bool:
        """False once the session or the token has ended."""
        now = asyncio.get_running_loop().time()
        if self._memory.generation == self._generation and now - self._asked < IDENTIFY_S:
            return True
        self._generation, self._asked = self._memory.generation, now
        try:
            found = await guard.identify(self._request)
        except HeadwayError:
            return False
        return found is not None and found.user_id == self._who.user_id


async def _pieces(request: Request, viewer: Viewer, watch: _Identity, order: list[str]) -> AsyncIterator[bytes]:
    idle = 0.0
    if not viewer.queue:
        yield live.event({}, name="here", id=viewer.mark(order))
    while not viewer.closed and not await request.is_disconnected() and await watch.holds():
        message = viewer.take()
        if message is not None:
            idle = 0.0
            yield live.event(message.data.decode(), name=message.name, id=viewer.mark(order))
            continue
        try:
            await asyncio.wait_for(viewer.wake.wait(), LOOK_S)
        except TimeoutError:
            idle += LOOK_S
            if idle >= live.PING_S:
                idle = 0.0
                yield b": still here\n\n"
