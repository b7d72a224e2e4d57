"""Group commit: what fails alone, what is run again, and that nobody is told before it is so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from headway.errors import BadInput, StorageFull, Unavailable
from headway.events import Event, publish
from headway.storage.database import Database
from headway.storage.direct import Direct, Sql
from headway.storage.leases import Lease

ADD = Sql("INSERT INTO leases (name, owner, until) VALUES (?, 'me', 0)")


def names(database: Database) -> set[str]:
    with database.read() as db:
        return set(db.scalars(select(Lease.name)))


class Busy:
    """Holds the writer, so that whatever is submitted meanwhile shares one commit."""

    def __init__(self, database: Database) -> None:
        self._began, self._go = threading.Event(), threading.Event()
        self._first = database.group_later(self._wait)
        assert self._began.wait(10)

    def _wait(self, _: Session) -> None:
        self._began.set()
        assert self._go.wait(10)

    def end(self) -> None:
        self._go.set()
        self._first.result(10)


def add(name: str, fail: Exception | None = None, ran: list[str] | None = None) -> Callable[[Session], str]:
    def work(db: Session) -> str:
        if ran is not None:
            ran.append(name)
        db.add(Lease(name=name, owner="me", until=0))
        db.flush()
        publish(db, Event())
        if fail is not None:
            raise fail
        return name

    return work


def outcome(future: Future[Any]) -> Any:
    try:
        return future.result(20)
    except Exception as error:
        return type(error)


def together(database: Database, *works: Callable[[Session], Any]) -> list[Any]:
    busy = Busy(database)
    futures = [database.group_later(work) for work in works]
    busy.end()
    return [outcome(future) for future in futures]


def test_an_error_hurts_only_its_own_and_its_event_is_not_told(database: Database) -> None:
    heard: list[Event] = []
    database.on_commit = heard.extend
    assert together(database, add("a"), add("b", BadInput("no")), add("c")) == ["a", BadInput, "c"]
    assert names(database) == {"a", "c"}
    assert len(heard) == 2


def test_what_breaks_the_transaction_is_run_apart(database: Database) -> None:
    """A row that is there twice, and a bug: neither is an answer to anybody's question, and the others are served."""
    assert together(database, add("a"), add("a"), add("b", KeyError("bug")), add("c")) == [
        "a",
        IntegrityError,
        KeyError,
        "c",
    ]
    assert names(database) == {"a", "c"}


def test_each_counts_once_however_often_it_ran(database: Database) -> None:
    ran: list[str] = []
    assert together(database, add("a", None, ran), add("b", BadInput("no"), ran), add("c", None, ran)) == [
        "a",
        BadInput,
        "c",
    ]
    assert ran.count("a") == 2 and names(database) == {"a", "c"}


def test_when_the_database_is_away_all_are_told(database: Database) -> None:
    gone = OperationalError("x", None, Exception("disk is full"))
    found = together(database, *(add(f"n{n}", gone) for n in range(5)))
    assert found == [StorageFull] * 5
    assert names(database) == set()
    assert database.group(add("after")) == "after"


def test_a_commit_that_fails_is_told_and_not_repeated(database: Database) -> None:
    ran: list[str] = []
    commits = 0

    def refuse(_: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == 2:  # the first one is that of the busy writer
            raise OperationalError("COMMIT", None, Exception("the connection was lost"))

    event.listen(database.engine, "commit", refuse)
    try:
        assert together(database, add("a", None, ran), add("b", None, ran)) == [Unavailable, Unavailable]
    finally:
        event.remove(database.engine, "commit", refuse)
    assert ran == ["a", "b"] and names(database) == set()
    assert database.group(add("after")) == "after"


def test_the_driver_and_sessions_share_a_transaction(database: Database) -> None:
    def mixed(db: Session) -> int:
        db.add(Lease(name="s", owner="me", until=0))
        return db.scalar(select(func.count()).select_from(Lease)) or 0

    def straight(fail: bool) -> Callable[[Direct], None]:
        def work(db: Direct) -> None:
            db.run(ADD, (f"d{fail}",))
            if fail:
                raise BadInput("no")

        return work

    async def all_at_once() -> list[Any]:
        futures: list[Any]
        busy = Busy(database)
        futures = [
            database.group_direct(straight(False)),
            database.group_soon(mixed),
            database.group_direct(straight(True)),
        ]
        await asyncio.to_thread(busy.end)
        return await asyncio.gather(*futures, return_exceptions=True)

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(all_at_once())))
    thread.start()
    thread.join(30)
    assert found[0] is None and found[1] == 2 and isinstance(found[2], BadInput)
    assert names(database) == {"dFalse", "s"}


def test_errors_of_the_driver_are_those_of_sqlalchemy(database: Database) -> None:
    from headway.storage import direct

    with pytest.raises(IntegrityError), database.write() as db:
        direct.of(db).many(ADD, [("a",), ("a",)])
    with database.write() as db:
        db.add(Lease(name="held back", owner="me", until=0))
        rows = direct.of(db).among("SELECT name FROM leases WHERE owner = ? AND name IN", ["held back", "b", "c"], "me")
        assert rows == [("held back",)]


def test_after_the_end_nobody_waits(database: Database) -> None:
    assert database.group(lambda db: db.execute(text("SELECT 1")).scalar_one()) == 1
    database.close()
    with pytest.raises(Unavailable):
        database.group(lambda _: None)
