"""Deleting for good: a run or a logged model with its series, its files and their bytes."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from headway.storage import blobs
from headway.tracking.tables import (
    Artifact,
    Chunk,
    Experiment,
    Input,
    LoggedModel,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
    Param,
    Run,
    RunModel,
    Summary,
    Tag,
)


def expired(db: Session, before: int, limit: int = 100) -> list[int]:
    """Numbers of runs that were deleted before this moment (ms)."""
    query = select(Run.id).where(Run.lifecycle == "deleted", Run.deleted_at < before).order_by(Run.id).limit(limit)
    return list(db.scalars(query))


def run(db: Session, run_id: int) -> None:
    """Remove a run, the models that only it made, and their files. Checks no rights."""
    row = db.get(Run, run_id)
    if row is None:
        return
    for uuid in db.scalars(select(LoggedModel.uuid).where(LoggedModel.source_run == row.uuid)).all():
        model(db, uuid)
    files(db, row.uuid)
    for table in (Chunk, Summary, Param, Tag, Input, RunModel):
        db.execute(delete(table).where(table.run_id == run_id))
    db.execute(delete(Run).where(Run.id == run_id))


def model(db: Session, uuid: str) -> None:
    """Remove a logged model and its files. Versions of the registry hold the bytes they need themselves."""
    row = db.scalar(select(LoggedModel).where(LoggedModel.uuid == uuid))
    if row is None:
        return
    files(db, uuid)
    for table in (LoggedModelMetric, LoggedModelParam, LoggedModelTag):
        db.execute(delete(table).where(table.model_id == row.id))
    db.execute(delete(RunModel).where(RunModel.model_uuid == uuid))
    db.execute(delete(LoggedModel).where(LoggedModel.id == row.id))


def files(db: Session, owner: str) -> None:
    """Remove all files of a run or a logged model."""
    db.execute(delete(Artifact).where(Artifact.owner == owner))
    blobs.release(db, f"artifact:{owner}/", below=True)


def experiment(db: Session, experiment_id: int) -> None:
    """Remove an experiment with all its runs and models."""
    for run_id in db.scalars(select(Run.id).where(Run.experiment_id == experiment_id)).all():
        run(db, run_id)
    for uuid in db.scalars(select(LoggedModel.uuid).where(LoggedModel.experiment_id == experiment_id)).all():
        model(db, uuid)
    db.execute(delete(Experiment).where(Experiment.id == experiment_id))
