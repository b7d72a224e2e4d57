"""What a revision's processes printed: the build of its environment, its proof, its replicas."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from headway.deployments import processes, states
from headway.deployments.tables import Revision
from headway.engines.host import Host
from headway.environments.loop import folder as build_folder
from headway.environments.tables import Environment

KINDS = ("build", "proof", "replica")


def build_log(db: Session, host: Host, row: Revision) -> Path | None:
    """The file that the build of its environment writes; None where an environment that was there is used."""
    environment = db.get(Environment, row.environment_id) if row.environment_id else None
    if environment is None or environment.reused:
        return None
    return build_folder(host, environment.id, environment.attempt) / "output.log"


def text(db: Session, host: Host, row: Revision, kind: str = "all") -> str:
    """One kind of output, or all, each under a heading."""
    if kind != "all":
        return _one(db, host, row, kind)
    parts = [(k, _one(db, host, row, k)) for k in KINDS]
    return "\n".join(f"== {k}\n{found.rstrip()}\n" for k, found in parts if found.strip())


def _one(db: Session, host: Host, row: Revision, kind: str) -> str:
    if kind == "build":
        path = build_log(db, host, row)
        return "" if path is None else processes.tail(path)
    if kind == "proof":
        return processes.proof_log(host, row.id)
    return "".join(processes.replica_log(host, row.id, i) for i in range(row.replicas))


def current(row: Revision) -> str:
    """The kind that says most now."""
    if row.state == states.ENVIRONMENT:
        return "build"
    if row.state in (states.STARTING, states.LIVE, states.RETIRED):
        return "replica"
    return "proof" if row.environment_id else "build"
