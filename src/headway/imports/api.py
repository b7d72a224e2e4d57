"""Routes of an import: experiments, runs, their series as columns, logged models, traces, registered models.

`headway import mlruns` speaks to them. Each call may be repeated: what is there already stays, and says so.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from headway.engines.host import Host
from headway.errors import BadInput
from headway.models import bulk_import as registry
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.traces import bulk_import as tracing
from headway.traces.spans import clean
from headway.tracking import bulk_import
from headway.tracking.inputs import DatasetUse
from headway.tracking.store import columns
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter(prefix="/api/v1/projects/{slug}/import", tags=["import"], responses=docs_responses())


def _checked(value: Any) -> Any:
    """The value, if it holds no text that a database can't keep. Raises `ValueError`."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (UnicodeEncodeError, TypeError, RecursionError):
        raise ValueError("It holds text that is not Unicode.") from None
    if "\\u0000" in text:
        raise ValueError("It holds a NUL character.")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return _checked(value)


class NewExperiment(_Strict):
    """An experiment as it was. Times in milliseconds."""

    name: str = Field(min_length=1, max_length=500)
    tags: dict[str, str] = {}
    created_at: int | None = None
    updated_at: int | None = None


class DatasetOfRun(_Strict):
    """Data that a run read."""

    name: str = Field(max_length=500)
    digest: str = Field(max_length=64)
    source_type: str = Field("", max_length=64)
    source: str = ""
    schema_: str = Field("", alias="schema")
    profile: str = ""
    tags: dict[str, str] = {}


class ModelOfRun(_Strict):
    """A logged model that a run read or made."""

    model_id: str
    role: Literal["input", "output"]
    step: int = 0


class NewRun(_Strict):
    """A run as it was: its own id (32 hexadecimal digits) and times (milliseconds)."""

    run_id: str
    experiment_id: int
    name: str = ""
    user: str = ""
    status: str = "FINISHED"
    start_time: int | None = None
    end_time: int | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    datasets: list[DatasetOfRun] = []
    models: list[ModelOfRun] = []


class SumsOfRun(_Strict):
    """What was sent of a run: numbers of parameters, of points by series, of files, and their bytes."""

    params: int = 0
    series: dict[str, int] = {}
    files: int = 0
    bytes: int = 0
    origin: str = ""


