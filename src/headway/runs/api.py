"""Runs over JSON: submit, list, look at, follow, cancel, run again; the parameters a file has; schedules are below them."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.environments import service as environments
from headway.errors import NotFound
from headway.people.guard import Signed
from headway.people.rules import RUN, VIEW, Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import follow, launch, output, parameters, schedules_api, service, sources_api
from headway.runs.launch import RunLimits
from headway.runs.tables import Execution
from headway.tracking import logged_models
from headway.tracking import service as tracking
from headway.tracking.store.readout import RunFacts
from headway.web import live
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter()
runs = APIRouter(prefix="/api/v1/projects/{slug}/runs", tags=["runs"], responses=docs_responses())
_WORDS = {"RUNNING": "running", "SCHEDULED": "queued", "FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
_PIECES = 64


class LimitsBody(BaseModel):
    """What a run may use; what is left out is not limited, or as the server's settings say."""

    memory_mb: Annotated[int | None, Field(description="MiB of its whole process tree.")] = None
    timeout_s: Annotated[float | None, Field(description="Seconds of wall time.")] = None
    cpu: Annotated[float | None, Field(description="Cores: how many threads numeric libraries take.")] = None
    cell_timeout_s: Annotated[float | None, Field(description="Seconds for each cell of a notebook.")] = None

    def limits(self) -> RunLimits:
        """As the service takes them."""
        return RunLimits(self.memory_mb, self.timeout_s, self.cpu, self.cell_timeout_s)


class SubmitBody(BaseModel):
    """What to run. Texts are read as the parameter's type."""

    path: str = Field(examples=["train.ipynb"])
    params: dict[str, Any] = Field(default_factory=dict, examples=[{"lr": 0.1}])
    limits: LimitsBody = Field(default_factory=LimitsBody)
    environment: str | None = Field(None, description="Id of an environment; else the project's current one.")
    source: str = Field("", description="Id of a folder that was sent along; else the project's own files.")
    name: str = Field("", max_length=250)


class RunOut(BaseModel):
    """A run. Times are milliseconds since the epoch."""

    run_id: str
    status: str
    cause: str
    params: dict[str, Any]
    metrics: dict[str, float | None]
    models: list[dict[str, Any]]
    trainings: list[dict[str, Any]]
    name: str
    project: str
    path: str
    kind: str
    attempt: int
    waits_for: str
    error: dict[str, Any]
    limits: dict[str, Any]
    peak_memory_mb: float | None
    environment: str | None
    schedule_id: str | None
    rerun_of: str | None
    linked: list[str]
    created_at: int | None
    started_at: int | None
    ended_at: int | None
    url: str


class BriefOut(BaseModel):
    """A run in a list."""

    run_id: str
    status: str
    cause: str
    path: str
    kind: str
    params: dict[str, Any]
    schedule_id: str | None
    waits_for: str
    created_at: int
    started_at: int | None
    ended_at: int | None
    url: str


class RunList(BaseModel):
    """Runs, newest first; `next` is the value of `before` for the next page, None on the last."""

    runs: list[BriefOut]
    next: int | None


def describe(db: Session, host: Host, who: Who, project: Project, run_id: str) -> RunOut:
    """All that is known of a run: of an execution, or of one that a client recorded."""
    row = service.find(db, run_id)
    facts = tracking.facts(db, who, run_id)
    if facts.project_id != project.id or (row is not None and row.project_id != project.id):
        raise NotFound("There is no such run.")
    known: dict[str, Any] = {
        name: getattr(row, name, None) for name in ("environment_id", "schedule_id", "rerun_of", "peak_memory_mb")
    }
    return RunOut(
        run_id=run_id,
        status=row.status if row else _WORDS.get(facts.status, facts.status.lower()),
        cause=row.cause if row else facts.cause,
        params=facts.params | (row.given if row else {}),
        metrics=_metrics(facts),
        models=[{"id": m.uuid, "name": m.name, "status": m.status} for m in logged_models.of_run(db, run_id)],
        trainings=[_training(child) for child in tracking.children(db, run_id)],
        name=facts.name,
        project=project.slug,
        path=row.path if row else facts.tags.get("mlflow.source.name", ""),
        kind=row.kind if row else "",
        attempt=row.attempt if row else 1,
        waits_for=row.waits_for if row else "",
        error=json.loads(row.error) if row else {},
        limits=json.loads(row.limits) if row else {},
        peak_memory_mb=known["peak_memory_mb"],
        environment=known["environment_id"],
        schedule_id=known["schedule_id"],
        rerun_of=known["rerun_of"],
        linked=json.loads(row.linked) if row else [],
        created_at=row.created_at if row else facts.start_time,
        started_at=row.started_at if row else facts.start_time,
        ended_at=row.ended_at if row else facts.end_time,
        url=f"{host.settings.url}/p/{project.slug}/runs/{run_id}",
    )


