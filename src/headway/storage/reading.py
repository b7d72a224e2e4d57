"""Reading without a session, for what is asked many times a second: the driver, on connections that are kept open.

Fetching a connection, checking it and making a session around it costs more than the statement that finds a run. Here a few
connections stay with who reads. A look is one transaction and sees one snapshot, on PostgreSQL too (REPEATABLE READ: what a
background step folds or removes meanwhile stays as it was); what it would change is rolled back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headway.storage.direct import Direct

T = TypeVar("T")
KEPT = 2  # idle connections that are kept; the pool has the others


class Readers:
    """The kept connections of one engine. Any thread may look; connections are not shared at one time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[Connection] = []
        self._closed = False

    def look(self, work: Callable[[Direct], T]) -> T:
        """The result of `work`, which is run again where a kept connection turns out to be dead."""
        while True:
            connection, kept = self._take()
            try:
                with self._transaction(connection) as direct:
                    return work(direct)
            except DBAPIError:
                if not (kept and connection.invalidated):
                    raise

    @contextlib.contextmanager
    def open(self) -> Iterator[Direct]:
        """As `look`, for what is read over a while, as an answer is sent."""
        with self._transaction(self._take()[0]) as direct:
            yield direct

    def close(self) -> None:
        """Give the idle connections back, and keep no more."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> tuple[Connection, bool]:
        with contextlib.suppress(IndexError):
            return self._idle.pop(), True  # a list's pop is one step for all threads
        return self._engine.connect(), False

    @contextlib.contextmanager
    def _transaction(self, connection: Connection) -> Iterator[Direct]:
        try:
            outer = connection.begin()
            yield Direct(connection)
            outer.rollback()
        except BaseException as error:
            self._drop(connection, error)
            raise
        if self._closed or len(self._idle) >= KEPT:
            connection.close()
        else:
            self._idle.append(connection)

    def _drop(self, connection: Connection, error: BaseException) -> None:
        """End what was begun. Where a connection is dead (the database was started again), the other idle ones are, too."""
        dead, said = False, error.orig if isinstance(error, DBAPIError) else None
        if isinstance(said, connection.dialect.loaded_dbapi.Error):
            dead = connection.dialect.is_disconnect(said, connection.connection.driver_connection, None)
        with contextlib.suppress(DBAPIError):
            connection.invalidate(error) if dead else connection.close()
        while dead and self._idle:
            self._idle.pop().invalidate()
