"""The database: sessions for reading and writing, and group commit.

SQLite runs in WAL mode with `synchronous=FULL`, so a commit that returned survives a power cut. SQLite has one writer at a
time; a lock in this process makes our own writers queue instead of polling the file, `BEGIN IMMEDIATE` makes a transaction
that will write take its place at its first statement, and other processes are waited for up to five seconds.

Many small writes share a commit: `group` (see `storage/group.py`). What is asked many times a second is read by `look`, without
a session (see `storage/reading.py`).

The lock is taken by the thread that runs the first statement and given back by whichever thread ends the transaction: a
request's commit does not happen on its handler's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from headway.errors import BadInput, HeadwayError, StorageFull, Unavailable
from headway.events import Event
from headway.storage import direct
from headway.storage.direct import Direct, Sql
from headway.storage.group import CommitFailed, Group
from headway.storage.reading import Readers

T = TypeVar("T")
log = logging.getLogger("headway.database")

BUSY_MS = 5_000
WAIT_S = 30
KEEP_PAGES, PIECE_PAGES = 1024, 1024  # of 4 KiB
_WRITES, _READS = 2, 3  # psycopg's IsolationLevel: READ COMMITTED, REPEATABLE READ
_FREE_PAGES = Sql("PRAGMA freelist_count")


class Base(DeclarativeBase):
    """Parent of every table. Names of constraints are fixed, so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """One database, SQLite or PostgreSQL, and the ways to work with it.

    `on_commit` is called with the events of a transaction right after its commit.
    """

    def __init__(self, url: str, *, on_commit: Callable[[list[Event]], None] | None = None) -> None:
        try:
            self.url = make_url(url)
        except Exception:
            raise BadInput("The database URL can't be read.", hint="e.g. postgresql+psycopg://user@host/name") from None
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.on_commit = on_commit
        self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(url)
        self._write_lock = threading.Lock() if self.sqlite else None
        self._readers = Readers(self.engine)
        self._writer = _Writer(self)
        self._group = Group(self._writer.begin)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot, for reading; what it would change is rolled back."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            try:
                yield session  # its close rolls back; what was loaded stays readable
            except OperationalError as error:
                raise _known(error) from error

    def look(self, work: Callable[[Direct], T]) -> T:
        """The result of `work(direct)`, read on one snapshot without a session: for hot paths. It may be run again."""
        try:
            return self._readers.look(work)
        except OperationalError as error:
            raise _known(error) from error

    @contextlib.contextmanager
    def reader(self) -> Iterator[Direct]:
        """As `look`, for an answer that is read while it is sent."""
        try:
            with self._readers.open() as direct:
                yield direct
        except OperationalError as error:
            raise _known(error) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed, durably, when the block ends, and rolled back if it raises."""
        session = _Writing(self.engine, _Turn(self._write_lock))
        try:
            with session:
                try:
                    yield session
                    session.commit()
                except OperationalError as error:
                    session.rollback()
                    raise _known(error) from error
                except BaseException:
                    session.rollback()
                    raise
        finally:
            session.end()
        self._announce(session)

    def group(self, work: Callable[[Session], T]) -> T:
        """Run `work(session)` in a transaction that many callers share; return its result once that is committed.

        Whoever comes while a commit is under way is served by the next one, so the cost of reaching the disk is shared.
        An error of `work` is raised to its caller alone and undoes only its own changes. It may be run again when a
        neighbour failed, so it must change nothing but the database.
        """
        return self.group_later(work).result()

    def group_later(self, work: Callable[[Session], T]) -> Future[T]:
        """As `group`, but returns at once with a future."""
        future: Future[T] = self._group.submit(work, needs_session=True)
        return future

    def group_soon(self, work: Callable[[Session], T]) -> asyncio.Future[T]:
        """As `group`, for a coroutine to await."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._group.submit(work, needs_session=True, loop=loop)
        return future

    def group_direct(self, work: Callable[[Direct], T], order: str = "") -> asyncio.Future[T]:
        """As `group_soon`, for a work that needs the driver and no session. `order` names the row that it locks first."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._group.submit(work, needs_session=False, loop=loop, order=order)
        return future

    def give_back(self) -> None:
        """Give pages that nothing uses any more back to the disk. SQLite only; PostgreSQL's autovacuum does it by itself.

        Some stay free, as what comes next needs them; the rest goes in pieces, so that no writer waits long.
        """
        for _ in range(10_000 if self.sqlite else 0):
            with self.write() as session:
                # Each page is a row without columns, which SQLAlchemy does not step through.
                driver = direct.of(session)
                free = driver.rows(_FREE_PAGES)[0][0]
                if free > KEEP_PAGES:
                    driver.rows(Sql(f"PRAGMA incremental_vacuum({min(PIECE_PAGES, free - KEEP_PAGES)})"))
                left = driver.rows(_FREE_PAGES)[0][0]
            if left <= KEEP_PAGES or left == free:  # a file from before it was `incremental` keeps its pages
                return

    def close(self) -> None:
        """End the writer thread and give all connections back."""
        self._group.close()
        self._writer.close()
        self._readers.close()
        self.engine.dispose()

    def _announce(self, session: Session) -> None:
        self._deliver(session.info.pop("events", None))

    def _deliver(self, events: list[Event] | None) -> None:
        if events and self.on_commit:
            self.on_commit(events)


class _Turn:
    """A transaction's place among the writers of this process."""

    def __init__(self, lock: threading.Lock | None) -> None:
        self._lock, self._held = lock, False

    def take(self) -> None:
        if self._lock is not None and not self._held:
            if not self._lock.acquire(timeout=WAIT_S):
                raise Unavailable("The database is busy.", hint="Try again in a moment.")
            self._held = True

    def end(self) -> None:
        if self._lock is not None and self._held:
            self._held = False
            self._lock.release()


