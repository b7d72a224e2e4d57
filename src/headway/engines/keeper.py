"""The keeper: what is wanted (rows) becomes what is (processes).

A slice says `want` or `stop` inside its own transaction; `step` does the rest: it starts, watches, stops and restarts, and
publishes `ProcessChanged`. Engines are asked outside of any transaction, and every change is written only if the row is still
as it was read, so two servers, or a server that was killed half-way, come to the same state: submitting a key twice starts
one process.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines.base import Spec, Status
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.errors import HeadwayError
from headway.events import ProcessChanged, ProcessStirred, publish

log = logging.getLogger("headway.engines")

KEPT_UP = frozenset({"replica", "gateway", "jupyter"})
"""Kinds that are started again when they end while they are wanted."""
STEADY_MS = 60_000
"""A process that lived this long before it ended has no failures in a row behind it."""
LOOK_MS = 250
"""Between looks at a process that is being started or ended."""
_FOLDERS_KEPT = 3
_MOST_WAIT_MS = 30_000


def want(db: Session, *, kind: str, owner_id: str, spec: Spec, project_id: str | None) -> Process:
    """Ask for a process. A key that was asked for before gives the same row, wanted again if it had been stopped."""
    row = db.scalar(select(Process).where(Process.key == spec.key))
    moment = now_ms()
    if row is None:
        row = Process(id=new_id(), kind=kind, owner_id=owner_id, project_id=project_id, key=spec.key, node=node(),
                      spec=json.dumps(spec.as_dict()), created_at=moment, changed_at=moment)  # fmt: skip
        db.add(row)
    elif row.wanted != "running":
        row.wanted, row.changed_at, row.version = "running", moment, row.version + 1
        if row.state in ("exited", "lost") and row.kind in KEPT_UP:
            _again(row, 0)
    db.flush()
    publish(db, ProcessChanged(row.id, row.kind, row.owner_id, row.state))
    return row


def stop(db: Session, process: Process) -> None:
    """Ask for a process to end; the keeper cancels it with its grace, and it is not started again."""
    if process.wanted != "stopped":
        process.wanted, process.changed_at, process.version = "stopped", now_ms(), process.version + 1
        db.flush()
        publish(db, ProcessChanged(process.id, process.kind, process.owner_id, process.state, process.cause))


def of_owner(db: Session, kind: str, owner_id: str) -> list[Process]:
    """The owner's processes, oldest first."""
    query = select(Process).where(Process.kind == kind, Process.owner_id == owner_id)
    return list(db.scalars(query.order_by(Process.created_at, Process.id)))


def node() -> str:
    """This machine's name in `Process.node`."""
    return socket.gethostname()[:100]


def attempt_spec(spec: Spec, attempt: int) -> Spec:
    """The spec of a restart: its own key and folder."""
    if attempt == 1:
        return spec
    return replace(spec, key=f"{spec.key}.{attempt}", folder=f"{spec.folder}.{attempt}")


def backoff_ms(failures: int) -> int:
    """How long the next start waits: not at all after one failure, then 1, 2, 4 ... 30 s."""
    return 0 if failures <= 1 else min(1000 << min(failures - 2, 10), _MOST_WAIT_MS)


@dataclass
class _Change:
    """What a look at one process found: columns to write."""

    values: dict[str, Any] = field(default_factory=dict)

    def observe(self, row: Process, status: Status) -> None:
        new = {
            "state": status.state if status.state != "queued" else "wanted",
            "cause": status.cause,
            "exit_code": status.exit_code,
            "signal": status.signal,
            "detail": status.detail[:1000],
            "memory_kills": status.memory_kills,
            "peak_memory_mb": status.peak_memory_mb,
            "started_at": status.started_at,
            "ended_at": status.ended_at,
            "settled": status.settled,
        }
        self.values.update({name: value for name, value in new.items() if getattr(row, name) != value})


def step(host: Host, now: int) -> int | None:
    """Bring every process of this machine one step nearer to what is wanted. When to look again, None: when something comes."""
    with host.database.read() as db:
        rows = _unsettled(db, host)
    again: list[int] = []
    for row in rows:
        try:
            change = _look(host, row, now)
        except (HeadwayError, OSError) as error:
            log.warning("process %s (%s): %s", row.key, row.kind, error)
            change = _Change(
                {
                    "failures": row.failures + 1,
                    "retry_at": now + backoff_ms(row.failures + 2),
                    "detail": str(error)[:1000],
                }
            )
        if change.values:
            _write(host, row, change, now)
        if not change.values and row.state == "wanted" and row.retry_at > now:
            again.append(row.retry_at)
        elif not _steady(host, row, change):
            again.append(now + LOOK_MS)
    return min(again, default=None)


