"""Sessions, group commit and what an error means."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.events import Event, publish
from headway.storage.database import Database
from headway.storage.leases import Lease, release, take


def count(database: Database) -> int:
    with database.read() as db:
        return db.scalar(select(func.count()).select_from(Lease)) or 0


def lease(name: str) -> Lease:
    return Lease(name=name, owner="me", until=0)


def test_a_write_is_there_once_the_block_ends(database: Database) -> None:
    with database.write() as db:
        db.add(lease("a"))
    assert count(database) == 1


def test_an_error_undoes_all_of_the_block(database: Database) -> None:
    with pytest.raises(NotFound), database.write() as db:
        db.add(lease("a"))
        db.flush()
        raise NotFound("no")
    assert count(database) == 0


def test_a_read_keeps_nothing(database: Database) -> None:
    with database.read() as db:
        db.add(lease("a"))
    assert count(database) == 0


def test_a_read_is_one_view_of_the_data_whatever_is_committed_meanwhile(database: Database) -> None:
    ours = select(func.count()).select_from(Lease)
    with database.read() as before:
        assert before.scalar(ours) == 0
        with database.write() as db:
            db.add(lease("a"))
        database.group(lambda db: db.add(lease("b")))
        assert before.scalar(ours) == 0, "a reader sees no change between two of its statements"
        with database.read() as after:
            assert after.scalar(ours) == 2
    assert count(database) == 2


def test_a_write_after_reads_on_the_same_connection_sees_what_others_commit(database: Database) -> None:
    """On PostgreSQL a connection serves readers and writers in turn; a writer must not keep a reader's snapshot."""
    if database.sqlite:
        pytest.skip("there writers stand in a queue")
    ours = select(func.count()).select_from(Lease)
    for _ in range(20):  # each connection of the pool has been a reader's
        count(database)
    with database.write() as one:
        assert one.scalar(ours) == 0
        with database.write() as other:
            other.add(lease("a"))
        assert one.scalar(ours) == 1


def test_a_transaction_may_end_on_another_thread(database: Database) -> None:
    block = database.write()
    db = block.__enter__()
    db.add(lease("a"))
    db.flush()
    thread = threading.Thread(target=block.__exit__, args=(None, None, None))
    thread.start()
    thread.join(10)
    with database.write() as other:
        other.add(lease("b"))
    assert count(database) == 2


def test_many_writers_at_once_all_succeed(database: Database) -> None:
    def write(n: int) -> None:
        with database.write() as db:
            db.add(lease(f"w{n}"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(64)))
    assert count(database) == 64


def test_a_writer_takes_a_connection_only_when_its_turn_has_come(database: Database) -> None:
    """So a hundred requests may begin on one event loop, and the one that writes may read beside its transaction."""

    def write(n: int) -> None:
        with database.write() as db:
            db.add(lease(f"w{n}"))

    with contextlib.ExitStack() as entered:
        for _ in range(100):
            entered.enter_context(database.write())
        with ThreadPoolExecutor(20) as pool:
            with database.write() as first:
                first.add(lease("first"))
                first.flush()
                others = [pool.submit(write, n) for n in range(20)]
                before = count(database)
                assert before == 0 or not database.sqlite, "on SQLite writers stand in a queue"
            for other in others:
                other.result()
    assert count(database) == 21


def test_a_group_commits_all_and_an_error_hurts_only_its_own(database: Database) -> None:
    def work(n: int) -> Callable[[Session], int]:
        def run(db: Session) -> int:
            db.add(lease(f"g{n}"))
            db.flush()
            if n % 10 == 3:
                raise BadInput(f"bad {n}")
            return n

        return run

    futures = [database.group_later(work(n)) for n in range(100)]
    for n, future in enumerate(futures):
        if n % 10 == 3:
            with pytest.raises(BadInput, match=f"bad {n}"):
                future.result(30)
        else:
            assert future.result(30) == n
    assert count(database) == 90


def test_events_are_delivered_after_the_commit_only(database: Database) -> None:
    heard: list[int] = []
    database.on_commit = lambda events: heard.append(count(database))
    with database.write() as db:
        db.add(lease("a"))
        publish(db, Event())
        assert heard == []
    assert heard == [1]
    with pytest.raises(BadInput), database.write() as db:
        publish(db, Event())
        raise BadInput("no")
    assert heard == [1]


def test_a_lease_has_one_owner_until_it_runs_out(database: Database) -> None:
    with database.write() as db:
        assert take(db, "x", "me", 60)
        assert take(db, "x", "me", 60)
        assert not take(db, "x", "you", 60)
    with database.write() as db:
        release(db, "x", "you")
        assert not take(db, "x", "you", 60)
        release(db, "x", "me")
        assert take(db, "x", "you", -1)
        assert take(db, "x", "me", 60)


def test_of_many_takers_one_wins(database: Database) -> None:
    def attempt(n: int) -> bool:
        with database.write() as db:
            return take(db, "x", f"o{n}", 60)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(24))) == 1


@pytest.mark.parametrize("url", ["nonsense", "sqlite//x", ""])
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="database URL"):
        Database(url)
