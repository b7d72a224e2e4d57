"""The store: `environments/<hash>/`, each folder built once, published whole, and read-only from then on.

A folder is built beside its place under `.build-<hash>` and renamed when it is complete and on the disk, so one with its final
name is always whole. Whoever builds holds a file lock; the kernel frees it when the builder dies, and the next one clears up.

uv links an environment's files to those in its cache and thereby to those of other environments: a write into one would show
in all. So nothing here is writable. That stops accidents and other users; whoever is the same user, or root, could still
change the permissions first (see docs/environments.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MARKER = "headway-environment.json"
LOCK_FILE = "headway-lock.txt"
_BUILD = ".build-"


class Store:
    """All environments of one home folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the environment of that name is, or would be."""
        return self.root / digest

    def python(self, digest: str) -> Path:
        """Its interpreter."""
        return self.path(digest) / "bin" / "python"

    def ready(self, digest: str) -> dict[str, Any] | None:
        """What its marker says (`python`, `size`, `packages`); None if it is not there or its Python has gone."""
        try:
            found: dict[str, Any] = json.loads((self.path(digest) / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if self.python(digest).exists() else None

    @contextlib.contextmanager
    def building(self, digest: str, waiting: Callable[[], None]) -> Iterator[Path]:
        """Hold the right to build; yields the empty place to build in. `waiting()` is called if another builder is at it."""
        with self._lock(digest, waiting) as place:
            remove(place)
            try:
                yield place
            finally:
                remove(place)

    def publish(self, place: Path, digest: str, facts: dict[str, Any]) -> None:
        """Make the finished build permanent: facts, read-only, on the disk, renamed."""
        (place / MARKER).write_text(json.dumps(facts), encoding="utf-8")
        make_read_only(place)
        sync(place)
        target = self.path(digest)
        if target.exists():  # only one whose Python has gone: a ready one would not have been built again
            remove(target)
        place.rename(target)
        sync(self.root)

    def touch(self, digest: str) -> None:
        """Note that the environment is wanted again, so that no sweep takes it before a row refers to it."""
        os.utime(self.path(digest) / MARKER)

    def sweep(self, keep: Iterable[str], older_s: float = 3600.0) -> list[str]:
        """Remove every environment that is not in `keep` and was not wanted for `older_s` seconds, and what dead builders
        left. Returns the names."""
        kept, gone = set(keep), []
        for entry in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            digest = entry.name.removeprefix(_BUILD)
            if digest.startswith(".") or (entry.name == digest and (digest in kept or _age_s(entry) < older_s)):
                continue
            with contextlib.suppress(BlockingIOError), self._lock(digest):
                remove(entry)
                gone.append(entry.name)
        return gone

    @contextlib.contextmanager
    def _lock(self, digest: str, waiting: Callable[[], None] | None = None) -> Iterator[Path]:
        """The lock of one environment; without `waiting` raises BlockingIOError if another process has it."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / digest).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    raise
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.root / f"{_BUILD}{digest}"


def _age_s(folder: Path) -> float:
    try:
        return time.time() - (folder / MARKER).stat().st_mtime
    except OSError:
        return time.time() - folder.stat().st_mtime


def make_read_only(folder: Path) -> None:
    """Take every write permission away, files first, folders on the way back up."""
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            file = Path(path, name)
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode) and mode & 0o222:
                file.chmod(stat.S_IMODE(mode) & ~0o222)
        Path(path).chmod(0o555)


def remove(folder: Path) -> None:
    """Remove a folder, read-only or not. One that is not there is fine."""
    if not folder.exists():
        return
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder)


def size_of(folder: Path) -> int:
    """Bytes of all files, those shared with other environments included."""
    total = 0
    for path, _, files in os.walk(folder):
        total += sum(Path(path, name).lstat().st_size for name in files)
    return total


def sync(path: Path) -> None:
    """Wait until the file system that holds `path` has everything on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        # thousands of small files: one call for the file system instead of one for each file
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs") or libc.syncfs(handle) != 0:
            os.sync()
    finally:
        os.close(handle)
