"""Which kind of store an address names."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from headway.errors import BadInput
from headway.moving.database import SqliteStore
from headway.moving.filestore import FileStore
from headway.moving.remote import RemoteStore
from headway.moving.store import Store

_HINT = "Name a mlruns folder, a mlflow.db file, or the address of a server: http://127.0.0.1:5000"


def open_store(where: str, artifacts: tuple[Path, ...] = ()) -> Store:
    """The store at a folder, a file, or a URL (http, sqlite, file). Raises `BadInput` for what is none."""
    if where.startswith(("http://", "https://")):
        return RemoteStore(where)
    if where.startswith(("postgresql", "mysql", "mssql")):
        scheme = where.partition(":")[0].partition("+")[0]
        raise BadInput(f"Importing straight from {scheme} is not possible.",
                       hint="Import from the MLflow server that uses it: headway import mlruns http://...")  # fmt: skip
    path = Path(where.removeprefix("sqlite:///").removeprefix("file://")).expanduser()
    if path.is_dir():
        return _folder(path, artifacts)
    if not path.exists():
        raise BadInput(f"There is no {path}.", hint=_HINT)
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise BadInput(f"{path} is no SQLite database.", hint=_HINT)
    try:
        return SqliteStore(path, artifacts)
    except sqlite3.Error as error:
        raise BadInput(f"{path} can't be read: {error}.", hint="Is it damaged?") from None


def _folder(path: Path, artifacts: tuple[Path, ...]) -> Store:
    for folder in (path, path / "mlruns"):
        if any((one / "meta.yaml").is_file() for one in folder.glob("*")):
            return FileStore(folder, artifacts)
    if (path / "mlflow.db").is_file():
        return open_store(str(path / "mlflow.db"), artifacts)
    raise BadInput(f"{path} is no store of MLflow: it holds no experiments.", hint=_HINT)
