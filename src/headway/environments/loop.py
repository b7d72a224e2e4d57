"""The builder's turn: asks become processes, their results become environments, and the store is kept in order.

Load, work outside of any transaction, apply: every change is made only to a row that is still as it was read.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.engines import keeper
from headway.engines.base import Limits, Spec
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.environments import build, service
from headway.environments.states import ASKED, BUILDING, LOCKING, READY, UNDER_WAY, ending
from headway.environments.store import Store
from headway.environments.tables import Environment, ProjectEnvironment
from headway.events import EnvironmentChanged, publish
from headway.projects.tables import Project

log = logging.getLogger("headway.environments")

INTERVAL_S = 0.5
AT_ONCE = 2
_TIDY_S = 600
_TIMEOUT_S = 3600.0


@dataclass
class _Tidied:
    """When this server tidies next (seconds of the monotonic clock)."""

    next: float = 0.0


def step(host: Host, now: int) -> int | None:
    """One look at everything that is asked for or under way; a build tells in files how far it is."""
    with host.database.read() as db:
        bare = _bare_projects(db)
        rows = list(
            db.scalars(select(Environment).where(Environment.state.in_(UNDER_WAY)).order_by(Environment.created_at))
        )
        processes = {row.id: _process(db, row) for row in rows}
    for project_id in bare:
        with host.database.write() as db:
            service.ensure_default(db, project_id, host.settings.default_requirements.replace(",", "\n"))
    for row in rows:
        if (process := processes[row.id]) is not None:
            _follow(host, row, process)
    _begin(host, [row for row in rows if row.process_id is None], AT_ONCE - sum(1 for row in rows if row.process_id))
    _tidy(host)
    return now + int(INTERVAL_S * 1000) if rows else None


def folder(host: Host, environment_id: str, attempt: int = 1) -> Path:
    """Where a build keeps its record and its log (`output.log`)."""
    return host.settings.path("builds", f"{environment_id}.{attempt}")


def store(host: Host) -> Store:
    """The environments of this home."""
    return Store(host.settings.path("environments"))


def _bare_projects(db: Session) -> Sequence[str]:
    known = select(ProjectEnvironment.project_id)
    return db.scalars(select(Project.id).where(Project.id.not_in(known))).all()


def _process(db: Session, row: Environment) -> Process | None:
    return db.get(Process, row.process_id) if row.process_id else None


def _begin(host: Host, rows: Sequence[Environment], free: int) -> None:
    for row in rows[: max(free, 0)]:
        place = folder(host, row.id, row.attempt)
        build.write_ask(
            place,
            build.Ask(
                store=str(store(host).root),
                requirements=tuple(json.loads(row.requirements)),
                python=row.python_asked,
                hashes={name: tuple(found) for name, found in json.loads(row.hashes).items()},
                from_source=row.from_source,
                kernel=row.kernel,
            ),
        )
        spec = Spec(
            key=f"build-{row.id}.{row.attempt}",
            argv=(sys.executable, "-m", "headway.environments.build", str(place)),
            cwd=str(place),
            folder=str(place),
            limits=Limits(timeout_s=_TIMEOUT_S),
            grace_s=3.0,
            respawn=2,
            stop_signal="TERM",
        )
        with host.database.write() as db:
            fresh = db.get(Environment, row.id)
            if fresh is None or fresh.state != ASKED or fresh.process_id is not None:
                continue
            process = keeper.want(db, kind="build", owner_id=row.id, spec=spec, project_id=row.project_id)
            fresh.process_id, fresh.state, fresh.started_at = process.id, LOCKING, process.created_at
            publish(db, EnvironmentChanged(row.id, LOCKING))


def _follow(host: Host, row: Environment, process: Process) -> None:
    place = folder(host, row.id, row.attempt)
    if process.state in ("exited", "lost") and process.settled:
        result = build.read_result(place)
        with host.database.write() as db:
            fresh = db.get(Environment, row.id)
            if fresh is not None and fresh.state in UNDER_WAY and fresh.process_id == process.id:
                _finish(host, db, fresh, process, result)
    elif build.read_state(place) == BUILDING and row.state == LOCKING:
        with host.database.write() as db:
            fresh = db.get(Environment, row.id)
            if fresh is not None and fresh.state == LOCKING:
                fresh.state = BUILDING
                publish(db, EnvironmentChanged(row.id, BUILDING))


def _finish(host: Host, db: Session, row: Environment, process: Process, result: build.Result | None) -> None:
    if result is None:
        service.end(db, row, *ending(process.cause, process.signal))
        return
    if result.state == READY:
        row.hash, row.lock, row.python_version = result.hash, result.lock, result.python
        row.size, row.packages, row.reused = result.size, result.packages, result.reused
        row.folder = str(store(host).path(result.hash))
    service.end(db, row, result.state, result.message, result.hint)


def _tidy(host: Host) -> None:
    """Now and then: environments whose folder has gone are built again from their lock, folders that no row knows go."""
    moment = time.monotonic()
    tidied = host.own(_Tidied)
    if moment < tidied.next:
        return
    tidied.next = moment + _TIDY_S
    kept = store(host)
    with host.database.read() as db:
        rows = list(db.scalars(select(Environment).where(Environment.state == READY)))
        used = set(db.scalars(select(ProjectEnvironment.current_id)))
    for row in rows:
        there = kept.ready(row.hash) is not None
        if (not there and row.id in used) or (there and row.folder != str(kept.path(row.hash))):
            with host.database.write() as db:
                _mend(db, row.id, str(kept.path(row.hash)) if there else "")
    for name in kept.sweep({row.hash for row in rows}):
        log.info("removed environment %s: nothing refers to it", name)


def _mend(db: Session, environment_id: str, place: str) -> None:
    """The home was moved (`place` is the new one), or the folder or its Python has gone: the same packages are asked for."""
    row = db.get(Environment, environment_id)
    if row is None or row.state != READY:
        return
    if place:
        row.folder = place
        return
    log.warning("environment %s has gone from the disk and is built again", row.id)
    row.state, row.process_id, row.attempt, row.hashes = ASKED, None, row.attempt + 1, "{}"
    row.requirements = json.dumps(row.lock.split())
    row.python_asked = "==" + ".".join(row.python_version.split(".")[:2]) + ".*"
    publish(db, EnvironmentChanged(row.id, ASKED))
