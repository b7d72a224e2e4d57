"""The audit log: append-only, chained, on both databases."""

import itertools
import threading

import pytest
from sqlalchemy import delete, update

from headway.people import audit
from headway.people.rules import Who
from headway.people.tables import AuditHead, AuditLine
from headway.storage.database import Database

ADA = Who("a" * 32, "ada")


def fill(database: Database, lines: int) -> None:
    with database.write() as db:
        for n in range(lines):
            audit.note(db, ADA, "thing.do", f"thing {n}", project_id="p" * 32 if n % 2 else None, n=n)


def test_lines_are_numbered_and_chained(database: Database) -> None:
    fill(database, 5)
    with database.read() as db:
        lines = audit.page(db, projects=None)
        assert [line.seq for line in lines] == [5, 4, 3, 2, 1]
        assert all(newer.previous == older.hash for newer, older in itertools.pairwise(lines))
        assert audit.verify(db) is None
        assert audit.verify(db, last=2) is None
        assert [line.seq for line in audit.page(db, projects=["p" * 32])] == [4, 2]
        assert [line.seq for line in audit.page(db, projects=None, before=3, limit=1)] == [2]
        assert audit.page(db, projects=[]) == []


@pytest.mark.parametrize(
    ("harm", "broken_at"),
    [
        (update(AuditLine).where(AuditLine.seq == 3).values(subject="nothing"), 3),
        (update(AuditLine).where(AuditLine.seq == 3).values(details='{"n": 7}'), 3),
        (delete(AuditLine).where(AuditLine.seq == 2), 2),
        (delete(AuditLine).where(AuditLine.seq == 5), 5),
        (update(AuditHead).values(seq=9), 6),
    ],
)
def test_meddling_is_found(database: Database, harm: object, broken_at: int) -> None:
    fill(database, 5)
    with database.write() as db:
        db.execute(harm)  # type: ignore[call-overload]
    with database.read() as db:
        assert audit.verify(db) == broken_at
        assert audit.verify(db, last=3) is not None


def test_an_undone_transaction_leaves_no_gap(database: Database) -> None:
    fill(database, 1)
    with pytest.raises(RuntimeError), database.write() as db:
        audit.note(db, ADA, "thing.do", "lost")
        raise RuntimeError
    fill(database, 1)
    with database.read() as db:
        assert audit.verify(db) is None
        assert len(audit.page(db, projects=None)) == 2


def test_many_writers_make_one_chain(database: Database) -> None:
    fill(database, 1)
    threads = [threading.Thread(target=fill, args=(database, 5)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as db:
        assert audit.verify(db) is None
        assert audit.page(db, projects=None)[0].seq == 31


def test_what_looks_like_a_secret_is_not_written(database: Database) -> None:
    with database.write() as db:
        audit.note(db, ADA, "thing.do", "thing", password="hunter2hunter2", api_key="k", Token="t", scope="read")
    with database.read() as db:
        details = audit.as_dict(audit.page(db, projects=None)[0])["details"]
    assert details == {"password": "(hidden)", "api_key": "(hidden)", "Token": "(hidden)", "scope": "read"}