def _steady(host: Host, row: Process, change: _Change) -> bool:
    """Whether nothing is left to be seen of it before it ends, and its end will be told."""
    state, handle = change.values.get("state", row.state), change.values.get("handle", row.handle)
    if state != "running" or row.wanted != "running" or not handle:
        return False

    def stirred() -> None:
        host.bus.deliver(host, [ProcessStirred(handle)])

    return host.engine.watch(handle, stirred)


def _unsettled(db: Session, host: Host) -> list[Process]:
    again = (Process.wanted == "running") & Process.kind.in_(KEPT_UP)
    query = select(Process).where(Process.node == node(), Process.settled.is_(False) | again)
    home = host.settings.home
    return [
        row for row in db.scalars(query.order_by(Process.created_at)) if Path(_spec(row).folder).is_relative_to(home)
    ]


def _spec(row: Process) -> Spec:
    return attempt_spec(Spec.from_dict(json.loads(row.spec)), row.attempt)


def _look(host: Host, row: Process, now: int) -> _Change:
    change = _Change()
    if row.state == "wanted":
        return _begin(host, row, now, change)
    if row.state == "running" or not row.settled:
        status = host.engine.status(row.handle)
        if row.wanted == "stopped" and not status.over:
            host.engine.cancel(row.handle, _spec(row).grace_s)
        change.observe(row, status)
        if not status.over or not status.settled:
            return change
    if row.wanted == "running" and row.kind in KEPT_UP:
        _plan_restart(row, change, now)
    return change


def _begin(host: Host, row: Process, now: int, change: _Change) -> _Change:
    spec = _spec(row)
    if row.wanted == "stopped":
        # It may have been started by a server that died before it could say so.
        started = [handle for key, handle, _ in host.engine.list(spec.key) if key == spec.key]
        if not started:
            change.values = {"state": "exited", "cause": "cancelled", "settled": True, "ended_at": now}
            return change
        host.engine.cancel(started[0], spec.grace_s)
        change.values["handle"] = started[0]
        change.observe(row, host.engine.status(started[0]))
    elif row.retry_at <= now:
        handle = host.engine.submit(spec)
        change.values["handle"] = handle
        status = host.engine.status(handle)
        change.observe(row, status)
        change.values["detail"] = status.detail[:1000]  # instead of why an earlier start failed
        _sweep(spec, row.attempt)
    return change


def _plan_restart(row: Process, change: _Change, now: int) -> None:
    started = change.values.get("started_at", row.started_at) or now
    cause = change.values.get("cause", row.cause)
    failures = 0 if cause == "cancelled" or now - started > STEADY_MS else row.failures + 1
    change.values |= {"state": "wanted", "settled": False, "attempt": row.attempt + 1, "failures": failures,
                      "retry_at": now + backoff_ms(failures)}  # fmt: skip


def _again(row: Process, failures: int) -> None:
    row.state, row.settled, row.failures, row.retry_at = "wanted", False, failures, 0
    row.attempt += 1


def _sweep(spec: Spec, attempt: int) -> None:
    """Restarts leave folders; the last few are kept for their logs."""
    old = attempt - _FOLDERS_KEPT
    if old > 1:
        base = spec.folder.removesuffix(f".{attempt}")
        shutil.rmtree(f"{base}.{old}", ignore_errors=True)


def _write(host: Host, row: Process, change: _Change, now: int) -> None:
    values = change.values | {"version": row.version + 1, "changed_at": now}
    with host.database.write() as db:
        done = db.execute(update(Process).where(Process.id == row.id, Process.version == row.version).values(**values))
        if not done.rowcount:  # type: ignore[attr-defined]
            return  # somebody else was faster: the next step looks again
        state, cause = values.get("state", row.state), values.get("cause", row.cause)
        publish(
            db, ProcessChanged(row.id, row.kind, row.owner_id, state, cause, values.get("exit_code", row.exit_code))
        )


def halt(host: Host, kinds: Iterable[str], seconds: float = 15.0) -> int:
    """End the running processes of some kinds while the server is down; they are wanted still, and the next server starts
    them again. Waits until they are gone. Returns how many there were."""
    with host.database.read() as db:
        rows = [row for row in _unsettled(db, host) if row.kind in set(kinds) and row.handle]
    handles = [row.handle for row in rows if not host.engine.status(row.handle).over]
    for handle in handles:
        host.engine.cancel(handle, 3.0)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not all(host.engine.status(handle).over for handle in handles):
        time.sleep(0.05)
    return len(handles)
