"""Schedules over JSON."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from headway.people.guard import Signed
from headway.people.rules import RUN, VIEW
from headway.projects import service as projects
from headway.runs import schedules
from headway.runs.launch import RunLimits
from headway.runs.tables import Schedule
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter(prefix="/api/v1/projects/{slug}/schedules", tags=["schedules"], responses=docs_responses())


class ScheduleBody(BaseModel):
    """What to run when. `cron` has five fields, or is @hourly, @daily, @weekly, @monthly; in the time of `zone`."""

    path: str = Field(examples=["retrain.ipynb"])
    cron: str = Field(examples=["0 7 * * 1-5"])
    zone: str = Field("UTC", examples=["Europe/Berlin"])
    name: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    memory_mb: int | None = None
    timeout_s: float | None = None
    cpu: float | None = None
    cell_timeout_s: float | None = None


class FireOut(BaseModel):
    """One time it was due."""

    due_at: int
    fired_at: int
    run_id: str | None
    outcome: str


class ScheduleOut(BaseModel):
    """A schedule. Times are milliseconds since the epoch; `upcoming` are the next five."""

    id: str
    name: str
    path: str
    cron: str
    zone: str
    params: dict[str, Any]
    limits: dict[str, Any]
    paused: bool
    trouble: str
    upcoming: list[int]
    fires: list[FireOut]
    created_at: int


class ScheduleList(BaseModel):
    """The project's schedules: the next one first."""

    schedules: list[ScheduleOut]


def _out(db: Session, row: Schedule) -> ScheduleOut:
    fires = [
        FireOut(due_at=f.due_at, fired_at=f.fired_at, run_id=f.run_id, outcome=f.outcome)
        for f in schedules.fires(db, row)
    ]
    return ScheduleOut(id=row.id, name=row.name, path=row.path, cron=row.cron, zone=row.zone, params=row.given,
                       limits=json.loads(row.limits), paused=row.paused_at is not None, trouble=row.trouble,
                       upcoming=schedules.coming(row), fires=fires, created_at=row.created_at)  # fmt: skip


@router.get("")
def index(db: ReadDb, who: Signed, slug: str) -> ScheduleList:
    """The project's schedules."""
    project = projects.by_slug(db, who, slug)
    return ScheduleList(schedules=[_out(db, row) for row in schedules.listed(db, who, project)])


@router.post("", status_code=201)
def add(host: HostDep, db: Db, who: Signed, slug: str, body: ScheduleBody) -> ScheduleOut:
    """Run a notebook or script at given times."""
    project = projects.by_slug(db, who, slug, RUN)
    limits = RunLimits(body.memory_mb, body.timeout_s, body.cpu, body.cell_timeout_s)
    row = schedules.add(
        db, host, who, project, body.path, body.cron, body.zone, params=body.params, limits=limits, name=body.name
    )
    return _out(db, row)


@router.get("/{schedule_id}")
def show(db: ReadDb, who: Signed, slug: str, schedule_id: str) -> ScheduleOut:
    """One schedule, with the last times it fired."""
    return _out(db, schedules.get(db, who, projects.by_slug(db, who, slug), schedule_id))


@router.post("/{schedule_id}/pause")
def pause(db: Db, who: Signed, slug: str, schedule_id: str) -> ScheduleOut:
    """Let it rest."""
    project = projects.by_slug(db, who, slug, VIEW)
    return _out(db, schedules.pause(db, who, schedules.get(db, who, project, schedule_id)))


@router.post("/{schedule_id}/resume")
def resume(db: Db, who: Signed, slug: str, schedule_id: str) -> ScheduleOut:
    """Let it fire again, from now on."""
    project = projects.by_slug(db, who, slug, VIEW)
    return _out(db, schedules.resume(db, who, schedules.get(db, who, project, schedule_id)))


@router.delete("/{schedule_id}", status_code=204)
def remove(db: Db, who: Signed, slug: str, schedule_id: str) -> None:
    """Delete it; its runs stay."""
    project = projects.by_slug(db, who, slug, VIEW)
    schedules.remove(db, who, schedules.get(db, who, project, schedule_id))
