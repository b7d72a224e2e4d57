"""What there is to see across the projects that somebody may see: runs, endpoints, environments, models. Only reads.

Callers hand in the projects that `who` may view, so that nothing else can be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from headway.clock import now_ms
from headway.deployments import service as deployments
from headway.deployments import show
from headway.deployments.tables import Endpoint, Revision
from headway.engines.host import Host
from headway.environments.tables import Environment, ProjectEnvironment
from headway.models.tables import Alias, ModelVersion, RegisteredModel
from headway.projects.tables import Project
from headway.runs.tables import Execution
from headway.tracking.store.readout import RunFacts
from headway.tracking.store.readout import facts as facts_of
from headway.tracking.tables import Experiment, Run

_STATES = {
    "RUNNING": "running",
    "SCHEDULED": "queued",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "cancelled",
}
_GOOD, _LIVE = "finished", ("queued", "running")
_HISTORY = 5


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `expected_ms`: how long its like took lately (None: unknown); times in milliseconds."""

    run: Run
    project: Project
    experiment: str
    state: str
    cause: str
    path: str
    expected_ms: int | None = None

    @property
    def url(self) -> str:
        return f"/p/{self.project.slug}/runs/{self.run.uuid}"

    @property
    def title(self) -> str:
        return self.run.name or self.path or self.experiment

    def percent(self, now: int) -> float | None:
        """How far it is, judged by its like; never quite done before it is."""
        if self.state != "running" or not self.expected_ms or self.run.start_time is None:
            return None
        return min(95.0, 100.0 * max(now - self.run.start_time, 0) / self.expected_ms)


@dataclass(frozen=True)
class Traffic:
    """What an endpoint answered: ever, in the last hour, failures (5xx) of it, and the requests minute by minute."""

    ever: int = 0
    hour: int = 0
    failed: int = 0
    minutes: tuple[int, ...] = ()

    @property
    def failing(self) -> bool:
        """Whether so many requests fail that somebody should look: five or more, and one in twenty."""
        return self.failed >= 5 and self.failed * 20 >= self.hour


@dataclass(frozen=True)
class EndpointLine:
    """An endpoint in a list: its state, what serves, and why it failed if it did."""

    endpoint: Endpoint
    project: Project
    state: str
    serving: Revision | None
    newest: Revision | None
    traffic: Traffic = Traffic()

    @property
    def url(self) -> str:
        return f"/p/{self.project.slug}/endpoints/{self.endpoint.name}"

    @property
    def failed_lately(self) -> bool:
        """Whether the last thing somebody deployed did not go live."""
        return self.newest is not None and self.newest.state == "failed"


@dataclass(frozen=True)
class ModelLine:
    """A model in a list: its newest version, and the version that is its champion."""

    model: RegisteredModel
    newest: int
    champion: int | None
    versions: int


def runs(db: Session, projects: Sequence[Project], *, limit: int, states: Sequence[str] = ()) -> list[RunLine]:
    """The newest runs that are nobody's child; `states` in MLflow's words."""
    by_id = {project.id: project for project in projects}
    query = select(Run).where(Run.project_id.in_(by_id), Run.lifecycle == "active", Run.parent_uuid.is_(None))
    if states:
        query = query.where(Run.status.in_(states))
    found = list(db.scalars(query.order_by(Run.start_time.desc(), Run.uuid).limit(limit)))
    return _lines(db, found, by_id)


def latest_of_each(db: Session, projects: Sequence[Project], *, since: int) -> list[RunLine]:
    """The newest run of each experiment that ran since a time."""
    by_id = {project.id: project for project in projects}
    place = func.row_number().over(partition_by=Run.experiment_id, order_by=(Run.start_time.desc(), Run.uuid))
    inner = (
        select(Run.id, place.label("place"))
        .where(Run.project_id.in_(by_id), Run.lifecycle == "active", Run.parent_uuid.is_(None), Run.start_time >= since)
        .subquery()
    )
    query = select(Run).join(inner, inner.c.id == Run.id).where(inner.c.place == 1).order_by(Run.start_time.desc())
    return _lines(db, list(db.scalars(query.limit(50))), by_id)


