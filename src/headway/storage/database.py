"""The database: sessions for reading and writing, and group commit.

SQLite runs in WAL mode with `synchronous=FULL`, so a commit that returned survives a power cut. SQLite has one writer at a
time; a lock in this process makes our own writers queue instead of polling the file, `BEGIN IMMEDIATE` makes a transaction
that will write take its place at its first statement, and other processes are waited for up to five seconds.

The lock is taken by the thread that runs the first statement and given back by whichever thread ends the transaction: a
request's commit does not happen on its handler's thread.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from headway.errors import BadInput, HeadwayError, StorageFull, Unavailable
from headway.events import Event

T = TypeVar("T")
log = logging.getLogger("headway.database")

BUSY_MS = 5_000
WAIT_S = 30
GROUP_MAX = 256


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
        self._group = _Group(self)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot, for reading; what it would change is rolled back."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            try:
                yield session  # its close rolls back; what was loaded stays readable
            except OperationalError as error:
                raise _known(error) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed, durably, when the block ends, and rolled back if it raises."""
        turn = _Turn(self._write_lock)
        try:
            with self.engine.connect().execution_options(headway_turn=turn) as connection:
                with Session(connection, expire_on_commit=False) as session:
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
            turn.end()
        self._announce(session)

    def group(self, work: Callable[[Session], T]) -> T:
        """Run `work(session)` in a savepoint of a transaction that many callers share; return once it is committed.

        Whoever comes while a commit is under way is served by the next one, so the cost of reaching the disk is shared.
        An error of `work` is raised to its caller alone and undoes only its own changes.
        """
        return self.group_later(work).result()

    def group_later(self, work: Callable[[Session], T]) -> Future[T]:
        """As `group`, but returns at once with a future, for callers on an event loop (`asyncio.wrap_future`)."""
        return self._group.submit(work)

    def close(self) -> None:
        """End the writer thread and give all connections back."""
        self._group.close()
        self.engine.dispose()

    def _announce(self, session: Session) -> None:
        events = session.info.pop("events", None)
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


class _Group:
    """The thread that commits for many: it drains the queue, runs each work in a savepoint, commits once, and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake = threading.Condition()
        self._queue: list[tuple[Callable[[Session], Any], Future[Any]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise Unavailable("The server is shutting down.", hint="Try again in a moment.")
            self._queue.append((work, cast("Future[Any]", future)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headway-group-commit", daemon=True)
                self._thread.start()
            self._wake.notify()
        return future

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closed:
                    self._wake.wait()
                if not self._queue:
                    return
                batch, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
            if len(batch) == 1:
                self._alone(*batch[0])
            else:
                self._commit(batch)

    def _alone(self, work: Callable[[Session], Any], future: Future[Any]) -> None:
        """Nobody to share with: a savepoint would cost as much as the work itself."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self._database.write() as session:
                result = work(session)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _commit(self, batch: list[tuple[Callable[[Session], Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            with self._database.write() as session:
                for work, future in batch:
                    if not future.set_running_or_notify_cancel():
                        continue
                    try:
                        with session.begin_nested():
                            done.append((future, work(session)))
                    except OperationalError:
                        raise
                    except Exception as error:
                        future.set_exception(error)
        except Exception as error:
            # The whole transaction is gone: nobody was told yet, so everybody is told the truth.
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for future, result in done:
            future.set_result(result)


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, sqlite3 would say it late
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}",
                       "cache_size=-16384", "temp_store=MEMORY", "journal_size_limit=67108864"):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        turn = connection.get_execution_options().get("headway_turn")
        if turn is not None:
            turn.take()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if turn is not None else "BEGIN DEFERRED")

    return engine


def _postgres_engine(url: str) -> Engine:
    return create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True, isolation_level="READ COMMITTED")


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
