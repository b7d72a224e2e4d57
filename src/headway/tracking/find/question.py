"""A search of runs as it is asked: what it goes by, and the pieces that its statements are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.storage import direct
from headway.storage.direct import Direct, Sql
from headway.tracking.find.conditions import PARTS, TABLES, Piece, among, attribute, fulfilled, marks
from headway.tracking.find.search import Clause, Order
from headway.tracking.store import keys
from headway.tracking.tables import HEAD

_INTEGERS = 2**62


class RunRow(NamedTuple):
    """A run as a search finds it."""

    id: int
    uuid: str
    experiment_id: int
    project_id: str
    name: str
    user_id: str
    status: str
    cause: str
    start_time: int | None
    end_time: int | None
    lifecycle: str
    artifact_uri: str
    parent_uuid: str | None
    version: int


WIDTH = len(RunRow._fields)
_COLUMNS = ", ".join(f"r.{name}" for name in RunRow._fields)


@dataclass(frozen=True)
class Scope:
    """Where to look: experiments by id, which lifecycle (active, deleted, None for both), and whether at children."""

    experiment_ids: Sequence[int]
    lifecycle: str | None = "active"
    children: bool = True  # also runs that belong to another run


@dataclass
class Key:
    """One sort key: its class (0 a value; greater: NaN, then missing), its value, and the table (as `alias`) it is in."""

    order: Order
    rank: str
    value: str
    alias: str = ""
    table: str = ""
    key_id: int = -1

    @property
    def join(self) -> str:
        """The table, for a run that may lack it."""
        return f" LEFT JOIN {self.table} {self.alias} ON {self.alias}.run_id = r.id AND {self.alias}.key_id = {self.key_id}"


class Question:
    """A search, and the statements it is made of."""

    def __init__(self, db: Session | Direct, scope: Scope, clauses: Sequence[Clause], orders: Sequence[Order]) -> None:
        self.direct = direct.of(db)
        self.sqlite, self.scope, self.clauses = self.direct.sqlite, scope, clauses
        named = {c.key for c in clauses if c.kind in TABLES} | {o.key for o in orders if o.kind in TABLES}
        self.ids = keys.find(db, named)
        self.sort = [self._key(place, order) for place, order in enumerate(orders)]
        if not any(o.kind == "attribute" and o.key == "start_time" for o in orders):
            self.sort.append(self._key(len(self.sort), Order("attribute", "start_time", False)))

    def _key(self, place: int, order: Order) -> Key:
        if order.kind == "attribute":
            column = attribute(order.key)
            return Key(order, f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", column)
        if order.kind not in TABLES:
            raise BadInput(f"Runs can't be sorted by {order.kind}.")
        alias = f"s{place}"
        if order.kind == "metric":
            value = f"{alias}.{PARTS[order.of]}"
            nan = f"{alias}.is_nan" if order.of == "last" else f"{value} IS NULL"
            rank = f"CASE WHEN {alias}.run_id IS NULL THEN 2 WHEN {nan} THEN 1 ELSE 0 END"
        else:
            value, rank = f"{alias}.value", f"CASE WHEN {alias}.run_id IS NULL THEN 1 ELSE 0 END"
        return Key(order, rank, value, alias, TABLES[order.kind], self.ids.get(order.key, -1))

    def rows(self, text: str, values: Sequence[Any]) -> list[Any]:
        """What a statement answers."""
        return self.direct.rows(Sql(text), values)

    def within(self) -> Piece:
        """The condition that a run `r` is in the scope, but for its experiment."""
        test, values = "", list[Any]()
        if self.scope.lifecycle is not None:
            test, values = " AND r.lifecycle = ?", [self.scope.lifecycle]
        return (test if self.scope.children else f"{test} AND r.parent_uuid IS NULL"), values

    def checks(self, skipped: Sequence[Clause] = (), *, sets: str = "", row: str = "r") -> Piece:
        """The conditions of the clauses but the skipped ones, as ` AND ...`. `sets`: the column with the run's number, to be
        looked up in what indexes tell; without it each run is asked, by the row that is read first (see `fulfilled`)."""
        found: list[str] = []
        values: list[Any] = []
        for clause in self.clauses:
            if any(clause is one for one in skipped):
                continue
            listed = self.listed(clause) if sets else None
            if listed is not None:
                found.append(f" AND {sets} IN ({listed[0]})")
                values += listed[1]
            else:
                test, its = fulfilled(self.sqlite, clause, self.ids.get(clause.key), row)
                found.append(f" AND {test}")
                values += its
        return "".join(found), values

    def listed(self, clause: Clause) -> Piece | None:
        """The statement that lists the runs fulfilling a clause, where an index can."""
        if clause.kind in TABLES and clause.key not in self.ids:
            return ("SELECT id AS run_id FROM runs WHERE false", []) if clause.op != "IS NULL" else None
        return among(self.sqlite, clause, self.ids.get(clause.key), self.scope.experiment_ids)

    def experiments(self, table: str) -> Piece:
        """The condition that a row belongs to the experiments."""
        ids = list(self.scope.experiment_ids)
        return (f"{table}.experiment_id = ?", ids) if len(ids) == 1 else (f"{table}.experiment_id IN {marks(ids)}", ids)

    def ordered(self, skip: int = 0, walked: bool = False) -> str:
        """The ORDER BY. `walked`: all rows have the first key, and come by its index."""
        found: list[str] = []
        for place, key in enumerate(self.sort):
            if not (walked and place == 0) and not never_missing(key):
                found.append(key.rank)
            direction = "" if key.order.ascending else " DESC"
            if walked and place == 0 and key.table and not self.sqlite and key.order.kind != "metric":
                found.append(f"substr({key.value}, 1, {HEAD}){direction}")
            found.append(f"{key.value}{direction}")
        return f" ORDER BY {', '.join([*found, 'r.uuid'])} LIMIT ?" + (" OFFSET ?" if skip else "")

    def selected(self) -> str:
        """The columns of the runs and of the sort keys."""
        return f"SELECT {_COLUMNS}, {', '.join(f'{key.rank}, {key.value}' for key in self.sort)}"


def never_missing(key: Key) -> bool:
    return key.order.kind == "attribute" and key.order.key != "end_time"


def beyond(q: Question, after: list[Any] | None) -> Piece:
    """Rows after the one whose sort values are `after`, written from the last key to the first."""
    if after is None:
        return "", []
    found, values = "r.uuid > ?", [after[-1]]
    for place in range(len(q.sort) - 1, -1, -1):
        key, rank, value = q.sort[place], after[2 * place], after[2 * place + 1]
        if rank == 0:
            sign = ">" if key.order.ascending else "<"
            found, values = f"({key.value} {sign} ? OR ({key.value} = ? AND {found}))", [value, value, *values]
        if not never_missing(key):
            found, values = f"({key.rank} > {int(rank)} OR ({key.rank} = {int(rank)} AND {found}))", values
    return f" AND {found}", values


def sound(q: Question, values: Sequence[Any]) -> bool:
    """Whether a token holds sort values that this search could have given."""
    for key, rank, value in zip(q.sort, values[::2], values[1::2], strict=True):
        if isinstance(rank, bool) or rank not in (0, 1, 2):
            return False
        numeric = key.order.kind == "metric" or key.order.key in ("start_time", "end_time")
        if rank == 0 and (isinstance(value, bool) or not isinstance(value, int | float if numeric else str)):
            return False
        if isinstance(value, int) and abs(value) >= _INTEGERS:
            return False
    return True


def mark(scope: Scope, clauses: Sequence[Clause], orders: Sequence[Order]) -> str:
    """A short mark of the question, so that a token of one search is refused by another."""
    text = repr((sorted(scope.experiment_ids), scope.lifecycle, scope.children, list(clauses), list(orders)))
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()


def fewest(q: Question) -> tuple[Clause, Piece, int] | None:
    """The condition that holds for the fewest runs (of any lifecycle), and for how many."""
    found: tuple[Clause, Piece, int] | None = None
    for clause in q.clauses:
        listed = q.listed(clause)
        if listed is not None:
            number = int(q.rows(f"SELECT COUNT(*) FROM ({listed[0]}) a", listed[1])[0][0])  # noqa: S608
            if found is None or number < found[2]:
                found = (clause, listed, number)
    return found
