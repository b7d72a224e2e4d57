"""Evaluation datasets: records with inputs and what is expected of an answer, for experiments to be judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, cast, delete, func, or_, select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.traces.spans import clean
from headway.traces.sqltools import json_text
from headway.traces.tables import EvalDataset, EvalDatasetExperiment, EvalRecord
from headway.tracking import experiments, limits
from headway.tracking.find.conditions import compare
from headway.tracking.find.search import Clause, Grammar, Order, parse_filter, parse_orders
from headway.web.paging import cursor, uncursor

GRAMMAR = Grammar(
    kinds=frozenset({"attribute", "tag"}),
    text=frozenset({"name", "created_by", "last_updated_by"}),
    numbers=frozenset({"created_time", "last_update_time"}),
    ordered=frozenset({"name", "created_time", "last_update_time"}),
    lists=frozenset({"name"}),
    nulls=False,
)
_COLUMNS: dict[str, Any] = {
    "name": EvalDataset.name, "created_by": EvalDataset.created_by, "last_updated_by": EvalDataset.updated_by,
    "created_time": EvalDataset.created_at, "last_update_time": EvalDataset.updated_at,
}  # fmt: skip
USER = "mlflow.user"
MOST_RECORDS = 5000
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "float"), (str, "string"), (list, "array"), (dict, "object"))


def none_such(uuid: object) -> NotFound:
    """The answer for a dataset that isn't there, or isn't yours to see."""
    return NotFound(f"Evaluation dataset with id '{str(uuid)[:80]}' not found")


def get(db: Session, who: Who, uuid: Any, verb: str = "view") -> EvalDataset:
    """A dataset. Raises `NotFound`, `Forbidden`."""
    row = db.scalar(select(EvalDataset).where(EvalDataset.uuid == str(uuid)))
    return guard.visible(db, who, verb, row, lambda: none_such(uuid))


def create(
    db: Session, who: Who, project_id: str, name: str, tags: dict[str, Any], experiment_ids: Sequence[Any]
) -> EvalDataset:
    """A new dataset without records."""
    guard.check(db, who, "run", project_id)
    name = limits.text(name, "name", 255)
    if not name.strip():
        raise limits.missing("name")
    moment, user = now_ms(), limits.text(tags.get(USER), USER, 255)
    row = EvalDataset(uuid=f"d-{new_id()}", project_id=project_id, name=name, tags=json.dumps(clean(tags)), created_at=moment,
                      updated_at=moment, created_by=user, updated_by=user, digest=_digest(name, moment))  # fmt: skip
    db.add(row)
    db.flush()
    attach(db, who, row, experiment_ids)
    return row


def _digest(name: str, moment: int) -> str:
    return hashlib.sha256(f"{name}:{moment}".encode()).hexdigest()[:8]


def attach(db: Session, who: Who, row: EvalDataset, experiment_ids: Sequence[Any]) -> None:
    """Let a dataset belong to more experiments of its project. Raises `NotFound`."""
    for one in experiment_ids:
        experiment = experiments.get(db, who, one, "run")
        if experiment.project_id != row.project_id:
            raise experiments.no_experiment(one)
        db.merge(EvalDatasetExperiment(dataset_id=row.id, experiment_id=experiment.id))
    db.flush()


def detach(db: Session, row: EvalDataset, experiment_ids: Sequence[Any]) -> None:
    """Let it no longer belong to these."""
    numbers = [int(one) for one in experiment_ids if str(one).isdigit()]
    table = EvalDatasetExperiment
    db.execute(delete(table).where(table.dataset_id == row.id, table.experiment_id.in_(numbers)))


def experiment_ids(db: Session, row: EvalDataset) -> list[str]:
    """The experiments it belongs to."""
    query = select(EvalDatasetExperiment.experiment_id).where(EvalDatasetExperiment.dataset_id == row.id)
    return [str(one) for one in db.scalars(query.order_by(EvalDatasetExperiment.experiment_id))]


def remove(db: Session, who: Who, uuid: str) -> None:
    """Delete a dataset with its records; nothing happens where it isn't."""
    row = db.scalar(select(EvalDataset).where(EvalDataset.uuid == uuid))
    if row is None:
        return
    try:
        guard.check(db, who, "run", row.project_id)
    except NotFound:  # as if it were missing
        return
    for table in (EvalRecord, EvalDatasetExperiment):
        db.execute(delete(table).where(table.dataset_id == row.id))
    db.delete(row)
    db.flush()


