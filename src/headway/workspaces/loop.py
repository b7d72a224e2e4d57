"""The workspaces' turn: Jupyter offers the kernels of the environments that are ready now."""

from __future__ import annotations

import logging

from sqlalchemy import select

from headway.engines.host import Host
from headway.engines.tables import Process
from headway.projects.tables import Project
from headway.workspaces import process, service
from headway.workspaces.tables import Workspace

log = logging.getLogger("headway.workspaces")

INTERVAL_S = 1.0


def step(host: Host, _now: int) -> None:
    """Rewrite the kernel specs of each workspace that is wanted, where they differ."""
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
