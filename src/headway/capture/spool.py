"""The append-only file of facts of one process: buffered in memory, written every 100 ms off the user's thread."""

from __future__ import annotations

import _thread
import os
import time
from _collections import deque  # type: ignore[import-not-found]

from headway.capture.redact import redact, redact_argv, redact_code

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from headway.capture.sites import Site

__all__ = ["Spool"]

INTERVAL_S = 0.1
IDLE_ROUNDS = 50
BUFFER_LIMIT = 200_000
FILE_LIMIT = 512 * 1024 * 1024
TEXT_LIMIT = 2000
LARGEST = 1 << 63
ROW_LIMIT = 4000
CHUNK = 2_000  # entries that are written together
BATCH = 16  # rows that are written by columns
QUIET = frozenset(
    ("start", "note")
)  # these wait for the first fact of the user's: a program without any gets no thread


class Spool:
    """Facts of this process, one JSON object a line in `facts.<pid>.jsonl`.

    The writer is a bare thread that `threading` does not know, started by the first fact and gone when idle, so that
    user code counts the same threads, and a fork finds none running.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self.role = "child"
        self._buffer: deque[tuple[Any, ...]] = deque()
        # For who calls often: (time.perf_counter_ns(), None, kind, site, values, names); then `rouse` unless it is `running`.
        self.append: Callable[[tuple[Any, ...]], None] = self._buffer.append
        self._file: int | None = None
        self._written = 0
        self._writing = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        self._wake.acquire()  # who releases it wakes the writer
        self.running = False
        self._stop = False
        self._thread = 0  # the system's number of the writer
        self.dropped = 0
        self.on_first: Callable[[], None] | None = None  # called at the first write of more than our own start
        # Called by the writer at each round; they may say after how many seconds they want the next.
        self.on_tick: list[Callable[[], float | None]] = []

    def add(self, kind: str, **fact: Any) -> None:
        """Appends one fact; cheap, and never raises for what is in it."""
        fact["k"] = kind
        if len(self._buffer) >= BUFFER_LIMIT:
            self.dropped += 1
            return
        self._buffer.append((time.time_ns() // 1_000_000, fact))
        if not self.running and not self._stop and kind not in QUIET:
            self._start()

    def row(self, kind: str, site: Site, values: Sequence[Any], names: tuple[Any, ...]) -> None:
        """Appends what one call at a site showed, and what its names held: there may be many, and they are written together."""
        if len(self._buffer) >= BUFFER_LIMIT:
            self.dropped += 1
            return
        self._buffer.append((time.perf_counter_ns(), None, kind, site, values, names))
        if not self.running and not self._stop:
            self._start()

    def rouse(self) -> None:
        """Starts the writer, if it does not run: its rounds are wanted, or something was appended."""
        if not self.running and not self._stop:
            self._start()

    def _start(self) -> None:
        self.running = True
        try:
            _thread.start_new_thread(self._loop, ())
        except RuntimeError:  # the interpreter is going down: flush() at exit does the rest
            self.running = False

    def _loop(self) -> None:
        self._thread = _thread.get_native_id()
        idle, wait = (
            0,
            INTERVAL_S,
        )  # what comes in quick succession is written together; a short program's all at its exit
        while not self._stop and idle < IDLE_ROUNDS:
            if self._wake.acquire(timeout=wait):
                break
            idle = 0 if self.flush() else idle + 1
            wanted = [step() for step in self.on_tick]
            wait = min([w for w in wanted if w is not None], default=INTERVAL_S)
        self.running = False

    def _gone(self) -> bool:
        """Whether the system's thread has ended, too: Python 3.12 counts those at a fork, and warns."""
        return not self.running and not os.access(f"/proc/self/task/{self._thread}", os.F_OK)

    def flush(self) -> int:
        """Writes what is buffered; how many facts that was. Errors of the disk are swallowed and the facts dropped."""
        count = 0
        if self.on_first is not None and any(f[1] is None or f[1]["k"] not in QUIET for f in list(self._buffer)):
            first, self.on_first = self.on_first, None
            try:
                first()
            except Exception:
                self.add("note", text="the shipper could not be started")
        with self._writing:
            while self._buffer:
                lines: list[bytes] = []
                rows: list[Any] = []
                take = self._buffer.popleft
                for entry in [take() for _ in range(min(len(self._buffer), CHUNK))]:
                    if entry[1] is None:
                        rows.append(entry)
                        continue
                    if rows:
                        lines.append(_rows(rows))
                        rows = []
                    lines.append(_line(*entry))
                if rows:
                    lines.append(_rows(rows))
                count += 1
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
        if self.running:
            self._wake.release()
        deadline = time.monotonic() + 1
        while not self._gone() and time.monotonic() < deadline:
            time.sleep(0.001)
        self._thread = 0
        self._wake.acquire(blocking=False)
        self._writing.acquire(timeout=1)

    def after_fork_parent(self) -> None:
        if self._writing.locked():
            self._writing.release()
        self._stop = False

    def after_fork_child(self) -> None:
        """The child writes a file of its own, and nothing twice."""
        self._writing = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        if self._file is not None:
            try:
                os.close(self._file)
            except OSError:
                pass
        self._file, self._written = None, 0
        self._buffer.clear()
        self.pid = os.getpid()
        self.role = "child"
        self.running = self._stop = False
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


