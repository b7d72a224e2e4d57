"""The gateway's side of a replica's socket: one multiplexed link, kept up, with its requests under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, cast

from headway.frames import HEADER, HEALTH, JSON

_RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5)
_UNSENT = 32 << 20


class Waiting(Protocol):
    """A request under way, as a link sees it."""

    deadline: float

    def answered(self, status: int, body: bytes) -> None: ...
    def lost(self) -> None: ...


class _Greeting:
    """The first thing a link asks: a process that is just being killed takes connections, and never answers one."""

    deadline = 0.0

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered

    def answered(self, *_: object) -> None:
        self._answered()

    def lost(self) -> None:
        """Nothing was under way."""


class Link(asyncio.Protocol):
    """The connection to one replica, up once the replica has answered on it.

    A client that leaves never touches it: its answer is dropped when it comes.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self.path = path
        self.pending: dict[int, Waiting] = {}
        self.up = False
        self._changed = changed
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._number = 0
        self._closing = False
        self._full = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        tries = 0
        while not self._closing:
            try:
                await self._loop.create_unix_connection(lambda: self, self.path)
                return
            except (OSError, ValueError):
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport.set_write_buffer_limits(high=_UNSENT)
        self._full = False
        self._unread.clear()
        self.ask(_Greeting(self._greeted), HEALTH, JSON, b"")

    def _greeted(self) -> None:
        self.up = True
        self._changed()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.up = False
        self._transport = None
        pending, self.pending = self.pending, {}
        if not self._closing:
            self._task = self._loop.create_task(self._connect())
        self._changed()
        for waiting in pending.values():
            waiting.lost()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def data_received(self, data: bytes) -> None:
        unread = self._unread
        if unread:
            unread += data
            view: bytes | bytearray = unread
        else:
            view = data
        at, size, end = 0, HEADER.size, len(view)
        while end - at >= size:
            length, number, status, _, _ = HEADER.unpack_from(view, at)
            stop = at + size + length
            if stop > end:
                break
            body = bytes(view[at + size : stop])
            at = stop
            waiting = self.pending.pop(number, None)
            if waiting is not None:
                waiting.answered(status, body)
        if view is unread:
            del unread[:at]
        elif at < end:
            unread += data[at:]
        if self._closing and not self.pending:
            self.close()

    # ---- for the gateway ----

    @property
    def usable(self) -> bool:
        """Answering, and not choking on what it was sent."""
        return self.up and not self._full

    def ask(self, waiting: Waiting, kind: int, content: int, body: bytes) -> None:
        """Sends one request. uvloop writes all that one turn of the loop brings at once, at the turn's end."""
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self.pending[number] = waiting
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(HEADER.pack(len(body), number, kind, content, waiting.deadline))
            self._transport.write(body)

    def expire(self, now: float) -> list[Waiting]:
        """Requests whose deadline has passed, taken out; requests expire in the order they came, nearly."""
        late = [number for number, waiting in self.pending.items() if waiting.deadline and waiting.deadline < now]
        return [self.pending.pop(number) for number in late]

    def retire(self) -> None:
        """No new requests will come: the link closes once the last answer is here."""
        self._closing = True
        if not self.pending:
            self.close()

    def close(self) -> None:
        """Closes at once."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            with contextlib.suppress(Exception):
                self._transport.close()
