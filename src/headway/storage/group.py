"""Group commit: one thread that commits for all who wait, so that the cost of reaching the disk is shared.

What waits is run in one transaction, one work after another; then all are told. An answer therefore means committed. If
anything fails, the transaction is undone and everything run again: first each work in a savepoint, so that an error is told
to its own caller alone; if the transaction as a whole fails, each in a transaction of its own. A work may thus run up to
three times, but only one of them ever counts: it must change nothing but the database.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy.orm import Session

from headway.errors import HeadwayError, StorageFull, Unavailable
from headway.storage.direct import Direct

log = logging.getLogger("headway.database")

MOST = 256  # works that share a commit


class Transaction(Protocol):
    """What works are run in: the driver, and a session on the same connection for those that ask for one."""

    direct: Direct

    @property
    def session(self) -> Session: ...
    def savepoint(self) -> AbstractContextManager[None]: ...


class CommitFailed(Exception):
    """The commit itself failed (its cause says how): whether it happened can't be known, so nothing is run again."""


Work = Callable[[Any], Any]


class Item:
    """A work that waits, and who is to be told: a thread by a future, or an event loop by one of its own."""

    __slots__ = ("error", "future", "loop", "needs_session", "order", "result", "work")

    def __init__(self, work: Work, needs_session: bool, loop: asyncio.AbstractEventLoop | None, order: str) -> None:
        self.work, self.needs_session, self.loop, self.order = work, needs_session, loop, order
        self.future: Any = Future() if loop is None else loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, transaction: Transaction) -> None:
        self.error = None
        self.result = self.work(transaction.session if self.needs_session else transaction.direct)

    def tell(self) -> None:
        """Give the answer to the future, unless its owner went away."""
        if self.loop is None:
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(self.error) if self.error else self.future.set_result(self.result)
        elif not self.future.done():
            self.future.set_exception(self.error) if self.error else self.future.set_result(self.result)


class Group:
    """The queue and its thread. `begin()` opens a transaction, which commits when its block ends well."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        self._begin = begin
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(
        self, work: Work, *, needs_session: bool, loop: asyncio.AbstractEventLoop | None = None, order: str = ""
    ) -> Any:
        """A future of the work's result; with `loop` one of that event loop, on whose thread this must be called.

        `order` names the row that the work locks: works that share a transaction run in its order, so that two servers on one
        PostgreSQL don't lock the same rows crosswise.
        """
        item = Item(work, needs_session, loop, order)
        if self._thread is None or self._closed:
            self._start()
        self._queue.put(item)
        return item.future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._lock:
            self._closed = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                raise Unavailable("The server is shutting down.", hint="Try again in a moment.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headway-group-commit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < MOST:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            items = sorted((item for item in batch if item is not None), key=lambda item: item.order)
            if items:
                self._commit(items)
                self._tell(items)
                del items
            if None in batch:
                return

    def _commit(self, items: list[Item]) -> None:
        if self._together(items) or (len(items) > 1 and self._apart(items)):
            return
        away = 0  # how many in a row failed because of the database, not of themselves
        for item in items:
            if away < 2:
                self._alone(item)
                away = away + 1 if isinstance(item.error, StorageFull | Unavailable) else 0
            else:
                item.error = items[0].error or Unavailable("The database did not answer.")

    def _together(self, items: list[Item]) -> bool:
        """The usual case: everybody is well, and nobody needs a savepoint."""
        try:
            with self._begin() as transaction:
                for item in items:
                    item.run(transaction)
        except CommitFailed as failed:
            return _all(items, failed)
        except Exception as error:
            if len(items) == 1:
                return _all(items, error)
            return False
        return True

    def _apart(self, items: list[Item]) -> bool:
        """Each work in a savepoint: its error undoes its own changes only."""
        try:
            with self._begin() as transaction:
                for item in items:
                    try:
                        with transaction.savepoint():
                            item.run(transaction)
                    except HeadwayError as error:
                        item.error = error
        except CommitFailed as failed:
            return _all(items, failed)
        except Exception:
            log.debug("a shared transaction failed; its works are run one by one", exc_info=True)
            return False
        return True

    def _alone(self, item: Item) -> None:
        try:
            with self._begin() as transaction:
                item.run(transaction)
        except CommitFailed as failed:
            item.error = failed.__cause__
        except Exception as error:
            item.error = error

    def _tell(self, items: list[Item]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Item]] = {}
        for item in items:
            if item.loop is None:
                item.tell()
            else:
                loops.setdefault(item.loop, []).append(item)
        for loop, some in loops.items():
            try:
                loop.call_soon_threadsafe(_tell_all, some)
            except RuntimeError:  # the loop was closed: nobody listens any more
                log.debug("%d answers came after their event loop had ended", len(some))


def _tell_all(items: list[Item]) -> None:
    for item in items:
        item.tell()


def _all(items: list[Item], error: BaseException) -> bool:
    for item in items:
        item.error = error.__cause__ if isinstance(error, CommitFailed) and error.__cause__ else error
    return True
