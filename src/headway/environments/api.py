"""Environments over JSON: list, ask, look at, follow the log, cancel, choose."""

from __future__ import annotations

import json
from typing import Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from headway.environments import service
from headway.environments.loop import folder
from headway.environments.tables import Environment
from headway.people.guard import Signed
from headway.people.rules import EDIT
from headway.projects import service as projects
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter(prefix="/api/v1/projects/{slug}/environments", tags=["environments"], responses=docs_responses())

LOG_LIMIT = 4 << 20


class AskBody(BaseModel):
    """What is asked for: the text of a requirements.txt, pyproject.toml, script with a PEP 723 header, or environment.yml."""

    text: str = Field(examples=["pandas>=2\nscikit-learn"])
    kind: Literal["requirements", "pyproject", "pep723", "conda"] = "requirements"
    name: str = Field("", max_length=120)
    use: bool = Field(True, description="The project changes to it as soon as it is ready.")
    from_source: bool = Field(
        False, description="Allow packages without a wheel: their build scripts run on the server."
    )


class EnvironmentOut(BaseModel):
    """An environment. Times are milliseconds since the epoch, `size` is in bytes."""

    id: str
    name: str
    kind: str
    state: str
    requirements: list[str]
    notes: list[str]
    hash: str
    python: str
    packages: int
    size: int
    reused: bool
    message: str
    hint: str
    created_at: int
    started_at: int | None
    ended_at: int | None
    current: bool


class EnvironmentList(BaseModel):
    """All of a project, newest first; `current` is the id of the one in use."""

    environments: list[EnvironmentOut]
    current: str | None


def _out(row: Environment, current: str | None) -> EnvironmentOut:
    made = {"requirements": json.loads(row.requirements), "notes": json.loads(row.notes), "python": row.python_version}
    same = EnvironmentOut.model_fields.keys() - made.keys() - {"current"}
    values: dict[str, Any] = {name: getattr(row, name) for name in same}
    return EnvironmentOut(**values, **made, current=row.id == current)


def _current(db: ReadDb, project: service.HasId) -> str | None:
    found = service.for_project(db, project)
    return found.id if found else None


@router.get("")
def index(db: ReadDb, who: Signed, slug: str) -> EnvironmentList:
    """The project's environments."""
    project = projects.by_slug(db, who, slug)
    current = _current(db, project)
    return EnvironmentList(
        environments=[_out(row, current) for row in service.listed(db, who, project)], current=current
    )


@router.post("", status_code=202)
def ask(db: Db, who: Signed, slug: str, body: AskBody) -> EnvironmentOut:
    """Ask for an environment; it is built in the background."""
    project = projects.by_slug(db, who, slug, EDIT)
    row = service.ask(
        db, who, project, body.text, body.kind, name=body.name, use=body.use, from_source=body.from_source
    )
    return _out(row, _current(db, project))


@router.get("/{environment_id}")
def show(db: ReadDb, who: Signed, slug: str, environment_id: str) -> EnvironmentOut:
    """One environment."""
    project = projects.by_slug(db, who, slug)
    return _out(service.get(db, who, project, environment_id), _current(db, project))


@router.get("/{environment_id}/lock", response_class=PlainTextResponse)
def lock(db: ReadDb, who: Signed, slug: str, environment_id: str) -> str:
    """Its lock, `name==version` a line; empty until it is ready."""
    return service.get(db, who, projects.by_slug(db, who, slug), environment_id).lock


@router.get("/{environment_id}/log", response_class=PlainTextResponse)
def log(host: HostDep, db: ReadDb, who: Signed, slug: str, environment_id: str, offset: int = Query(0, ge=0)) -> str:
    """What its build printed, from byte `offset`, at most 4 MiB."""
    row = service.get(db, who, projects.by_slug(db, who, slug), environment_id)
    path = folder(host, row.id, row.attempt) / "output.log"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(LOG_LIMIT).decode("utf-8", "replace")


@router.post("/{environment_id}/cancel")
def cancel(db: Db, who: Signed, slug: str, environment_id: str) -> EnvironmentOut:
    """Stop its build."""
    project = projects.by_slug(db, who, slug, EDIT)
    return _out(service.cancel(db, who, project, environment_id), _current(db, project))


@router.post("/{environment_id}/use")
def use(db: Db, who: Signed, slug: str, environment_id: str) -> EnvironmentOut:
    """Let the project use it, now or as soon as it is ready."""
    project = projects.by_slug(db, who, slug, EDIT)
    return _out(service.use(db, who, project, environment_id), _current(db, project))