def _encoder() -> Callable[[Any], str]:
    """JSON in one line. Of the module `json` only its C part is needed: the import of the rest costs more than our start."""
    try:
        from _json import encode_basestring_ascii, make_encoder

        encode = make_encoder(None, _other, encode_basestring_ascii, None, ":", ",", False, True, True)
        "".join(encode([1.5, {"a": None}], 0))
        return lambda value: "".join(encode(value, 0))
    except (ImportError, TypeError, ValueError):
        import json

        return json.JSONEncoder(separators=(",", ":"), default=_other, skipkeys=True, check_circular=False).encode


def _line(when: int, fact: dict[str, Any]) -> bytes:
    try:
        kind = fact["k"]
        clean = redact(fact)
        if kind in ("source", "cell") and "text" in fact:
            clean["text"] = redact_code(fact["text"])
        elif kind == "start" and "argv" in fact:
            clean["argv"] = redact_argv(fact["argv"])
        return _json({"t": when, **clean}).encode("utf-8", "replace") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        return _json({"t": when, "k": "lost", "of": str(fact.get("k")), "why": type(error).__name__}).encode() + b"\n"


def _rows(rows: list[Any]) -> bytes:
    """Many calls' values as one line: by columns, or a few as `{"k": "rows", "r": [[ms, kind, site, values, names], ...]}`."""
    if len(rows) >= BATCH:
        from headway.capture.batches import packed

        try:
            data = _json(packed(rows, _SINCE))
            if len(data) <= ROW_LIMIT * len(rows):
                return data.encode("utf-8", "replace") + b"\n"
        except (TypeError, ValueError, RecursionError):
            pass
    one_by_one = [
        [(when + _SINCE) // 1_000_000, kind, site.id, list(values[:24]), dict(zip(site.names, names, strict=False))]
        for when, _, kind, site, values, names in rows
    ]
    return _few(one_by_one)


def _few(rows: list[list[Any]]) -> bytes:
    try:
        for row in rows:
            row[4] = {k: v for k, v in row[4].items() if v is not None}
            if not set(map(type, row[3])) <= _NUMBERS:
                row[3] = redact([short(v) for v in row[3]])
            if not set(map(type, row[4].values())) <= _NUMBERS:
                row[4] = redact({k: short(v) for k, v in row[4].items()})
        data = _json({"t": rows[0][0], "k": "rows", "r": rows})
        if len(data) <= ROW_LIMIT * len(rows):
            return data.encode("utf-8", "replace") + b"\n"
    except (TypeError, ValueError, RecursionError):
        pass
    shorter = (
        {
            "k": kind,
            "s": site,
            "v": [short(v) for v in values],
            "n": {k: short(v) for k, v in names.items()},
            "t": when,
        }
        for when, kind, site, values, names in rows
    )
    return b"".join(_line(row.pop("t"), row) for row in shorter)


def _other(value: Any) -> Any:
    return f"<{type(value).__name__}>"


def short(value: Any) -> Any:
    """Long text cut, and numbers that are no measurements left out."""
    if type(value) is str:
        return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…"
    return value if type(value) is not int or -LARGEST <= value < LARGEST else None


_NUMBERS = frozenset((float, int, bool, type(None)))
_SINCE = time.time_ns() - time.perf_counter_ns()
_json = _encoder()
