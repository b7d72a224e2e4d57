"""Threads that hold connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait


def let_go(pool: ThreadPoolExecutor, threads: int, *closers: Callable[[], None]) -> None:
    """Let each of a pool's threads, once all else is done, close what it has open."""
    together = threading.Barrier(threads)  # so that no thread does it twice and another never

    def close() -> None:
        together.wait()
        for one in closers:
            one()

    wait([pool.submit(close) for _ in range(threads)])
