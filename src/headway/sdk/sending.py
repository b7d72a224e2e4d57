"""A folder as an archive, to send it along with a run: what lies beside a script, without what is not code or data of it."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headway.errors import BadInput, TooLarge

MOST_BYTES = 256 << 20
MOST_FILES = 5000
SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "env", "site-packages"})


@dataclass(frozen=True)
class Member:
    """A file that is sent: where it lies, its name in the archive (with slashes), its size in bytes."""

    path: Path
    name: str
    size: int


def root_of(script: Path, folder: Path | None = None) -> Path:
    """The folder to send for a script: the one named, else the working directory if the script lies below it, else its own.

    Neither the home directory nor the root of the file system is ever sent unless it is named.
    """
    script = script.resolve()
    if folder is not None:
        root = folder.resolve()
        if not script.is_relative_to(root):
            raise BadInput(f"{script} does not lie in {root}.", hint="--folder names a folder above the file.")
        return root
    here = Path.cwd().resolve()
    return here if script.is_relative_to(here) and here not in (Path.home().resolve(), Path("/")) else script.parent


def members(root: Path, script: Path) -> list[Member]:
    """The files to send, by name. Hidden files, virtual environments and caches stay here; the script itself always goes.

    Raises `TooLarge`, naming the largest files, if they are more than the server takes.
    """
    script = script.resolve()
    found = {member.name: member for member in _walk(root)}
    found.setdefault(script.relative_to(root).as_posix(),
                     Member(script, script.relative_to(root).as_posix(), script.stat().st_size))  # fmt: skip
    total = sum(member.size for member in found.values())
    if len(found) > MOST_FILES or total > MOST_BYTES:
        largest = sorted(found.values(), key=lambda member: -member.size)[:3]
        told = ", ".join(f"{member.name} ({member.size >> 20} MiB)" for member in largest)
        raise TooLarge(
            f"{root} has {len(found)} files and {total >> 20} MiB; {MOST_FILES} files and {MOST_BYTES >> 20} MiB can be sent.",
            hint=f"Name a smaller folder with --folder, or put data into the project. The largest: {told}",
        )
    return [found[name] for name in sorted(found)]


def pack(files: list[Member], out: IO[bytes]) -> None:
    """Write the files as a gzipped tar archive: plain files, their content as it is now."""
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as squeezed, \
            tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # fmt: skip
        for member in files:
            with member.path.open("rb") as file:
                info = tarfile.TarInfo(member.name)
                status = os.fstat(file.fileno())
                info.size, info.mode, info.mtime = status.st_size, status.st_mode & 0o755, int(status.st_mtime)
                archive.addfile(info, file)


def _walk(root: Path) -> Iterator[Member]:
    for base, folders, names in os.walk(root):
        here = Path(base)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and name not in SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )  # fmt: skip
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.is_file():
                yield Member(path, path.relative_to(root).as_posix(), path.stat().st_size)
