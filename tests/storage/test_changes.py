"""Whoever writes to the database is noticed, whoever only reads is not."""

from __future__ import annotations

from sqlalchemy import text

from headway.clock import now_ms
from headway.storage import leases
from headway.storage.changes import Changes
from headway.storage.database import Database


def quiet(changes: Changes) -> bool:
    """PostgreSQL tells of the whole cluster, whose own chores write now and then."""
    return any(not changes.come() for _ in range(50))


def test_a_commit_of_anybody_is_noticed_once(database: Database) -> None:
    changes = Changes(database)
    other = Database(database.url.render_as_string(hide_password=False))
    try:
        assert changes.come(), "the first look: who knows"
        for writer in (database, other):
            assert quiet(changes)
            with writer.write() as db:
                leases.take(db, f"lease-{now_ms()}-{id(writer)}", "me", 10)
            assert changes.come()
    finally:
        other.close()
        changes.close()


def test_what_is_read_or_undone_is_no_change(database: Database) -> None:
    changes = Changes(database)
    try:
        changes.come()
        for _ in range(50):
            with database.read() as db:
                db.scalar(text("SELECT count(*) FROM leases"))
            if not changes.come():
                break
        else:
            raise AssertionError("reading is taken for writing")
    finally:
        changes.close()


def test_a_database_that_does_not_answer_counts_as_changed(database: Database) -> None:
    class Broken(Database):
        def __init__(self) -> None:
            self.url, self.sqlite, self.engine = database.url.set(database="/nowhere/at/all"), True, database.engine

    changes = Changes(Broken())
    assert changes.come() and changes.come()
