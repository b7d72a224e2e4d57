"""Files that user code opens to write: a moment at which results are there, and files of results themselves.

What functions hold is looked at when they open such a file (before Python 3.12, where their returns can't be watched). Small
text files are read again at the end of the cell or the program, and only the results in them are told (`outputs.py`).
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType

    from headway.capture.session import Session

__all__ = ["Written"]

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".log")
FILES = 40
LARGEST = 1_000_000
FRAMES = 6
# Libraries write what another source sees, or what is no result; but some only carry what the user's code gives them.
_CARRIERS = ("/pandas/", "/numpy/", "/polars/", "/jsonlines/", "/joblib/", "/torch/serialization.py")


class Written:
    """The files that this process writes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._source = session.source("written")
        self._files: dict[str, tuple[int, int] | None] = {}  # path -> size and time when it was told
        self._not_theirs: tuple[str, ...] = ()
        self._looks = sys.version_info < (3, 12)
        session.at_cell_end.append(self.tell)

    def opened(self, path: str, frame: FrameType) -> None:
        """A file is about to be opened to write."""
        if self._source.off or self._session.spool.role != "main":
            return
        started = time.thread_time_ns()
        try:
            self._opened(path, frame)
        finally:
            self._source.spend(time.thread_time_ns() - started)

    def _opened(self, path: str, frame: FrameType) -> None:
        sites, spool = self._session.sites, self._session.spool.folder
        if not self._not_theirs:
            self._not_theirs = ("/dev/", "/proc/", os.path.realpath(spool), spool)
        caller = sites.caller(frame, limit=25)
        if caller is None or path.startswith(self._not_theirs) or _by_library(frame, caller):
            return
        suffix = os.path.splitext(path)[1].lower()
        told = suffix in SUFFIXES and len(self._files) < FILES
        for _ in range(FRAMES if self._looks else told):
            site = sites.at(caller)
            if site is None:
                break  # opted out
            if told:
                self._files.setdefault(os.path.abspath(path), None)
                told = False
            if self._looks:
                self._session.locals_at(caller, site)
            above = sites.caller(caller.f_back, limit=25)
            if above is None:
                break
            caller = above

    def tell(self) -> None:
        """At the end of a cell, and of the program: the results in files that have changed."""
        for path, told in list(self._files.items()):
            try:
                status = os.stat(path)
            except OSError:
                continue
            now = (status.st_size, status.st_mtime_ns)
            if now == told or not 0 < status.st_size <= LARGEST or self._source.off:
                continue
            self._files[path] = now
            started = time.thread_time_ns()
            self._read(path)
            self._source.spend(time.thread_time_ns() - started)

    def _read(self, path: str) -> None:
        from headway.capture.outputs import results_in
        from headway.capture.redact import redact

        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            text = os.read(file, LARGEST).decode("utf-8", "replace").replace("\r\n", "\n")
        finally:
            os.close(file)
        found = results_in(text, os.path.splitext(path)[1].lower())
        if found:
            self._session.fact("wrote", path=path, **redact(found))


def _by_library(frame: FrameType | None, caller: FrameType) -> bool:
    for _ in range(25):
        if frame is None or frame is caller:
            return False
        name = frame.f_code.co_filename
        if "/logging/" in name or ("-packages/" in name and not any(c in name for c in _CARRIERS)):
            return True
        frame = frame.f_back
    return False