class _Writing(Session):
    """A session that takes its place among the writers, and only then a connection, at its first statement.

    So it costs nothing to enter on an event loop, and who waits for a turn holds no connection that the one whose turn it is,
    or a reader, may need.
    """

    def __init__(self, engine: Engine, turn: _Turn) -> None:
        super().__init__(expire_on_commit=False)
        self._engine, self._turn = engine, turn
        self._connected: Connection | None = None

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        """This session's connection; fetched when it is first asked for."""
        if self._connected is None:
            self._turn.take()
            self._connected = self._engine.connect().execution_options(headway_turn=self._turn)
        return self._connected

    def end(self) -> None:
        """Give back the connection and the turn."""
        try:
            if self._connected is not None:
                self._connected.close()
        finally:
            self._turn.end()


class _Writer:
    """The connection of group commits. It stays open: fetching and checking one costs as much as a small transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = _Turn(database._write_lock)
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def begin(self) -> Iterator[_Transaction]:
        """A transaction: committed when the block ends, undone if it raises."""
        made: _Transaction | None = None
        try:
            if self._connection is None:
                self._connection = self._database.engine.connect().execution_options(headway_turn=self._turn)
            outer = self._connection.begin()
            made = _Transaction(self._connection)
            try:
                yield made
                made.flush()
            except BaseException:
                made.close()
                if outer.is_active:
                    outer.rollback()
                raise
            try:
                outer.commit()
            except Exception as error:
                self._connection.invalidate()  # it may still be within the transaction
                raise CommitFailed from (_known(error) if isinstance(error, OperationalError) else error)
        except BaseException as error:
            if not isinstance(error, HeadwayError):  # it may be the connection's fault: the next one gets a fresh one
                self.close()
            if isinstance(error, OperationalError):
                raise _known(error) from error
            raise
        finally:
            if made is not None:
                made.close()
            self._turn.end()
        self._database._deliver(made.events())

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:
                connection.invalidate()


class _Transaction:
    """See `group.Transaction`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: Session | None = None
        self.direct = Direct(connection)

    @property
    def session(self) -> Session:
        """A session in this transaction; made for the first who asks."""
        if self._session is None:
            self._session = Session(self._connection, expire_on_commit=False)
            self._session.info.update(self.direct.info, direct=self.direct)
            self.direct.info = self._session.info
        return self._session

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """What the block does is undone if it raises; the rest of the transaction stays. Its events are not delivered."""
        before = len(self.direct.info.get("events", ()))
        try:
            with self.session.begin_nested():
                self.session.connection()  # else the session would set its savepoint at its own first statement only
                yield
        except BaseException:
            del self.direct.info.get("events", [])[before:]
            raise

    def flush(self) -> None:
        """Write what the session still holds back."""
        if self._session is not None:
            self._session.flush()

    def events(self) -> list[Event] | None:
        """What is to be told now that it is committed."""
        found: list[Event] | None = self.direct.info.pop("events", None)
        return found

    def close(self) -> None:
        """End the session; who waits for the end of the transaction hears of it now."""
        if self._session is not None:
            self._session.close()


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    # The last one given back is taken first, and few are kept: each has a cache of pages of its own, which fills.
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}, pool_use_lifo=True,
                           pool_size=3, max_overflow=12)  # fmt: skip

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, sqlite3 would say it late
        for pragma in (
            f"busy_timeout={BUSY_MS}", "synchronous=FULL", "foreign_keys=ON", "cache_size=-4096", "temp_store=MEMORY",
            "journal_size_limit=67108864",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        # Both are kept in the file; to say them again would wait for whoever is writing. The first is decided when it is made.
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        turn = connection.get_execution_options().get("headway_turn")
        if turn is not None:
            turn.take()
        words = "BEGIN IMMEDIATE" if turn is not None else "BEGIN DEFERRED"
        try:
            connection.connection.driver_connection.execute(words)
        except sqlite3.OperationalError as error:
            raise OperationalError(words, None, error) from error

    return engine


def _postgres_engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True, isolation_level="READ COMMITTED")

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        # Our statements are short walks along indexes. Starting workers or compiling one takes longer than most of them do.
        connection.execute("SET max_parallel_workers_per_gather = 0; SET jit = off; SET random_page_cost = 1.1")
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # Who has no turn reads, on one snapshot as on SQLite. psycopg says the level in its BEGIN: it costs no statement.
        level = _READS if connection.get_execution_options().get("headway_turn") is None else _WRITES
        driver = connection.connection.driver_connection
        if driver.isolation_level != level:
            driver.isolation_level = level

    return engine


def _known(error: OperationalError) -> HeadwayError:
    """What the database means, said so that the person can act."""
    words = str(error.orig).lower()
    if "disk is full" in words or "no space left" in words or getattr(error.orig, "errno", None) == errno.ENOSPC:
        return StorageFull("The disk that holds the database is full; nothing was written.",
                           hint="Free some space; headway goes on by itself.")  # fmt: skip
    if "locked" in words or "busy" in words:
        return Unavailable("The database is busy.", hint="Try again; another process holds it.")
    if "readonly" in words or "read-only" in words:
        return StorageFull("The database can't be written to.", hint="Check the permissions of the home folder.")
    log.error("database: %s", error.orig)
    return Unavailable("The database did not answer.", hint="Is it running? `headway doctor` tells more.")


def ping(database: Database) -> None:
    """Raise what is wrong if the database does not answer."""
    with database.read() as session:
        session.execute(text("SELECT 1"))
