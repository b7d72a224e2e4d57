"""Writing a backup, and checking one: a tar of snapshot, files and bytes, with a manifest of their hashes at its end."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import headway
from headway.backup import snapshot
from headway.errors import BadInput, Conflict, NotFound, Unprocessable
from headway.settings import Settings

HEAD, MANIFEST, DATABASE = "headway-backup.json", "manifest.json", "headway.db"
FORMAT = 1
KEY = "key"
# Of the home folder: what nothing else can give back. In runs, `work` is a copy of the project's files and `spool` was shipped.
FOLDERS = ("projects", "runs", "sources", "predictions")
SKIPPED = {"runs": frozenset({"work", "spool"})}
FILES = ("headway.toml", "gateway/key", "workspaces/identity")
LEFT_OUT = "environments, bundles of endpoints and copies of runs' files: they are made again"
_DATABASE_LINE = re.compile(rb"(?m)^\s*database_url\s*=.*\n?")
_TRIES = 5


@dataclass
class Backup:
    """What was written or found: the file, its size in bytes, what is in it, and whether the key is."""

    path: str
    size: int
    head: dict[str, Any]
    files: int
    blobs: int
    bytes: int
    notes: list[str] = field(default_factory=list)


Say = Callable[[str], None]


def write(settings: Settings, target: Path, *, with_key: bool = True, say: Say = lambda _: None) -> Backup:
    """Back up a home folder, served or not, into `target`: whole, or not at all.

    Raises `Conflict` if the file is there, `BadInput` if there is nothing to back up.
    """
    if target.exists():
        raise Conflict(
            f"{target} is there already.", hint="Name another file, or a folder: then the name has the time."
        )
    if not settings.database_url and not (settings.home / DATABASE).is_file():
        raise BadInput(f"{settings.home} is no home folder of headway.", hint="Give --home DIR, or set HEADWAY_HOME.")
    staging = settings.home / f"backup-{secrets.token_hex(6)}"
    part = target.with_name(f".{target.name}.part")
    staging.mkdir(mode=0o700)
    try:
        file = staging / DATABASE
        blobs = _consistent(settings, staging, file, say)
        head = {
            "format": FORMAT, "headway": headway.__version__, "schema": snapshot.revision(file),
            "taken_at": int(time.time() * 1000), "database": settings.database.partition(":")[0].partition("+")[0],
            "key": with_key and (settings.home / KEY).is_file(), "holds": snapshot.counts(file), "left_out": LEFT_OUT,
        }  # fmt: skip
        say(f"Writing {len(blobs):,} stored files and the project folders")
        found = Backup(str(target), 0, head, 0, len(blobs), 0)
        with _created(part) as raw:
            with _squeezed(raw, target.name) as out:
                tar = _Tar(out, found)
                _pack(tar, settings.home, staging, blobs, head, with_key=with_key)
                tar.close()
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
    found.size = target.stat().st_size
    return found


def _created(path: Path) -> IO[bytes]:
    """A file that only this user may read: it may hold the key."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@contextlib.contextmanager
