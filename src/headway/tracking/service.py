"""The verbs of runs: begin, log, end, delete, restore, search, and all the facts of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from headway import events
from headway.clock import new_id, now_ms
from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import VIEW, Who
from headway.storage import direct
from headway.storage.direct import Direct, Sql
from headway.tracking import experiments, limits, logged_models, naming
from headway.tracking.find import query
from headway.tracking.find.query import RunRow
from headway.tracking.find.search import parse_filter, parse_orders
from headway.tracking.store import locations, readout, record
from headway.tracking.store.readout import RunFacts
from headway.tracking.store.record import Batch, Metric
from headway.tracking.tables import Experiment, Run

STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
ENDED = ("FINISHED", "FAILED", "KILLED")
USER_TAG = "mlflow.user"

_SEEN = Sql(f"SELECT {', '.join(RunRow._fields)}, {guard.ROLE_SQL.format(table='runs')} FROM runs WHERE uuid = ?")  # noqa: S608

ensure_experiment = experiments.ensure


def create_run(
    db: Session, who: Who, *, project_id: str, experiment_id: int, name: str = "", tags: Mapping[str, str] | None = None,
    run_id: str | None = None, start_time: int | None = None, user: str = "", status: str = "RUNNING",
) -> Run:  # fmt: skip
    """Begin a run in an experiment of the project. `run_id`: the id it is to have. Raises `BadInput`, `NotFound`."""
    guard.check(db, who, "run", project_id)
    experiment = db.get(Experiment, experiment_id)
    if experiment is None or experiment.project_id != project_id:
        raise experiments.no_experiment(experiment_id)
    if experiment.lifecycle != "active":
        raise BadInput(
            f"The experiment {experiment_id} must be in the 'active' state. Current state is {experiment.lifecycle}.",
            hint="Restore the experiment, or choose another.",
        )
    labels = dict(tags or {})
    given = labels.get(record.RUN_NAME_TAG, "")
    if name and given and name != given:
        raise BadInput(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" (run_name='{name}', mlflow.runName='{given}')."
        )
    uuid = run_id or new_id()
    name = name or given or naming.name_for(uuid)
    labels[record.RUN_NAME_TAG] = name
    user = user or labels.get(USER_TAG, "") or who.name
    location = experiment.artifact_location or f"mlflow-artifacts:/{experiment.id}"
    row = Run(
        uuid=uuid, experiment_id=experiment.id, project_id=project_id, name=limits.text(name, "run_name", limits.RUN_NAME),
        user_id=user[: limits.USER], status=status, cause="", start_time=now_ms() if start_time is None else start_time,
        lifecycle="active", artifact_uri=locations.below(location, uuid, "artifacts"), version=0,
    )  # fmt: skip
    db.add(row)
    db.flush()
    record.tags(db, record.Touched(row.id, uuid, experiment.id, project_id), check_tags(labels.items()))
    events.publish(db, events.RunChanged(uuid, project_id, status))
    return row


def check_tags(pairs: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Sound tags; the last value of a key stays."""
    return {
        limits.key(k, f"tags[{i}].key"): limits.text(v, f"tags[{i}].value", limits.TAG_VALUE)
        for i, (k, v) in enumerate(pairs)
    }


def get_run(db: Session, who: Who, run_id: Any, verb: str = "view") -> Run:
    """A run by its id, deleted or not. Raises `NotFound` unless `who` may see it."""
    row = db.scalar(select(Run).where(Run.uuid == str(run_id)))
    return guard.visible(db, who, verb, row, lambda: record.no_run(str(run_id)))


def seen_run(db: Session | Direct, who: Who, run_id: str) -> RunRow:
    """As `get_run`, by one statement straight to the driver, for what is asked all the time."""
    row = direct.of(db).first(_SEEN, (who.user_id, run_id))
    if row is None:
        raise record.no_run(run_id)
    run, role = RunRow._make(row[:-1]), row[-1]
    try:
        guard.judge(who, VIEW, run.project_id, role)
    except NotFound:
        raise record.no_run(run_id) from None
    return run


def by_uuid(db: Session, run_id: str) -> Run | None:
    """A run by its id. For the platform's own use: checks no rights."""
    return db.scalar(select(Run).where(Run.uuid == run_id))


def log_batch(
    db: Session, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[tuple[str, str]] = (),
    tags: Mapping[str, str] | None = None, *, who: Who,
) -> None:  # fmt: skip
    """Log all or nothing of it. Raises `BadInput`, `NotFound`, `Forbidden`."""
    batch = Batch(params=params, tags=tags or {}, of_models=[m for m in metrics if m.model])
    for m in metrics:
        batch.add(m.key, m.step, m.time, m.value)
    log(db, who, run_id, batch)


def log(db: Session | Direct, who: Who, run_id: str, batch: Batch) -> None:
    """As `log_batch`."""
    run = record.touch(db, who, run_id)
    record.params(db, run, batch.params)
    record.tags(db, run, batch.tags)
    record.rows(db, run, batch.rows)
    logged_models.log_metrics(db, run, batch.of_models)