def tag(db: Session, row: EvalDataset, changes: dict[str, Any]) -> None:
    """Set tags; one without a value stays as it is."""
    row.tags = json.dumps(json.loads(row.tags) | {k: v for k, v in clean(changes).items() if v is not None})
    db.flush()


def untag(db: Session, row: EvalDataset, key: str) -> None:
    """Remove a tag; nothing happens where it isn't."""
    row.tags = json.dumps({k: v for k, v in json.loads(row.tags).items() if k != key})
    db.flush()


def search(
    db: Session, who: Who, project_id: str, ids: Sequence[Any], filter_: str, orders: Sequence[str], limit: int,
    token: str | None,
) -> tuple[list[EvalDataset], str]:  # fmt: skip
    """A page of a project's datasets, the newest first unless ordered otherwise."""
    guard.check(db, who, "view", project_id)
    where: list[Any] = [EvalDataset.project_id == project_id]
    if ids:
        numbers = experiments.visible(db, who, ids)
        table = EvalDatasetExperiment
        where.append(EvalDataset.id.in_(select(table.dataset_id).where(table.experiment_id.in_(numbers))))
    where += [_condition(db, clause) for clause in parse_filter(filter_, GRAMMAR)]
    sort = parse_orders(list(orders), GRAMMAR) or [Order("attribute", "created_time", False)]
    columns = [(_COLUMNS[o.key], o.ascending) for o in sort]
    mark = f"{project_id}|{list(ids)}|{filter_}|{list(orders)}"
    if token:
        values = uncursor(token, len(columns) + 2)
        if values[0] != hashlib.sha256(mark.encode()).hexdigest()[:12]:
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
        where.append(_beyond(columns, values[1:]))
    order = [column if up else column.desc() for column, up in columns]
    rows = list(db.scalars(select(EvalDataset).where(*where).order_by(*order, EvalDataset.uuid).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, ""
    last = rows[limit - 1]
    its = [getattr(last, column.key) for column, _ in columns]
    return rows[:limit], cursor([hashlib.sha256(mark.encode()).hexdigest()[:12], *its, last.uuid])


def _beyond(columns: Sequence[tuple[Any, bool]], after: Sequence[Any]) -> Any:
    found: Any = EvalDataset.uuid > after[-1]
    for (column, up), value in reversed(list(zip(columns, after[:-1], strict=True))):
        found = or_(column > value if up else column < value, (column == value) & found)
    return found


def _condition(db: Session, clause: Clause) -> Any:
    if clause.kind == "attribute":
        return compare(db, _COLUMNS[clause.key], clause.op, clause.value)
    return compare(db, cast(json_text(db, EvalDataset.tags, clause.key), String), clause.op, clause.value)


# ---------------------------------------------------------------- records
def upsert(db: Session, row: EvalDataset, told: Any) -> tuple[int, int]:
    """Add records; one whose inputs are there already is merged into it. (how many new, how many merged).

    Raises `BadInput`; then none is kept.
    """
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise BadInput("The records must be a JSON list of objects, each with inputs.", field="records")
    if len(told) > MOST_RECORDS:
        raise BadInput(f"At most {MOST_RECORDS} records fit in one request.", field="records")
    new = merged = 0
    moment, user = now_ms(), ""
    for one in told:
        user = str((one.get("tags") or {}).get(USER) or user)[:255]
        if _upsert_one(db, row, clean(one), moment):
            new += 1
        else:
            merged += 1
    row.schema = json.dumps(_schema(json.loads(row.schema or "{}"), told)) if told else row.schema
    count = db.scalar(select(func.count()).select_from(EvalRecord).where(EvalRecord.dataset_id == row.id)) or 0
    row.profile = json.dumps({"num_records": count}) if count else ""
    row.updated_at, row.updated_by, row.digest = moment, user or row.updated_by, _digest(row.name, moment)
    db.flush()
    return new, merged


def _upsert_one(db: Session, row: EvalDataset, told: dict[str, Any], moment: int) -> bool:
    inputs = told.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise limits.wrong_type("records.inputs", inputs)
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    tags, expected = told.get("tags") or {}, told.get("expectations") or {}
    if not isinstance(tags, dict) or not isinstance(expected, dict):
        raise limits.wrong_type("records.tags" if isinstance(expected, dict) else "records.expectations", told)
    user = str(tags.get(USER) or "")[:255]
    old = db.scalar(select(EvalRecord).where(EvalRecord.dataset_id == row.id, EvalRecord.inputs_hash == key))
    if old is None:
        source = told.get("source")
        db.add(
            EvalRecord(
                uuid=f"dr-{new_id()}", dataset_id=row.id, inputs=json.dumps(inputs), inputs_hash=key,
                outputs=None if told.get("outputs") is None else json.dumps(told["outputs"]),
                expectations=json.dumps(expected), tags=json.dumps(tags), source=json.dumps(source) if source else None,
                created_by=user, updated_by=user, created_at=moment, updated_at=moment,
            )
        )  # fmt: skip
        db.flush()
        return True
    old.expectations = json.dumps(json.loads(old.expectations) | expected)
    old.tags = json.dumps(json.loads(old.tags) | tags)
    if told.get("outputs") is not None:
        old.outputs = json.dumps(told["outputs"])
    old.updated_at, old.updated_by = max(moment, old.updated_at + 1), user or old.updated_by
    db.flush()
    return False


def _schema(known: dict[str, Any], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: known.get(name, {}) for name in ("inputs", "outputs", "expectations")}
    for one in told:
        for name, fields in found.items():
            for key, value in (one.get(name) or {}).items() if isinstance(one.get(name), dict) else ():
                fields.setdefault(key, next((word for kind, word in _TYPES if isinstance(value, kind)), "unspecified"))
    found["version"] = "1.0"
    return found


def records(db: Session, row: EvalDataset, limit: int, token: str | None) -> tuple[list[EvalRecord], str]:
    """A page of records, the first added first."""
    query = select(EvalRecord).where(EvalRecord.dataset_id == row.id)
    if token:
        at, uuid = uncursor(token, 2)
        query = query.where(
            or_(EvalRecord.created_at > at, (EvalRecord.created_at == at) & (EvalRecord.uuid > str(uuid)))
        )
    found = list(db.scalars(query.order_by(EvalRecord.created_at, EvalRecord.uuid).limit(limit + 1)))
    if len(found) <= limit:
        return found, ""
    return found[:limit], cursor([found[limit - 1].created_at, found[limit - 1].uuid])


def remove_records(db: Session, row: EvalDataset, uuids: Sequence[str]) -> int:
    """Delete records; how many it were."""
    found = db.execute(delete(EvalRecord).where(EvalRecord.dataset_id == row.id, EvalRecord.uuid.in_(list(uuids))))
    count = int(found.rowcount)  # type: ignore[attr-defined]
    if count:
        moment = now_ms()
        row.updated_at, row.digest = moment, _digest(row.name, moment)
        left = db.scalar(select(func.count()).select_from(EvalRecord).where(EvalRecord.dataset_id == row.id)) or 0
        row.profile = json.dumps({"num_records": left})
        db.flush()
    return count
