"""Workspaces over JSON: how it is, open, stop."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from headway.people.guard import Signed
from headway.people.rules import EDIT, Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb
from headway.workspaces import gate, service

router = APIRouter(prefix="/api/v1/projects/{slug}/workspace", tags=["notebooks"], responses=docs_responses())


class WorkspaceOut(BaseModel):
    """The project's JupyterLab. `state` is stopped, starting, running or failed; `url` is where a browser finds it."""

    state: str
    detail: str
    started_at: int | None
    url: str


@router.get("")
def status(request: Request, db: ReadDb, who: Signed, slug: str) -> WorkspaceOut:
    """How it is."""
    return _out(request, db, projects.by_slug(db, who, slug), who)


@router.post("/open", status_code=202)
def open_workspace(request: Request, db: Db, host: HostDep, who: Signed, slug: str) -> WorkspaceOut:
    """Let it run. It answers some seconds later."""
    project = projects.by_slug(db, who, slug, EDIT)
    service.open(db, host, who, project)
    return _out(request, db, project, who)


@router.post("/stop", status_code=202)
def stop_workspace(request: Request, db: Db, who: Signed, slug: str) -> WorkspaceOut:
    """End it and its kernels; files stay."""
    project = projects.by_slug(db, who, slug, EDIT)
    service.stop(db, who, project)
    return _out(request, db, project, who)


def _out(request: Request, db: ReadDb, project: Project, who: Who) -> WorkspaceOut:
    found = service.state(db, project)
    where = gate.address(request, project, f"lab/workspaces/{who.user_id[:12]}")
    where = where if "://" in where else f"{request.app.state.host.settings.url}{where}"
    return WorkspaceOut(state=found.state, detail=found.detail, started_at=found.started_at, url=where)
