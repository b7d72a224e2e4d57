"""The workspaces' turn: Jupyter offers the kernels of the environments that are ready now, and stops when nobody needs it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import select

from headway.engines.host import Host
from headway.engines.tables import Process
from headway.projects.tables import Project
from headway.workspaces import presence, process, service
from headway.workspaces.tables import Workspace

log = logging.getLogger("headway.workspaces")

INTERVAL_S = 1.0
_LOOK_EVERY_MS = 60_000
_SHIPPING_MS = 120_000


@dataclass
class _Looked:
    """When this server last looked who is there (ms)."""

    at: int = 0


def step(host: Host, now: int) -> int:
    """Rewrite kernel specs where they differ; each minute, see who is there. Returns when that minute is over."""
    with host.database.read() as db:
        query = (
            select(Project)
            .join(Workspace, Workspace.project_id == Project.id)
            .join(Process, Process.id == Workspace.process_id)
            .where(Process.wanted == "running")
        )
        wanted = [(project.id, service.offered(db, project)) for project in db.scalars(query)]
    for project_id, kernels in wanted:
        if process.write_kernels(process.folder(host, project_id), kernels):
            log.info(
                "workspace %s now offers %s", project_id, ", ".join(kernel.label for kernel in kernels) or "no kernel"
            )
    looked = host.own(_Looked)
    if now - looked.at >= _LOOK_EVERY_MS:
        looked.at = now
        tidy(host, now)
    return looked.at + _LOOK_EVERY_MS


def tidy(host: Host, now: int) -> None:
    """Keep who was there, stop what nobody uses, end the tokens of kernels that are gone."""
    with host.database.write() as db:
        for project_id, moment in presence.take(host).items():
            service.used(db, project_id, moment)
        gone = (
            select(Workspace)
            .join(Process, Process.id == Workspace.process_id)
            .where(
                Workspace.recording,
                Process.wanted == "stopped",
                Process.settled,
                Process.changed_at < now - _SHIPPING_MS,
            )
        )
        for row in db.scalars(gone):
            service.stop_recording(db, row)
        running = (
            select(Project, Workspace.used_at)
            .join(Workspace, Workspace.project_id == Project.id)
            .join(Process, Process.id == Workspace.process_id)
            .where(Process.wanted == "running", Process.state == "running")
        )
        found = [(project, used_at) for project, used_at in db.execute(running)]
    for project in presence.idle(found, now, host.settings.notebooks_idle_h):
        if not presence.busy(host, project):
            with host.database.write() as db:
                if service.stop_idle(db, project.id, now - host.settings.notebooks_idle_h * presence.HOUR_MS):
                    log.info(
                        "workspace of %s stopped: nobody has used it for %s h",
                        project.slug,
                        host.settings.notebooks_idle_h,
                    )
