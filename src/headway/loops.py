"""The background steps: a thread for each pillar that has a `loop`, at rest until there is something to look at.

`step(host, now)` returns when it wants to look again by itself (ms), or None if nothing but rows can bring it work. Besides, it
is called
- at once after any event of this server,
- when somebody has written to the database, this server or another, at most every `INTERVAL_S` seconds: one look at the
  database, `BEAT_S` apart, is made for all loops (`storage/changes.py`),
- every `REST_S` seconds, whatever was forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import ModuleType

from headway.clock import now_ms
from headway.engines.host import Host
from headway.events import Event
from headway.storage.changes import Changes

log = logging.getLogger("headway.server")

BEAT_S = 0.25
REST_S = 30.0
SWARM_S = 0.1  # how long a loop that an event woke waits for more news
SOONEST_S = 0.02

Step = Callable[[Host, int], int | None]


class Loops:
    """All loops of one server. A step that fails is logged and tried again, ever more seldom."""

    def __init__(self, host: Host, modules: Iterable[tuple[str, ModuleType]]) -> None:
        self._stopping = threading.Event()
        self._host = host
        self._loops = [_Loop(name, module.step, module.INTERVAL_S) for name, module in modules]
        self._threads = [
            threading.Thread(target=loop.run, args=(host, self._stopping), name=f"headway-{loop.name}", daemon=True)
            for loop in self._loops
        ]
        self._threads.append(threading.Thread(target=self._beat, name="headway-beat", daemon=True))
        host.bus.subscribe(Event, lambda _host, _event: self.wake())
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let every loop take its next step now."""
        for loop in self._loops:
            loop.news()

    def stop(self) -> None:
        """End all loops after their present step."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=10)

    def _beat(self) -> None:
        changes = Changes(self._host.database)
        try:
            while not self._stopping.wait(BEAT_S):
                changed = changes.come()
                for loop in self._loops:
                    loop.beat(changed, time.monotonic())
        finally:
            changes.close()


class _Loop:
    """One pillar's steps, and what wakes it."""

    def __init__(self, name: str, step: Step, interval_s: float) -> None:
        self.name = name
        self._step, self._interval = step, interval_s
        self._wake = threading.Event()
        self._swarm = False
        self._stale = False
        self._began = 0.0
        self._failures = 0

    def news(self) -> None:
        """Something happened in this server: step now, or once more if a step is under way."""
        self._swarm = True
        self._wake.set()

    def beat(self, changed: bool, now: float) -> None:
        """Somebody has written to the database or not. `now` is of the monotonic clock."""
        self._stale = self._stale or changed
        if self._stale and now - self._began >= self._patience():
            self._stale = False
            self._wake.set()

    def run(self, host: Host, stopping: threading.Event) -> None:
        """Step and rest until `stopping`."""
        while not stopping.is_set():
            self._wake.clear()
            self._swarm = False
            self._wake.wait(self.turn(host))
            if self._swarm:  # news comes in swarms (a sweep begins a hundred runs): the next step is for all of it
                stopping.wait(SWARM_S)

    def turn(self, host: Host) -> float:
        """One step. How many seconds to rest after it."""
        self._began = time.monotonic()
        try:
            again = self._step(host, now_ms())
        except Exception:
            self._failures += 1
            if self._failures in (1, 10) or self._failures % 100 == 0:
                log.exception("the step of %s failed, %d in a row", self.name, self._failures)
            return self._patience()
        self._failures = 0
        return REST_S if again is None else min(max((again - now_ms()) / 1000, SOONEST_S), REST_S)

    def _patience(self) -> float:
        return min(self._interval * (1 + self._failures), REST_S)
