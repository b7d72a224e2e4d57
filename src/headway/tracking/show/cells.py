"""The table of runs as columns of cells: one page of it, the names of all its columns, and groups. The contract is in `runtable`.

Only the cells that are shown are read: a run may have twelve thousand metrics, a page shows ten of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.tracking import experiments, states
from headway.tracking.find import counting, query
from headway.tracking.find.conditions import TABLES
from headway.tracking.find.search import Order, column_id, goal, parse_filter, parse_order, parse_orders
from headway.tracking.show import runtable
from headway.tracking.store import keys

MOST = 5000
SAMPLE = 100  # runs that are looked at to choose columns
CELLS = 60_000  # values of a kind that are looked at to choose columns; a run may have 12,000 metrics

_RUNS: Any = bindparam("runs", expanding=True)
_KEYS: Any = bindparam("keys", expanding=True)
_METRICS = text(
    "SELECT run_id, key_id, last, is_nan, low, high FROM summaries WHERE run_id IN :runs AND key_id IN :keys"
).bindparams(_RUNS, _KEYS)
_TEXTS = {
    "param": text("SELECT run_id, key_id, value FROM params WHERE run_id IN :runs AND key_id IN :keys"),
    "tag": text("SELECT run_id, key_id, value FROM tags WHERE run_id IN :runs AND key_id IN :keys"),
}
_SIZES = {
    kind: text(f"SELECT run_id, COUNT(*) FROM {table} WHERE run_id IN :runs GROUP BY run_id").bindparams(_RUNS)  # noqa: S608
    for kind, table in TABLES.items()
}
_NAN = "CAST(is_nan AS INTEGER)"
_SAMPLED = {
    kind: text(
        f"SELECT key_id, COUNT(*), MIN({value}) <> MAX({value}){more} FROM {TABLES[kind]} WHERE run_id IN :runs GROUP BY key_id"  # noqa: S608
    ).bindparams(_RUNS)
    for kind, value, more in (
        ("metric", "last", f" OR MIN({_NAN}) <> MAX({_NAN})"),
        ("param", "value", ""),
        ("tag", "value", ""),
    )
}
_CHILDREN = text(
    "SELECT parent_uuid, COUNT(*) FROM runs WHERE parent_uuid IN :runs AND lifecycle = 'active' GROUP BY parent_uuid"
).bindparams(_RUNS)
_PIECE = 500
_ODD = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


@dataclass(frozen=True)
class Ask:
    """What is asked of the table; see the contract in `runtable`."""

    filter: str = ""
    orders: Sequence[str] = ()
    columns: Sequence[str] = ()
    experiments: Sequence[str] = ()
    deleted: bool = False
    children: bool | None = None  # None: where there is a filter
    cursor: str = ""
    offset: int = 0
    limit: int = 100
    count: bool = False


@dataclass
class Column:
    """A column with its cells."""

    kind: str
    key: str
    of: str = "last"
    values: list[Any] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As the contract has it."""
        found: dict[str, Any] = {"id": column_id(self.kind, self.key, self.of), "kind": self.kind, "key": self.key}
        if self.kind == "metric":
            found |= {"of": self.of, "goal": goal(self.key)}
        return found | {"values": self.values}


def page(db: Session, who: Who, project: Project, ask: Ask) -> dict[str, Any]:
    """One page of the table. Raises `BadInput`. The caller has checked that `who` may see the project."""
    if not 1 <= ask.limit <= MOST:
        raise BadInput(f"A page of the table holds 1 to {MOST} runs, not {ask.limit}.", field="limit")
    if ask.offset < 0 or (ask.offset and ask.cursor):
        raise BadInput("`offset` is a row's number, and goes without `cursor`.", field="offset")
    where, clauses = scope(db, who, project, ask), parse_filter(ask.filter)
    orders = parse_orders(list(ask.orders))
    rows, token = query.find_runs(db, where, clauses, orders, ask.limit, ask.cursor or None, skip=ask.offset)
    columns = [parse_column(one) for one in ask.columns] if ask.columns else chosen(db, rows)
    fill(db, rows, columns)
    children = _children(db, [row.uuid for row in rows])
    return {
        "run_id": [row.uuid for row in rows],
        "name": [row.name for row in rows],
        "state": [states.state(row) for row in rows],
        "cause": [states.cause(row) for row in rows],
        "experiment": [row.experiment_id for row in rows],
        "user": [row.user_id for row in rows],
        "start": [row.start_time for row in rows],
        "end": [row.end_time for row in rows],
        "parent": [row.parent_uuid for row in rows],
        "children": [children.get(row.uuid, 0) for row in rows],
        "columns": [column.told() for column in columns],
        "next": token,
        "total": counting.count(db, where, clauses) if ask.count else None,
    }


