"""Time and identity, in one place so that tests can freeze both."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def now_ms() -> int:
    """The present moment in milliseconds since the epoch: how every table keeps time."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A random identifier of 128 bits as 32 hexadecimal characters."""
    return secrets.token_hex(16)
