"""The live hub: one a server. It looks at the runs that somebody has open, once for all who look, and tells each viewer.

While somebody follows a run, one statement every 300 ms asks for the versions of all runs that are followed; those that moved
are read once, and what is new in them goes to every viewer's queue. No viewer asks the database, writers pay nothing, and what
another server on the same database wrote is found all the same. A viewer that is too slow, or comes back after too long, is
told to load anew (`stale`). Who may look is asked at the start, every ten seconds, and whenever a right was revoked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from headway.errors import TooMany
from headway.people import cache, rules
from headway.people.rules import VIEW, Who
from headway.people.tables import Member
from headway.storage.database import Database
from headway.tracking.live import changes
from headway.tracking.live.changes import Picture
from headway.tracking.store.readout import RunFacts
from headway.tracking.tables import Run

log = logging.getLogger("headway.live")

TICK_S = 0.3
CHECK_S = 10.0
LINGER_S = 30.0
"""A run that nobody follows any more is remembered for so long, for viewers that come back."""
KEPT_BYTES = 2 << 20
QUEUED = 64
VIEWERS, RUNS = 2000, 5000
NEW_RUNS = 50


@dataclass(frozen=True)
class Message:
    """What a viewer gets: `name` is run, new or stale; `version` (of a new run: its number) is how far it then has seen."""

    name: str
    data: bytes
    run: str = ""
    version: int = 0


class Viewer:
    """An open page. Its queue is bounded; everything here happens on its event loop, but what is offered before it streams."""

    def __init__(
        self, who: Who, project_id: str, seen: Mapping[str, int], news: bool, newest: int | None = None
    ) -> None:
        self.who, self.project_id, self.seen, self.news = who, project_id, dict(seen), news
        self.newest = newest  # the last run of the project that it knows
        self.loop = asyncio.get_running_loop()
        self.queue: deque[Message] = deque()
        self.wake = asyncio.Event()
        self.closed = False

    def offer(self, message: Message | None) -> None:
        """Queue a message; None closes. Where the queue is full, everything in it gives way to one `stale` a run."""
        if message is None:
            self.closed = True
        elif len(self.queue) < QUEUED:
            self.queue.append(message)
        else:
            self.queue.clear()
            self.queue.extend(stale(run) for run in self.seen)
        self.wake.set()

    def take(self) -> Message | None:
        """The next message; None when there is none now."""
        if not self.queue:
            self.wake.clear()
            return None
        message = self.queue.popleft()
        if message.name == "new":
            self.newest = max(self.newest or 0, message.version)
        elif message.run:
            self.seen[message.run] = message.version
        return message

    def mark(self, order: Iterable[str]) -> str:
        """How far it has seen: the versions of these runs, and the last run it knows."""
        versions = ".".join(str(self.seen.get(run, 0)) for run in order)
        return f"{versions}n{self.newest}" if self.news else versions


def stale(run: str, version: int = 0) -> Message:
    """The page's picture of a run can't be brought up to date piece by piece: it is to load anew."""
    return Message("stale", orjson.dumps({"run": run}), run, version)


def new(row: Any) -> Message:
    """A run began."""
    data = {
        "run": row.uuid,
        "name": row.name,
        "status": row.status,
        "experiment": row.experiment_id,
        "parent": row.parent_uuid,
    }
    return Message("new", orjson.dumps(data), row.uuid, row.id)


@dataclass
class _Followed:
    picture: Picture
    told: deque[Message] = field(default_factory=deque)  # one follows on the other
    before: int = -1  # the version that the first of them begins at
    size: int = 0
    viewers: set[Viewer] = field(default_factory=set)
    left_at: float | None = None

    def tell(self, picture: Picture, message: Message) -> None:
        """Remember what is told, up to a number of bytes."""
        if not self.told:
            self.before = self.picture.version
        self.told.append(message)
        self.size += len(message.data)
        self.picture = picture
        while self.size > KEPT_BYTES:
            gone = self.told.popleft()
            self.size -= len(gone.data)
            self.before = gone.version

    def since(self, version: int) -> list[Message]:
        """What a viewer who has seen `version` lacks. It may hold what is known already: pages take it twice unharmed."""
        if version >= self.picture.version:
            return []
        if self.told and version >= self.before:
            return [message for message in self.told if message.version > version]
        return [stale(self.picture.uuid, self.picture.version)]


class Hub:
    """Who follows what. Its thread lives while somebody follows something."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._runs: dict[str, _Followed] = {}
        self._projects: dict[str, set[Viewer]] = {}
        self._viewers: set[Viewer] = set()
        self._newest = 0
        self._thread: threading.Thread | None = None
        self._checked = 0.0
        self._generation = 0

    # ------------------------------------------------------------------ viewers
    def follow(self, viewer: Viewer, uuids: Iterable[str]) -> None:
        """Let a viewer, who may see them, follow these runs and with `news` its project's new ones. Raises `TooMany`."""
        wanted = list(uuids)
        with self._lock:
            unknown = [run for run in wanted if run not in self._runs]
        pictures, newest, missed = {}, 0, []
        if unknown or viewer.news:
            with self._database.read() as db:
                changes.snapshot(db)
                pictures = {row.uuid: changes.picture(db, row) for row in changes.versions(db, unknown)}
                newest = int(db.scalar(select(func.max(Run.id))) or 0)
                missed = [] if viewer.newest is None else _begun(db, [viewer.project_id], viewer.newest)
        with self._lock:
            if len(self._viewers) >= VIEWERS or len(self._runs) + len(pictures) > RUNS:
                raise TooMany("Too many pages are open on this server.", hint="Close some; reload this one later.")
            if not self._viewers:
                self._generation = cache.of(self._database.engine).generation
                self._checked = time.monotonic()
            self._viewers.add(viewer)
            if viewer.news:
                self._newest = self._newest if self._projects else newest
                viewer.newest = newest if viewer.newest is None else viewer.newest
                for row in missed:
                    viewer.offer(new(row))
                self._projects.setdefault(viewer.project_id, set()).add(viewer)
            for run in wanted:
                followed = self._runs.get(run)
                if followed is None:
                    if run not in pictures:  # forgotten or deleted between the two looks
                        viewer.offer(stale(run))
                        continue
                    followed = self._runs[run] = _Followed(pictures[run])
                followed.viewers.add(viewer)
                followed.left_at = None
                for message in followed.since(viewer.seen.setdefault(run, followed.picture.version)):
                    viewer.offer(message)
            self._begin()

    def expect(self, run: RunFacts) -> None:
        """A page of this run was just made and will follow it in a moment: remember what comes from now on."""
        with self._lock:
            if run.uuid not in self._runs and len(self._runs) < RUNS:
                self._runs[run.uuid] = _Followed(changes.of_facts(run), left_at=time.monotonic())
                self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="headway-live", daemon=True)
            self._thread.start()

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        with self._lock:
            self._viewers.discard(viewer)
            for run in viewer.seen:
                followed = self._runs.get(run)
                if followed is not None:
                    followed.viewers.discard(viewer)
                    if not followed.viewers:
                        followed.left_at = time.monotonic()
            watching = self._projects.get(viewer.project_id)
            if watching is not None:
                watching.discard(viewer)
                if not watching:
                    del self._projects[viewer.project_id]

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        while True:
            began = time.monotonic()
            with self._lock:
                self._forget(began)
                if not self._viewers and not self._runs:
                    self._thread = None
                    return
            try:
                self.step(began)
            except Exception:
                log.exception("looking at followed runs failed")
            time.sleep(max(TICK_S / 4, TICK_S - (time.monotonic() - began)))

    def _forget(self, now: float) -> None:
        for run, one in list(self._runs.items()):
            if one.left_at is not None and now - one.left_at > LINGER_S:
                del self._runs[run]

    def step(self, now: float) -> None:
        """Look once, and tell."""
        with self._lock:
            pictures = {run: one.picture for run, one in self._runs.items()}
            generation = cache.of(self._database.engine).generation
            check = bool(self._viewers) and (now - self._checked >= CHECK_S or generation != self._generation)
            projects = list({viewer.project_id for viewer in self._viewers}) if check else []
            watched, newest = list(self._projects), self._newest
        with self._database.read() as db:
            changes.snapshot(db)
            rows = changes.versions(db, list(pictures)) if pictures else []
            pairs = [(pictures[row.uuid], row) for row in rows if row.version != pictures[row.uuid].version]
            found = changes.look(db, pairs) if pairs else []
            begun = _begun(db, watched, newest) if watched else []
            roles = _roles(db, projects) if check else None
        if roles is not None:
            self._checked, self._generation = now, generation
        self._tell(found, begun, roles)

    def _tell(
        self, found: list[tuple[Picture, dict[str, Any]]], begun: list[Any], roles: dict[tuple[str, str], str] | None
    ) -> None:
        out: dict[asyncio.AbstractEventLoop, list[tuple[Viewer, Message | None]]] = {}
        with self._lock:
            for viewer in self._viewers if roles is not None else ():
                role = (roles or {}).get((viewer.who.user_id, viewer.project_id))
                if not rules.allowed(viewer.who, VIEW, viewer.project_id, role):
                    out.setdefault(viewer.loop, []).append((viewer, None))
            for picture, data in found:
                followed = self._runs.get(picture.uuid)
                if followed is None:
                    continue
                message = Message("run", orjson.dumps(data), picture.uuid, picture.version)
                followed.tell(picture, message)
                for viewer in followed.viewers:
                    out.setdefault(viewer.loop, []).append((viewer, message))
            for row in begun:
                self._newest = max(self._newest, row.id)
                for viewer in self._projects.get(row.project_id, ()):
                    out.setdefault(viewer.loop, []).append((viewer, new(row)))
        for loop, messages in out.items():
            try:
                loop.call_soon_threadsafe(_hand_out, messages)
            except RuntimeError:  # the loop has ended; so have its viewers
                for viewer, _ in messages:
                    self.leave(viewer)


def _hand_out(messages: list[tuple[Viewer, Message | None]]) -> None:
    for viewer, message in messages:
        viewer.offer(message)


def _begun(db: Session, projects: list[str], after: int) -> list[Any]:
    query = select(Run).where(Run.id > after, Run.project_id.in_(projects)).order_by(Run.id).limit(NEW_RUNS)
    return list(db.scalars(query))


def _roles(db: Session, projects: list[str]) -> dict[tuple[str, str], str]:
    """Everybody's role in these projects: one statement, however many look."""
    rows = db.execute(select(Member.user_id, Member.project_id, Member.role).where(Member.project_id.in_(projects)))
    return {(user, project): role for user, project, role in rows}
