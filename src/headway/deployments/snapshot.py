"""The gateway's files: the snapshot it reads, and what it tells (`state.json`, `stats.json`), all swapped atomically.

`state.json`: {"pid", "generation", "links": {socket: connected}}: which snapshot is in force and who can be reached.
`stats.json`: {"at", "dropped", "counters": {endpoint id: {revision: Counter}}}: rewritten every two seconds while
there is something to count.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.deployments.counters import Counter
from headway.deployments.traffic import Routes

_STATS_S = 2.0


def write_atomic(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replaces a JSON file; a reader sees the old or the new, whole. Readable by this user only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(value, stream)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    part.replace(path)


def read_json(path: Path) -> Any:
    """The file's value, None when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Watch:
    """Tells when the snapshot was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> Routes | None:
        """The new snapshot, or None. A broken one is reported and the one in force kept."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if mark == self._seen:
            return None
        self._seen = mark
        try:
            return Routes.from_json(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, KeyError, TypeError, ValueError) as error:
            print(f"{self._path}: not a snapshot of routes ({error!r}); the old one stays", file=sys.stderr, flush=True)
            return None


class State:
    """What the gateway tells the platform."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0.0
        self._count: object = None

    def write(self, generation: int, links: Mapping[str, bool]) -> None:
        """Tells which snapshot is in force, and which replicas are connected."""
        self._guarded("state.json", {"pid": os.getpid(), "generation": generation, "links": dict(links)})

    def load_counters(self) -> dict[tuple[str, int], Counter]:
        """The counters that an earlier gateway left."""
        found: dict[tuple[str, int], Counter] = {}
        stats = read_json(self._folder / "stats.json")
        try:
            for endpoint, revisions in stats["counters"].items():
                for number, value in revisions.items():
                    found[str(endpoint), int(number)] = Counter.from_json(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            return {}
        return found

    def write_counters(
        self, counters: dict[tuple[str, int], Counter], dropped: int, known: set[str], *, force: bool = False
    ) -> None:
        """Writes the counters of known endpoints if they have changed, at most every two seconds."""
        now = time.monotonic()
        if not force and now - self._written < _STATS_S:
            return
        count = (dropped, known, sum(sum(counter.statuses.values()) for counter in counters.values()))
        if not force and count == self._count:
            return
        self._written, self._count = now, count
        told: dict[str, dict[str, Any]] = {}
        for (endpoint, number), counter in counters.items():
            if endpoint in known:
                told.setdefault(endpoint, {})[str(number)] = counter.to_json()
        self._guarded("stats.json", {"at": time.time(), "dropped": dropped, "counters": told})

    def _guarded(self, name: str, value: Any) -> None:
        try:
            write_atomic(self._folder / name, value, durable=False)  # made anew every two seconds
        except OSError as error:  # a full disk must not end the service
            print(f"{name} can't be written: {error}", file=sys.stderr, flush=True)
