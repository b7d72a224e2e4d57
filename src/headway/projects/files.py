"""Files of a project's folder, where users' code writes as well: no link is ever followed, not even one that appears meanwhile.

Each step of a path is opened from the folder before it (`openat` with O_NOFOLLOW); a file is written beside its place,
synced, and renamed into it, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headway.clock import new_id
from headway.errors import BadPath, Conflict, NotFound, TooLarge

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSHOWN = frozenset({".git", ".ipynb_checkpoints", "__pycache__", ".venv", ".headway"})
_PARTIAL = ".headway-upload-"
LISTED = 2000


@dataclass(frozen=True)
class Entry:
    """One file or folder. `size` in bytes, `modified_at` in milliseconds; `kind` is file, folder or link (never followed)."""

    name: str
    path: str
    kind: str
    size: int
    modified_at: int


def listing(root: Path, folder: tuple[str, ...] = ()) -> list[Entry]:
    """What lies in a folder, folders first, by name; at most 2,000, without git's and Python's own."""
    with _opened(root, folder) as handle, os.scandir(handle) as found:
        entries = [
            _entry(item, folder) for item in found if item.name not in _UNSHOWN and not item.name.startswith(_PARTIAL)
        ]
    entries = [entry for entry in entries if entry is not None]
    known = sorted((e for e in entries if e), key=lambda e: (e.kind != "folder", e.name.lower(), e.name))
    return known[:LISTED]


def walk(root: Path, *, limit: int = 5000) -> Iterator[Entry]:
    """All files below the folder, breadth first, at most `limit` entries looked at; links and hidden folders are passed by."""
    queue: list[tuple[str, ...]] = [()]
    looked = 0
    while queue and looked < limit:
        folder = queue.pop(0)
        try:
            entries = listing(root, folder)
        except NotFound:
            continue
        for entry in entries:
            looked += 1
            if entry.kind == "folder" and len(folder) < 8 and not entry.name.startswith("."):
                queue.append((*folder, entry.name))
            elif entry.kind == "file":
                yield entry


@contextlib.contextmanager
def reading(root: Path, parts: tuple[str, ...]) -> Iterator[BinaryIO]:
    """A file, open for reading."""
    file = open_file(root, parts)
    with file:
        yield file


def open_file(root: Path, parts: tuple[str, ...]) -> BinaryIO:
    """A regular file, open for reading; the caller closes it. NotFound for folders, links and devices too."""
    with _opened(root, parts[:-1]) as folder, _said(parts):
        # O_NONBLOCK: a named pipe that somebody left there must not hold the server.
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotFound(f"There is no file '{'/'.join(parts)}'.")
    return os.fdopen(handle, "rb")


class Upload:
    """A file on its way: `write` chunks, then `keep` it, or leave the block and nothing has happened."""

    def __init__(self, root: Path, parts: tuple[str, ...], limit: int) -> None:
        self._root, self._parts, self._limit = root, parts, limit
        self._name = _PARTIAL + new_id()
        self.size = 0

    def __enter__(self) -> Upload:
        self._stack = contextlib.ExitStack()
        try:
            self._folder = self._stack.enter_context(_opened(self._root, self._parts[:-1], make=True))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with _said(self._parts[:-1]):
                handle = os.open(self._name, flags, 0o644, dir_fd=self._folder)
            self._file = self._stack.enter_context(os.fdopen(handle, "wb"))
        except BaseException:
            self._stack.close()
            raise
        return self

    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises TooLarge over the limit."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLarge(
                f"The file is larger than {self._limit >> 20} MiB.", hint="Raise upload_mb, or put it there yourself."
            )
        self._file.write(chunk)

    def keep(self) -> None:
        """Put the file in its place, durably. Raises Conflict where a folder has that name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        with _said(self._parts):
            os.rename(self._name, self._parts[-1], src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)
        self._stack.close()


def write(root: Path, parts: tuple[str, ...], content: bytes, *, limit: int = 1 << 31) -> None:
    """Write a whole file."""
    with Upload(root, parts, limit) as upload:
        upload.write(content)
        upload.keep()


def make_folder(root: Path, parts: tuple[str, ...]) -> None:
    """Make a folder and those above it; one that is there is fine."""
    with _opened(root, parts, make=True):
        pass


def move(root: Path, parts: tuple[str, ...], to: tuple[str, ...]) -> None:
    """Give a file or folder another name or place. What is there already stays: Conflict."""
    if to[: len(parts)] == parts:
        raise Conflict("A folder can't be moved into itself.")
    with _opened(root, parts[:-1]) as source, _opened(root, to[:-1], make=True) as target, _said(parts):
        os.stat(parts[-1], dir_fd=source, follow_symlinks=False)
        try:
            os.stat(to[-1], dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(parts[-1], to[-1], src_dir_fd=source, dst_dir_fd=target)
        else:
            raise Conflict(f"'{'/'.join(to)}' is there already.", hint="Choose another name.")


def delete(root: Path, parts: tuple[str, ...]) -> None:
    """Delete a file, a link (not what it leads to), or a folder with all that is in it."""
    with _opened(root, parts[:-1]) as folder, _said(parts):
        kind = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind):
            shutil.rmtree(parts[-1], dir_fd=folder)
        else:
            os.unlink(parts[-1], dir_fd=folder)


@contextlib.contextmanager
def _opened(root: Path, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, 1):
            with _said(parts[:depth]):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=handle)
                inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _said(parts: tuple[str, ...]) -> Iterator[None]:
    """What the system says about a path, in words for people."""
    name = "/".join(parts)
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"There is no '{name}' in this project.") from None
    except (NotADirectoryError, IsADirectoryError):
        raise Conflict(
            f"'{name}': a file and a folder can't have the same name.", hint="Choose another name."
        ) from None
    except PermissionError:
        raise Conflict(f"The system does not let the server touch '{name}'.", hint="Change its permissions.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadPath(f"'{name}' is a link; links are not followed.", hint="Put the file itself there.") from None
        raise


def _entry(item: os.DirEntry[str], folder: tuple[str, ...]) -> Entry | None:
    try:
        info = item.stat(follow_symlinks=False)
        item.name.encode()
    except (OSError, UnicodeEncodeError):
        return None  # gone meanwhile, or a name that no page could show
    kind = "folder" if stat.S_ISDIR(info.st_mode) else "file" if stat.S_ISREG(info.st_mode) else "link"
    return Entry(item.name, "/".join((*folder, item.name)), kind, info.st_size, info.st_mtime_ns // 1_000_000)
