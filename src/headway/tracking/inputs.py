"""The data that runs read, and the models they read and made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from headway.errors import NotFound
from headway.people.rules import Who
from headway.tracking import experiments
from headway.tracking.store.record import Touched
from headway.tracking.tables import Dataset, Input, LoggedModel, Run

CONTEXT_TAG = "mlflow.data.context"
_ADD = text(
    "INSERT INTO datasets (experiment_id, name, digest, source_type, source, schema, profile)"
    " VALUES (:experiment, :name, :digest, :source_type, :source, :schema, :profile)"
    " ON CONFLICT (experiment_id, name, digest) DO NOTHING"
)
_MODEL = text(
    "INSERT INTO run_models (run_id, model_uuid, role, step) VALUES (:run, :model, :role, :step)"
    " ON CONFLICT (run_id, model_uuid, role) DO UPDATE SET step = excluded.step"
)


@dataclass(frozen=True)
class DatasetUse:
    """A dataset as a run reads it. `tags` hold `mlflow.data.context` (training, evaluation...)."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: tuple[tuple[str, str], ...] = ()


def datasets(db: Session, run: Touched, uses: Sequence[DatasetUse]) -> None:
    """Note what the run reads; the same dataset twice is one."""
    for use in uses:
        db.execute(
            _ADD,
            {"experiment": run.experiment_id, "name": use.name, "digest": use.digest, "source_type": use.source_type,
             "source": use.source, "schema": use.schema, "profile": use.profile},
        )  # fmt: skip
        dataset_id = db.scalar(
            select(Dataset.id).where(
                Dataset.experiment_id == run.experiment_id, Dataset.name == use.name, Dataset.digest == use.digest
            )
        )
        assert dataset_id is not None
        tags = dict(use.tags)
        if db.get(Input, (run.id, dataset_id)) is None:
            db.add(
                Input(run_id=run.id, dataset_id=dataset_id, context=tags.get(CONTEXT_TAG, ""), tags=json.dumps(tags))
            )
            db.flush()


def models(db: Session, run: Touched, role: str, uses: Sequence[tuple[str, int]]) -> None:
    """Note models the run reads (`input`) or makes (`output`), with the step. Raises `NotFound` for one of another project."""
    for uuid, step in uses:
        project = db.scalar(select(LoggedModel.project_id).where(LoggedModel.uuid == uuid))
        if project != run.project_id:
            raise NotFound(f"Logged model with ID '{uuid[:80]}' not found.")
        db.execute(_MODEL, {"run": run.id, "model": uuid, "role": role, "step": step})


def summaries(db: Session, who: Who, experiment_ids: Sequence[object]) -> list[tuple[int, str, str, str]]:
    """(experiment, name, digest, context) of the data that active runs of these experiments read."""
    numbers = experiments.visible(db, who, experiment_ids)
    query = (
        select(Dataset.experiment_id, Dataset.name, Dataset.digest, Input.context)
        .join(Input, Input.dataset_id == Dataset.id)
        .join(Run, Run.id == Input.run_id)
        .where(Dataset.experiment_id.in_(numbers), Run.lifecycle == "active")
        .distinct()
        .order_by(Dataset.name, Dataset.digest)
        .limit(1000)
    )
    return [(row[0], row[1], row[2], row[3]) for row in db.execute(query)]
