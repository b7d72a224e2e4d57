"""SQL straight to the driver, inside a session's transaction, for statements that run a thousand times a second.

SQLAlchemy spends some 60 µs around a statement that SQLite answers in 6. Here a statement is text with `?` marks, prepared
once for both databases, and its answer a list of tuples. Transactions, connections and errors stay the session's: what the
driver raises comes as SQLAlchemy's exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = tuple[Any, ...]
_BYTES = re.compile(r"\?b\b")
_PIECE = 500  # SQLite takes at least 999 marks in a statement


class Sql:
    """A statement for both databases, with `?` for each value, `?b` for bytes."""

    __slots__ = ("postgres", "sqlite")

    def __init__(self, words: str) -> None:
        plain = " ".join(words.split())
        self.sqlite = _BYTES.sub("?", plain)
        self.postgres = _BYTES.sub("%b", plain.replace("%", "%%")).replace("?", "%s")


def of(db: Session | Direct) -> Direct:
    """The driver's cursor of this session's transaction; what the session still holds back is written first."""
    if isinstance(db, Direct):
        return db
    found: Direct | None = db.info.get("direct")
    connection = db.connection()
    if found is None or found.connection is not connection:
        found = db.info["direct"] = Direct(connection, db.info)
    if db.new or db.dirty or db.deleted:
        db.flush()
    return found


class Direct:
    """One cursor, for one transaction. `info` is that of the session, if there is one."""

    def __init__(self, connection: Connection, info: dict[Any, Any] | None = None) -> None:
        self.connection = connection
        self.info: dict[Any, Any] = {} if info is None else info
        self._cursor = connection.connection.cursor()
        self.sqlite = connection.dialect.name == "sqlite"

    @property
    def engine(self) -> Engine:
        """The engine of the connection: what belongs to one database is remembered by it."""
        return self.connection.engine

    def rows(self, sql: Sql, values: Sequence[Any] = ()) -> list[Row]:
        """All rows that a statement answers."""
        text = sql.sqlite if self.sqlite else sql.postgres
        try:
            found: list[Row] = self._cursor.execute(text, values).fetchall()
        except Exception as error:
            raise self._known(error, text) from error
        return found

    def first(self, sql: Sql, values: Sequence[Any] = ()) -> Row | None:
        """The first row, None where there is none."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def run(self, sql: Sql, values: Sequence[Any] = ()) -> int:
        """Run a statement; returns how many rows it touched."""
        text = sql.sqlite if self.sqlite else sql.postgres
        try:
            return int(self._cursor.execute(text, values).rowcount)
        except Exception as error:
            raise self._known(error, text) from error

    def many(self, sql: Sql, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row of values."""
        text = sql.sqlite if self.sqlite else sql.postgres
        try:
            if len(values) == 1:
                self._cursor.execute(text, values[0])
            else:
                self._cursor.executemany(text, values)
        except Exception as error:
            raise self._known(error, text) from error

    def blobs(self, sql: str, wanted: Iterable[int]) -> dict[int, bytes]:
        """As `among`, of numbers and bytes, which PostgreSQL would send as text twice as long unless it is asked for them."""
        found: dict[int, bytes] = {}
        for text, values in _pieces(sql, wanted, ()):
            if self.sqlite:
                found.update(self.rows(Sql(text), values))
                continue
            words = Sql(text).postgres
            try:
                found.update(self._cursor.execute(words, values, binary=True).fetchall())  # type: ignore[call-arg]  # psycopg
            except Exception as error:
                raise self._known(error, words) from error
        return found

    def among(self, sql: str, wanted: Iterable[Any], *before: Any) -> list[Row]:
        """All rows of a statement that ends in `IN` and is to be followed by a list, however long that is."""
        found: list[Row] = []
        for text, values in _pieces(sql, wanted, before):
            found += self.rows(Sql(text), values)
        return found

    def _known(self, error: Exception, text: str) -> Exception:
        dialect = self.connection.dialect
        if isinstance(error, dialect.loaded_dbapi.Error):
            known: Exception = DBAPIError.instance(text, None, error, dialect.loaded_dbapi.Error, dialect=dialect)
            return known
        return error


def _pieces(sql: str, wanted: Iterable[Any], before: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    left = list(wanted)
    for at in range(0, len(left), _PIECE):
        some = left[at : at + _PIECE]
        # 1, 2, 4...: few texts of a statement, so that the drivers find them prepared
        width = 1 << (len(some) - 1).bit_length()
        some += some[-1:] * (width - len(some))
        yield f"{sql} ({', '.join('?' * width)})", [*before, *some]
