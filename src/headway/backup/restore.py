"""A home folder made of a backup: checked first, built beside its place, and put there by one rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from headway.backup import archive, snapshot
from headway.backup.archive import Backup
from headway.errors import Conflict


def restore(file: Path, home: Path, *, database_url: str = "", say: Callable[[str], None] = lambda _: None) -> Backup:
    """Make `home` (absent or empty) of a backup, with its database in it, or at `database_url`.

    Nothing is changed unless all is sound. Raises `Conflict` for a home or a database that holds something already.
    """
    home = home.absolute()
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(f"{home} is not empty.", hint="Restore into another folder: --home DIR. Nothing was changed.")
    home.parent.mkdir(parents=True, exist_ok=True)
    part = home.with_name(f".{home.name}.restore-{secrets.token_hex(6)}")
    part.mkdir(mode=0o700)
    try:
        say(f"Checking and unpacking {file}")
        found = archive.read(file, part / "unpacked")
        unpacked = part / "unpacked"
        made = part / "home"
        (unpacked / "home").mkdir(mode=0o700, exist_ok=True)
        (unpacked / "home").rename(made)
        made.chmod(0o700)
        if (unpacked / "blobs").exists():
            (unpacked / "blobs").rename(made / "blobs")
        database = unpacked / archive.DATABASE
        snapshot.settle(database)
        if database_url:
            say("Filling the database")
            snapshot.restore(database, database_url)
            _say_database(made / "headway.toml", database_url)
        else:
            database.rename(made / archive.DATABASE)
        _sync(made)
        if home.exists():
            home.rmdir()
        made.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def _say_database(path: Path, url: str) -> None:
    """Let the restored home know its database: a start without it would begin a new one."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'database_url = "{quoted}"\n{before}')


def _sync(folder: Path) -> None:
    """All files of a folder on the disk."""
    for base, _, names in os.walk(folder):
        for name in names:
            handle = os.open(Path(base) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
