"""The runs of a view as a file, however many there are: written while it is sent, some hundred rows at a time.

CSV for spreadsheets, JSON lines for programs, Parquet for data frames.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.tracking import experiments
from headway.tracking.find import query
from headway.tracking.find.search import column_id, parse_filter, parse_orders
from headway.tracking.show import cells, curves, parquet_out, views
from headway.web import show

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
ROWS = 500
_ID = re.compile(r"[\w\-]{1,64}")
COLUMNS = 2000
"""A file has at most so many columns; a run may have twelve thousand metrics."""
_HEAD = ("run_id", "run_name", "status", "cause", "start_time", "end_time", "duration_s", "experiment", "user_id")
_ALWAYS = ("run_id", "run_name")
_OF_FIXED = {"status": ("status",), "start_time": ("start_time",), "duration": ("duration_s",), "experiment": ("experiment",),
             "user_id": ("user_id",), "run_name": ()}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """What to write: the question, its columns of every run by name, those of `cells`, and the runs to leave out."""

    ask: cells.Ask
    heads: tuple[str, ...]
    columns: tuple[cells.Column, ...]
    names: tuple[str, ...]
    without: frozenset[str] = frozenset()


def prepare(
    db: Session, who: Who, project: Project, ask: cells.Ask, *, everything: bool, only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Table:  # fmt: skip
    """What a file of this question holds: the columns asked for (those chosen for the page, where none are), or all there are.

    Raises `BadInput` for a wrong filter, order or column: before the first byte is sent.
    """
    if only:
        ask = replace(ask, filter=_within(ask.filter, only))
    fixed = [name for name in ask.columns if views.is_fixed(name)]
    asked = [cells.parse_column(name) for name in ask.columns if not views.is_fixed(name)]
    clauses, orders = parse_filter(ask.filter), parse_orders(list(ask.orders))
    where = cells.scope(db, who, project, ask)
    heads = tuple(dict.fromkeys([*_ALWAYS, *(head for name in fixed for head in _OF_FIXED[name])])) if fixed else _HEAD
    if everything:
        heads, asked = _HEAD, _all(db, where, clauses)
    elif not ask.columns:
        rows, _ = query.find_runs(db, where, clauses, orders, cells.SAMPLE)
        asked = cells.chosen(db, rows)
    said = [name for name in ask.columns if not views.is_fixed(name)] if ask.columns and not everything else []
    names = said or [column_id(one.kind, one.key, one.of) for one in asked]  # as asked for: best(…) stays best
    return Table(ask, heads, tuple(asked), (*heads, *names), frozenset(without))


def _within(filter_: str, only: Sequence[str]) -> str:
    if not all(_ID.fullmatch(one) for one in only):
        raise BadInput("A run's id has letters, digits and dashes alone.", field="run")
    ids = ", ".join(f"'{one}'" for one in only)
    return " AND ".join(part for part in (filter_.strip(), f"attributes.run_id IN ({ids})") if part)


def _all(db: Session, where: query.Scope, clauses: Sequence[Any]) -> list[cells.Column]:
    """All parameters, metrics and tags that the runs have, parameters first."""
    seen: dict[tuple[str, str], None] = {}
    token: str | None = None
    while True:
        rows, token = query.find_runs(db, where, clauses, [], cells.MOST, token or None)
        for kind, key in curves.all_names(db, [row.id for row in rows]):
            seen[kind, key] = None
        if not token:
            break
    if len(seen) > COLUMNS:
        raise BadInput(f"These runs have {len(seen):,} columns; a file holds {COLUMNS:,}.",
                       hint="Export the columns that are shown, or filter to fewer runs.")  # fmt: skip
    order = {"param": 0, "metric": 1, "tag": 2}
    return [cells.Column(kind, key) for kind, key in sorted(seen, key=lambda one: (order[one[0]], one[1].lower()))]


def pages(read: Callable[[], Any], who: Who, project: Project, table: Table) -> Iterator[list[list[Any]]]:
    """The rows, some hundred at a time, of one snapshot. `read` opens a read-only session."""
    with read() as db:
        names = {one.id: one.name for one in experiments.active(db, project.id)}
        where = cells.scope(db, who, project, table.ask)
        clauses, orders = parse_filter(table.ask.filter), parse_orders(list(table.ask.orders))
        token: str | None = None
        while True:
            found, token = query.find_runs(db, where, clauses, orders, ROWS, token or None)
            rows = [row for row in found if row.uuid not in table.without]
            columns = [replace(one, values=[]) for one in table.columns]
            cells.fill(db, rows, columns)
            told = [_told(row, names) for row in rows]
            yield [
                [*(told[at][head] for head in table.heads), *(column.values[at] for column in columns)]
                for at in range(len(rows))
            ]
            if not token:
                return


def _told(row: Any, names: dict[int, str]) -> dict[str, Any]:
    started, ended = row.start_time, row.end_time
    return {
        "run_id": row.uuid, "run_name": row.name, "status": row.status, "cause": row.cause, "start_time": show.iso(started),
        "end_time": show.iso(ended), "duration_s": None if started is None or ended is None else (ended - started) / 1000,
        "experiment": names.get(row.experiment_id, ""), "user_id": row.user_id,
    }  # fmt: skip


# ------------------------------------------------------------------ formats
def as_csv(table: Table, rows: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    """CSV with a head. A text that a spreadsheet would run as a formula is marked as text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([harmless(name) for name in table.names])
    for page in rows:
        writer.writerows([[harmless(value) for value in row] for row in page])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def harmless(value: Any) -> Any:
    """A cell of CSV: a leading = + - @ would run as a formula in a spreadsheet; a number may keep its sign.

    >>> harmless("=1+1"), harmless("-3.5"), harmless(None), harmless(-2.0)
    ("'=1+1", '-3.5', '', -2.0)
    """
    if value is None:
        return ""
    if not isinstance(value, str) or value[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


def as_jsonl(table: Table, rows: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    """One JSON object a line; what a run lacks is left out."""
    names = table.names
    for page in rows:
        lines = ({name: value for name, value in zip(names, row, strict=True) if value is not None} for row in page)
        yield b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)


def as_parquet(table: Table, rows: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    """Parquet: metrics are doubles, all else is text."""
    kinds = ["metric" if head == "duration_s" else "text" for head in table.heads] + [one.kind for one in table.columns]
    types = [parquet_out.DOUBLE if kind == "metric" else parquet_out.TEXT for kind in kinds]
    pages = (
        [[None if v is None else float(v) if t == parquet_out.DOUBLE else str(v) for v, t in zip(row, types, strict=True)]
         for row in page]
        for page in rows
    )  # fmt: skip
    return parquet_out.written(list(zip(table.names, types, strict=True)), pages)


WRITERS = {"csv": as_csv, "jsonl": as_jsonl, "parquet": as_parquet}