def _squeezed(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """gzip, unless the name says that it is a plain tar."""
    if name.endswith(".tar"):
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out:
        yield out  # type: ignore[misc]  # it is one, but for two methods that nobody calls


def _consistent(settings: Settings, staging: Path, file: Path, say: Say) -> list[tuple[str, int]]:
    """A snapshot, and links to all the bytes that it refers to: bytes that are let go meanwhile stay as long as the links do.

    Should some have gone between the two, both are taken again.
    """
    for _ in range(_TRIES):
        file.unlink(missing_ok=True)
        say("Taking a snapshot of the database")
        snapshot.take(settings.database, file)
        blobs = snapshot.blobs_of(file)
        try:
            _link(settings.path("blobs"), staging / "blobs", [sha256 for sha256, _ in blobs])
        except FileNotFoundError as error:
            missing = str(error.filename)
            continue
        return blobs
    raise NotFound(f"Bytes that the database refers to are gone: {missing}", hint="`headway doctor` tells more.")


def _link(source: Path, target: Path, names: list[str]) -> None:
    for name in names:
        place = target / name[:2] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            continue
        try:
            os.link(source / name[:2] / name, place)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            shutil.copyfile(source / name[:2] / name, place)  # a file system without links


class _Hashing:
    """A file that is hashed as it is read, and that is never longer than it was when it was measured."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left, self.hash = file, size, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        data += b"\0" * (wanted - len(data))  # it got shorter while it was read; its tar entry can't
        self._left -= len(data)
        self.hash.update(data)
        return data


class _Tar:
    """A tar that is written, with the manifest of what went into it."""

    def __init__(self, out: IO[bytes], found: Backup) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115  closed by `close`
        self.manifest: dict[str, list[Any]] = {}
        self.found = found

    def add(self, name: str, source: IO[bytes], size: int, mode: int = 0o600, mtime: float = 0) -> str:
        """Write a file; its SHA-256."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, int(mtime)
        reading = _Hashing(source, size)
        self._tar.addfile(info, reading)
        self.manifest[name] = [size, reading.hash.hexdigest()]
        self.found.bytes += size
        return str(self.manifest[name][1])

    def add_bytes(self, name: str, data: bytes) -> None:
        self.add(name, io.BytesIO(data), len(data))

    def close(self) -> None:
        """Write the manifest, and the end."""
        last = json.dumps(self.manifest, separators=(",", ":")).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(last), 0o600
        self._tar.addfile(info, io.BytesIO(last))
        self._tar.close()


def _pack(
    tar: _Tar, home: Path, staging: Path, blobs: list[tuple[str, int]], head: dict[str, Any], *, with_key: bool
) -> None:
    tar.add_bytes(HEAD, json.dumps(head, indent=1).encode())
    for name, path in ((DATABASE, staging / DATABASE), *_members(home, with_key)):
        try:
            source = path.open("rb")
        except FileNotFoundError:
            continue  # a file that went away while this was going on
        with source:
            if name == "home/headway.toml":
                tar.add_bytes(name, plain := _DATABASE_LINE.sub(b"", before := source.read()))
                if plain != before:
                    tar.found.notes.append("headway.toml is in it without database_url, which may hold a password.")
            else:
                status = os.fstat(source.fileno())
                tar.add(name, source, status.st_size, status.st_mode & 0o777, status.st_mtime)
        tar.found.files += name.startswith("home/")
    for sha256, size in blobs:
        with (staging / "blobs" / sha256[:2] / sha256).open("rb") as source:
            if tar.add(f"blobs/{sha256[:2]}/{sha256}", source, size) != sha256:
                raise Unprocessable(
                    f"The stored bytes {sha256} are damaged on the disk.", hint="`headway doctor` tells more."
                )


def _members(home: Path, with_key: bool) -> Iterator[tuple[str, Path]]:
    for name in (*FILES, *((KEY,) if with_key else ())):
        if (home / name).is_file():
            yield f"home/{name}", home / name
    for folder in FOLDERS:
        skipped = SKIPPED.get(folder, frozenset())
        for base, folders, names in os.walk(home / folder):
            folders[:] = sorted(name for name in folders if name not in skipped)
            for name in sorted(names):
                path = Path(base) / name
                if path.is_file() and not path.is_symlink():
                    yield f"home/{path.relative_to(home).as_posix()}", path


def read(path: Path, into: Path | None = None) -> Backup:
    """Check a backup from end to end, and write what is in it below `into` (as `headway.db`, `home/`, `blobs/`).

    Raises `BadInput` for what is no backup, `Unprocessable` for one that is damaged or cut off, saying where.
    """
    seen: dict[str, list[Any]] = {}
    head: dict[str, Any] | None = None
    manifest: dict[str, list[Any]] | None = None
    try:
        with tarfile.open(path, mode="r|*") as tar:
            for info in tar:
                if head is None and info.name != HEAD:
                    raise BadInput(f"{path} is no backup of headway.", hint="`headway backup` writes one.")
                source = tar.extractfile(info)
                if source is None:
                    raise Unprocessable(f"{path}: {info.name} is no file.", hint="The backup is damaged; take another.")
                if info.name == MANIFEST:
                    manifest = json.loads(source.read())
                    continue
                if info.name == HEAD:
                    data = source.read()
                    head, source = _checked_head(path, data), io.BytesIO(data)
                seen[info.name] = _write(info, source, None if into is None or info.name == HEAD else into)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if head is None:
            raise BadInput(f"{path} is no backup of headway.", hint="`headway backup` writes one.") from None
        raise Unprocessable(f"{path} is damaged or cut off: {error}", hint="Use another backup.") from None
    if head is None or manifest is None:
        raise Unprocessable(f"{path} is cut off: its end is missing.", hint="Use another backup.")
    for name in sorted({*manifest, *seen}):
        if manifest.get(name) != seen.get(name):
            what = "is missing" if name not in seen else "is not what was written"
            raise Unprocessable(f"{path} is damaged: {name} {what}.", hint="Use another backup.")
    names = list(seen)
    return Backup(str(path), path.stat().st_size, head, sum(name.startswith("home/") for name in names),
                  sum(name.startswith("blobs/") for name in names), sum(size for size, _ in seen.values()))  # fmt: skip


def _checked_head(path: Path, data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise ValueError("its head can't be read")
    if found["format"] > FORMAT:
        raise Conflict(
            f"{path} was written by a newer headway ({found.get('headway')}).", hint="Restore it with that version."
        )
    return found


def _write(info: tarfile.TarInfo, source: IO[bytes], into: Path | None) -> list[Any]:
    """Hash an entry, and write it; [size, sha256]."""
    target: IO[bytes] | None = None
    if into is not None:
        place = into / info.name
        if ".." in place.parts or not place.is_relative_to(into):
            raise Unprocessable(f"The backup names a file outside of its folder: {info.name[:200]!r}")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, info.mode & 0o777), "wb")
    digest, size = hashlib.sha256(), 0
    try:
        while piece := source.read(1 << 20):
            digest.update(piece)
            size += len(piece)
            if target is not None:
                target.write(piece)
    finally:
        if target is not None:
            target.close()
    return [size, digest.hexdigest()]
