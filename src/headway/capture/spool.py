"""The append-only file of facts of one process: buffered in memory, written every 100 ms off the user's thread."""

from __future__ import annotations

import _thread
import json
import os
import time
from collections import deque

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Spool"]

INTERVAL_S = 0.1
IDLE_ROUNDS = 50
BUFFER_LIMIT = 200_000
FILE_LIMIT = 512 * 1024 * 1024
QUIET = frozenset(("start", "note"))  # these wait for the first fact of the user's: a program without any gets no thread


class Spool:
    """Facts of this process, one JSON object a line in `facts.<pid>.jsonl`.

    The writer is a bare thread that `threading` does not know, started by the first fact and gone when idle, so that
    user code counts the same threads, and a fork finds none running.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self.role = "child"
        self._buffer: deque[tuple[int, dict[str, Any]]] = deque()
        self._file: int | None = None
        self._written = 0
        self._writing = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        self._running = False
        self._stop = False
        self.dropped = 0
        self.on_first: Callable[[], None] | None = None  # called at the first write of more than our own start

    def add(self, kind: str, **fact: Any) -> None:
        """Appends one fact; cheap, and never raises for what is in it."""
        fact["k"] = kind
        if len(self._buffer) >= BUFFER_LIMIT:
            self.dropped += 1
            return
        self._buffer.append((time.time_ns() // 1_000_000, fact))
        if not self._running and not self._stop and kind not in QUIET:
            self._start()

    def _start(self) -> None:
        self._running = True
        try:
            _thread.start_new_thread(self._loop, ())
        except RuntimeError:  # the interpreter is going down: flush() at exit does the rest
            self._running = False

    def _loop(self) -> None:
        idle = 0
        while not self._stop and idle < IDLE_ROUNDS:
            idle = 0 if self.flush() else idle + 1
            if self._wake.acquire(timeout=INTERVAL_S):
                self._wake.release()
                break
        self._running = False

    def flush(self) -> int:
        """Writes what is buffered; how many facts that was. Errors of the disk are swallowed and the facts dropped."""
        count = 0
        if self.on_first is not None and any(f["k"] not in ("start", "note") for _, f in list(self._buffer)):
            first, self.on_first = self.on_first, None
            try:
                first()
            except Exception:
                self.add("note", text="the shipper could not be started")
        with self._writing:
            while self._buffer:
                lines: list[bytes] = []
                while self._buffer and len(lines) < 500:
                    when, fact = self._buffer.popleft()
                    lines.append(_line(when, fact))
                count += len(lines)
                self._put(b"".join(lines))
        return count

    def _put(self, data: bytes) -> None:
        if not data or self._written > FILE_LIMIT:
            self.dropped += 1 if data else 0
            return
        try:
            if self._file is None:
                path = f"{self.folder}/facts.{self.pid}.jsonl"
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            self._written += len(data)
        except OSError:
            self.dropped += 1

    def before_fork(self) -> None:
        """Ends the writer thread, so that the process forks with no thread of ours, and no lock held."""
        self._stop = True
        self._wake.acquire(timeout=1)
        deadline = time.monotonic() + 1
        while self._running and time.monotonic() < deadline:
            time.sleep(0.001)
        self._writing.acquire(timeout=1)

    def after_fork_parent(self) -> None:
        for lock in (self._writing, self._wake):
            if lock.locked():
                lock.release()
        self._stop = False

    def after_fork_child(self) -> None:
        """The child writes a file of its own, and nothing twice."""
        self._writing = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        if self._file is not None:
            try:
                os.close(self._file)
            except OSError:
                pass
        self._file, self._written = None, 0
        self._buffer.clear()
        self.pid = os.getpid()
        self.role = "child"
        self._running = self._stop = False
        self.dropped = 0

    def claim(self) -> bool:
        """Whether this process is the first of the run: only one process of a spool is."""
        try:
            file = os.open(f"{self.folder}/main.pid", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        os.write(file, str(self.pid).encode())
        os.close(file)
        self.role = "main"
        return True


def _line(when: int, fact: dict[str, Any]) -> bytes:
    from headway.capture.redact import redact, redact_argv, redact_code

    try:
        kind = fact["k"]
        clean = redact(fact)
        if kind in ("source", "cell") and "text" in fact:
            clean["text"] = redact_code(fact["text"])
        elif kind == "start" and "argv" in fact:
            clean["argv"] = redact_argv(fact["argv"])
        return (
            json.dumps({"t": when, **clean}, separators=(",", ":"), default=_other).encode("utf-8", "replace") + b"\n"
        )
    except (TypeError, ValueError, RecursionError) as error:
        return (
            json.dumps({"t": when, "k": "lost", "of": str(fact.get("k")), "why": type(error).__name__}).encode() + b"\n"
        )


def _other(value: Any) -> Any:
    return f"<{type(value).__name__}>"
