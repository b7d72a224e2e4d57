"""Which process serves a home folder: the one that holds its lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def holder(home: Path) -> int:
    """The process id of the server on this home folder; 0 if there is none."""
    try:
        handle = os.open(home / "lock", os.O_RDONLY)
    except OSError:
        return 0
    with os.fdopen(handle) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            said = file.read().strip()
            return int(said) if said.isdigit() else 0
    return 0