def update_run(
    db: Session,
    who: Who,
    run_id: str,
    *,
    status: str | None = None,
    end_time: int | None = None,
    name: str | None = None,
) -> Run:
    """Change a run's status, end or name."""
    run = record.touch(db, who, run_id)
    if status is not None and status not in STATUSES:
        raise limits.invalid("status", status, f"It must be one of {', '.join(STATUSES)}.")
    row = db.get(Run, run.id, populate_existing=True)
    assert row is not None
    if name:
        record.tags(db, run, {record.RUN_NAME_TAG: limits.text(name, "run_name", limits.RUN_NAME)})
        db.refresh(row)
    if status is not None:
        _set_status(db, row, status, end_time)
    elif end_time is not None:
        row.end_time = end_time
    db.flush()
    return row


def _set_status(db: Session, row: Run, status: str, end_time: int | None) -> None:
    changed = row.status != status
    row.status = status
    if status in ENDED:
        row.end_time = end_time if end_time is not None else row.end_time
    else:
        row.end_time = end_time
        row.cause = ""
    if changed:
        events.publish(db, events.RunChanged(row.uuid, row.project_id, status))


def begin_run(db: Session, run_id: str, start_time: int) -> None:
    """A run that was scheduled runs now. For the platform's own use: checks no rights. Unknown runs are ignored."""
    row = db.scalar(select(Run).where(Run.uuid == run_id).with_for_update())
    if row is not None and row.status == "SCHEDULED":
        _set_status(db, row, "RUNNING", None)
        row.start_time = start_time
        row.version += 1
        db.flush()


def end_run(db: Session, run_id: str, status: str, end_time: int | None = None, cause: str = "") -> None:
    """How a run ended, as the platform knows it. For the platform's own use: checks no rights. Unknown runs are ignored.

    `status` is MLflow's word, `cause` ours (cancelled, timed_out, out_of_memory, killed, lost, or a sentence).
    """
    row = db.scalar(select(Run).where(Run.uuid == run_id).with_for_update())
    if row is None:
        return
    _set_status(db, row, status, end_time if end_time is not None or status not in ENDED else row.end_time or now_ms())
    row.cause = cause[:400]
    row.version += 1
    db.flush()


def delete_run(db: Session, who: Who, run_id: str) -> None:
    """Mark a run as deleted; it can be restored until it is purged."""
    run = record.touch(db, who, run_id, deleted_too=True)
    guard.check(db, who, "run", run.project_id)
    db.execute(
        update(Run).where(Run.id == run.id, Run.lifecycle == "active").values(lifecycle="deleted", deleted_at=now_ms())
    )


def restore_run(db: Session, who: Who, run_id: str) -> None:
    """Bring a deleted run back."""
    run = record.touch(db, who, run_id, deleted_too=True)
    db.execute(update(Run).where(Run.id == run.id).values(lifecycle="active", deleted_at=None))


@dataclass(frozen=True)
class Found:
    """One page of a search: rows with `query.COLUMNS`, and the token of the next page or ""."""

    rows: list[Any]
    token: str


def find(
    db: Session | Direct, who: Who, experiment_ids: Sequence[Any], *, filter_: str = "", orders: Sequence[str] = (),
    lifecycle: str | None = "active", limit: int = 1000, token: str | None = None, children: bool = True,
) -> Found:  # fmt: skip
    """Search runs of experiments that `who` may see; others hold nothing for them. Raises `BadInput`.

    `children`: also runs that belong to another run.
    """
    numbers = experiments.visible(db, who, experiment_ids)
    scope = query.Scope(numbers, lifecycle, children)
    rows, following = query.find_runs(db, scope, parse_filter(filter_), parse_orders(list(orders)), limit, token)
    return Found(rows, following)


def search_runs(
    db: Session, who: Who, experiment_ids: Sequence[Any], *, filter_: str = "", orders: Sequence[str] = (),
    lifecycle: str | None = "active", limit: int = 1000, token: str | None = None, children: bool = True,
) -> tuple[list[RunFacts], str]:  # fmt: skip
    """As `find`, with all the facts of the runs."""
    found = find(
        db, who, experiment_ids, filter_=filter_, orders=orders, lifecycle=lifecycle, limit=limit, token=token,
        children=children,
    )  # fmt: skip
    return readout.facts(db, found.rows), found.token


def facts(db: Session, who: Who, run_id: str) -> RunFacts:
    """All that was recorded about a run: parameters, metrics in short, tags, inputs, models. Raises `NotFound`."""
    row = get_run(db, who, run_id)
    return readout.facts(db, [row])[0]


def children(db: Session, run_id: str) -> list[RunFacts]:
    """The trainings of a run (its child runs), oldest first, with their facts. The caller has checked the parent."""
    rows = db.scalars(
        select(Run)
        .where(Run.parent_uuid == run_id, Run.lifecycle == "active")
        .order_by(Run.start_time, Run.id)
        .limit(1000)
    )
    return readout.facts(db, list(rows))
