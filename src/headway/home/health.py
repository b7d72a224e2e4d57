"""Whether this machine is well, check by check: what `headway doctor` and the Machine page say."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

import headway
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.people import audit

_LOW_BYTES, _LOW_SHARE = 2 << 30, 0.03
_SLOW_MS = 250


@dataclass(frozen=True)
class Check:
    """One check: `state` is ok, warning or failed; `hint` says what to do when it isn't ok."""

    name: str
    state: str
    text: str
    hint: str = ""


def checks(host: Host, db: Session) -> list[Check]:
    """All checks, quick enough for a page."""
    return [_database(host, db), _disk(host), _home(host), _key(host), _uv(), _gateway(db), _audit(db)]


def facts(host: Host) -> dict[str, Any]:
    """What this server is and stands on. Sizes in bytes, memory in MiB."""
    disk = shutil.disk_usage(host.settings.home)
    return {
        "version": headway.__version__,
        "home": str(host.settings.home),
        "url": host.settings.url,
        "database": "SQLite" if host.database.sqlite else "PostgreSQL",
        "engine": host.engine.name,
        "nodes": [asdict(node) for node in host.engine.resources()],
        "isolation": isolation(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "disk_free": disk.free,
        "disk_total": disk.total,
        "parts": sizes(host),
    }


def isolation() -> str:
    """The level of isolation in force, said plainly."""
    return (
        "Notebooks, runs, builds and models are processes of the user who runs this server, with limits of time and memory. "
        "They are not shut off from each other or from that user's files: let in only people you trust with this machine."
    )


def sizes(host: Host) -> dict[str, int]:
    """Bytes on the disk by part of the home folder; a hard link is counted once. Stops counting a part after a second."""
    found = {}
    for name in ("projects", "runs", "blobs", "environments", "logs"):
        found[name] = _size(host.settings.path(name))
    if host.database.sqlite:
        found["database"] = sum(p.stat().st_size for p in host.settings.home.glob("headway.db*"))
    return found


def _size(folder: os.PathLike[str]) -> int:
    total, seen, until = 0, set(), time.monotonic() + 1.0
    stack = [os.fspath(folder)]
    while stack and time.monotonic() < until:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(info.st_mode):
                        stack.append(entry.path)
                    elif (info.st_dev, info.st_ino) not in seen:
                        if info.st_nlink > 1:
                            seen.add((info.st_dev, info.st_ino))
                        total += info.st_blocks * 512
        except OSError:
            continue
    return total


def _database(host: Host, db: Session) -> Check:
    began = time.perf_counter()
    db.execute(text("SELECT 1"))
    took = (time.perf_counter() - began) * 1000
    kind = "SQLite" if host.database.sqlite else "PostgreSQL"
    if took > _SLOW_MS:
        return Check("Database", "warning", f"{kind} took {took:.0f} ms to answer.", "Is the disk or the network busy?")
    return Check("Database", "ok", f"{kind} answers.")


def _disk(host: Host) -> Check:
    disk = shutil.disk_usage(host.settings.home)
    words = f"{disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.0f} GB."
    if disk.free < _LOW_BYTES or disk.free < disk.total * _LOW_SHARE:
        return Check(
            "Disk", "warning", words, "Delete runs and environments that nobody needs, or move the home folder."
        )
    return Check("Disk", "ok", words)


def _home(host: Host) -> Check:
    home = host.settings.home
    if not os.access(home, os.W_OK | os.X_OK):
        return Check("Home folder", "failed", f"{home} can't be written to.", "Change its permissions.")
    if home.stat().st_mode & 0o007:
        return Check("Home folder", "warning", f"{home} is open to other users of this machine.", f"chmod o-rwx {home}")
    return Check("Home folder", "ok", f"{home}")


def _key(host: Host) -> Check:
    key = host.settings.path("key")
    if not key.is_file():
        return Check("Key", "failed", "The key file is gone: secrets can't be read.", "Restore it from your backup.")
    if key.stat().st_mode & 0o077:
        return Check("Key", "failed", "The key file is open to other users.", f"chmod 600 {key}")
    return Check("Key", "ok", "Readable by this user alone.")


def _uv() -> Check:
    beside = os.path.join(os.path.dirname(sys.executable), "uv")  # noqa: PTH118, PTH120
    if os.access(beside, os.X_OK) or shutil.which("uv"):
        return Check("uv", "ok", "Environments can be built.")
    return Check(
        "uv",
        "failed",
        "uv is missing: no environment can be built.",
        "Install headway again: pip install 'headway[server]'",
    )


def _gateway(db: Session) -> Check:
    row = db.scalar(
        select(Process)
        .where(Process.kind == "gateway", Process.wanted == "running")
        .order_by(Process.created_at.desc())
        .limit(1)
    )
    if row is None:
        return Check("Gateway", "ok", "Not needed yet: nothing is deployed.")
    if row.state == "running":
        return Check("Gateway", "ok", "Runs.")
    return Check(
        "Gateway",
        "failed",
        f"It is {row.state}{': ' + row.detail if row.detail else ''}.",
        "It is started again by itself; its log is in the home folder.",
    )


def _audit(db: Session) -> Check:
    broken = audit.verify(db, last=1000)
    if broken is None:
        return Check("Audit log", "ok", "The chain of its last 1,000 lines holds.")
    return Check(
        "Audit log",
        "failed",
        f"Line {broken} was changed or removed.",
        "Somebody wrote to the database by hand. Compare with a backup.",
    )
