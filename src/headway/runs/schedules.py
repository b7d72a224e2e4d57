"""The verbs of schedules, and the moment when they fire."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines.host import Host
from headway.errors import HeadwayError, NotFound, Unprocessable
from headway.people import audit, guard
from headway.people import service as people
from headway.people.rules import RUN, VIEW, Who
from headway.people.tables import User
from headway.projects.tables import Project
from headway.runs import parameters, service, states, timetable
from headway.runs.launch import RunLimits
from headway.runs.tables import Execution, Fire, Schedule

log = logging.getLogger("headway.runs")

LATE_MS = 60_000
_BATCH = 100


@dataclass(frozen=True)
class Due:
    """What a schedule's fire is about to do."""

    schedule_id: str
    expected: int
    due_at: int
    next_at: int | None


def add(
    db: Session, host: Host, who: Who, project: Project, path: str, cron: str, zone: str = "UTC", *,
    params: Mapping[str, Any] | None = None, limits: RunLimits | None = None, name: str = "",
) -> Schedule:  # fmt: skip
    """Run a notebook or script at the times of `cron`. Everything is checked now as if it were submitted."""
    guard.check(db, who, RUN, project.id)
    file = service.look(host, project, path)
    values = parameters.typed(params or {}, file.found, identifiers=file.kind == "notebook")
    asked = service.check_limits(limits or RunLimits())
    cron, place, moment = timetable.clean_cron(cron), timetable.clean_zone(zone), now_ms()
    name = " ".join(name.split()) or file.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    if len(name) > 120:
        raise Unprocessable("The name has more than 120 characters.", field="name")
    row = Schedule(id=new_id(), project_id=project.id, name=name, path=file.path, params=json.dumps(values),
                   limits=json.dumps(asked.as_dict()), cron=cron, zone=zone, next_at=timetable.next_after(cron, place, moment),
                   created_by=who.user_id, created_at=moment)  # fmt: skip
    db.add(row)
    db.flush()
    audit.note(db, who, "schedule.add", row.name, project_id=project.id, path=file.path, cron=cron, zone=zone)
    return row


def listed(db: Session, who: Who, project: Project) -> list[Schedule]:
    """The project's schedules: the next one first, paused ones last."""
    guard.check(db, who, VIEW, project.id)
    query = select(Schedule).where(Schedule.project_id == project.id)
    return list(db.scalars(query.order_by(Schedule.next_at.is_(None), Schedule.next_at, Schedule.name)))


def get(db: Session, who: Who, project: Project, schedule_id: str) -> Schedule:
    """One of the project's. Missing and foreign ones raise the same `NotFound`."""
    guard.check(db, who, VIEW, project.id)
    row = db.get(Schedule, schedule_id)
    if row is None or row.project_id != project.id:
        raise NotFound("There is no such schedule.")
    return row


def pause(db: Session, who: Who, row: Schedule) -> Schedule:
    """Let it rest; doing it twice is doing it once."""
    guard.check(db, who, RUN, row.project_id)
    if row.paused_at is None:
        row.paused_at, row.next_at = now_ms(), None
        audit.note(db, who, "schedule.pause", row.name, project_id=row.project_id)
    return row


def resume(db: Session, who: Who, row: Schedule) -> Schedule:
    """Let it fire again, from now on: what would have been due meanwhile is not made up for. It acts as whoever resumes it."""
    guard.check(db, who, RUN, row.project_id)
    if row.paused_at is not None:
        row.paused_at, row.trouble, row.created_by = None, "", who.user_id
        row.next_at = timetable.next_after(row.cron, ZoneInfo(row.zone), now_ms())
        audit.note(db, who, "schedule.resume", row.name, project_id=row.project_id)
    return row


def remove(db: Session, who: Who, row: Schedule) -> None:
    """Delete it; the runs it made stay."""
    guard.check(db, who, RUN, row.project_id)
    audit.note(db, who, "schedule.remove", row.name, project_id=row.project_id)
    db.delete(row)
    db.flush()


