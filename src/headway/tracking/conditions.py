"""A condition of a filter as SQL, meaning the same on SQLite and PostgreSQL: LIKE minds the case, ILIKE does not."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, literal_column, or_, true
from sqlalchemy.orm import Session

from headway.tracking.search import Value
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


def compare_indexed(db: Session, column: Any, op: str, value: Value) -> ColumnElement[bool]:
    """As `compare`, for a long text whose index holds its first characters."""
    if op != "=" or not isinstance(value, str):
        return compare(db, column, op, value)
    found = head(column) == value[:HEAD]
    # `column = value` beside it would let SQLite put the value into `head` too, and then no index matches
    return found if len(value) < HEAD else and_(found, column.op("||")("") == value)


def head(column: Any) -> ColumnElement[str]:
    """The part of a text that its index holds; its numbers are written out, or no index would match."""
    return func.substr(column, literal_column("1"), literal_column(str(HEAD)))


def compare_metric(table: Any, op: str, value: Value, part: str = "last") -> ColumnElement[bool]:
    """`metric op value` on a table with `last`, `low`, `high` and `is_nan`: NaN fulfils only `!=`."""
    nan = table.c.is_nan if part == "last" else table.c[part].is_(None)
    if not isinstance(value, int | float) or value != value:
        return true() if op == "!=" else false()
    found = _COMPARE[op](table.c[part], float(value))
    if op == "!=":
        return or_(found, nan)
    return and_(nan == false(), found) if part == "last" else found


def glob(pattern: str) -> str:
    """A LIKE pattern for SQLite's GLOB, which minds the case."""
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)
