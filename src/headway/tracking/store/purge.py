"""Deleting for good: a run or a logged model with its series, its files and their bytes."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headway.projects.tables import Project
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
    PointBatch,
    Run,
    RunModel,
    Summary,
    Tag,
)

KEEP_DAYS, DAY_MS = 30, 86_400_000


def expired(db: Session, now: int, limit: int = 100) -> list[int]:
    """Numbers of runs that were deleted longer ago than their project keeps them."""
    days = func.coalesce(Project.keep_deleted_days, KEEP_DAYS)
    query = (
        select(Run.id)
        .outerjoin(Project, Project.id == Run.project_id)
        .where(Run.lifecycle == "deleted", Run.deleted_at + days * DAY_MS <= now)
    )
    return list(db.scalars(query.order_by(Run.id).limit(limit)))


def expired_experiments(db: Session, now: int, limit: int = 20) -> list[int]:
    """Numbers of experiments that were deleted as long ago; their names are free again once they are purged."""
    days = func.coalesce(Project.keep_deleted_days, KEEP_DAYS)
    query = (
        select(Experiment.id)
        .outerjoin(Project, Project.id == Experiment.project_id)
        .where(Experiment.lifecycle == "deleted", Experiment.updated_at + days * DAY_MS <= now)
    )
    return list(db.scalars(query.order_by(Experiment.id).limit(limit)))


def forget_keys(db: Session, now: int) -> None:
    """Idempotency keys are believed for a day."""
    db.execute(delete(PointBatch).where(PointBatch.stored_at < now - DAY_MS))


def run(db: Session, run_id: int) -> None:
    """Remove a run, the models that only it made, and their files. Checks no rights."""
    row = db.get(Run, run_id)
    if row is None:
        return
    for uuid in db.scalars(select(LoggedModel.uuid).where(LoggedModel.source_run == row.uuid)).all():
        model(db, uuid)
    files(db, row.uuid)
    for table in (Chunk, Summary, Param, Tag, Input, RunModel, PointBatch):
        db.execute(delete(table).where(table.run_id == run_id))
    db.execute(delete(Run).where(Run.id == run_id))


def if_deleted(db: Session, run_id: int) -> None:
    """As `run`, unless it was restored meanwhile."""
    if db.scalar(select(Run.lifecycle).where(Run.id == run_id).with_for_update()) == "deleted":
        run(db, run_id)


def experiment_if_deleted(db: Session, experiment_id: int) -> None:
    """As `experiment`, unless it, or one of its runs, was restored meanwhile."""
    lifecycle = db.scalar(select(Experiment.lifecycle).where(Experiment.id == experiment_id).with_for_update())
    alive = select(Run.id).where(Run.experiment_id == experiment_id, Run.lifecycle == "active").limit(1)
    if lifecycle == "deleted" and db.scalar(alive) is None:
        experiment(db, experiment_id)


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


# What slices above this one keep in an experiment is removed by them: (db, the experiment's number). Traces put themselves here.
FURTHER: list[Callable[[Session, int], None]] = []


def files(db: Session, owner: str) -> None:
    """Remove all files of a run or a logged model."""
    db.execute(delete(Artifact).where(Artifact.owner == owner))
    blobs.release(db, f"artifact:{owner}/", below=True)


def experiment(db: Session, experiment_id: int) -> None:
    """Remove an experiment with all its runs and models, and what slices above keep in it."""
    for further in FURTHER:
        further(db, experiment_id)
    for run_id in db.scalars(select(Run.id).where(Run.experiment_id == experiment_id)).all():
        run(db, run_id)
    for uuid in db.scalars(select(LoggedModel.uuid).where(LoggedModel.experiment_id == experiment_id)).all():
        model(db, uuid)
    db.execute(delete(Experiment).where(Experiment.id == experiment_id))
