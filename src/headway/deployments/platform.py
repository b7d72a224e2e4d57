"""The platform's own key to the gateway: a file that only this user can read; the snapshot holds its hash."""

from __future__ import annotations

import os
from pathlib import Path

from headway.engines.host import Host
from headway.people.credentials import new_secret


def platform_key(host: Host) -> str:
    """The secret; made at the first call. Two servers that make it at once agree on one."""
    path = host.settings.path("gateway", "key")
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return _make(path)


def _make(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".key.{os.getpid()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(new_secret("hwp_"))
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(part, path)  # fails where the other was faster
    except FileExistsError:
        pass
    finally:
        part.unlink()
    return path.read_text(encoding="ascii")
