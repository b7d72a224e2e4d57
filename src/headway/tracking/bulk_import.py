"""Taking in runs that were recorded elsewhere: with their own ids and times, whole series at once, and sums at the end.

An import of a run is `begin`, any number of `points`, files by the usual way, `finish`. Between the first and the last the run
bears a mark (the tag `headway.import`), so that an import that broke off is taken up by the same calls: `begin` clears what
half an import left, and a run that was finished, or that was never an import, is left as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, Conflict, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.tracking import experiments, inputs, limits, logged_models, naming
from headway.tracking.inputs import DatasetUse
from headway.tracking.store import keys, record, series
from headway.tracking.store.record import Touched
from headway.tracking.store.series import Points
from headway.tracking.tables import (
    Artifact,
    Chunk,
    Experiment,
    ExperimentTag,
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

MARK = "headway.import"
BEGUN = "begun"
PARAM_VALUE = TAG_VALUE = 1_000_000  # what is there already is kept, though nobody could log it today
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})


@dataclass(frozen=True)
class Recorded:
    """A run as another tool recorded it. Times in milliseconds; `models` are (id, "input" or "output", step)."""

    run_id: str
    experiment_id: int
    name: str = ""
    user: str = ""
    status: str = "FINISHED"
    start_time: int | None = None
    end_time: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DatasetUse] = ()
    models: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True)
class Begun:
    """What became of a run: `new`, `again` (half an import was there), `there` (all of it was), `taken` (its id belongs to
    another project). `left` says what of it can't be kept, and why.
    """

    state: str
    left: list[str] = field(default_factory=list)


def experiment(
    db: Session, who: Who, project_id: str, name: str, *, tags: Mapping[str, str], created_at: int | None,
    updated_at: int | None,
) -> tuple[Experiment, bool]:  # fmt: skip
    """The experiment that runs of one of this name go into, and whether it was made for them.

    One of this name that is there already takes them; beside a deleted one, a new one is made: "name (imported)".
    """
    guard.check(db, who, "edit", project_id)
    if name == experiments.DEFAULT:
        return experiments.default(db, project_id), False
    for title in (name, f"{name[:480]} (imported)"):
        row = db.scalar(select(Experiment).where(Experiment.project_id == project_id, Experiment.name == title))
        if row is None:
            row = experiments.create(db, who, project_id, title)
            if created_at is not None:
                row.created_at, row.updated_at = created_at, updated_at or created_at
            for key, value in tags.items():
                if _sound(key, value) is None:
                    db.merge(ExperimentTag(experiment_id=row.id, key=key, value=value))
            db.flush()
            return row, True
        if row.lifecycle == "active":
            return row, False
    raise Conflict(f"The experiments '{name}' and '{name} (imported)' are both deleted.", hint="Restore one of them.")


def begin(db: Session, who: Who, project_id: str, found: Recorded) -> Begun:
    """Make the run, or make it ready for another try. Raises `BadInput` for an id or a status that no run has."""
    guard.check(db, who, "edit", project_id)
    if not _RUN_ID.fullmatch(found.run_id):
        raise BadInput(f"'{found.run_id[:80]}' is no run's id.", hint="It has 32 hexadecimal digits.", field="run_id")
    if found.status not in _STATUSES:
        raise BadInput(f"'{found.status[:40]}' is no status of a run.", field="status")
    old = db.scalar(select(Run).where(Run.uuid == found.run_id))
    if old is not None and old.project_id != project_id:
        return Begun("taken")
    if old is not None and _mark(db, old.id) != BEGUN:
        return Begun("there")
    row = old or Run(uuid=found.run_id, project_id=project_id, lifecycle="active", cause="", version=0)
    home = experiments.get(db, who, found.experiment_id, "run")
    if home.project_id != project_id:
        raise experiments.no_experiment(found.experiment_id)
    left: list[str] = []
    tags = _kept("tag", found.tags, left)
    row.experiment_id = home.id
    row.name = (found.name or tags.get(record.RUN_NAME_TAG) or naming.name_for(found.run_id))[: limits.RUN_NAME]
    row.user_id, row.status = (found.user or tags.get("mlflow.user", ""))[: limits.USER], found.status
    row.start_time, row.end_time = found.start_time, found.end_time
    location = home.artifact_location or f"mlflow-artifacts:/{home.id}"
    row.artifact_uri = f"{location}/{found.run_id}/artifacts"
    db.add(row)
    db.flush()
    if old is not None:
        _clear(db, old.id)
    run = Touched(row.id, row.uuid, home.id, project_id)
    record.params(db, run, list(_kept("parameter", found.params, left).items()))
    record.tags(db, run, {record.RUN_NAME_TAG: row.name} | tags | {MARK: BEGUN})
    inputs.datasets(db, run, found.datasets)
    for model, role, step in found.models:
        try:
            inputs.models(db, run, role, [(model, step)])
        except NotFound:
            left.append(f"the {role} {model[:60]}: this model is not here")
    row.version += 1
    db.flush()
    return Begun("new" if old is None else "again", left)


def _clear(db: Session, run_id: int) -> None:
    for table in (Chunk, Summary, Param, Tag, Input, RunModel):
        db.execute(delete(table).where(table.run_id == run_id))


def _kept(what: str, found: Mapping[str, str], left: list[str]) -> dict[str, str]:
    kept = {}
    for key, value in found.items():
        trouble = _sound(key, value)
        if trouble is None:
            kept[key] = value
        else:
            left.append(f"the {what} {key[:60]!r}: {trouble}")
    return kept


def _sound(key: str, value: str) -> str | None:
    """What is wrong with a key or a value; None if nothing is."""
    try:
        limits.key(key)
        limits.text(value, "value", PARAM_VALUE)
    except BadInput as error:
        return error.message
    return None


def _mark(db: Session, run: int) -> str | None:
    key_id = keys.find(db, [MARK]).get(MARK)
    return db.scalar(select(Tag.value).where(Tag.run_id == run, Tag.key_id == key_id)) if key_id else None


def _open(db: Session, who: Who, project_id: str, run_id: str) -> Touched:
    """A run whose import has begun and not ended."""
    guard.check(db, who, "edit", project_id)
    run = record.touch(db, who, run_id)
    if run.project_id != project_id:
        raise record.no_run(run_id)
    if _mark(db, run.id) != BEGUN:
        raise Conflict(f"No import of the run {run_id} is under way.", hint="Begin one.")
    return run


def points(db: Session, who: Who, project_id: str, run_id: str, found: Mapping[str, Points]) -> dict[str, int]:
    """Add whole series, or long pieces of them, to a run whose import is under way; how many points each got.

    They go into full chunks at once: nothing is left to fold but the rest of each piece. Exact duplicates count once.
    """
    run = _open(db, who, project_id, run_id)
    packed = {key: series.packed(series.ordered(p)) for key, p in found.items() if len(p)}
    record.packed(db, run, packed)
    return {key: one.short.points for key, one in packed.items()}


@dataclass(frozen=True)
class Sums:
    """What a run holds: points of each series, and the number and bytes of its files."""

    params: int
    series: Mapping[str, int]
    files: int
    bytes: int


def sums(db: Session, run: Touched) -> Sums:
    """Counted from what is stored."""
    counted = db.execute(
        select(Chunk.key_id, func.sum(Chunk.points)).where(Chunk.run_id == run.id).group_by(Chunk.key_id)
    )
    by_id = {row[0]: int(row[1]) for row in counted}
    names = keys.names(db, by_id)
    params = db.scalar(select(func.count()).select_from(Param).where(Param.run_id == run.id)) or 0
    files = db.execute(
        select(func.count(), func.coalesce(func.sum(Artifact.size), 0)).where(Artifact.owner == run.uuid)
    ).one()
    return Sums(params, {names[key_id]: count for key_id, count in by_id.items()}, files[0], int(files[1]))


def finish(db: Session, who: Who, project_id: str, run_id: str, said: Sums, origin: str) -> list[str]:
    """Compare what came with what was sent; where they are equal the run is whole, and no later import changes it.

    Returns the differences, in words; then the run stays open for another try.
    """
    guard.check(db, who, "edit", project_id)
    run = record.touch(db, who, run_id)
    if run.project_id == project_id and (_mark(db, run.id) or BEGUN) != BEGUN:
        return []  # an answer that got lost is asked for again
    run = _open(db, who, project_id, run_id)
    have = sums(db, run)
    wrong = [
        f"{what}: {there} of {sent}"
        for what, there, sent in (
            ("parameters", have.params, said.params), ("files", have.files, said.files), ("bytes", have.bytes, said.bytes),
        )
        if there != sent
    ]  # fmt: skip
    for key in sorted({*have.series, *said.series}):
        there, sent = have.series.get(key, 0), said.series.get(key, 0)
        if there != sent:
            wrong.append(f"points of {key}: {there} of {sent}")
    if not wrong:
        record.tags(db, run, {MARK: json.dumps({"from": origin[:500], "at": now_ms()})})
    return wrong


@dataclass(frozen=True)
class RecordedModel:
    """A logged model as another server kept it. Each metric: key, value, time, step, run_id, dataset, digest."""

    model_id: str
    experiment_id: int
    name: str
    model_type: str = ""
    status: str = "READY"
    source_run: str = ""
    created_at: int = 0
    updated_at: int = 0
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()


def model(db: Session, who: Who, project_id: str, found: RecordedModel) -> Begun:
    """Make a logged model; its files follow by the usual way. `new`, `there` or `taken`, as with runs."""
    guard.check(db, who, "edit", project_id)
    if not _MODEL_ID.fullmatch(found.model_id):
        raise BadInput(f"'{found.model_id[:80]}' is no logged model's id.", field="model_id")
    old = db.scalar(select(LoggedModel).where(LoggedModel.uuid == found.model_id))
    if old is not None:
        return Begun("there" if old.project_id == project_id else "taken")
    home = experiments.get(db, who, found.experiment_id, "run")
    if home.project_id != project_id:
        raise experiments.no_experiment(found.experiment_id)
    left: list[str] = []
    location = home.artifact_location or f"mlflow-artifacts:/{home.id}"
    row = LoggedModel(
        uuid=found.model_id, experiment_id=home.id, project_id=project_id, name=found.name[: limits.RUN_NAME],
        model_type=found.model_type[:500], status=found.status if found.status in logged_models.STATUSES else "READY",
        source_run=found.source_run[:64], artifact_uri=f"{location}/models/{found.model_id}/artifacts",
        lifecycle="active", created_at=found.created_at, updated_at=found.updated_at,
    )  # fmt: skip
    db.add(row)
    db.flush()
    for what, table, pairs in (("parameter", LoggedModelParam, found.params), ("tag", LoggedModelTag, found.tags)):
        db.add_all(table(model_id=row.id, key=k, value=v) for k, v in _kept(what, pairs, left).items())
    for one in found.metrics:
        value = float(one["value"])
        db.add(
            LoggedModelMetric(
                model_id=row.id, run_uuid=str(one.get("run_id") or "")[:64], key=limits.key(one["key"]),
                value=0.0 if value != value else value, is_nan=value != value, time=int(one["time"]), step=int(one["step"]),
                dataset_name=str(one.get("dataset") or "")[:500], dataset_digest=str(one.get("digest") or "")[:64],
            )
        )  # fmt: skip
    db.flush()
    return Begun("new", left)