def _metrics(facts: RunFacts) -> dict[str, float | None]:
    return {name: series.last if math.isfinite(series.last) else None for name, series in facts.metrics.items()}


def _training(facts: RunFacts) -> dict[str, Any]:
    return {"run_id": facts.uuid, "name": facts.name, "status": _WORDS.get(facts.status, facts.status.lower()),
            "params": facts.params, "metrics": _metrics(facts)}  # fmt: skip


def brief(host: Host, project: Project, row: Execution) -> BriefOut:
    """A run as a list shows it."""
    values = {name: getattr(row, name) for name in BriefOut.model_fields if hasattr(row, name)}
    return BriefOut(**values | {"params": row.given, "url": f"{host.settings.url}/p/{project.slug}/runs/{row.run_id}"})


@runs.get("")
def index(
    host: HostDep, db: ReadDb, who: Signed, slug: str, status: str = "", path: str = "", schedule: str = "",
    before: int | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RunList:  # fmt: skip
    """The project's runs that headway started."""
    project = projects.by_slug(db, who, slug)
    rows = service.listed(db, who, project, status=status, path=path, schedule_id=schedule, before=before, limit=limit)
    more = rows[-1].created_at if len(rows) == limit else None
    return RunList(runs=[brief(host, project, row) for row in rows], next=more)


@runs.post("", status_code=202)
def submit(host: HostDep, db: Db, who: Signed, slug: str, body: SubmitBody) -> RunOut:
    """Queue a run of a notebook or script."""
    project = projects.by_slug(db, who, slug, RUN)
    environment = environments.get(db, who, project, body.environment) if body.environment else None
    row = service.submit(db, host, who, project, body.path, body.params, limits=body.limits.limits(), environment=environment,
                         name=body.name, source=body.source)  # fmt: skip
    return describe(db, host, who, project, row.run_id)


@runs.get("/parameters")
def find_parameters(host: HostDep, db: ReadDb, who: Signed, slug: str, path: str, source: str = "") -> dict[str, Any]:
    """The parameters a notebook or script has, found in its source."""
    project = projects.by_slug(db, who, slug)
    file = service.look(host, project, path, source)
    return {"path": file.path, "kind": file.kind, "complete": file.found.complete,
            "parameters": parameters.shown(file.found.parameters)}  # fmt: skip


@runs.get("/{run_id}")
def show(host: HostDep, db: ReadDb, who: Signed, slug: str, run_id: str) -> RunOut:
    """One run with its parameters, metrics, models and trainings."""
    return describe(db, host, who, projects.by_slug(db, who, slug), run_id)


@runs.post("/{run_id}/cancel")
def cancel(host: HostDep, db: Db, who: Signed, slug: str, run_id: str) -> BriefOut:
    """End it: interrupt, TERM, KILL."""
    project = projects.by_slug(db, who, slug, VIEW)
    return brief(host, project, service.cancel(db, who, service.get(db, who, project, run_id)))


@runs.post("/{run_id}/rerun", status_code=202)
def rerun(host: HostDep, db: Db, who: Signed, slug: str, run_id: str) -> BriefOut:
    """Submit the same once more, with the file as it is now."""
    project = projects.by_slug(db, who, slug, VIEW)
    return brief(host, project, service.rerun(db, host, who, project, service.get(db, who, project, run_id)))


@runs.get("/{run_id}/logs", response_class=PlainTextResponse)
def logs(
    request: Request, host: HostDep, db: ReadDb, who: Signed, slug: str, run_id: str,
    offset: Annotated[int, Query(ge=0)] = 0, follow_it: Annotated[bool, Query(alias="follow")] = False,
) -> Response:  # fmt: skip
    """What it printed from `offset` on, as text; `X-Next-Offset` is where to go on.

    With `follow=true`, server-sent events: `output` with `{"text"}` and the next offset as id, at last `end` with
    `{"status", "cause"}`.
    """
    row = service.get(db, who, projects.by_slug(db, who, slug), run_id)
    if follow_it:
        return live.sse(follow.text(request, host, who, row, live.resume_offset(request, offset)))
    place, said = launch.folder(host, row), []
    for _ in range(_PIECES):
        text, after = output.read(place, row.kind, offset)
        if after == offset:
            break
        said.append(text)
        offset = after
    return PlainTextResponse("".join(said), headers={"X-Next-Offset": str(offset), "X-Run-Status": row.status})


router.include_router(runs)
router.include_router(schedules_api.router)
router.include_router(sources_api.router)
