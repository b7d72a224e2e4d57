"""Bytes by their content: what is stored twice lies once, and what nobody holds is freed.

A blob is a file named by its SHA-256. Rows in `blob_holds` say who needs it; when the last hold goes, `sweep` removes the
file. Bytes are streamed, written beside their place, synced and renamed, so a blob is whole or absent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import BigInteger, Index, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from headway.clock import now_ms
from headway.errors import NotFound, StorageFull, TooLarge
from headway.storage.database import Base

PIECE = 1 << 20
GRACE_MS = 3_600_000  # a blob that was put but is not held yet lives this long


@dataclass(frozen=True)
class Blob:
    """What `put` stored: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    size: int


class BlobRow(Base):
    """A blob that is in the store."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    stored_at: Mapped[int] = mapped_column(BigInteger)


class Hold(Base):
    """`owner` (for example "run:4f…/model.pkl") needs the blob."""

    __tablename__ = "blob_holds"
    __table_args__ = (Index("ix_blob_holds_sha256", "sha256"),)

    owner: Mapped[str] = mapped_column(String(1200), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))


class Blobs:
    """A content-addressed store in a folder of the file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def writer(self, limit: int | None = None) -> Writer:
        """A sink for pieces: `write`, then `finish` -> Blob, or `abort`. `limit` in bytes."""
        return Writer(self, limit)

    def put(self, data: bytes | Path | Iterable[bytes], limit: int | None = None) -> Blob:
        """Store bytes, a file, or pieces as they come. Raises `TooLarge`, `StorageFull`; then nothing is left behind."""
        with contextlib.ExitStack() as stack:
            pieces: Iterable[bytes]
            if isinstance(data, Path):
                pieces = _pieces(stack.enter_context(data.open("rb")), None)
            else:
                pieces = [data] if isinstance(data, bytes | bytearray) else data
            sink = self.writer(limit)
            try:
                for piece in pieces:
                    sink.write(piece)
                return sink.finish()
            except BaseException:
                sink.abort()
                raise

    def path(self, sha256: str) -> Path:
        """Where the blob lies; for `sendfile` and for links into run folders."""
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise NotFound("No such blob.")
        return self.folder / sha256[:2] / sha256

    def open(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to, but without, `end`, in pieces. Raises `NotFound` at once."""
        try:
            file = self.path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound("The stored bytes are gone.", hint="Was the home folder restored in part?") from None

        def stream() -> Iterator[bytes]:
            with file:
                file.seek(start)
                yield from _pieces(file, None if end is None else end - start)

        return stream()

    def read(self, sha256: str) -> bytes:
        """All the bytes; for small blobs."""
        return b"".join(self.open(sha256))


class Writer:
    """A blob that is being written."""

    def __init__(self, blobs: Blobs, limit: int | None) -> None:
        self._blobs, self._limit = blobs, limit
        self._hash, self._size = hashlib.sha256(), 0
        self._path = blobs._incoming / secrets.token_hex(16)
        self._file = self._path.open("xb")

    def write(self, piece: bytes) -> None:
        """Take one more piece."""
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"More than {self._limit >> 20} MiB.", limit=self._limit)
        self._hash.update(piece)
        try:
            self._file.write(piece)
        except OSError as error:
            raise _full(error) from error

    def finish(self) -> Blob:
        """Sync and move into place; the blob is durable when this returns."""
        sha256 = self._hash.hexdigest()
        target = self._blobs.path(sha256)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            target.parent.mkdir(exist_ok=True)
            self._path.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            self.abort()
            raise _full(error) from error
        return Blob(sha256, self._size)

    def abort(self) -> None:
        """Forget what was written."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


def hold(db: Session, blob: Blob, owner: str) -> None:
    """`owner` needs `blob` from now on, instead of what it held before."""
    if db.get(BlobRow, blob.sha256) is None:
        db.merge(BlobRow(sha256=blob.sha256, size=blob.size, stored_at=now_ms()))
    db.merge(Hold(owner=owner, sha256=blob.sha256))
    db.flush()


def release(db: Session, owner: str, *, below: bool = False) -> None:
    """`owner` needs its blob no more; with `below`, nor does any owner whose name begins with `owner`."""
    match = Hold.owner.startswith(owner, autoescape=True) if below else Hold.owner == owner
    db.execute(delete(Hold).where(match))


def used_bytes(db: Session) -> int:
    """Bytes in the store that somebody holds, each blob counted once."""
    held = select(Hold.sha256).distinct().subquery()
    return int(db.scalar(select(func.coalesce(func.sum(BlobRow.size), 0)).where(BlobRow.sha256.in_(select(held)))) or 0)


def orphans(db: Session, limit: int = 1000) -> list[str]:
    """Blobs that nobody holds."""
    held = select(Hold.sha256)
    return list(db.scalars(select(BlobRow.sha256).where(BlobRow.sha256.not_in(held)).limit(limit)))


def forget(db: Session, blobs: Blobs, sha256s: list[str]) -> int:
    """Drop rows and files of blobs that are still held by nobody; returns how many. Bytes put again meanwhile stay."""
    freed = 0
    for sha256 in sha256s:
        if db.scalar(select(Hold.owner).where(Hold.sha256 == sha256).limit(1)) is not None:
            continue
        path = blobs.path(sha256)
        with contextlib.suppress(FileNotFoundError):
            if now_ms() - path.stat().st_mtime_ns // 1_000_000 < GRACE_MS:
                continue
            path.unlink()
        db.execute(delete(BlobRow).where(BlobRow.sha256 == sha256))
        freed += 1
    return freed


def _pieces(file: BinaryIO, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        piece = file.read(PIECE if left is None else min(PIECE, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _full(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk is full; the upload was not kept.", hint="Free some space and send it again.")
    return error
