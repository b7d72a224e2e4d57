"""Registered scorers: judges of traces that `mlflow.genai` keeps by name and version in an experiment.

They are kept and handed back as their client wrote them. The server never loads or runs one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.errors import BadInput, NotFound
from headway.traces.tables import Scorer, ScorerVersion
from headway.tracking import limits
from headway.tracking.tables import Experiment

NAME, CONTENT = 256, 1_000_000
Kept = tuple[Scorer, ScorerVersion]


def register(db: Session, experiment: Experiment, name: Any, content: Any) -> Kept:
    """A new version of the scorer of this name, the first if there is none. Raises `BadInput`."""
    if not isinstance(name, str) or not name.strip():
        raise BadInput("Scorer name cannot be empty or contain only whitespace.", field="name")
    text = limits.text(content, "serialized_scorer", CONTENT)
    _check(text)
    # Whoever registers one of the same name at the same time waits: both get a number of their own
    db.execute(select(Experiment.id).where(Experiment.id == experiment.id).with_for_update())
    row = db.scalar(_named(experiment, limits.text(name, "name", NAME)))
    if row is None:
        row = Scorer(uuid=new_id(), experiment_id=experiment.id, project_id=experiment.project_id, name=name)
        db.add(row)
        db.flush()
    last = db.scalar(select(func.max(ScorerVersion.version)).where(ScorerVersion.scorer_id == row.id)) or 0
    version = ScorerVersion(scorer_id=row.id, version=last + 1, content=text, created_at=now_ms())
    db.add(version)
    db.flush()
    return row, version


def _check(text: str) -> None:
    try:
        told = json.loads(text)
    except ValueError:
        raise BadInput("serialized_scorer must be valid JSON.", field="serialized_scorer") from None
    if not isinstance(told, dict):
        raise BadInput("serialized_scorer must be a JSON object.", field="serialized_scorer")
    for kind in ("instructions_judge_pydantic_data", "builtin_scorer_pydantic_data", "third_party_scorer_data"):
        part = told.get(kind)
        model = part.get("model") if isinstance(part, dict) else None
        if isinstance(model, str) and not model.strip():
            raise BadInput("Scorer model cannot be empty or contain only whitespace.", field="serialized_scorer")


def _named(experiment: Experiment, name: str) -> Any:
    return select(Scorer).where(Scorer.experiment_id == experiment.id, Scorer.name == name)


def latest(db: Session, experiment_ids: Sequence[int]) -> list[Kept]:
    """The newest version of each scorer of these experiments, by experiment and name."""
    return _latest(db, Scorer.experiment_id.in_(list(experiment_ids)))


def of_project(db: Session, project_id: str) -> list[Kept]:
    """The newest version of each scorer of a project, by experiment and name."""
    return _latest(db, Scorer.project_id == project_id)


def _latest(db: Session, where: Any) -> list[Kept]:
    newest = (
        select(ScorerVersion.scorer_id, func.max(ScorerVersion.version).label("last"))
        .group_by(ScorerVersion.scorer_id)
        .subquery()
    )
    query = (
        select(Scorer, ScorerVersion)
        .join(ScorerVersion, ScorerVersion.scorer_id == Scorer.id)
        .join(newest, (newest.c.scorer_id == Scorer.id) & (newest.c.last == ScorerVersion.version))
        .join(Experiment, Experiment.id == Scorer.experiment_id)
        .where(where, Experiment.lifecycle == "active")
        .order_by(Scorer.experiment_id, Scorer.name)
    )
    return [(row[0], row[1]) for row in db.execute(query)]


def versions(db: Session, experiment: Experiment, name: str) -> list[Kept]:
    """All versions of a scorer, the oldest first. Raises `NotFound`."""
    query = _named(experiment, name).join(ScorerVersion, ScorerVersion.scorer_id == Scorer.id)
    found = db.execute(query.add_columns(ScorerVersion).order_by(ScorerVersion.version)).all()
    if not found:
        raise _absent(experiment, name)
    return [(row[0], row[1]) for row in found]


def _absent(experiment: Experiment, name: str, version: int | None = None) -> NotFound:
    of = f"'{name[:NAME]}'" if version is None else f"'{name[:NAME]}' and version {version}"
    return NotFound(f"Scorer with name {of} not found for experiment {experiment.id}.")


def get(db: Session, experiment: Experiment, name: str, version: int | None = None) -> Kept:
    """One version, the newest where none is said. Raises `NotFound`."""
    found = [one for one in versions(db, experiment, name) if version in (None, one[1].version)]
    if not found:
        raise _absent(experiment, name, version)
    return found[-1]


def remove(db: Session, experiment: Experiment, name: str, version: int | None = None) -> None:
    """Delete one version, or the scorer with all of them. Raises `NotFound`."""
    row, one = get(db, experiment, name, version)
    if version is None:
        db.execute(delete(ScorerVersion).where(ScorerVersion.scorer_id == row.id))
        db.delete(row)
    else:
        db.delete(one)
    db.flush()
