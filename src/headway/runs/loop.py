"""The runs' turn: queued ones are prepared and started, those that ended get their verdict, schedules that are due submit.

Load, work outside of any transaction, apply: every change is made only to a row that is still as it was read. An execution
belongs to the server that copied its files (`node`).
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.environments import service as environments
from headway.errors import HeadwayError
from headway.people import tokens
from headway.projects.tables import Project
from headway.runs import launch, schedules, service, states, sweep
from headway.runs.tables import Execution
from headway.transcript.log import cells_sent

log = logging.getLogger("headway.runs")

INTERVAL_S = 0.5
_AGAIN_MS = 500  # after something that went wrong
_TAIL = 64 << 10


def step(host: Host, now: int) -> int | None:
    """One look at the clock, the queue, and everything under way. When to look again: at the next time of a schedule, as all
    else that a run waits for (a slot, its environment, its process) comes as a row."""
    schedules.fire_due(host, now)
    again: list[int] = []
    with host.database.read() as db:
        if (fires_at := schedules.next_due(db)) is not None:
            again.append(max(fires_at, now + _AGAIN_MS))
        rows = _live(db, launch.here(host))
        names = {
            project.id: project
            for project in db.scalars(select(Project).where(Project.id.in_({r.project_id for r in rows})))
        }
    for row in rows:
        project = names.get(row.project_id)
        try:
            if project is None:
                _end(host, row, states.Verdict(states.FAILED, "its project is gone"))
            elif row.process_id is not None:
                _follow(host, row, project)
            elif row.prepared_at is None:
                _prepare(host, row, project)
        except (HeadwayError, OSError) as error:
            log.warning("run %s: %s", row.run_id, error)
            again.append(now + _AGAIN_MS)
    _start_waiting(host, names)
    sweep.step(host, now)
    return min(again, default=None)


def _live(db: Session, here: str) -> list[Execution]:
    query = select(Execution).where(Execution.status.in_(states.LIVE), Execution.node.in_(("", here)))
    return list(db.scalars(query.order_by(Execution.priority.desc(), Execution.created_at, Execution.run_id)))


def _end(host: Host, row: Execution, verdict: states.Verdict) -> None:
    with host.database.write() as db:
        fresh = db.get(Execution, row.run_id, with_for_update=True)
        if fresh is not None and fresh.status == row.status:
            service.end(db, fresh, verdict)


# Preparing: the copy of the files is made right after the submission, long before its turn may come.


def _prepare(host: Host, row: Execution, project: Project) -> None:
    with host.database.write() as db:
        claim = update(Execution).where(Execution.run_id == row.run_id, Execution.status == states.QUEUED,
                                        Execution.node.in_(("", launch.here(host))))  # fmt: skip
        if not db.execute(claim.values(node=launch.here(host))).rowcount:  # type: ignore[attr-defined]
            return None
    try:
        linked = launch.prepare(host, row, service.folder_of(host, project, row.source))
    except HeadwayError as error:
        return _end(host, row, states.Verdict(states.FAILED, error.message))
    except OSError as error:
        return _end(
            host,
            row,
            states.Verdict(states.FAILED, f"its files could not be copied: {error.strerror}: {error.filename}"),
        )
    with host.database.write() as db:
        changed = update(Execution).where(Execution.run_id == row.run_id, Execution.status == states.QUEUED)
        db.execute(changed.values(prepared_at=now_ms(), linked=json.dumps(linked)))
    return None


# Starting: as many at once as there are slots.


def slots(host: Host) -> int:
    """How many runs may be active at once here."""
    return host.settings.slots or len(os.sched_getaffinity(0))


def _start_waiting(host: Host, known: dict[str, Project]) -> None:
    here = launch.here(host)
    with host.database.read() as db:
        active = db.scalar(select(func.count()).select_from(Execution).where(
            Execution.status.in_(states.LIVE), Execution.node == here, Execution.process_id.is_not(None))) or 0  # fmt: skip
        waiting = [row for row in _live(db, here) if row.process_id is None and row.prepared_at is not None]
    free = slots(host) - active
    for row in waiting:
        project = known.get(row.project_id)
        if project is None:
            continue
        if free <= 0:
            _wait(host, row, f"{active} runs are active, as many as there are slots")
        elif _start(host, row, project):
            free, active = free - 1, active + 1


def _wait(host: Host, row: Execution, why: str) -> None:
    if row.waits_for != why:
        with host.database.write() as db:
            changed = update(Execution).where(Execution.run_id == row.run_id, Execution.status == states.QUEUED)
            db.execute(changed.values(waits_for=why))


def _start(host: Host, row: Execution, project: Project) -> bool:
    with host.database.read() as db:
        environment = service.environment_of(db, project, row)
        coming = environments.coming(db, project)
    if environment is None or not environment.ready:
        asked = environment or coming
        if asked is not None and asked.state in ("failed", "cancelled"):
            why = f"the project has no environment: its build {asked.state}. {asked.message}".strip()
            _end(host, row, states.Verdict(states.FAILED, why))
        else:
            _wait(host, row, "the project's environment is being built")
        return False
    try:
        spec = launch.spec(host, row, slug=project.slug, python=Path(environment.python), records=project.records)
        with host.database.write() as db:
            fresh = db.get(Execution, row.run_id, with_for_update=True)
            if fresh is None or fresh.status != states.QUEUED or fresh.process_id is not None:
                return False
            owner = service.token_owner(fresh)
            tokens.revoke_for(db, owner)
            secret = tokens.create_for_run(db, fresh.created_by, project_id=project.id, owner=owner)
            launch.write_token(host, fresh, secret)
            process = keeper.want(db, kind="run", owner_id=row.run_id, spec=spec, project_id=project.id)
            fresh.process_id, fresh.environment_id, fresh.waits_for = process.id, environment.id, ""
    except HeadwayError as error:
        _end(host, row, states.Verdict(states.FAILED, error.message))
        return False
    return True


# Following: the process says that it runs, then how it ended; the last facts are shipped; then comes the verdict.


def _follow(host: Host, row: Execution, project: Project) -> None:
    with host.database.read() as db:
        process = db.get(Process, row.process_id)
        drain = db.get(Process, row.drain_id) if row.drain_id else None
    if process is None:
        return _end(host, row, states.Verdict(states.LOST, "the record of its process is gone"))
    if process.state == "running" and row.status == states.QUEUED:
        with host.database.write() as db:
            fresh = db.get(Execution, row.run_id, with_for_update=True)
            if fresh is not None and fresh.status == states.QUEUED:
                service.begin(db, fresh, process.started_at or now_ms())
        return None
    if process.state not in ("exited", "lost") or not process.settled:
        return None
    place = launch.folder(host, row)
    if drain is None and _read(place / "done.json").get("sidecar") != 0 and launch.left_in_spool(place):
        return _want_drain(host, row, project)
    if drain is not None and not (drain.state in ("exited", "lost") and drain.settled):
        return None
    _finish(host, row, process, place)
    return None


def _want_drain(host: Host, row: Execution, project: Project) -> None:
    with host.database.write() as db:
        fresh = db.get(Execution, row.run_id, with_for_update=True)
        if fresh is not None and not fresh.over and fresh.drain_id is None:
            spec = launch.drain_spec(host, fresh, slug=project.slug)
            fresh.drain_id = keeper.want(db, kind="drain", owner_id=row.run_id, spec=spec, project_id=project.id).id


def _finish(host: Host, row: Execution, process: Process, place: Path) -> None:
    verdict = states.verdict(ended(row, process, place))
    with host.database.write() as db:
        fresh = db.get(Execution, row.run_id, with_for_update=True)
        if fresh is None or fresh.over:
            return
        if fresh.status == states.QUEUED and process.started_at:  # it was over before we saw it running
            service.begin(db, fresh, process.started_at)
        fresh.peak_memory_mb = process.peak_memory_mb
        service.end(db, fresh, verdict, process.ended_at)
        if row.kind == "notebook" and (place / "in.ipynb").exists() and not (place / "out.ipynb").exists():
            keeper.want(
                db,
                kind="assemble",
                owner_id=row.run_id,
                spec=launch.assemble_spec(host, row),
                project_id=row.project_id,
            )
    launch.token_path(host, row).unlink(missing_ok=True)


def ended(row: Execution, process: Process, place: Path) -> states.Ended:
    """What is known about a run whose process is over."""
    limits = launch.limits_of(row)
    result: dict[str, Any] | None = _read(place / "result.json") if row.kind == "notebook" else None
    if row.kind == "notebook" and not result:
        result = {"cell": _last_cell(place)}
    return states.Ended(
        cause=process.cause or "lost",
        exit_code=process.exit_code,
        signal=process.signal,
        detail=process.detail,
        memory_kills=process.memory_kills,
        tail=_tail(place / "output.log"),
        result=result,
        memory_mb=limits.memory_mb,
        timeout_s=limits.timeout_s,
    )


def _last_cell(place: Path) -> int | None:
    """The code cell that a runner which could not say so was at, counted from 1."""
    sent = cells_sent(place / "cursor.jsonl")
    if not sent:
        return None
    cells = _read(place / "in.ipynb").get("cells", [])
    code = [
        at for at, cell in enumerate(cells) if cell.get("cell_type") == "code" and str(cell.get("source", "")).strip()
    ]
    last = list(sent.values())[-1]
    return code.index(last) + 1 if last in code else None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
