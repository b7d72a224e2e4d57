"""A condition of a filter as SQL, meaning the same on SQLite and PostgreSQL: LIKE minds the case, ILIKE does not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from headway.tracking.find.search import NULL_OPS, Clause, Value
from headway.tracking.tables import HEAD

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(db: Session, column: Any, op: str, value: Value) -> ColumnElement[bool]:
    """`column op value` for a text or a number."""
    if op in _COMPARE:
        found: ColumnElement[bool] = _COMPARE[op](column, value)
        return found
    if op in ("IN", "NOT IN"):
        values = list(value) if isinstance(value, tuple) else [value]
        return column.in_(values) if op == "IN" else column.not_in(values)  # type: ignore[no-any-return]
    pattern = str(value)
    if db.get_bind().dialect.name == "sqlite":
        if op == "LIKE":
            return column.op("GLOB", is_comparison=True)(glob(pattern))  # type: ignore[no-any-return]
        return column.like(pattern)  # type: ignore[no-any-return]
    escaped = pattern.replace("\\", "\\\\")
    return column.like(escaped) if op == "LIKE" else column.ilike(escaped)  # type: ignore[no-any-return]


def glob(pattern: str) -> str:
    """A LIKE pattern for SQLite's GLOB, which minds the case."""
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)


# ------------------------------------------------------------------ as words of SQL, for the search of runs
Piece = tuple[str, list[Any]]
"""A piece of SQL with `?` for each of its values."""

PARTS = {"last": "last", "min": "low", "max": "high"}
TABLES = {"metric": "summaries", "param": "params", "tag": "tags"}
_ATTRIBUTES = {"run_id": "uuid", "run_name": "name"}
_DATASET = "SELECT i.run_id FROM run_inputs i JOIN datasets d ON d.id = i.dataset_id WHERE "


def attribute(name: str) -> str:
    """The column of `runs` (as `r`) that an attribute is."""
    return f"r.{_ATTRIBUTES.get(name, name)}"


def marks(values: Sequence[Any]) -> str:
    """`(?, ?, ?)` for a list."""
    return f"({', '.join('?' * len(values))})"


def words(sqlite: bool, column: str, op: str, value: Value) -> Piece:
    """`column op value` for a text or a number."""
    if op in _COMPARE:
        if isinstance(value, int) and abs(value) >= 2**63:  # more than an integer of a database holds
            value = float(value)
        return f"{column} {op} ?", [value]
    if op in ("IN", "NOT IN"):
        values = list(value) if isinstance(value, tuple) else [value]
        return f"{column} {op} {marks(values)}", values
    pattern = str(value)
    if sqlite:
        return (f"{column} GLOB ?", [glob(pattern)]) if op == "LIKE" else (f"{column} LIKE ?", [pattern])
    return f"{column} {op} ?", [pattern.replace("\\", "\\\\")]


def tested(sqlite: bool, clause: Clause, table: str = "") -> Piece:
    """What a row of the clause's own table (`summaries`, `params`, `tags`) must fulfil, by which its index can be walked."""
    dot = f"{table}." if table else ""
    if clause.op in NULL_OPS:
        return "true", []
    if clause.kind != "metric":
        return _text(sqlite, f"{dot}value", clause.op, clause.value)
    column = dot + PARTS[clause.of]
    number = isinstance(clause.value, int | float) and clause.value == clause.value
    if not number:
        return ("true" if clause.op == "!=" else "false"), []
    nan = f"{dot}is_nan = false" if clause.of == "last" else f"{column} IS NOT NULL"
    if clause.op == "!=":
        return f"NOT ({nan} AND {column} = ?)", [clause.value]
    return f"({nan} AND {column} {clause.op} ?)", [clause.value]


def _text(sqlite: bool, column: str, op: str, value: Value) -> Piece:
    """On PostgreSQL an index holds the beginning of a text; equality asks for that too, and the rest only where there is one."""
    if sqlite or op != "=" or not isinstance(value, str):
        return words(sqlite, column, op, value)
    start = f"substr({column}, 1, {HEAD}) = ?"
    return (start, [value]) if len(value) < HEAD else (f"({start} AND {column} = ?)", [value[:HEAD], value])


def among(sqlite: bool, clause: Clause, key_id: int | None, experiments: Sequence[int]) -> Piece | None:
    """The statement that lists the runs (`run_id`) fulfilling a clause by an index, or None where no index tells them.

    They may be of any lifecycle; a run comes once.
    """
    if clause.kind == "attribute":
        if clause.key != "run_id" or clause.op not in ("=", "IN"):
            return None
        values = list(clause.value) if isinstance(clause.value, tuple) else [clause.value]
        return f"SELECT id AS run_id FROM runs WHERE uuid IN {marks(values)}", values  # noqa: S608
    if clause.kind == "dataset":
        column = "i.context" if clause.key == "context" else f"d.{clause.key}"
        test, values = words(sqlite, column, clause.op, clause.value)
        found = f"{_DATASET} d.experiment_id IN {marks(experiments)} AND {test} GROUP BY i.run_id"
        return found, [*experiments, *values]
    if key_id is None or clause.op in ("!=", "IS NULL", "IS NOT NULL"):
        return None
    test, values = tested(sqlite, clause)
    table = TABLES[clause.kind]
    found = f"SELECT run_id FROM {table} WHERE experiment_id IN {marks(experiments)} AND key_id = ? AND {test}"  # noqa: S608
    return found, [*experiments, key_id, *values]


def fulfilled(sqlite: bool, clause: Clause, key_id: int | None, row: str = "r") -> Piece:
    """What a run must fulfil, asked of each run that is looked at. `row`: `r`, or a row of `summaries`, `params` or `tags` that
    belongs to the run and is read before it."""
    if clause.kind == "attribute":
        return words(sqlite, attribute(clause.key), clause.op, clause.value)
    run = "r.id" if row == "r" else f"{row}.run_id"
    if clause.kind == "dataset":
        column = "i.context" if clause.key == "context" else f"d.{clause.key}"
        test, values = words(sqlite, column, clause.op, clause.value)
        return f"EXISTS ({_DATASET} i.run_id = {run} AND {test})", values
    if key_id is None:
        return ("true" if clause.op == "IS NULL" else "false"), []
    test, values = tested(sqlite, clause, "c")
    table = TABLES[clause.kind]
    if sqlite and clause.op == "=" and table in ("params", "tags"):
        # runs with the same value lie beside each other in this index: a fifth of the time that the rows themselves take
        source, its = f"{table} c INDEXED BY ix_{table}_find", f"c.experiment_id = {row}.experiment_id AND "
    else:
        source, its = f"{table} c", ""
    found = f"EXISTS (SELECT 1 FROM {source} WHERE {its}c.run_id = {run} AND c.key_id = ? AND {test})"  # noqa: S608
    return f"{'NOT ' if clause.op == 'IS NULL' else ''}{found}", [key_id, *values]
