"""Whole columns of many runs as arrays, each in one statement: a million runs are a few megabytes here, and no rows of Python.

Numbers of runs come as one text with commas, which numpy reads ten times as quickly as a driver makes tuples of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sqlalchemy.orm import Session

from headway.storage import direct
from headway.storage.direct import Sql
from headway.tracking.find.conditions import PARTS, TABLES, marks
from headway.tracking.find.counting import matching
from headway.tracking.find.question import Scope
from headway.tracking.find.search import Clause
from headway.tracking.store import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
_DENSE = 8
FEW = 3000  # runs whose values are read run by run instead of the whole column


def _listed(sqlite: bool, column: str) -> str:
    """An aggregate: all numbers of a column as a text, by comma."""
    return f"group_concat({column})" if sqlite else f"string_agg({column}::text, ',')"


def _read(text: str | None) -> Ints:
    return np.fromstring(text, np.int64, sep=",") if text else np.zeros(0, np.int64)


def ids(db: Session, scope: Scope, clauses: Sequence[Clause]) -> Ints:
    """The numbers of the runs that fulfil the clauses, rising."""
    if not scope.experiment_ids:
        return np.zeros(0, np.int64)
    text, values = matching(db, scope, clauses)
    reader = direct.of(db)
    listed = _listed(reader.sqlite, "id")
    (row,) = reader.rows(Sql(f"SELECT {listed} FROM ({text}) every_run"), values)  # noqa: S608
    return np.sort(_read(row[0]))


def having(db: Session, scope: Scope, key: str) -> Ints:
    """The numbers of the runs of the experiments that have a metric, of any lifecycle."""
    key_id = keys.find(db, [key]).get(key, -1)
    reader, experiments = direct.of(db), list(scope.experiment_ids)
    if not experiments:
        return np.zeros(0, np.int64)
    listed = _listed(reader.sqlite, "run_id")
    text = f"SELECT {listed} FROM summaries WHERE experiment_id IN {marks(experiments)} AND key_id = ?"  # noqa: S608
    return _read(reader.rows(Sql(text), [*experiments, key_id])[0][0])


def by_text(db: Session, scope: Scope, kind: str, key: str, runs: Ints) -> tuple[list[str | None], Ints]:
    """The different values of a parameter or tag, and for each of the runs (rising) the place of its value among them; None is
    the value of those that lack it."""
    key_id = keys.find(db, [key]).get(key, -1)
    reader, table = direct.of(db), TABLES[kind]
    if len(runs) <= FEW:
        rows = reader.among(f"SELECT run_id, value FROM {table} WHERE key_id = ? AND run_id IN", runs.tolist(), key_id)  # noqa: S608
        places: dict[str | None, int] = {}
        mine = np.array([places.setdefault(value, len(places)) for _, value in rows], np.int64)
        return _placed(list(places), np.array([run for run, _ in rows], np.int64), mine, runs)
    experiments = list(scope.experiment_ids)
    text = (
        f"SELECT value, {_listed(reader.sqlite, 'run_id')} FROM {table}"  # noqa: S608
        f" WHERE experiment_id IN {marks(experiments)} AND key_id = ? GROUP BY value"
    )
    return _grouped(reader.rows(Sql(text), [*experiments, key_id]), runs)


def by_attribute(db: Session, scope: Scope, column: str, runs: Ints) -> tuple[list[Any], Ints]:
    """As `by_text`, for a column of `runs`."""
    reader, experiments = direct.of(db), list(scope.experiment_ids)
    text = (
        f"SELECT {column}, {_listed(reader.sqlite, 'id')} FROM runs"  # noqa: S608
        f" WHERE experiment_id IN {marks(experiments)} GROUP BY {column}"
    )
    return _grouped(reader.rows(Sql(text), experiments), runs)


def _grouped(rows: Sequence[Any], runs: Ints) -> tuple[list[Any], Ints]:
    lists = [row[1] for row in rows]
    counts = [text.count(",") + 1 for text in lists]
    mine = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    return _placed([row[0] for row in rows], _read(",".join(lists)), mine, runs)


def _placed(values: list[Any], having: Ints, mine: Ints, runs: Ints) -> tuple[list[Any], Ints]:
    """For each run the place of its value: run `having[i]` has the value at `mine[i]`. Values that no run has are left out."""
    found = np.full(len(runs), len(values), np.int64)  # behind the last: none of them
    at, there = _among(having, runs)
    found[at] = mine[there]
    used = np.flatnonzero(np.bincount(found, minlength=len(values) + 1))
    place = np.zeros(len(values) + 1, np.int64)
    place[used] = np.arange(len(used))
    return [values[one] if one < len(values) else None for one in used.tolist()], place[found]


def _among(having: Ints, runs: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The places in `runs` of those of `having` that are there, and which these are."""
    if not len(runs):
        return np.zeros(0, np.int64), np.zeros(len(having), np.bool_)
    first, span = runs[0], int(runs[-1] - runs[0]) + 1
    if span <= _DENSE * len(runs):  # numbers with few gaps: looked up instead of searched
        place = np.full(span + 1, -1, np.int64)
        place[runs - first] = np.arange(len(runs))
        at = place[np.where((having >= first) & (having < first + span), having - first, span)]
        return at[at >= 0], at >= 0
    at = np.minimum(np.searchsorted(runs, having), len(runs) - 1)
    there = runs[at] == having
    return at[there], there


def metric(db: Session, scope: Scope, key: str, of: str, runs: Ints) -> NDArray[np.float64]:
    """A metric of each of the runs (rising); NaN where it has none or is NaN. `of`: last, min or max."""
    found = np.full(len(runs), np.nan)
    key_id = keys.find(db, [key]).get(key)
    if key_id is None or not len(runs):
        return found
    reader, part, experiments = direct.of(db), PARTS[of], list(scope.experiment_ids)
    test = "is_nan = false" if of == "last" else f"{part} IS NOT NULL"
    if len(runs) <= FEW:
        text = f"SELECT run_id, {part} FROM summaries WHERE key_id = ? AND {test} AND run_id IN"  # noqa: S608
        rows = reader.among(text, runs.tolist(), key_id)
    else:
        text = f"SELECT run_id, {part} FROM summaries WHERE experiment_id IN {marks(experiments)} AND key_id = ? AND {test}"  # noqa: S608
        rows = reader.rows(Sql(text), [*experiments, key_id])
    columns = np.fromiter(chain.from_iterable(rows), np.float64, 2 * len(rows)).reshape(-1, 2)
    at, there = _among(columns[:, 0].astype(np.int64), runs)
    found[at] = columns[there, 1]
    return found
