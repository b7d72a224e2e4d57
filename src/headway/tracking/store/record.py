"""Writing into a run: metrics, parameters and tags. The path that every logged number takes, so it is short.

Each call first touches the run's row: that proves the run is there and active, gives its numbers, raises its version (caches
go by it), and on PostgreSQL makes writers of one run queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import RUN, Who
from headway.storage import direct
from headway.storage.direct import Direct, Row, Sql
from headway.tracking.store import keys, series
from headway.tracking.store.series import Packed

Rows = tuple[list[int], list[int], list[float]]  # steps, times and values of one series

_TOUCH = Sql(
    "UPDATE runs SET version = version + 1 WHERE uuid = ?"  # noqa: S608 - both parts are constants
    " RETURNING id, experiment_id, project_id, lifecycle, " + guard.ROLE_SQL.format(table="runs")
)
_SUMMARY = Sql(
    """
    INSERT INTO summaries (run_id, key_id, experiment_id, last, is_nan, step, time, low, high, points, loose)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
      points = summaries.points + excluded.points, loose = summaries.loose + excluded.loose
    """
)
_CHUNK = Sql(
    "INSERT INTO series_chunks (run_id, key_id, points, step_low, step_high, data, sketch) VALUES (?, ?, ?, ?, ?, ?b, ?b)"
)
_ONCE = Sql("INSERT INTO point_batches (run_id, key, stored_at) VALUES (?, ?, ?) ON CONFLICT (run_id, key) DO NOTHING")
_PARAMS = "SELECT key_id, value FROM params WHERE run_id = ? AND key_id IN"
_PARAM = Sql("INSERT INTO params (run_id, key_id, experiment_id, value) VALUES (?, ?, ?, ?)")
_TAG = Sql(
    "INSERT INTO tags (run_id, key_id, experiment_id, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (run_id, key_id) DO UPDATE SET value = excluded.value"
)
_NAME = Sql("UPDATE runs SET name = ? WHERE id = ?")
_PARENT = Sql("UPDATE runs SET parent_uuid = ? WHERE id = ?")
_NO_TAG = Sql("DELETE FROM tags WHERE run_id = ? AND key_id = ?")

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


@dataclass
class Batch:
    """What one request logs: columns of points by series, parameters, tags, and those points that belong to a model."""

    rows: dict[str, Rows] = field(default_factory=dict)
    params: Sequence[tuple[str, str]] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    of_models: list[Metric] = field(default_factory=list)

    def add(self, key: str, step: int, time: int, value: float) -> None:
        """One point more."""
        steps, times, values = self.rows.setdefault(key, ([], [], []))
        steps.append(step)
        times.append(time)
        values.append(value)


@dataclass(frozen=True)
class Touched:
    """The numbers of a run that is being written to."""

    id: int
    uuid: str
    experiment_id: int
    project_id: str


def touch(db: Session | Direct, who: Who, uuid: str, *, deleted_too: bool = False) -> Touched:
    """The run to write to. Raises `NotFound` (also for runs of projects that `who` may not see), `Forbidden`, and `BadInput`
    if it is deleted."""
    row = direct.of(db).first(_TOUCH, (uuid, who.user_id))
    if row is None:
        raise no_run(uuid)
    number, experiment_id, project_id, lifecycle, role = row
    try:
        guard.judge(who, RUN, project_id, role)
    except NotFound:
        raise no_run(uuid) from None
    if lifecycle != "active" and not deleted_too:
        raise BadInput(
            f"The run {uuid} must be in the 'active' state. Current state is {lifecycle}.",
            hint="Restore the run first.",
        )
    return Touched(number, uuid, experiment_id, project_id)


def no_run(uuid: str) -> NotFound:
    """The answer for a run that isn't there, or isn't yours to see."""
    return NotFound(f"Run with id={uuid[:80]} not found", hint="Was it deleted, or is it in another project?")


def rows(db: Session | Direct, run: Touched, by_key: Mapping[str, Rows]) -> None:
    """Append points, in any order: columns of steps, times (ms) and values, none empty. Each series gets one chunk, and its
    summary follows."""
    ids = keys.ensure(db, by_key)
    summaries, chunks = [], []
    for key in sorted(by_key):  # so that writers of several servers take their locks in one order
        steps, times, values = by_key[key]
        short = series.shorten(steps, times, values)
        summaries.append((run.id, ids[key], run.experiment_id, *short, 1))
        data = series.pack_rows(steps, times, values)
        chunks.append((run.id, ids[key], len(steps), min(steps), max(steps), data, None))
    _write(db, summaries, chunks)


def packed(db: Session | Direct, run: Touched, by_key: Mapping[str, Packed]) -> None:
    """As `rows`, for points that are packed already: how whole series come in."""
    ids = keys.ensure(db, by_key)
    summaries, chunks = [], []
    for key in sorted(by_key):
        one = by_key[key]
        summaries.append((run.id, ids[key], run.experiment_id, *one.short, one.loose))
        chunks += [(run.id, ids[key], *chunk) for chunk in one.chunks]
    _write(db, summaries, chunks)


def first_time(db: Session | Direct, run: Touched, key: str, now: int) -> bool:
    """Whether a request with this idempotency key (64 characters) is new to the run; it is noted with the rest of it."""
    return direct.of(db).run(_ONCE, (run.id, key, now)) == 1


def _write(db: Session | Direct, summaries: Sequence[Row], chunks: Sequence[Row]) -> None:
    if chunks:
        driver = direct.of(db)
        driver.many(_SUMMARY, summaries)
        driver.many(_CHUNK, chunks)


def params(db: Session | Direct, run: Touched, found: Sequence[tuple[str, str]]) -> None:
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
    driver = direct.of(db)
    have: dict[int, str] = dict(driver.among(_PARAMS, ids.values(), run.id))
    for key, value in wanted.items():
        old = have.get(ids[key], value)
        if old != value:
            raise BadInput(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for"
                f" run ID='{run.uuid}'. Attempted logging new value '{value}'.",
                hint="Use another key, or a nested run for each value.",
            )
    new = [(run.id, ids[key], run.experiment_id, value) for key, value in wanted.items() if ids[key] not in have]
    if new:
        driver.many(_PARAM, new)


def tags(db: Session | Direct, run: Touched, found: Mapping[str, str]) -> None:
    """Set tags; the last value of a key stays. The run's name and its parent are tags on the wire."""
    if not found:
        return
    ids = keys.ensure(db, found)
    driver = direct.of(db)
    driver.many(_TAG, [(run.id, ids[key], run.experiment_id, value) for key, value in sorted(found.items())])
    if RUN_NAME_TAG in found:
        driver.run(_NAME, (found[RUN_NAME_TAG][:500], run.id))
    if PARENT_TAG in found:
        driver.run(_PARENT, (found[PARENT_TAG][:64], run.id))


def delete_tag(db: Session | Direct, run: Touched, key: str) -> None:
    """Remove a tag; `NotFound` if the run lacks it."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None or not direct.of(db).run(_NO_TAG, (run.id, key_id)):
        raise NotFound(f"No tag with name: {key[:250]} in run with id {run.uuid}")
