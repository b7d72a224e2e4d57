"""A brake on guessing: so many tries a minute for each key, counted in memory with a bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque


class Throttle:
    """At most `limit` tries in any `window_s` seconds for a key. Time is handed in (seconds, monotonic)."""

    def __init__(self, limit: int, window_s: float = 60.0, most_keys: int = 10_000) -> None:
        self._limit, self._window_s, self._most_keys = limit, window_s, most_keys
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, now: float) -> float:
        """Count one try. Returns 0.0 when it is allowed, else the seconds until the next one will be."""
        with self._lock:
            tries = self._tries.setdefault(key, deque())
            self._tries.move_to_end(key)
            while tries and tries[0] <= now - self._window_s:
                tries.popleft()
            if len(tries) >= self._limit:
                return tries[0] + self._window_s - now
            tries.append(now)
            while len(self._tries) > self._most_keys:
                self._tries.popitem(last=False)
            return 0.0

    def forget(self, key: str) -> None:
        """Somebody got in: their earlier tries no longer count."""
        with self._lock:
            self._tries.pop(key, None)
