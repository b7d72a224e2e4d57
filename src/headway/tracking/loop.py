"""The background step of tracking: fold loose chunks, purge what was deleted long ago, free the bytes nobody holds."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import text

from headway.engines.host import Host
from headway.storage import blobs, leases
from headway.tracking import merge, purge

INTERVAL_S = 2.0
KEEP_DELETED_MS = 30 * 86_400_000
_SWEEP_EVERY_MS = 600_000
_last_sweep: dict[str, int] = {}


def step(host: Host, now: int) -> None:
    """One step at `now` (ms). Each series is folded in a transaction of its own, so that no writer waits long."""
    with host.database.read() as db:
        due = merge.due(db)
    for run, key in due:
        host.database.group(partial(merge.fold, run=run, key=key))
        time.sleep(0)  # lets waiting writers go first
    if now - _last_sweep.get(host.name, 0) < _SWEEP_EVERY_MS:
        return
    _last_sweep[host.name] = now
    _sweep(host, now)


def _sweep(host: Host, now: int) -> None:
    with host.database.write() as db:
        if not leases.take(db, "tracking:sweep", host.name, 300):
            return
    with host.database.read() as db:
        old = purge.expired(db, now - KEEP_DELETED_MS)
    for run_id in old:
        with host.database.write() as db:
            purge.run(db, run_id)
    with host.database.write() as db:
        blobs.forget(db, host.blobs, blobs.orphans(db))
        if host.database.sqlite:
            db.execute(text("PRAGMA optimize"))
    with host.database.write() as db:
        leases.release(db, "tracking:sweep", host.name)
