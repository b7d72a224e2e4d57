"""The gateway's HTTP/1.1: bytes to requests and answers to bytes, in order, on one connection. No routing here."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from typing import Protocol, cast

import httptools

REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
    411: "Length Required", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 507: "Insufficient Storage",
}  # fmt: skip
_HEADS = {s: f"HTTP/1.1 {s} {r}\r\nContent-Type: application/json\r\n".encode() for s, r in REASONS.items()}
_KEEP, _CLOSE = b"", b"Connection: close\r\n"
_WANTED = frozenset(
    (b"authorization", b"content-type", b"x-api-key", b"x-headway-entity", b"x-headway-timeout-ms", b"expect")
)
_HEADER_BYTES = 32 << 10
_PIPELINED = 64


class Exchange:
    """One request and its answer. Whoever handles it calls `respond` once; what comes later is dropped."""

    __slots__ = ("answer", "body", "connection", "headers", "keep_alive", "method", "path")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.headers: dict[bytes, bytes] = {}
        self.path = b""
        self.method = b""
        self.body: bytes = b""
        self.keep_alive = True
        self.answer: bytes | None = None

    def respond(self, status: int, body: bytes, extra: bytes = b"") -> None:
        """Answers with a JSON body; `extra` is further header lines."""
        if self.answer is None:
            keep = _KEEP if self.keep_alive else _CLOSE
            head = _HEADS.get(status) or _HEADS[502]
            self.answer = b"%b%b%bContent-Length: %d\r\n\r\n%b" % (head, extra, keep, len(body), body)
            self.connection.flush()

    def respond_text(self, text: str) -> None:
        """Answers 200 with plain text."""
        if self.answer is None:
            body = text.encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            keep = _KEEP if self.keep_alive else _CLOSE
            self.answer = b"%b%bContent-Length: %d\r\n\r\n%b" % (head, keep, len(body), body)
            self.connection.flush()

    def refuse(self, status: int, code: str, message: str, hint: str = "", extra: bytes = b"") -> None:
        """Answers with an error in headway's form."""
        self.respond(status, error_body(code, message, hint), extra)


def error_body(code: str, message: str, hint: str = "") -> bytes:
    """`{"error": {"code", "message", "hint"}}`."""
    return json.dumps({"error": {"code": code, "message": message} | ({"hint": hint} if hint else {})}).encode()


class App(Protocol):
    """What answers exchanges."""

    connections: set[Connection]

    def body_limit(self, path: bytes) -> int: ...
    def handle(self, exchange: Exchange) -> None: ...


class Connection(asyncio.Protocol):
    """One client. Requests may be pipelined; answers leave in the order of the requests."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._header_bytes = 0
        self._limit = 0
        self._closing = False
        self._paused = 0
        self._crowded = self._half_closed = False
        self.active_at = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._app.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._app.connections.discard(self)
        self._transport = None
        self._closing = True
        self._queue.clear()

    @property
    def idle(self) -> bool:
        """True while no answer is owed."""
        return not self._queue

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.active_at = asyncio.get_running_loop().time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(400, "BAD_REQUEST", "The connection can't be upgraded here.")
        except httptools.HttpParserError:
            self._fail(400, "BAD_REQUEST", "The request is not valid HTTP/1.1.")

    def eof_received(self) -> bool:
        self._half_closed = True
        return bool(self._queue)  # a client may half-close and still read its answers

    def pause_writing(self) -> None:
        self._pause()

    def resume_writing(self) -> None:
        self._resume()

    def _pause(self) -> None:
        self._paused += 1
        if self._paused == 1 and self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused -= 1
        if self._paused == 0 and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # ---- httptools ----

    def on_message_begin(self) -> None:
        self._current = Exchange(self)
        self._parts = []
        self._size = self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        assert self._current is not None
        self._current.path += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        name = name.lower()
        if name in _WANTED and self._current is not None:
            self._current.headers[name] = value
        elif name == b"content-length":
            self._size = int(value) if value.isdigit() else 0

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _HEADER_BYTES:
            self._fail(431, "TOO_LARGE", "The request's headers are too long.")

    def on_headers_complete(self) -> None:
        exchange = self._current
        if exchange is None or self._closing:
            return
        exchange.method = self._parser.get_method()
        exchange.keep_alive = self._parser.should_keep_alive()
        self._limit = self._app.body_limit(exchange.path)
        announced, self._size = self._size, 0
        if announced > self._limit:
            self._too_large()
        elif exchange.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport and not self._queue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._closing:
            return
        self._size += len(part)
        if self._size > self._limit:
            self._too_large()
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        exchange = self._current
        if exchange is None or self._closing:
            return
        self._current = None
        parts = self._parts
        exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._queue.append(exchange)
        if len(self._queue) >= _PIPELINED and not self._crowded:
            self._crowded = True
            self._pause()
        self._app.handle(exchange)

    def _too_large(self) -> None:
        hint = f"At most {self._limit >> 20} MiB a request: send fewer rows at once."
        self._fail(413, "TOO_LARGE", "The body is larger than this endpoint allows.", hint)

    def _fail(self, status: int, code: str, message: str, hint: str = "") -> None:
        """Answers after what is owed, then closes: what follows on this connection can't be understood."""
        if self._closing:
            return
        exchange = self._current or Exchange(self)
        self._current = None
        self._parts = []
        exchange.keep_alive = False
        self._queue.append(exchange)
        self._closing = True
        exchange.refuse(status, code, message, hint)

    # ---- answers ----

    def flush(self) -> None:
        """Writes the answers that are due, in order."""
        queue, transport = self._queue, self._transport
        if transport is None:
            return
        while queue and (answer := queue[0].answer) is not None:
            exchange = queue.popleft()
            if self._crowded and len(queue) < _PIPELINED:
                self._crowded = False
                self._resume()
            if transport.is_closing():
                return
            transport.write(answer)
            if not exchange.keep_alive or (self._half_closed and not queue):
                self._closing = True
                transport.close()
                return

    def expire(self, now: float, idle_s: float, request_s: float) -> None:
        """Closes a connection that has been silent for too long; one in the middle of a request gets a 408."""
        silent = now - self.active_at
        if self._queue or self._transport is None:
            return
        if self._current is not None and silent > request_s:
            self._fail(408, "TIMEOUT", "The request did not arrive in time.")
        elif self._current is None and silent > idle_s:
            self._closing = True
            self._transport.close()
