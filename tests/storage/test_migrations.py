"""The schema's history leads to the tables, on both databases, and a newer one is not touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from headway import server
from headway.errors import Conflict
from headway.storage import migrations
from headway.storage.database import Base, Database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    server.pillars()
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'headway.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
        with database.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield database
    database.close()


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_history_leads_to_the_tables(empty: Database) -> None:
    assert migrations.current(empty) is None
    migrations.upgrade(empty)
    assert migrations.current(empty) == migrations.newest()
    with empty.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    if empty.sqlite:  # it can't be asked about indexes with an order; PostgreSQL compares them
        differences = [one for one in differences if one[0] not in ("add_index", "remove_index")]
    assert differences == []


def test_an_upgrade_that_is_done_is_not_done_again(empty: Database) -> None:
    migrations.upgrade(empty)
    with empty.write() as db:
        db.execute(text("INSERT INTO leases (name, owner, until) VALUES ('a', 'me', 0)"))
    migrations.upgrade(empty)
    with empty.read() as db:
        assert db.scalar(text("SELECT count(*) FROM leases")) == 1


def test_a_newer_database_is_refused_and_left_alone(empty: Database) -> None:
    migrations.upgrade(empty)
    with empty.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer headway"):
        migrations.upgrade(empty)
    assert migrations.current(empty) == "9999"
