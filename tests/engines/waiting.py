"""Waiting on conditions, never on the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, seconds: float = 30.0, what: str = "the condition") -> T:
    """The first true value of `condition`; fails the test after the deadline."""
    until = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.01)
