"""The background step of tracking: fold loose chunks, purge what was deleted long ago, free the bytes nobody holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text
from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.storage import blobs, leases
from headway.tracking.store import merge, purge
from headway.tracking.wire import uploads

INTERVAL_S = 2.0
_SWEEP_EVERY_MS = 600_000


@dataclass
class _Swept:
    """When this server swept last (ms)."""

    at: int = 0


def step(host: Host, now: int) -> int:
    """One step at `now` (ms). Each series is folded in a transaction of its own, so that no writer waits long. Returns when the
    next sweep is due."""
    with host.database.read() as db:
        due = merge.due(db)
    for run, key in due:
        host.database.group(partial(merge.fold, run=run, key=key))
        time.sleep(0)  # lets waiting writers go first
    swept = host.own(_Swept)
    if now - swept.at >= _SWEEP_EVERY_MS:
        swept.at = now
        _sweep(host, now)
    return swept.at + _SWEEP_EVERY_MS


def _sweep(host: Host, now: int) -> None:
    """Purge what was deleted long ago, and give its bytes back."""
    with host.database.write() as db:
        if not leases.take(db, "tracking:sweep", host.name, 300):
            return
    while old := _read(host, partial(purge.expired, now=now)):
        for run_id in old:
            with host.database.write() as db:
                purge.if_deleted(db, run_id)
    for experiment_id in _read(host, partial(purge.expired_experiments, now=now)):
        with host.database.write() as db:
            purge.experiment_if_deleted(db, experiment_id)
    with host.database.write() as db:
        purge.forget_keys(db, now)
        uploads.expire(db, now)
        blobs.forget(db, host.blobs, blobs.orphans(db))
        if host.database.sqlite:
            db.execute(text("PRAGMA optimize"))
    host.database.give_back()
    with host.database.write() as db:
        leases.release(db, "tracking:sweep", host.name)


def _read(host: Host, question: Callable[[Session], list[int]]) -> list[int]:
    with host.database.read() as db:
        return question(db)
