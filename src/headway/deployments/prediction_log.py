"""The prediction log: one JSON line a prediction, in segments, written by a thread so that no request waits for it.

    predictions/<endpoint id>/<start, epoch ms>.jsonl
    {"id", "t" epoch ms, "revision", "key", "ms", "status", "request", "response"}

Bodies that were not accepted, or are larger than 64 KiB, are left out. When the disk is full or the writer is behind,
lines are dropped and counted: predictions go on.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SEGMENT_BYTES = 64 << 20
KEEP_BYTES = 1 << 30
BODY_BYTES = 64 << 10
_WAITING_BYTES = 64 << 20
_FLUSH_S = 0.25


class Entry(NamedTuple):
    """One answered request. `request` is the body as it came, `is_json` says what it is."""

    endpoint: str
    id: str
    at: float
    revision: int
    key: str
    seconds: float
    status: int
    request: bytes
    is_json: bool
    response: bytes


class PredictionLog:
    """`add` is called on the event loop, all else happens in the thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._segments: dict[str, Path] = {}
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._awake = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Takes an entry for the next flush, or drops it when too much waits."""
        size = len(entry.request) + len(entry.response) + 200
        if self._bytes + size > _WAITING_BYTES:
            self.dropped += 1
            return
        self._bytes += size
        self._waiting.append(entry)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def close(self) -> None:
        """Writes what waits and ends the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(_FLUSH_S)
            # In this order, nothing that is added between is forgotten: it is flushed now, or wakes again.
            self._wake.clear()
            self._awake = False
            self.flush()
        self.flush()  # what came after the last flush and before the end

    def flush(self) -> None:
        """Writes all that waits."""
        with self._lock:
            lines: dict[str, list[bytes]] = {}
            for _ in range(len(self._waiting)):
                entry = self._waiting.popleft()
                lines.setdefault(entry.endpoint, []).append(line(entry))
            self._bytes = sum(len(e.request) + len(e.response) + 200 for e in tuple(self._waiting))
            for endpoint, found in lines.items():
                try:
                    self._append(endpoint, b"".join(found))
                except OSError:
                    self.dropped += len(found)
                    self._segments.pop(endpoint, None)

    def _append(self, endpoint: str, data: bytes) -> None:
        segment = self._segments.get(endpoint)
        if segment is None or not segment.exists() or segment.stat().st_size + len(data) > SEGMENT_BYTES:
            folder = self._folder / endpoint
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            segment = self._segments[endpoint] = folder / f"{int(time.time() * 1000)}.jsonl"
            segment.touch(mode=0o600)
            _forget(folder)
        with segment.open("ab", buffering=0) as stream:
            stream.write(data)


def _forget(folder: Path) -> None:
    """Removes the oldest segments above the limit."""
    segments = sorted(folder.glob("*.jsonl"))
    total = sum(s.stat().st_size for s in segments)
    while total > KEEP_BYTES and len(segments) > 1:
        oldest = segments.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink()


def line(entry: Entry) -> bytes:
    """The entry's line. An accepted JSON body is embedded as it came: no newline can stand inside one of its strings."""
    request: bytes = b"null"
    if entry.status < 300 and len(entry.request) <= BODY_BYTES:
        request = entry.request.replace(b"\r", b" ").replace(b"\n", b" ") if entry.is_json else json.dumps(
            entry.request.decode("utf-8", "replace")).encode()  # fmt: skip
    response = entry.response if len(entry.response) <= BODY_BYTES else b"null"
    return b'{"id":"%b","t":%d,"revision":%d,"key":"%b","ms":%.3f,"status":%d,"request":%b,"response":%b}\n' % (
        entry.id.encode(), entry.at * 1000, entry.revision, entry.key.encode(), entry.seconds * 1000, entry.status,
        request, response or b"null",
    )  # fmt: skip


def read(folder: Path, endpoint: str, *, limit: int = 100) -> Iterator[dict[str, Any]]:
    """The newest entries of an endpoint, newest first. Lines that were cut by a crash are skipped."""
    found = 0
    for segment in sorted((folder / endpoint).glob("*.jsonl"), reverse=True):
        for raw in reversed(_tail(segment, 8 << 20)):
            try:
                entry = json.loads(raw)
            except ValueError:
                continue
            yield entry
            found += 1
            if found >= limit:
                return


def _tail(path: Path, size: int) -> list[bytes]:
    with path.open("rb") as stream:
        start = max(0, stream.seek(0, 2) - size)
        stream.seek(start)
        lines = stream.read().split(b"\n")
    return lines[1:] if start else lines
