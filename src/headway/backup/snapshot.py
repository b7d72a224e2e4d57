"""The database as of one moment, as a SQLite file of headway's own schema; and such a file into a database.

SQLite copies itself with VACUUM INTO: one read transaction, so writers go on, and what they commit meanwhile is not in it.
PostgreSQL is read table by table in one REPEATABLE READ transaction, whose snapshot is likewise of one moment. Both end in the
same file, so a backup of the one can be restored into the other.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, inspect, text

from headway.errors import BadInput, Conflict
from headway.storage import migrations
from headway.storage.database import Database

_PIECE = 2_000
VERSION_TABLE = "alembic_version"


def take(url: str, target: Path) -> None:
    """Write the database at `url` into the file `target`, which must not be there. Raises `BadInput` if there is none."""
    database = Database(url)
    try:
        if migrations.current(database) is None:
            raise BadInput(
                "There is nothing to back up: the database is empty.", hint="Start it once with `headway up`."
            )
        if database.sqlite:
            _vacuum(Path(str(database.url.database)), target)
        else:
            _from_postgres(database, target)
    finally:
        database.close()


def _vacuum(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
        db.execute("VACUUM INTO ?", (str(target),))


def _from_postgres(database: Database, target: Path) -> None:
    have, known = migrations.current(database), migrations.newest()
    if have != known:
        raise Conflict(f"The database has schema {have}, this headway knows {known}.",
                       hint="Start this headway once: `headway up` brings the database up to date.")  # fmt: skip
    made = Database(f"sqlite:///{target}")
    try:
        migrations.upgrade(made)
    finally:
        made.close()
    engine = create_engine(database.url, isolation_level="REPEATABLE READ")
    try:
        with engine.connect() as source, closing(sqlite3.connect(target)) as out:
            tables = _tables(source)
            out.execute("PRAGMA foreign_keys = OFF")
            out.execute("PRAGMA synchronous = OFF")  # the file is hashed, synced and moved later
            with out:
                for table in tables:
                    _copy_out(source, table, out)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(target)) as out:
        out.execute("PRAGMA journal_mode = DELETE")  # one file, no log beside it


def _tables(connection: Any) -> list[Table]:
    """All of headway's tables with their columns, in the order in which rows can be written."""
    seen = inspect(connection)
    names = [name for name, _ in seen.get_sorted_table_and_fkc_names() if name not in (None, VERSION_TABLE)]
    return [Table(name, MetaData(), *(Column(c["name"], c["type"]) for c in seen.get_columns(name))) for name in names]


def _copy_out(source: Any, table: Table, out: sqlite3.Connection) -> None:
    names = [column.name for column in table.columns]
    put = f"INSERT INTO {_quoted(table.name)} ({_list(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    out.execute(f"DELETE FROM {_quoted(table.name)}")  # noqa: S608  migrations may have put rows there
    rows = source.execution_options(yield_per=_PIECE).execute(table.select())
    for some in rows.partitions(_PIECE):
        out.executemany(put, [[_plain(value) for value in row] for row in some])


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def restore(file: Path, url: str) -> None:
    """Write a snapshot into a database of either kind that holds nothing yet; all of it, or nothing.

    Raises `Conflict` if something is there, or if a newer headway wrote the snapshot.
    """
    newer = Database(f"sqlite:///{file}")
    try:
        migrations.upgrade(newer)  # to what this headway knows; it refuses a newer one
    finally:
        newer.close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    database = Database(url)
    try:
        if migrations.current(database) is not None:
            raise Conflict("The database holds a headway already.", hint="Restore into an empty database.")
        migrations.upgrade(database)
        try:
            with closing(sqlite3.connect(file)) as source, database.engine.begin() as connection:
                for table in reversed(_tables(connection)):
                    connection.execute(table.delete())
                for table in _tables(connection):
                    _copy_in(source, table, connection)
        except BaseException:
            _drop(database)
            raise
    finally:
        database.close()


def _copy_in(source: sqlite3.Connection, table: Table, connection: Any) -> None:
    names = [column.name for column in table.columns]
    cursor = source.execute(f"SELECT {_list(names)} FROM {_quoted(table.name)}")  # noqa: S608
    # COPY in its text form reads each value as the column's type wants it: SQLite's 0 and 1 as booleans, texts as JSON.
    with (
        connection.connection.cursor() as pg,
        pg.copy(f"COPY {_quoted(table.name)} ({_list(names)}) FROM STDIN") as copy,
    ):
        for row in _rows(cursor):
            copy.write_row(row)
    if isinstance(table.columns.get("id", Column(Text())).type, Integer):
        _sequence(connection, table.name, "id")


def _rows(cursor: sqlite3.Cursor) -> Iterator[Sequence[Any]]:
    while some := cursor.fetchmany(_PIECE):
        yield from some


def _sequence(connection: Any, table: str, column: str) -> None:
    """The next number that a table gives by itself comes after all that it holds."""
    name = connection.execute(
        text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": _quoted(table), "c": column}
    ).scalar()
    if name is not None:
        top = f"SELECT COALESCE(MAX({_quoted(column)}), 0) + 1 FROM {_quoted(table)}"  # noqa: S608
        connection.execute(text(f"SELECT setval(:name, ({top}), false)"), {"name": name})


def _drop(database: Database) -> None:
    with database.engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            connection.execute(text(f"DROP TABLE {_quoted(name)} CASCADE"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Sequence[str]) -> str:
    return ", ".join(_quoted(name) for name in names)


def blobs_of(file: Path) -> list[tuple[str, int]]:
    """(sha256, size) of the bytes that somebody in a snapshot holds."""
    asked = "SELECT sha256, size FROM blobs WHERE sha256 IN (SELECT sha256 FROM blob_holds) ORDER BY sha256"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return [(row[0], row[1]) for row in db.execute(asked)]


def counts(file: Path) -> dict[str, int]:
    """How much of what people count is in a snapshot."""
    wanted = {
        "projects": "projects",
        "runs": "runs",
        "models": "registered_models",
        "people": "users",
        "endpoints": "endpoints",
    }
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {what: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
                for what, table in wanted.items() if table in there}  # fmt: skip


def revision(file: Path) -> str:
    """The version of its schema."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return str(db.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])  # noqa: S608


# What lives on a machine is not on the next one: processes, claims to work, folders that are made again.
_SETTLE = (
    "DELETE FROM processes",
    "DELETE FROM leases",
    "UPDATE workspaces SET process_id = NULL",
    "UPDATE environments SET state = 'asked', process_id = NULL, attempt = attempt + 1 WHERE state IN ('locking', 'building')",
    # a run that was active is found lost, one that waited starts; both by whichever server comes first
    "UPDATE executions SET node = '' WHERE status IN ('queued', 'running')",
    "UPDATE executions SET process_id = NULL, prepared_at = NULL WHERE status = 'queued'",
    # what served is proved and started anew, and then takes the share of traffic that it had
    "UPDATE revisions SET state = 'asked', intent = weight WHERE state = 'live'",
    "UPDATE revisions SET state = 'asked' WHERE state IN ('environment', 'proving', 'starting')",
)


def settle(file: Path) -> None:
    """Make a snapshot fit to be started on another machine, beside the one that it was taken from."""
    with closing(sqlite3.connect(file)) as db, db:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for statement in _SETTLE:
            words = statement.split()
            if (words[2] if words[0] == "DELETE" else words[1]) in there:
                db.execute(statement)
