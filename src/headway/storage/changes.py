"""Whether anybody has written to the database since one last looked, whoever it was, at next to no cost.

SQLite keeps a counter for each connection that tells of the commits of all others, in this process or another
(`PRAGMA data_version`, https://sqlite.org/pragma.html#pragma_data_version): 10 us. PostgreSQL's snapshot names the
transactions that are under way and the next one, so it differs as soon as one that wrote has ended (`pg_current_snapshot`).
"""

from __future__ import annotations

import logging
import sqlite3

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from headway.storage.database import Database

log = logging.getLogger("headway.database")

_SNAPSHOT = text("SELECT pg_current_snapshot()::text")


class Changes:
    """For one thread. It holds a connection of its own, outside of any transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._file: sqlite3.Connection | None = None
        self._server: Connection | None = None
        self._seen: object = None

    def come(self) -> bool:
        """Whether something was committed since the last call; True at the first, and while the database can't be asked."""
        try:
            now = self._mark()
        except (sqlite3.Error, SQLAlchemyError) as error:
            log.debug("asked what has changed: %s", error)
            self.close()
            return True
        changed, self._seen = now != self._seen, now
        return changed

    def close(self) -> None:
        """Give the connection back. The next call makes another."""
        if self._file is not None:
            self._file.close()
        if self._server is not None:
            self._server.invalidate()
            self._server.close()
        self._file = self._server = self._seen = None

    def _mark(self) -> object:
        if self._database.sqlite:
            if self._file is None:
                self._file = sqlite3.connect(self._database.url.database or "", isolation_level=None)
            return self._file.execute("PRAGMA data_version").fetchone()
        if self._server is None:
            self._server = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._server.scalar(_SNAPSHOT)