class NewLoggedModel(_Strict):
    """A logged model as it was."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model_id: str
    experiment_id: int
    name: str = Field(max_length=500)
    model_type: str = ""
    status: str = "READY"
    source_run: str = ""
    created_at: int = 0
    updated_at: int = 0
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[dict[str, Any]] = []


class TraceIds(_Strict):
    """Traces by their ids."""

    trace_ids: list[str] = Field(max_length=1000)


class NewTrace(_Strict):
    """A trace as it was: MLflow's `TraceInfoV3`, its spans as MLflow sends or keeps them, the runs it is linked to."""

    experiment_id: int
    info: dict[str, Any]
    spans: list[dict[str, Any]] = Field([], max_length=20_000)
    runs: list[str] = Field([], max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """What a model said may hold a NUL character; it is taken out."""
        return _checked(clean(value))


class NewTraces(_Strict):
    """Some traces, each kept whole or not at all."""

    traces: list[NewTrace] = Field(max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Each trace sees to it."""
        return value


class NewVersion(_Strict):
    """A version as it was. `source`: `runs:/<run>/<path>`, `models:/m-<id>`, or what else it said."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    number: int = Field(ge=1, lt=2**31)
    source: str = Field("", max_length=1000)
    run_id: str = ""
    model_id: str = ""
    stage: str = "None"
    description: str = ""
    user: str = ""
    run_link: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: dict[str, str] = {}


class NewModel(_Strict):
    """A registered model as it was, with its versions and the aliases that stand for them."""

    name: str
    description: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    versions: list[NewVersion] = []
    origin: str = ""


@router.post("/experiments")
def experiment(who: Signed, db: Db, slug: str, body: NewExperiment) -> dict[str, Any]:
    """The experiment that runs of one of this name go into; made if there is none."""
    project = projects.by_slug(db, who, slug, "edit")
    row, made = bulk_import.experiment(
        db, who, project.id, body.name, tags=body.tags, created_at=body.created_at, updated_at=body.updated_at
    )
    return {"experiment_id": row.id, "name": row.name, "made": made}


@router.post("/runs")
def begin(who: Signed, db: Db, slug: str, body: NewRun) -> dict[str, Any]:
    """Begin the import of a run: `state` is new, again (half of it was there and is taken back), there, or taken."""
    project = projects.by_slug(db, who, slug, "edit")
    uses = [
        DatasetUse(d.name, d.digest, d.source_type, d.source, d.schema_, d.profile, tuple(d.tags.items()))
        for d in body.datasets
    ]
    plain = body.model_dump(exclude={"datasets", "models"})
    models = [(m.model_id, m.role, m.step) for m in body.models]
    found = bulk_import.begin(db, who, project.id, bulk_import.Recorded(**plain, datasets=uses, models=models))
    return {"state": found.state, "left": found.left}


@router.post("/runs/{run_id}/points")
async def points(who: Signed, host: HostDep, slug: str, run_id: str, request: Request) -> dict[str, Any]:
    """Whole series, or long pieces of them, in the format of `/api/v1/runs/{run_id}/points`; how many points each got."""
    body = await request.body()
    return await to_thread.run_sync(_points, host, who, slug, run_id, body)


def _points(host: Host, who: Who, slug: str, run_id: str, body: bytes) -> dict[str, Any]:
    with host.database.read() as db:  # who may not is told so, whatever the body says
        project_id = projects.by_slug(db, who, slug, "edit").id
    found = columns.read(body)
    with host.database.write() as db:
        return {"points": bulk_import.points(db, who, project_id, run_id, found)}


@router.post("/runs/{run_id}/finish")
def finish(who: Signed, db: Db, slug: str, run_id: str, body: SumsOfRun) -> dict[str, Any]:
    """Compare the sums. `wrong` is empty where all came; then the run is whole, and stays as it is."""
    project = projects.by_slug(db, who, slug, "edit")
    said = bulk_import.Sums(body.params, body.series, body.files, body.bytes)
    return {"wrong": bulk_import.finish(db, who, project.id, run_id, said, body.origin)}


@router.post("/logged-models")
def logged_model(who: Signed, db: Db, slug: str, body: NewLoggedModel) -> dict[str, Any]:
    """A logged model; its files follow by MLflow's protocol. `state` is new, there, or taken."""
    project = projects.by_slug(db, who, slug, "edit")
    try:
        found = bulk_import.model(db, who, project.id, bulk_import.RecordedModel(**body.model_dump()))
    except (KeyError, TypeError, ValueError):
        raise BadInput("A metric of a model has key, value, time and step.", field="metrics") from None
    return {"state": found.state, "left": found.left}


@router.post("/traces/absent")
def absent_traces(who: Signed, db: ReadDb, slug: str, body: TraceIds) -> dict[str, Any]:
    """Those of these traces that an import would bring: the spans of the others need not be sent."""
    project = projects.by_slug(db, who, slug, "edit")
    return {"absent": tracing.absent(db, who, project.id, body.trace_ids)}


@router.post("/traces")
def traces(who: Signed, db: Db, slug: str, body: NewTraces) -> dict[str, Any]:
    """Traces with all that belongs to them: those that are `new`, those that were `there` and stay, and what can't be kept."""
    project = projects.by_slug(db, who, slug, "edit")
    found = tracing.take(db, who, project.id, [tracing.RecordedTrace(**dict(one)) for one in body.traces])
    return {"new": found.new, "there": found.there, "left": [{"what": what, "why": why} for what, why in found.left]}


@router.post("/models")
def registered_model(who: Signed, db: Db, slug: str, body: NewModel) -> dict[str, Any]:
    """A registered model with its versions; those that are there already stay as they are."""
    project = projects.by_slug(db, who, slug, "edit")
    versions = [registry.RecordedVersion(**v.model_dump()) for v in body.versions]
    plain = body.model_dump(exclude={"versions", "origin"})
    found = registry.take(db, who, project.id, registry.RecordedRegistered(**plain, versions=versions), body.origin)
    return {"name": found.name, "versions": found.versions, "left": found.left}