def scope(db: Session, who: Who, project: Project, ask: Ask) -> query.Scope:
    """Where to look. Experiments of other projects are not there."""
    mine = {e.id for e in experiments.active(db, project.id)}
    asked = set(experiments.visible(db, who, ask.experiments)) if ask.experiments else mine
    lifecycle = "deleted" if ask.deleted else "active"
    return query.Scope(
        sorted(asked & mine), lifecycle, bool(ask.filter.strip()) if ask.children is None else ask.children
    )


def parse_column(name: str) -> Column:
    """A column by its name, written as in an order. Raises `BadInput`."""
    order: Order = parse_order(name)
    if order.kind not in ("metric", "param", "tag"):
        raise BadInput(
            f"'{name[:80]}' is no column that can be asked for.", hint="For example: metrics.auc, params.lr, tags.team"
        )
    return Column(order.kind, order.key, order.of)


def chosen(db: Session, rows: Sequence[Any]) -> list[Column]:
    """The columns to show at first: some metrics and parameters in which these runs differ."""
    found = []
    for kind, ranked in ranks(db, rows[:SAMPLE]).items():
        differing = [key for key, differs, _ in ranked if differs]
        found += [Column(kind, key) for key in differing[: runtable.SHOWN] if kind != "tag"]
    return found


def ranks(db: Session, rows: Sequence[Any]) -> dict[str, list[tuple[str, bool, float]]]:
    """By kind (metric, param, tag): (key, whether these runs differ in it, the share that has it), the telling ones first."""
    found = {}
    for kind, statement in _SAMPLED.items():
        some = within(db, kind, [row.id for row in rows])
        counted = {key: (count, bool(differ)) for key, count, differ in db.execute(statement, {"runs": some}) if some}
        names = keys.names(db, counted)
        found[kind] = runtable.ranked({names[key]: its for key, its in counted.items()}, len(some))
    return found


def within(db: Session, kind: str, runs: list[int]) -> list[int]:
    """As many of the runs, in their order, as have `CELLS` values of this kind together; one at least."""
    sizes = {row[0]: row[1] for row in db.execute(_SIZES[kind], {"runs": runs})} if runs else {}
    together = accumulate(sizes.get(run, 0) for run in runs)
    return [run for at, (run, total) in enumerate(zip(runs, together, strict=True)) if total <= CELLS or not at]


def fill(db: Session, rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Read the cells of `columns` for `rows` (with `query.COLUMNS`)."""
    place = {row.id: at for at, row in enumerate(rows)}
    ids = keys.find(db, {column.key for column in columns})
    for column in columns:
        column.values = [None] * len(rows)
    for kind in ("metric", "param", "tag"):
        mine: dict[int, list[Column]] = {}
        for column in columns:
            if column.kind == kind and column.key in ids:
                mine.setdefault(ids[column.key], []).append(column)
        if not mine:
            continue
        runs, statement = list(place), _METRICS if kind == "metric" else _TEXTS[kind].bindparams(_RUNS, _KEYS)
        for at in range(0, len(runs), _PIECE):
            for run_id, key_id, *value in db.execute(statement, {"runs": runs[at : at + _PIECE], "keys": list(mine)}):
                for column in mine[key_id]:
                    column.values[place[run_id]] = _number(column.of, *value) if kind == "metric" else value[0]


def _number(of: str, last: float, is_nan: bool, low: float | None, high: float | None) -> float | str | None:
    value = low if of == "min" else high if of == "max" else last
    if value is None or (of == "last" and is_nan):
        return "NaN"
    return _ODD.get(value, value)


def _children(db: Session, uuids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at in range(0, len(uuids), _PIECE):
        found |= {row[0]: row[1] for row in db.execute(_CHILDREN, {"runs": list(uuids[at : at + _PIECE])})}
    return found
