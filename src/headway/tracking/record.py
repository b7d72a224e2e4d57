"""Writing into a run: metrics, parameters and tags. The path that every logged number takes, so it is short.

Each call first touches the run's row: that proves the run is there and active, gives its numbers, raises its version (caches
go by it), and on PostgreSQL makes writers of one run queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.tracking import keys, series

_TOUCH = text(
    "UPDATE runs SET version = version + 1 WHERE uuid = :uuid"
    " RETURNING id, experiment_id, project_id, lifecycle, status, start_time"
)
_SUMMARY = text(
    """
    INSERT INTO summaries (run_id, key_id, experiment_id, last, is_nan, step, time, low, high, points, loose)
    VALUES (:run, :key, :experiment, :last, :is_nan, :step, :time, :low, :high, :points, 1)
    ON CONFLICT (run_id, key_id) DO UPDATE SET
      last = CASE WHEN (excluded.step, excluded.time, excluded.is_nan, excluded.last) >=
        (summaries.step, summaries.time, summaries.is_nan, summaries.last) THEN excluded.last ELSE summaries.last END,
      is_nan = CASE WHEN (excluded.step, excluded.time, excluded.is_nan, excluded.last) >=
        (summaries.step, summaries.time, summaries.is_nan, summaries.last) THEN excluded.is_nan ELSE summaries.is_nan END,
      step = CASE WHEN (excluded.step, excluded.time) > (summaries.step, summaries.time) THEN excluded.step
        ELSE summaries.step END,
      time = CASE WHEN (excluded.step, excluded.time) > (summaries.step, summaries.time) THEN excluded.time
        ELSE summaries.time END,
      low = CASE WHEN summaries.low IS NULL OR excluded.low < summaries.low THEN excluded.low ELSE summaries.low END,
      high = CASE WHEN summaries.high IS NULL OR excluded.high > summaries.high THEN excluded.high ELSE summaries.high END,
      points = summaries.points + excluded.points, loose = summaries.loose + 1
    """
)
_CHUNK = text(
    "INSERT INTO series_chunks (run_id, key_id, points, step_low, step_high, data)"
    " VALUES (:run, :key, :points, :low, :high, :data)"
)
_PARAMS = text("SELECT key_id, value FROM params WHERE run_id = :run AND key_id IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
_PARAM = text("INSERT INTO params (run_id, key_id, experiment_id, value) VALUES (:run, :key, :experiment, :value)")
_TAG = text(
    "INSERT INTO tags (run_id, key_id, experiment_id, value) VALUES (:run, :key, :experiment, :value)"
    " ON CONFLICT (run_id, key_id) DO UPDATE SET value = excluded.value"
)
_NAME = text("UPDATE runs SET name = :value WHERE id = :run")
_PARENT = text("UPDATE runs SET parent_uuid = :value WHERE id = :run")
_ONE_TAG = text("SELECT value FROM tags WHERE run_id = :run AND key_id = :key")
_NO_TAG = text("DELETE FROM tags WHERE run_id = :run AND key_id = :key")

RUN_NAME_TAG, PARENT_TAG = "mlflow.runName", "mlflow.parentRunId"


@dataclass(frozen=True)
class Metric:
    """One point. `time` in milliseconds. `model` is the logged model it belongs to, perhaps as measured on a dataset."""

    key: str
    value: float
    time: int
    step: int = 0
    model: str = ""
    dataset: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Touched:
    """The numbers of a run that is being written to."""

    id: int
    uuid: str
    experiment_id: int
    project_id: str


def touch(db: Session, who: Who, uuid: str, *, deleted_too: bool = False) -> Touched:
    """The run to write to. Raises `NotFound` (also for runs of projects that `who` may not see), `Forbidden`, and `BadInput`
    if it is deleted."""
    row = db.connection().execute(_TOUCH, {"uuid": uuid}).first()
    if row is None:
        raise no_run(uuid)
    try:
        guard.check(db, who, "run", row.project_id)
    except NotFound:
        raise no_run(uuid) from None
    if row.lifecycle != "active" and not deleted_too:
        raise BadInput(
            f"The run {uuid} must be in the 'active' state. Current state is {row.lifecycle}.",
            hint="Restore the run first.",
        )
    return Touched(row.id, uuid, row.experiment_id, row.project_id)


def no_run(uuid: str) -> NotFound:
    """The answer for a run that isn't there, or isn't yours to see."""
    return NotFound(f"Run with id={uuid[:80]} not found", hint="Was it deleted, or is it in another project?")


def metrics(db: Session, run: Touched, found: Sequence[Metric]) -> None:
    """Append points; each series gets one chunk, and its summary follows."""
    by_key: dict[str, tuple[list[int], list[int], list[float]]] = {}
    for m in found:
        steps, times, values = by_key.setdefault(m.key, ([], [], []))
        steps.append(m.step)
        times.append(m.time)
        values.append(m.value)
    ids = keys.ensure(db, by_key)
    summaries, chunks = [], []
    for key, (steps, times, values) in sorted(by_key.items()):
        short = series.shorten(steps, times, values)
        summaries.append(
            {"run": run.id, "key": ids[key], "experiment": run.experiment_id, "last": short.last, "is_nan": short.is_nan,
             "step": short.step, "time": short.time, "low": short.low, "high": short.high, "points": short.points}
        )  # fmt: skip
        chunks.append(
            {"run": run.id, "key": ids[key], "points": short.points, "low": min(steps), "high": max(steps),
             "data": series.pack_rows(steps, times, values)}
        )  # fmt: skip
    if chunks:
        connection = db.connection()  # not the session: there is nothing for it to keep track of
        connection.execute(_SUMMARY, summaries)
        connection.execute(_CHUNK, chunks)


def params(db: Session, run: Touched, found: Sequence[tuple[str, str]]) -> None:
    """Set parameters. One that has this value already is fine; another value raises `BadInput`, and nothing is kept."""
    wanted: dict[str, str] = {}
    for key, value in found:
        if wanted.setdefault(key, value) != value:
            raise BadInput(
                f"Duplicate parameter keys have been submitted: ['{key}']. Please ensure the request contains only one"
                " param value per param key."
            )
    if not wanted:
        return
    ids = keys.ensure(db, wanted)
    have: dict[int, str] = {r[0]: r[1] for r in db.execute(_PARAMS, {"run": run.id, "keys": list(ids.values())})}
    for key, value in wanted.items():
        old = have.get(ids[key], value)
        if old != value:
            raise BadInput(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for"
                f" run ID='{run.uuid}'. Attempted logging new value '{value}'.",
                hint="Use another key, or a nested run for each value.",
            )
    new = [
        {"run": run.id, "key": ids[key], "experiment": run.experiment_id, "value": value}
        for key, value in wanted.items()
        if ids[key] not in have
    ]
    if new:
        db.execute(_PARAM, new)


def tags(db: Session, run: Touched, found: Mapping[str, str]) -> None:
    """Set tags; the last value of a key stays. The run's name and its parent are tags on the wire."""
    if not found:
        return
    ids = keys.ensure(db, found)
    db.execute(
        _TAG,
        [
            {"run": run.id, "key": ids[key], "experiment": run.experiment_id, "value": v}
            for key, v in sorted(found.items())
        ],
    )
    if RUN_NAME_TAG in found:
        db.execute(_NAME, {"run": run.id, "value": found[RUN_NAME_TAG][:500]})
    if PARENT_TAG in found:
        db.execute(_PARENT, {"run": run.id, "value": found[PARENT_TAG][:64]})


def delete_tag(db: Session, run: Touched, key: str) -> None:
    """Remove a tag; `NotFound` if the run lacks it."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None or db.execute(_ONE_TAG, {"run": run.id, "key": key_id}).first() is None:
        raise NotFound(f"No tag with name: {key[:250]} in run with id {run.uuid}")
    db.execute(_NO_TAG, {"run": run.id, "key": key_id})
