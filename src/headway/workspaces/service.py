"""The verbs of workspaces: open, stop, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.environments import service as environments
from headway.environments.tables import Environment
from headway.people import audit, guard, tokens
from headway.people.rules import EDIT, Who
from headway.projects.tables import Project
from headway.web.proxy import Target
from headway.workspaces import process
from headway.workspaces.identity import HEADER, Identity, mint
from headway.workspaces.tables import Workspace

STOPPED, STARTING, RUNNING, FAILED = "stopped", "starting", "running", "failed"
_FAILURES = 3


@dataclass(frozen=True)
class State:
    """How a workspace is: `running` says that its process lives, not yet that it answers (`gate.answers` asks it)."""

    state: str
    detail: str = ""
    started_at: int | None = None
    log: Path | None = None


def open(db: Session, host: Host, who: Who, project: Project) -> Workspace:
    """Let the project's Jupyter server run; nothing changes if it does already. Only for those who may edit."""
    guard.check(db, who, EDIT, project.id)
    row = db.get(Workspace, project.id)
    moment = now_ms()
    if row is not None and (running := _process(db, row)) is not None and running.wanted == "running":
        row.used_at = moment
        return row
    if row is None:
        row = Workspace(project_id=project.id, opened_by=who.user_id, opened_at=moment, used_at=moment)
        db.add(row)
    tokens.revoke_for(db, _owner(project))
    token = tokens.create_for_run(db, who.user_id, project_id=project.id, owner=_owner(project))
    spec = process.prepare(host, project, token)
    place = process.folder(host, project.id)
    process.write_kernels(place, offered(db, project))
    started = keeper.want(db, kind="jupyter", owner_id=project.id, spec=spec, project_id=project.id)
    row.process_id, row.opened_by, row.opened_at, row.used_at = started.id, who.user_id, moment, moment
    row.recording = True
    audit.note(db, who, "workspace.open", project.slug, project_id=project.id)
    db.flush()
    return row


def stop(db: Session, who: Who, project: Project) -> None:
    """End the Jupyter server and its kernels. What is in the files stays; what was only in a kernel's memory goes."""
    guard.check(db, who, EDIT, project.id)
    if _end(db, project.id):
        audit.note(db, who, "workspace.stop", project.slug, project_id=project.id)


def stop_idle(db: Session, project_id: str, used_before: int) -> bool:
    """As `stop`, by the platform itself, unless somebody has used it since `used_before` (ms)."""
    row = db.get(Workspace, project_id)
    return row is not None and row.used_at < used_before and _end(db, project_id)


def state(db: Session, project: Project) -> State:
    """How the project's workspace is."""
    row = db.get(Workspace, project.id)
    found = _process(db, row) if row is not None else None
    if found is None or (found.wanted == "stopped" and found.settled):
        return State(STOPPED)
    if found.state == "running" and found.wanted == "running":
        return State(RUNNING, started_at=found.started_at)
    if found.failures >= _FAILURES:
        return State(
            FAILED, found.detail or f"It ended {found.failures} times in a row ({found.cause or 'unknown cause'})."
        )
    return State(STARTING, started_at=found.started_at)


def target(host: Host, who: Who, project: Project) -> Target:
    """Where requests of `who` go: Jupyter's socket, with who they are. The caller has checked that they may edit."""
    token = mint(process.signing_key(host), Identity(who.user_id, who.name), process.audience(project), now_ms() / 1000)
    return Target(socket=process.socket(host, project.id), headers={HEADER: token})


def used(db: Session, project_id: str, moment: int) -> None:
    """Note that a browser was there at `moment` (ms)."""
    row = db.get(Workspace, project_id)
    if row is not None and moment > row.used_at:
        row.used_at = moment


def stop_recording(db: Session, row: Workspace) -> None:
    """End the token of kernels that are gone. Not with the workspace itself: what they recorded last is still on its way."""
    tokens.revoke_for(db, f"workspace {row.project_id}")
    row.recording = False


def offered(db: Session, project: Project) -> list[process.Kernel]:
    """The kernels of the project's environments."""
    query = select(Environment).where(Environment.project_id == project.id, Environment.state == "ready")
    rows = db.scalars(query.order_by(Environment.created_at.desc()))
    return process.kernels(environments.for_project(db, project), rows)


def _end(db: Session, project_id: str) -> bool:
    row = db.get(Workspace, project_id)
    found = _process(db, row) if row is not None else None
    if found is None or found.wanted == "stopped":
        return False
    keeper.stop(db, found)
    return True


def _owner(project: Project) -> str:
    return f"workspace {project.id}"


def _process(db: Session, row: Workspace) -> Process | None:
    return db.get(Process, row.process_id) if row.process_id else None
