"""Which runs fulfil a filter, in an order, page by page. A page is found by the sort values of the last row before it.

Where the first key is a metric, a parameter or a tag, runs that have it are read by walking its index, and those that lack
it (or have NaN) follow; so the first page costs the same with a hundred runs and with a hundred thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select, true
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.tracking import keys
from headway.tracking.conditions import compare, compare_indexed, compare_metric, head
from headway.tracking.search import NULL_OPS, Clause, Order
from headway.tracking.tables import Dataset, Input, Param, Run, Summary, Tag
from headway.web.paging import cursor, uncursor

RUN: Any = Run.__table__
SUMMARY: Any = Summary.__table__
VALUES: dict[str, Any] = {"param": Param.__table__, "tag": Tag.__table__}
INPUT: Any = Input.__table__
DATASET: Any = Dataset.__table__

COLUMNS = [RUN.c[name] for name in (
    "id", "uuid", "experiment_id", "project_id", "name", "user_id", "status", "cause", "start_time", "end_time", "lifecycle",
    "artifact_uri", "parent_uuid", "version")]  # fmt: skip
_ATTRIBUTES = {"run_id": "uuid", "run_name": "name"}
_PARTS = {"last": "last", "min": "low", "max": "high"}
MOST = 50_000


@dataclass(frozen=True)
class Scope:
    """Where to look: experiments by id, which lifecycle (active, deleted, None for both), and whether at children."""

    experiment_ids: Sequence[int]
    lifecycle: str | None = "active"
    children: bool = True  # also runs that belong to another run


@dataclass
class _Key:
    """One sort key: its class (0 a value; greater: NaN, then missing), its value, its direction, and the table it needs."""

    order: Order
    rank: Any
    value: Any
    table: Any = None
    key_id: int | None = None


@dataclass
class _Question:
    db: Session
    scope: Scope
    clauses: list[Clause]
    orders: list[Order]
    ids: dict[str, int]
    sort: list[_Key] = field(default_factory=list)


def find_runs(
    db: Session, scope: Scope, clauses: list[Clause], orders: list[Order], limit: int, token: str | None = None
) -> tuple[list[Any], str]:
    """At most `limit` rows (with `COLUMNS`), and the token of the next page or "". Raises `BadInput` for a foreign token."""
    if not 0 < limit <= MOST:
        raise BadInput(f"Invalid value {limit} for parameter 'max_results' supplied: It must be between 1 and {MOST}.")
    if not scope.experiment_ids:
        return [], ""
    mark = _mark(scope, clauses, orders)
    names = {c.key for c in clauses if c.kind in ("metric", "param", "tag")}
    names |= {o.key for o in orders if o.kind in ("metric", "param", "tag")}
    question = _Question(db, scope, clauses, orders, keys.find(db, names))
    question.sort = [_sort_key(question, order) for order in orders]
    if not any(o.kind == "attribute" and o.key == "start_time" for o in orders):
        question.sort.append(_sort_key(question, Order("attribute", "start_time", False)))
    after = None
    if token:
        after = uncursor(token, 2 * len(question.sort) + 2)
        if after[0] != mark:
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
    rows = _pages(question, after[1:] if after else None, limit + 1)
    if len(rows) <= limit:
        return rows, ""
    last = rows[limit - 1]
    width = 2 * len(question.sort)
    return rows[:limit], cursor([mark, *last[len(COLUMNS) : len(COLUMNS) + width], last.uuid])


def count(db: Session, scope: Scope, clauses: list[Clause]) -> int:
    """How many runs fulfil the clauses."""
    if not scope.experiment_ids:
        return 0
    names = {c.key for c in clauses if c.kind in ("metric", "param", "tag")}
    q = _Question(db, scope, clauses, [], keys.find(db, names))
    where = [_condition(q, c) for c in clauses] + [RUN.c.experiment_id.in_(scope.experiment_ids)]
    if scope.lifecycle is not None:
        where.append(RUN.c.lifecycle == scope.lifecycle)
    if not scope.children:
        where.append(RUN.c.parent_uuid.is_(None))
    return int(db.execute(select(func.count()).select_from(RUN).where(*where)).scalar_one())


def _pages(q: _Question, after: list[Any] | None, limit: int) -> list[Any]:
    first = q.sort[0]
    if first.table is None or first.key_id is None:
        return _rows(q, after, limit)
    rows: list[Any] = []
    if after is None or after[0] == 0:
        rows = _rows(q, after, limit, having=True)
        after = None
    demanded = any(
        (c.kind, c.key, c.of) == (first.order.kind, first.order.key, first.order.of) and c.op not in ("!=", "IS NULL")
        for c in q.clauses
    )
    if len(rows) < limit and not demanded:
        rows += _rows(q, after, limit - len(rows), having=False)
    return rows


def _rows(q: _Question, after: list[Any] | None, limit: int, having: bool | None = None) -> list[Any]:
    """`having`: only runs with a value for the first key (True), only those without (False), all (None)."""
    source: Any = RUN
    first = q.sort[0]
    walked = (
        (first.order.kind, first.order.key, first.order.of) if having else None
    )  # its conditions narrow the walk itself
    where = [_condition(q, c) for c in q.clauses if (c.kind, c.key, c.of) != walked]
    if q.scope.lifecycle is not None:
        where.append(RUN.c.lifecycle == q.scope.lifecycle)
    if not q.scope.children:
        where.append(RUN.c.parent_uuid.is_(None))
    for place, key in enumerate(q.sort):
        if key.table is None:
            continue
        on = (key.table.c.run_id == RUN.c.id) & (key.table.c.key_id == (-1 if key.key_id is None else key.key_id))
        if place == 0 and having:
            # the experiment is asked of the index alone, so that its walk is the outer loop
            where.append(key.table.c.experiment_id.in_(q.scope.experiment_ids))
            where += [_narrow(q, key, c) for c in q.clauses if (c.kind, c.key, c.of) == walked]
            source = key.table.join(source, on)
        else:
            source = source.outerjoin(key.table, on)
    if not having:
        where.append(RUN.c.experiment_id.in_(q.scope.experiment_ids))
    if having is False:
        where.append(first.rank != 0)
    if having and first.order.kind == "metric":
        where.append(first.table.c.is_nan == false() if first.order.of == "last" else first.value.is_not(None))
    if after is not None:
        where.append(_beyond(q, after))
    extra = [part for key in q.sort for part in (key.rank, key.value)]
    labelled = [column.label(f"k{i}") for i, column in enumerate(extra)]
    statement = select(*COLUMNS, *labelled).select_from(source).where(*where).order_by(*_order(q, having)).limit(limit)
    return list(q.db.execute(statement).all())


def _order(q: _Question, having: bool | None) -> list[Any]:
    found: list[Any] = []
    for place, key in enumerate(q.sort):
        if key.rank is not None and not (place == 0 and having) and not _never_missing(key):
            found.append(key.rank)
        columns = [key.value]
        if having and place == 0 and key.order.kind in VALUES and q.db.get_bind().dialect.name == "sqlite":
            columns = [head(key.value), key.value]  # as the index has it
        found += [c if key.order.ascending else c.desc() for c in columns]
    return [*found, RUN.c.uuid]


def _never_missing(key: _Key) -> bool:
    return key.order.kind == "attribute" and key.order.key != "end_time"


def _beyond(q: _Question, after: list[Any]) -> ColumnElement[bool]:
    """Rows after the one whose sort values are `after`, written from the last key to the first."""
    found: ColumnElement[bool] = RUN.c.uuid > str(after[-1])
    for place in range(len(q.sort) - 1, -1, -1):
        key, rank, value = q.sort[place], after[2 * place], after[2 * place + 1]
        if rank == 0:
            further = key.value > value if key.order.ascending else key.value < value
            found = or_(further, and_(key.value == value, found))
        if not _never_missing(key):
            found = or_(key.rank > rank, and_(key.rank == rank, found))
    return found


def _sort_key(q: _Question, order: Order) -> _Key:
    if order.kind == "attribute":
        column = RUN.c[_ATTRIBUTES.get(order.key, order.key)]
        return _Key(order, case((column.is_(None), 1), else_=0), column)
    key_id = q.ids.get(order.key)
    if order.kind == "metric":
        table = SUMMARY.alias()
        value = table.c[_PARTS[order.of]]
        nan = table.c.is_nan if order.of == "last" else value.is_(None)
        return _Key(order, case((table.c.run_id.is_(None), 2), (nan, 1), else_=0), value, table, key_id)
    if order.kind not in VALUES:
        raise BadInput(f"Runs can't be sorted by {order.kind}.")
    table = VALUES[order.kind].alias()
    return _Key(order, case((table.c.run_id.is_(None), 1), else_=0), table.c.value, table, key_id)


def _narrow(q: _Question, key: _Key, clause: Clause) -> ColumnElement[bool]:
    """A condition on the very value that is sorted by: it narrows the walk through the index."""
    if clause.op in NULL_OPS:
        return true() if clause.op == "IS NOT NULL" else false()
    if clause.kind == "metric":
        return compare_metric(key.table, clause.op, clause.value, _PARTS[clause.of])
    return compare(q.db, key.table.c.value, clause.op, clause.value)


def _condition(q: _Question, clause: Clause) -> ColumnElement[bool]:
    if clause.kind == "attribute":
        return compare(q.db, RUN.c[_ATTRIBUTES.get(clause.key, clause.key)], clause.op, clause.value)
    if clause.kind == "dataset":
        return _dataset(q, clause)
    key_id = q.ids.get(clause.key)
    if key_id is None:
        return true() if clause.op == "IS NULL" else false()
    table = SUMMARY if clause.kind == "metric" else VALUES[clause.kind]
    where = [table.c.experiment_id.in_(q.scope.experiment_ids), table.c.key_id == key_id]
    if clause.kind == "metric":
        where.append(compare_metric(table, clause.op, clause.value, _PARTS[clause.of]))
    elif clause.op not in NULL_OPS:
        where.append(compare_indexed(q.db, table.c.value, clause.op, clause.value))
    found = select(table.c.run_id).where(*where)
    run_id: ColumnElement[int] = RUN.c.id
    return run_id.not_in(found) if clause.op == "IS NULL" else run_id.in_(found)


def _dataset(q: _Question, clause: Clause) -> ColumnElement[bool]:
    column = INPUT.c.context if clause.key == "context" else DATASET.c[clause.key]
    found = (
        select(INPUT.c.run_id)
        .join(DATASET, DATASET.c.id == INPUT.c.dataset_id)
        .where(DATASET.c.experiment_id.in_(q.scope.experiment_ids), compare(q.db, column, clause.op, clause.value))
    )
    run_id: ColumnElement[int] = RUN.c.id
    return run_id.in_(found)


def _mark(scope: Scope, clauses: list[Clause], orders: list[Order]) -> str:
    """A short mark of the question, so that a token of one search is refused by another."""
    text = repr((sorted(scope.experiment_ids), scope.lifecycle, scope.children, clauses, orders))
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
