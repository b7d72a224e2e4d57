"""Reading without a session: one snapshot, nothing kept, dead connections replaced."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from headway.errors import HeadwayError, NotFound, Unavailable
from headway.storage.database import Database
from headway.storage.direct import Direct, Sql
from headway.storage.leases import Lease

COUNT = Sql("SELECT COUNT(*) FROM leases")
DROP = Sql("DELETE FROM leases WHERE name = ?")


def add(database: Database, name: str) -> None:
    with database.write() as db:
        db.add(Lease(name=name, owner="me", until=0))


def count(direct: Direct) -> int:
    found = direct.first(COUNT)
    assert found is not None
    return int(found[0])


def test_a_look_sees_what_is_committed_and_keeps_nothing(database: Database) -> None:
    add(database, "a")
    assert database.look(count) == 1
    database.look(lambda direct: direct.run(DROP, ["a"]))
    assert database.look(count) == 1
    add(database, "b")
    assert database.look(count) == 2


def test_one_look_is_one_snapshot(database: Database) -> None:
    def twice(direct: Direct) -> tuple[int, int]:
        before = count(direct)
        add(database, f"n{before}")
        return before, count(direct)

    assert database.look(twice) == (0, 0)
    with database.reader() as direct:
        assert twice(direct) == (1, 1)
    assert database.look(count) == 2


def test_an_error_is_the_callers_and_the_next_look_is_well(database: Database) -> None:
    def fails(direct: Direct) -> None:
        count(direct)
        raise NotFound("no")

    for _ in range(30):  # more than there are connections: none is lost
        with pytest.raises(NotFound):
            database.look(fails)
        with pytest.raises((DBAPIError, HeadwayError)):
            database.look(lambda direct: direct.rows(Sql("SELECT * FROM nothing_here")))
    assert database.look(count) == 0


def test_many_threads_look_at_once(database: Database) -> None:
    add(database, "a")
    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(lambda _: database.look(count), range(200))) == {1}


def test_a_reader_that_stops_halfway_leaves_nothing_behind(database: Database) -> None:
    for _ in range(30):
        block = database.reader()
        with block as direct:
            count(direct)
    with pytest.raises(GeneratorExit), database.reader() as direct:
        count(direct)
        raise GeneratorExit
    assert database.look(count) == 0


def test_connections_that_died_are_replaced(database: Database) -> None:
    if database.sqlite:
        pytest.skip("there is no server that could go away")
    add(database, "a")
    assert database.look(count) == 1
    with database.read() as db:
        db.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        )
    assert database.look(count) == 1


def test_a_database_that_is_away_is_said_so(database: Database) -> None:
    def away(direct: Direct) -> None:
        words = "PRAGMA locking_mode = nonsense)" if direct.sqlite else "SELECT pg_terminate_backend(pg_backend_pid())"
        direct.rows(Sql(words))

    if database.sqlite:
        pytest.skip("a file does not go away")
    with pytest.raises(Unavailable):
        database.look(away)
    assert database.look(count) == 0
