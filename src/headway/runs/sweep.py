"""Folders that no run needs any more: those of purged runs, and sources whose last run was purged.

A run that was deleted keeps its folder until it is purged, as it can be restored until then. What is younger than a day
stays: a source is sent before its run is submitted, and a folder is made before its row says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, exists, select

from headway.engines.host import Host
from headway.runs import launch, states
from headway.runs.tables import Execution
from headway.tracking.tables import Run

EVERY_MS = 3_600_000
GRACE_MS = 86_400_000
_AT_ONCE = 500


@dataclass
class _Swept:
    """When this server swept last (ms); None before its first step."""

    at: int | None = None


def step(host: Host, now: int) -> None:
    """Sweep, if it was not done lately; the first look comes an hour after the start."""
    swept = host.own(_Swept)
    if swept.at is None:
        swept.at = now
    elif now - swept.at >= EVERY_MS:
        swept.at = now
        sweep(host, now)


def sweep(host: Host, now: int) -> int:
    """Remove what nobody needs at `now` (ms); returns how many folders went."""
    return _purged(host) + _strays(host, now) + _sources(host, now)


def _purged(host: Host) -> int:
    """Executions of this machine whose run is no more: folder, then row."""
    query = select(Execution.run_id).where(
        Execution.status.not_in(states.LIVE), Execution.node.in_(("", launch.here(host))),
        ~exists().where(Run.uuid == Execution.run_id),
    )  # fmt: skip
    with host.database.read() as db:
        gone = list(db.scalars(query.limit(_AT_ONCE)))
    for run_id in gone:
        _remove(host.settings.path("runs", run_id))
    if gone:
        with host.database.write() as db:
            db.execute(delete(Execution).where(Execution.run_id.in_(gone)))
    return len(gone)


def _strays(host: Host, now: int) -> int:
    """Run folders that no execution knows."""
    old = [path for path in _folders(host.settings.path("runs")) if _age(path, now) > GRACE_MS]
    count = 0
    for at in range(0, len(old), _AT_ONCE):
        some = {path.name: path for path in old[at : at + _AT_ONCE]}
        with host.database.read() as db:
            known = set(db.scalars(select(Execution.run_id).where(Execution.run_id.in_(list(some)))))
        for name in some.keys() - known:
            _remove(some[name])
            count += 1
    return count


def _sources(host: Host, now: int) -> int:
    count = 0
    for project in _folders(host.settings.path("sources")):
        with host.database.read() as db:
            used = (
                select(Execution.source).where(Execution.project_id == project.name, Execution.source != "").distinct()
            )
            needed = set(db.scalars(used))
        for path in _folders(project):
            if path.name in needed or _age(path, now) <= GRACE_MS:
                continue
            aside = path if path.name.startswith(".") else path.with_name(f".{path.name}")
            with contextlib.suppress(OSError):
                path.rename(aside)
                if _age(aside, now) <= GRACE_MS and aside != path:  # it was sent again at this very moment
                    aside.rename(path)
                    continue
                _remove(aside)
                count += 1
    return count


def _folders(path: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _age(path: Path, now: int) -> int:
    try:
        return now - path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