def with_expectations(db: Session, lines: Sequence[RunLine]) -> list[RunLine]:
    """The lines with how long the last runs of the same notebook or script took."""
    made = []
    for line in lines:
        took = list(
            db.execute(
                select(Execution.started_at, Execution.ended_at)
                .where(Execution.project_id == line.project.id, Execution.path == line.path, Execution.status == _GOOD)
                .order_by(Execution.created_at.desc())
                .limit(_HISTORY)
            )
        )
        known = [end - start for start, end in took if start is not None and end is not None]
        expected = int(median(known)) if known and line.path else None
        made.append(RunLine(line.run, line.project, line.experiment, line.state, line.cause, line.path, expected))
    return made


def _lines(db: Session, found: Sequence[Run], by_id: dict[str, Project]) -> list[RunLine]:
    names = {
        e.id: e.name for e in db.scalars(select(Experiment).where(Experiment.id.in_({r.experiment_id for r in found})))
    }
    executions = {
        e.run_id: e for e in db.scalars(select(Execution).where(Execution.run_id.in_([r.uuid for r in found])))
    }
    lines = []
    for run in found:
        execution = executions.get(run.uuid)
        state = execution.status if execution else _STATES.get(run.status, run.status.lower())
        cause = (execution.cause or execution.waits_for) if execution else run.cause
        lines.append(
            RunLine(
                run,
                by_id[run.project_id],
                names.get(run.experiment_id, ""),
                state,
                cause,
                execution.path if execution else "",
            )
        )
    return lines


def facts(db: Session, lines: Sequence[RunLine]) -> dict[str, RunFacts]:
    """What was recorded about the runs, by run id."""
    return {found.uuid: found for found in facts_of(db, [line.run for line in lines])}


def traffic(stats: Mapping[str, Any], now: int) -> Traffic:
    """The sum over the revisions of what the gateway counted; `stats` as `deployments.show.stats_of` gives them."""
    first = now // 60_000 - 59
    minutes = [0] * 60
    ever = failed = 0
    for counted in stats.values():
        ever += sum(counted.get("statuses", {}).values())
        for row in counted.get("minutes", ()):
            if 0 <= (at := row[0] - first) < 60:
                minutes[at] += row[1]
                failed += row[3]
    return Traffic(ever, sum(minutes), failed, tuple(minutes))


def endpoints(db: Session, host: Host, projects: Sequence[Project]) -> list[EndpointLine]:
    """The endpoints of the projects, by name."""
    by_id = {project.id: project for project in projects}
    query = select(Endpoint).where(Endpoint.project_id.in_(by_id), Endpoint.removed_at == 0)
    lines = []
    for row in db.scalars(query.options(selectinload(Endpoint.revisions)).order_by(Endpoint.name)):
        serving = max((r for r in row.revisions if r.weight > 0), key=lambda r: r.weight, default=None)
        newest = row.revisions[0] if row.revisions else None
        counted = traffic(show.stats_of(host, row), now_ms())
        lines.append(EndpointLine(row, by_id[row.project_id], deployments.state_of(row), serving, newest, counted))
    return lines


def failed_environments(db: Session, projects: Sequence[Project]) -> list[tuple[Project, Environment]]:
    """Projects whose wanted environment could not be built."""
    by_id = {project.id: project for project in projects}
    query = (
        select(ProjectEnvironment.project_id, Environment)
        .join(Environment, Environment.id == ProjectEnvironment.wanted_id)
        .where(ProjectEnvironment.project_id.in_(by_id), Environment.state == "failed")
    )
    return [(by_id[project_id], row) for project_id, row in db.execute(query)]


def models(db: Session, project_id: str, limit: int = 20) -> list[ModelLine]:
    """The project's models, those with news first."""
    query = (
        select(RegisteredModel, func.max(ModelVersion.number), func.count(ModelVersion.id))
        .outerjoin(ModelVersion, ModelVersion.model_id == RegisteredModel.id)
        .where(RegisteredModel.project_id == project_id, RegisteredModel.is_prompt.is_(False))
        .group_by(RegisteredModel.id)
        .order_by(RegisteredModel.updated_at.desc())
        .limit(limit)
    )
    found = [(model, newest, count) for model, newest, count in db.execute(query)]
    champions = {
        alias.model_id: alias.number
        for alias in db.scalars(
            select(Alias).where(Alias.alias == "champion", Alias.model_id.in_([model.id for model, _, _ in found]))
        )
    }
    return [ModelLine(model, newest or 0, champions.get(model.id), count) for model, newest, count in found]
