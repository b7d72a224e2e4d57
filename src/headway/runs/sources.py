"""Folders that somebody sent along with a run, from a machine or a place that is not the project's folder.

A source is kept once for each content, below the home folder, and never changes: runs copy from it as they copy from the
project's folder, so a run that waits, or is repeated, has the files that were sent with it. `sweep.py` removes those whose
last run was purged.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from headway.clock import new_id
from headway.engines.host import Host
from headway.errors import NotFound, TooLarge, Unprocessable
from headway.projects import paths

MOST_BYTES = 256 << 20
MOST_FILES = 5000
_ID = re.compile(r"[0-9a-f]{64}")


def keep(host: Host, project_id: str, archive: IO[bytes]) -> str:
    """Unpack a tar archive (gzipped or not) and keep it; returns the source's id. Durable once it returns.

    Raises `Unprocessable` for what is no archive or holds anything but plain files and folders, `TooLarge`.
    """
    base = host.settings.path("sources", project_id)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = base / f".{new_id()}"
    part.mkdir(mode=0o700)
    try:
        digest = _unpack(archive, part)
        try:
            part.rename(base / digest)
        except OSError:  # the same content was sent before
            os.utime(base / digest)  # as new: the sweep leaves it to the run that is about to come
        _sync(base)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return digest


def folder(host: Host, project_id: str, source: str) -> Path:
    """Where a source lies. Raises `NotFound` for one that was never sent to this project."""
    if _ID.fullmatch(source):
        found = host.settings.path("sources", project_id, source)
        if found.is_dir():
            return found
    raise NotFound("The files of this run were not sent here.", hint="Send them first: POST .../sources")


def _unpack(archive: IO[bytes], target: Path) -> str:
    """Writes the files and returns the hash of their names and contents, whatever their order and times were."""
    seen: dict[str, str] = {}
    total = 0
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as members:
            for member in members:
                if member.isdir():
                    continue
                name = "/".join(paths.parts_of(member.name.removeprefix("./")))
                if not member.isreg():
                    raise Unprocessable(f"'{name[:200]}' is a link or a device; only plain files can be sent.")
                total += member.size
                if total > MOST_BYTES or len(seen) >= MOST_FILES:
                    raise TooLarge(f"A folder that is sent may have {MOST_FILES} files and {MOST_BYTES >> 20} MiB.",
                                   hint="Put large data into the project's folder, and read it from there.")  # fmt: skip
                if name in seen:
                    raise Unprocessable(f"'{name[:200]}' is in the archive twice.")
                seen[name] = _write(members, member, target / PurePosixPath(name))
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise Unprocessable(f"The archive is broken: {error}.", hint="Send a tar archive, gzipped or not.") from None
    if not seen:
        raise Unprocessable("The archive is empty.", hint="Send a tar archive with the script and what it needs.")
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(seen.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    content = members.extractfile(member)
    assert content is not None
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755 if member.mode & 0o100 else 0o644
        )
    except (NotADirectoryError, FileExistsError):
        raise Unprocessable(f"'{member.name[:200]}' is a file and a folder at once.") from None
    with os.fdopen(handle, "wb") as file:
        while piece := content.read(1 << 20):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
