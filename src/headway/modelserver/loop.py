"""The replica's loop: read what came, answer it together, write it together. One thread, no timers, no framework.

When idle a request waits for nobody; under load the next read brings more, and the batch grows by itself.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.frames import HEADER, MAX_BODY
from headway.modelserver.predictor import Answer, Asked, Predictor

_READ = 1 << 18
_UNSENT = 64 << 20  # bytes of answers that a peer may leave unread before we read no more from it
_DRAIN_S = 10.0


@dataclass(slots=True, eq=False)
class Link:
    """One gateway's connection."""

    socket: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


class Loop:
    """Serves a predictor on a UNIX socket until SIGTERM; then it answers what is under way and leaves."""

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self._predictor = predictor
        self._path = path
        self._selector = selectors.DefaultSelector()
        self._listener = _listen(path)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._links: set[Link] = set()
        self._leave_at: float | None = None

    def stop(self, *_: object) -> None:
        """Takes no new connections; the loop ends when the gateways have hung up, or after ten seconds."""
        self._leave_at = self._leave_at or time.monotonic() + _DRAIN_S

    def run(self) -> None:
        """Blocks. Nothing that a peer sends ends it."""
        signal.signal(signal.SIGTERM, self.stop)
        try:
            while self._leave_at is None or (self._links and time.monotonic() < self._leave_at):
                if self._leave_at is not None and self._listener.fileno() >= 0:
                    self._selector.unregister(self._listener)
                    self._listener.close()
                self._turn()
        finally:
            for link in list(self._links):
                self._drop(link)
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _turn(self) -> None:
        asked: list[tuple[Link, int, Asked]] = []
        for key, events in self._selector.select(0.5):
            if key.data is None:
                self._accept()
                continue
            if events & selectors.EVENT_WRITE:
                self._send(key.data)
            if events & selectors.EVENT_READ:
                self._receive(key.data, asked)
        if asked:
            self._answer(asked)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            link = Link(connection)
            self._links.add(link)
            self._selector.register(connection, selectors.EVENT_READ, link)

    def _receive(self, link: Link, asked: list[tuple[Link, int, Asked]]) -> None:
        try:
            part = link.socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._drop(link)
            return
        unread = link.unread
        unread += part
        at, size = 0, HEADER.size
        while len(unread) - at >= size:
            length, number, kind, content, deadline = HEADER.unpack_from(unread, at)
            if length > MAX_BODY:
                print(f"a peer announced a frame of {length} bytes: hung up", file=sys.stderr, flush=True)
                self._drop(link)
                return
            if len(unread) - at - size < length:
                break
            body = bytes(unread[at + size : at + size + length])
            asked.append((link, number, Asked(kind, content, deadline, body)))
            at += size + length
        if at:
            del unread[:at]

    def _answer(self, asked: list[tuple[Link, int, Asked]]) -> None:
        started = time.perf_counter()
        try:
            answers: list[Answer] = self._predictor.answer([one for _, _, one in asked])
        except MemoryError:
            answers = [
                (507, b'{"error": {"code": "OUT_OF_MEMORY", "message": "The replica ran out of memory."}}')
            ] * len(asked)
        spent = time.perf_counter() - started
        links: dict[Link, None] = {}
        for (link, number, _), (status, body) in zip(asked, answers, strict=True):
            link.unsent += HEADER.pack(len(body), number, status, 0, spent)
            link.unsent += body
            links[link] = None
        for link in links:
            if link in self._links:
                self._send(link)

    def _send(self, link: Link) -> None:
        try:
            sent = link.socket.send(link.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(link)
            return
        del link.unsent[:sent]
        events = selectors.EVENT_READ if len(link.unsent) < _UNSENT else 0
        if link.unsent:
            events |= selectors.EVENT_WRITE
        if self._selector.get_key(link.socket).events != events:
            self._selector.modify(link.socket, events, link)

    def _drop(self, link: Link) -> None:
        if link in self._links:
            self._links.discard(link)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(link.socket)
            link.socket.close()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def serve(predictor: Predictor, path: Path) -> Any:
    """Serves until told to stop."""
    loop = Loop(predictor, path)
    print(f"ready on {path.name}", flush=True)
    loop.run()
