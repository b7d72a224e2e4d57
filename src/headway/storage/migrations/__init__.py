"""The schema's history, one for SQLite and PostgreSQL, forward only. `upgrade` brings a database to the newest version."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import inspect, text

from headway.errors import Conflict
from headway.storage.database import Database

FOLDER = Path(__file__).parent
log = logging.getLogger("headway.migrations")


def newest() -> str:
    """The revision this code expects: files are named `0001_what.py`, and the history is a line."""
    return max(path.name.split("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py"))


def current(database: Database) -> str | None:
    """The revision the database is at; None for an empty one."""
    with database.read() as db:
        if not inspect(db.connection()).has_table("alembic_version"):
            return None
        version: str | None = db.scalar(text("SELECT version_num FROM alembic_version"))
        return version


def upgrade(database: Database) -> None:
    """Apply what is missing. Raises `Conflict` for a database that a newer headway wrote; it is not touched."""
    have, want = current(database), newest()
    if have == want:
        return
    if have is not None and have > want:
        raise Conflict(f"The database was written by a newer headway (schema {have}, this one knows {want}).",
                       hint="Install that version, or restore a backup made before the upgrade.")  # fmt: skip
    # Imported here: a start that has nothing to migrate does not pay for Alembic.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    log.info("database schema %s -> %s", have or "empty", want)
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
