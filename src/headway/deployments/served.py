"""Which endpoints serve which versions: what a run's page shows at the end of its lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.deployments.tables import Endpoint, Revision


def serving(
    db: Session, project_id: str, versions: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], Sequence[tuple[str, str]]]:
    """(endpoint, state of its revision) for each of these versions that is being served or about to be."""
    query = (
        select(Endpoint.name, Revision.model, Revision.version, Revision.state)
        .join(Revision, Revision.endpoint_id == Endpoint.id)
        .where(Endpoint.project_id == project_id, Endpoint.removed_at == 0, Revision.model.in_({m for m, _ in versions}),
               Revision.state.not_in(("failed", "retired")))
        .order_by(Endpoint.name, Revision.number.desc())
    )  # fmt: skip
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, model, version, state in db.execute(query):
        if (model, version) in versions:
            found.setdefault((model, version), {}).setdefault(name, state)
    return {key: list(its.items()) for key, its in found.items()}