def coming(row: Schedule, count: int = 5) -> list[int]:
    """Its next times, in milliseconds; none while it is paused."""
    if row.paused_at is not None or row.next_at is None:
        return []
    return timetable.upcoming(row.cron, ZoneInfo(row.zone), row.next_at - 1000, count)


def fires(db: Session, row: Schedule, limit: int = 20) -> list[Fire]:
    """The last times it fired, newest first."""
    return list(db.scalars(select(Fire).where(Fire.schedule_id == row.id).order_by(Fire.due_at.desc()).limit(limit)))


def next_due(db: Session) -> int | None:
    """When the next schedule fires (ms); None if none will."""
    return db.scalar(select(func.min(Schedule.next_at)))


def fire_due(host: Host, now: int) -> int:
    """Fire every schedule that is due, once for all the times that were missed. Returns how many this server fired.

    Each fire is one transaction: the schedule moves on only from the time that was read, the fire's key is (schedule, time),
    and the run is submitted with them. Of two servers one succeeds; a server that is killed has done all of it or nothing.
    """
    with host.database.read() as db:
        rows = list(
            db.scalars(select(Schedule).where(Schedule.next_at <= now).order_by(Schedule.next_at).limit(_BATCH))
        )
    fired = 0
    for row in rows:
        zone = ZoneInfo(row.zone)
        assert row.next_at is not None
        due_at = timetable.latest_due(row.cron, zone, row.next_at, now)
        due = Due(row.id, row.next_at, due_at, timetable.next_after(row.cron, zone, max(due_at, now)))
        try:
            with host.database.write() as db:
                fired += _fire(db, host, due, now)
        except IntegrityError:
            continue  # another server was faster by a hair
        except HeadwayError as error:
            _trouble(host, due, now, error)
    return fired


def _moved_on(db: Session, due: Due) -> bool:
    changed = update(Schedule).where(Schedule.id == due.schedule_id, Schedule.next_at == due.expected)
    done = db.execute(changed.values(next_at=due.next_at))
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _fire(db: Session, host: Host, due: Due, now: int) -> int:
    if not _moved_on(db, due):
        return 0
    row = db.get(Schedule, due.schedule_id)
    assert row is not None
    fire = Fire(schedule_id=row.id, due_at=due.due_at, fired_at=now)
    db.add(fire)
    db.flush()
    busy = db.scalar(
        select(Execution.run_id).where(Execution.schedule_id == row.id, Execution.status.in_(states.LIVE)).limit(1)
    )
    if busy is not None:
        fire.outcome = "skipped: the run before was still going on"
        return 1
    user, project = db.get(User, row.created_by), db.get(Project, row.project_id)
    if user is None or user.disabled_at is not None or project is None:
        raise Unprocessable("Whoever made this schedule is gone.", hint="Resume it to run it under your name.")
    if project.archived_at is not None:
        raise Unprocessable("The project is archived.")
    execution = service.submit(db, host, people.as_who(user), project, row.path, row.given,
                               limits=RunLimits(**json.loads(row.limits)), schedule_id=row.id)  # fmt: skip
    fire.run_id = execution.run_id
    fire.outcome = (
        "started" if now - due.due_at < LATE_MS and due.due_at == due.expected else "started late: the server was down"
    )
    row.trouble = ""
    return 1


def _trouble(host: Host, due: Due, now: int, error: HeadwayError) -> None:
    """What was due could not be submitted: the schedule goes on and says why, and nothing else is half-written."""
    log.warning("schedule %s: %s", due.schedule_id, error.message)
    try:
        with host.database.write() as db:
            row = db.get(Schedule, due.schedule_id)
            if row is None or not _moved_on(db, due):
                return
            row.trouble = error.message
            db.add(
                Fire(
                    schedule_id=due.schedule_id,
                    due_at=due.due_at,
                    fired_at=now,
                    outcome=f"failed: {error.message}"[:1000],
                )
            )
    except IntegrityError:
        return
