"""In the kernel's process: every output goes to the run's log before it goes anywhere else.

Started by path (`python kernelside.py -f CONNECTION`) in place of `ipykernel_launcher`, with the log's path in
`HEADWAY_EVENTS`; or `install(path)` from the boot of a managed environment. Standard library only, and it never raises into
user code. One `write` to an O_APPEND file is one line, whoever else writes: threads and forked children need no lock.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TARGET = "jupyter_client.session"
KINDS = frozenset({
    "stream", "display_data", "execute_result", "error", "status", "execute_input", "clear_output", "update_display_data",
    "comm_open", "comm_msg", "comm_close",
})  # fmt: skip
CHUNK = 1 << 18
"""Longest text of one stream event, in characters: nobody who reads the log needs more memory than this for a line."""
FULL_S = 60.0
"""How long a write waits for room on a full disk before its output is given up, and counted."""


class Log:
    """The log as the kernel writes it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.lost = 0

    def event(self, kind: str, parent: str, content: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """Append one event."""
        text = content.get("text") if kind == "stream" else None
        if isinstance(text, str) and len(text) > CHUNK:
            for start in range(0, len(text), CHUNK):
                self.event(kind, parent, content | {"text": text[start : start + CHUNK]}, metadata)
            return
        if self.lost:
            self._line(
                {
                    "k": "stream",
                    "p": parent,
                    "t": _now(),
                    "c": {"name": "stderr", "text": f"[{self.lost} outputs lost: disk full]\n"},
                }
            )
            self.lost = 0
        event: dict[str, Any] = {"k": kind, "p": parent, "t": _now(), "c": content}
        if metadata:
            event["m"] = metadata
        self._line(event)

    def _line(self, event: dict[str, Any]) -> None:
        data = json.dumps(event, default=str).encode("ascii") + b"\n"
        until = time.monotonic() + FULL_S
        while data:
            try:
                written = os.write(self.fd, data)
                # What a full disk cut off is ended here, so that the next line begins on its own.
                data = data[written:]
            except OSError:
                if time.monotonic() > until:
                    self.lost += 1
                    return
                time.sleep(0.2)


def _now() -> int:
    return time.time_ns() // 1_000_000


def wrap(session: Any, log: Log) -> None:
    """Make `Session.send` of jupyter_client write to the log first. Doing it twice is doing it once."""
    original = session.send
    if getattr(original, "__headway__", False):
        return

    def send(
        self: Any, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, *rest: Any, **more: Any
    ) -> Any:
        try:
            _record(log, msg_or_type, content, parent, more.get("metadata"))
        except Exception as error:
            _complain(error)
        return original(self, stream, msg_or_type, content, parent, *rest, **more)

    send.__headway__ = True  # type: ignore[attr-defined]
    session.send = send


def _record(log: Log, message: Any, content: Any, parent: Any, metadata: Any) -> None:
    if isinstance(message, dict):
        kind = message.get("msg_type") or message.get("header", {}).get("msg_type")
        content, parent = message.get("content"), message.get("parent_header")
        metadata = message.get("metadata")
    else:
        kind = message
        parent = parent.get("header", parent) if isinstance(parent, dict) else {}
    if kind in KINDS:
        log.event(str(kind), str((parent or {}).get("msg_id", "")), dict(content or {}), metadata or None)


_complained = False


def _complain(error: Exception) -> None:
    global _complained
    if not _complained:
        _complained = True
        print(f"headway: an output could not be written to the run's log: {error}", file=sys.__stderr__)


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps `Session` right after its module was imported, whenever that is."""

    def __init__(self, log: Log) -> None:
        self.log, self.busy = log, False

    def find_spec(self, name: str, _: Sequence[str] | None, __: ModuleType | None = None) -> ModuleSpec | None:
        if name != TARGET or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        if spec is None or spec.loader is None:
            return None
        loader, log = spec.loader, self.log
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            wrap(module.Session, log)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install(path: str = "") -> None:
    """Log every output that this process's kernel will send to `path`, else to `HEADWAY_EVENTS`.

    Processes that it starts do not inherit this.
    """
    path = path or os.environ.get("HEADWAY_EVENTS", "")
    os.environ.pop("HEADWAY_EVENTS", None)
    if not path:
        return
    if TARGET in sys.modules:
        wrap(sys.modules[TARGET].Session, Log(path))
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(Log(path)))


def main() -> None:
    """Be the kernel."""
    del sys.path[0]  # this file's folder; a kernel has its working folder first
    install()  # unless the environment's boot has done it already
    try:
        from ipykernel import kernelapp  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        sys.stderr.write("headway: the environment has no ipykernel\n")
        sys.exit(86)
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
