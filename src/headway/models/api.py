"""Models and versions as JSON. `{version}` in an address is a number, an alias, or `latest`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from headway.models import bundles, find, service
from headway.models.service import Version
from headway.models.tables import RegisteredModel
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking import artifacts
from headway.tracking.show import download
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.paging import limit as within

router = APIRouter(prefix="/api/v1/projects/{slug}/models", tags=["models"], responses=docs_responses())


class NewVersion(BaseModel):
    """What to register: a run's model (`path` in the run if it has several), or a logged model."""

    model_config = ConfigDict(extra="forbid")
    name: str
    run_id: str | None = None
    model_id: str | None = None
    path: str | None = None
    description: str = ""


class VersionChange(BaseModel):
    """What changes of a version."""

    model_config = ConfigDict(extra="forbid")
    description: str


class ModelChange(BaseModel):
    """What changes of a model; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    description: str | None = None


class AliasTarget(BaseModel):
    """The version an alias is to stand for."""

    model_config = ConfigDict(extra="forbid")
    version: int


def _model(db: Session, row: RegisteredModel) -> dict[str, Any]:
    aliases = {alias.alias: alias.number for alias in find.aliases(db, [row.id]).get(row.id, [])}
    return {"name": row.name, "description": row.description, "aliases": aliases, "created_at": row.created_at,
            "updated_at": row.updated_at}  # fmt: skip


def _version(v: Version) -> dict[str, Any]:
    return {
        "id": v.id, "name": v.name, "version": v.number, "aliases": list(v.aliases), "stage": v.stage, "tags": v.tags,
        "description": v.description, "run_id": v.run_id, "model_id": v.logged_model_id, "source": v.source,
        "user": v.user_name, "created_at": v.created_at, "updated_at": v.updated_at,
    }  # fmt: skip


def _found(db: Session, who: Who, project: Project, name: str, version: str) -> Version:
    return service.by_ref(db, who, project, f"{name}/{version}" if version.isdigit() else f"{name}@{version}")


@router.get("")
def list_models(
    who: Signed, db: ReadDb, slug: str, filter: str = "", limit: int | None = None, cursor: str = ""
) -> dict[str, Any]:
    """The project's models by name; `filter` in MLflow's grammar, e.g. `name LIKE 'churn%'`."""
    project = projects.by_slug(db, who, slug)
    rows, following = find.models(db, who, project.id, filter, [], within(limit, 100, 1000), cursor or None)
    return {"models": [_model(db, row) for row in rows], "next_cursor": following}


@router.post("", status_code=201)
def register(who: Signed, db: Db, slug: str, body: NewVersion) -> dict[str, Any]:
    """Register a model; it gets its next version, and is made if there is none of that name."""
    project = projects.by_slug(db, who, slug, "edit")
    made = service.register(db, who, project, body.name, source_run_id=body.run_id, logged_model_id=body.model_id,
                            path=body.path, description=body.description)  # fmt: skip
    return _version(made)


@router.get("/{name}")
def show_model(who: Signed, db: ReadDb, slug: str, name: str) -> dict[str, Any]:
    """A model with its versions, newest first (at most 500)."""
    project = projects.by_slug(db, who, slug)
    row = service.model(db, who, project.id, name)
    return _model(db, row) | {"versions": [_version(v) for v in service.seen(db, find.of_model(db, row.id, 500))]}


@router.patch("/{name}")
def change_model(who: Signed, db: Db, slug: str, name: str, body: ModelChange) -> dict[str, Any]:
    """Rename or describe a model."""
    project = projects.by_slug(db, who, slug, "edit")
    row = service.model(db, who, project.id, name, "edit")
    if body.description is not None:
        row = service.describe_model(db, who, project.id, row.name, body.description)
    if body.name is not None and body.name != row.name:
        row = service.rename(db, who, project.id, row.name, body.name)
    return _model(db, row)


@router.delete("/{name}", status_code=204)
def delete_model(who: Signed, db: Db, slug: str, name: str) -> Response:
    """Delete a model with all its versions and their files."""
    project = projects.by_slug(db, who, slug, "edit")
    service.delete_model(db, who, project.id, name)
    return Response(status_code=204)


@router.put("/{name}/aliases/{alias}")
def set_alias(who: Signed, db: Db, slug: str, name: str, alias: str, body: AliasTarget) -> dict[str, Any]:
    """Let an alias stand for a version."""
    project = projects.by_slug(db, who, slug, "edit")
    service.set_alias(db, who, project.id, name, alias, body.version)
    return _version(service.by_alias(db, who, project.id, name, alias))


@router.delete("/{name}/aliases/{alias}", status_code=204)
def delete_alias(who: Signed, db: Db, slug: str, name: str, alias: str) -> Response:
    """Take an alias away."""
    project = projects.by_slug(db, who, slug, "edit")
    service.delete_alias(db, who, project.id, name, alias)
    return Response(status_code=204)


@router.get("/{name}/versions/{version}")
def show_version(who: Signed, db: ReadDb, host: HostDep, slug: str, name: str, version: str) -> dict[str, Any]:
    """A version with its signature, an example payload, its packages and files (path, sha256, size)."""
    project = projects.by_slug(db, who, slug)
    found = _found(db, who, project, name, version)
    look = bundles.look(db, host, found.id)
    signature = {
        side: [{"name": n, "type": kind, "required": needed} for n, kind, needed in fields]
        for side, fields in (("inputs", look.inputs), ("outputs", look.outputs))
    }
    return _version(found) | {
        "signature": signature,
        "example": look.payload,
        "flavors": look.flavors,
        "requirements": look.requirements.splitlines(),
        "problem": look.problem,
        "files": [{"path": e.path, "sha256": e.sha256, "size": e.size} for e in look.files],
    }


@router.patch("/{name}/versions/{version}")
def change_version(who: Signed, db: Db, slug: str, name: str, version: str, body: VersionChange) -> dict[str, Any]:
    """Describe a version."""
    project = projects.by_slug(db, who, slug, "edit")
    found = _found(db, who, project, name, version)
    service.describe(db, who, project.id, name, found.number, body.description)
    return _version(service.by_id(db, who, found.id))


@router.delete("/{name}/versions/{version}", status_code=204)
def delete_version(who: Signed, db: Db, slug: str, name: str, version: str) -> Response:
    """Delete a version with its files; by its number only, as an alias may move meanwhile."""
    project = projects.by_slug(db, who, slug, "edit")
    service.delete_version(db, who, project.id, name, version)
    return Response(status_code=204)


@router.get("/{name}/versions/{version}/files/{path:path}")
def version_file(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, name: str, version: str, path: str
) -> Response:
    """One file of a version; takes `Range`."""
    found = _found(db, who, projects.by_slug(db, who, slug), name, version)
    return download.send(request, host, artifacts.find(db, found.id, artifacts.check_path(path)), attachment=True)
