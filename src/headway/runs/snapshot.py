"""A copy of a project's files for one run, so that what is edited afterwards changes nothing in it.

Environments, caches and git's objects are left out (git still works: the copy borrows the objects). Very large files are not
copied but linked, and the run says which.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path

LARGE = 256 << 20
"""Files above this many bytes are linked where the file system can't share them."""
TOTAL = 4 << 30
"""Once so many bytes are copied, further files above a megabyte are linked too."""
_SKIPPED = frozenset({
    ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox",
    ".headway",
})  # fmt: skip
_FICLONE = 0x40049409


class _Copy:
    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target
        self.linked: list[str] = []
        self.bytes = 0

    def folder(self, relative: str) -> None:
        with os.scandir(self.source / relative) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        (self.target / relative).mkdir(parents=True, exist_ok=True)
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            try:
                self.entry(entry, name)
            except FileNotFoundError:
                continue  # it was removed while we looked

    def entry(self, entry: os.DirEntry[str], name: str) -> None:
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            (self.target / name).symlink_to(os.readlink(entry.path))  # noqa: PTH115
        elif stat.S_ISDIR(info.st_mode):
            if entry.name == ".git":
                self.git(name)
            elif entry.name not in _SKIPPED and not (Path(entry.path) / "pyvenv.cfg").exists():
                self.folder(name)
        elif stat.S_ISREG(info.st_mode):
            self.file(Path(entry.path), name, info)

    def file(self, path: Path, name: str, info: os.stat_result) -> None:
        target = self.target / name
        if _shared(path, target):
            pass
        elif info.st_size > LARGE or (self.bytes > TOTAL and info.st_size > 1 << 20):
            target.unlink(missing_ok=True)
            target.symlink_to(path.absolute())
            self.linked.append(name)
            return
        else:
            shutil.copyfile(path, target, follow_symlinks=False)
            self.bytes += info.st_size
        target.chmod(stat.S_IMODE(info.st_mode) | stat.S_IWUSR | stat.S_IRUSR)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def git(self, name: str) -> None:
        for entry in sorted(os.listdir(self.source / name)):  # noqa: PTH208
            path = self.source / name / entry
            if entry == "objects":
                info = self.target / name / "objects" / "info"
                info.mkdir(parents=True, exist_ok=True)
                (info / "alternates").write_text(f"{path.absolute()}\n", encoding="utf-8")
            elif path.is_dir() and not path.is_symlink():
                if entry in ("refs", "info"):
                    self.folder(f"{name}/{entry}")
            elif path.is_file():
                (self.target / name).mkdir(parents=True, exist_ok=True)
                self.file(path, f"{name}/{entry}", path.lstat())


def _shared(path: Path, target: Path) -> bool:
    """Copy by sharing blocks, on file systems that can (Btrfs, XFS)."""
    try:
        with path.open("rb") as source, target.open("wb") as copy:
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


def take(source: Path, target: Path) -> list[str]:
    """Copy the folder `source` to `target`, which is made anew. Returns the paths of files that are linked, not copied."""
    shutil.rmtree(target, ignore_errors=True)
    copy = _Copy(source, target)
    copy.folder("")
    return copy.linked
