"""Files of runs and logged models. A path is a name and never touches the disk: the bytes lie in the blob store by hash."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, BadPath, Conflict, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.storage import blobs
from headway.storage.blobs import Blob
from headway.tracking.tables import Artifact, LoggedModel, Run

LONGEST, DEEPEST, SEGMENT = 1000, 64, 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.I)
_ENCODED = re.compile(r"%(2e|2f|5c|00|25)", re.I)


@dataclass(frozen=True)
class Entry:
    """A file or a folder of a listing. `path` is relative to the owner; `size` is None for folders."""

    path: str
    size: int | None = None
    sha256: str = ""
    stored_at: int = 0

    @property
    def is_dir(self) -> bool:
        return self.size is None


def check_path(path: Any, *, empty: bool = False) -> str:
    """A sound relative path with forward slashes. Raises `BadPath` for anything that a file system could take otherwise."""
    if path is None or path == "":
        if empty:
            return ""
        raise BadPath("Invalid path: it is empty.")
    if not isinstance(path, str):
        raise BadPath("Invalid path: it must be a text.")
    trouble = _trouble(path)
    if trouble:
        raise BadPath(
            f"Invalid path {path[:120]!r}: {trouble}.",
            hint="Use a relative path such as plots/roc.png.",
        )
    return path


def _trouble(path: str) -> str:
    if len(path) > LONGEST or len(path.encode("utf-8", "surrogatepass")) > 4 * LONGEST:
        return f"it is longer than {LONGEST} characters"
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path):
        return "it must be relative"
    if "\\" in path:
        return "it holds a backslash"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path):
        return "it holds control characters"
    if _ENCODED.search(path):
        return "it is encoded twice"
    if "#" in path or "?" in path:
        return "it holds # or ?"
    parts = path.split("/")
    if len(parts) > DEEPEST:
        return f"it has more than {DEEPEST} folders"
    for part in parts:
        if part in ("", ".", ".."):
            return "it has an empty part, '.' or '..'"
        if len(part.encode()) > SEGMENT:
            return f"a part of it is longer than {SEGMENT} bytes"
        if _RESERVED.fullmatch(part) or part.endswith((" ", ".")):
            return f"{part!r} can't be a file's name everywhere"
    return ""


@dataclass(frozen=True)
class Owner:
    """What files belong to: its project, whether it is active, and whether its files may change."""

    project_id: str
    active: bool
    fixed: bool = False


def owner_run(db: Session, uuid: str) -> Owner | None:
    """A run as an owner of files."""
    row = db.execute(select(Run.project_id, Run.lifecycle).where(Run.uuid == uuid)).first()
    return None if row is None else Owner(row[0], row[1] == "active")


def _model(db: Session, uuid: str) -> Owner | None:
    query = select(LoggedModel.project_id, LoggedModel.lifecycle).where(LoggedModel.uuid == uuid)
    row = db.execute(query).first()
    return None if row is None else Owner(row[0], row[1] == "active")


# By the first two characters of the owner's id; the registry adds its versions ("v-").
OWNERS: dict[str, Callable[[Session, str], Owner | None]] = {"m-": _model}


def owner(db: Session, who: Who, uuid: str, verb: str) -> Owner:
    """The run, logged model or version with this id. Raises `NotFound` unless `who` may see it."""
    row = OWNERS.get(uuid[:2], owner_run)(db, uuid)
    return guard.visible(db, who, verb, row, lambda: no_owner(uuid))


def writable(db: Session, who: Who, uuid: str) -> None:
    """Raises unless `who` may change the files of this run or model, and they may change at all."""
    row = owner(db, who, uuid, "run")
    if row.fixed:
        raise Conflict("The files of a registered version never change.", hint="Register a new version.")
    if not row.active:
        raise BadInput(f"{uuid} must be in the 'active' state; it is deleted.", hint="Restore it first.")


def no_owner(uuid: str) -> NotFound:
    """The answer for files of something that isn't there, or isn't yours to see."""
    what = "Logged model with ID" if uuid.startswith("m-") else "Run with id"
    return NotFound(f"{what}={uuid[:80]} not found", hint="Was it deleted, or is it in another project?")


def keep(db: Session, who: Who, uuid: str, path: str, blob: Blob) -> None:
    """Put a stored blob at a path of a run or a model; what was there before is let go."""
    writable(db, who, uuid)
    put(db, uuid, path, blob)


def put(db: Session, uuid: str, path: str, blob: Blob) -> None:
    """As `keep`, for the platform's own use: checks no rights."""
    check_path(path)
    parents = ["/".join(path.split("/")[:i]) for i in range(1, path.count("/") + 1)]
    below = Artifact.path.startswith(path + "/", autoescape=True)
    clash = db.scalar(select(Artifact.path).where(Artifact.owner == uuid, Artifact.path.in_(parents) | below).limit(1))
    if clash is not None:
        raise BadPath(
            f"Invalid path {path[:120]!r}: {clash[:120]!r} is there already, and can't be both file and folder."
        )
    db.merge(Artifact(owner=uuid, path=path, sha256=blob.sha256, size=blob.size, stored_at=now_ms()))
    blobs.hold(db, blob, f"artifact:{uuid}/{path}")


def find(db: Session, uuid: str, path: str) -> Artifact:
    """One file. Raises `NotFound`. The caller has checked the owner."""
    row = db.get(Artifact, (uuid, path))
    if row is None:
        raise NotFound(f"No artifact at {path[:200]!r}")
    return row


def listing(db: Session, uuid: str, path: str = "") -> list[Entry]:
    """What lies directly below a folder: files and folders by name; a file's own path gives nothing, as in the protocol."""
    prefix = f"{path}/" if path else ""
    query = select(Artifact.path, Artifact.size, Artifact.sha256, Artifact.stored_at).where(Artifact.owner == uuid)
    if prefix:
        query = query.where(Artifact.path.startswith(prefix, autoescape=True))
    found: dict[str, Entry] = {}
    for full, size, sha256, stored_at in db.execute(query.order_by(Artifact.path)):
        if not full.startswith(prefix):  # LIKE does not mind the case on SQLite
            continue
        head, slash, _ = full[len(prefix) :].partition("/")
        entry = Entry(prefix + head) if slash else Entry(full, size, sha256, stored_at)
        found.setdefault(entry.path, entry)
    return sorted(found.values(), key=lambda e: e.path)


def tree(db: Session, uuid: str, prefix: str = "") -> list[Entry]:
    """All files of an owner below a folder, by path."""
    query = select(Artifact.path, Artifact.size, Artifact.sha256, Artifact.stored_at).where(Artifact.owner == uuid)
    rows = db.execute(query.order_by(Artifact.path))
    start = f"{prefix}/" if prefix else ""
    return [Entry(*row) for row in rows if row[0].startswith(start)]


def used(db: Session, uuid: str) -> int:
    """Bytes of all files of an owner."""
    return int(db.scalar(select(func.coalesce(func.sum(Artifact.size), 0)).where(Artifact.owner == uuid)) or 0)


def remove(db: Session, who: Who, uuid: str, path: str) -> None:
    """Remove a file, or a folder with all below it; nothing happens where nothing is."""
    writable(db, who, uuid)
    for entry in tree(db, uuid):
        if not path or entry.path == path or entry.path.startswith(path + "/"):
            db.execute(delete(Artifact).where(Artifact.owner == uuid, Artifact.path == entry.path))
            blobs.release(db, f"artifact:{uuid}/{entry.path}")
