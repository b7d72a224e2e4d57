"""HTTP with the standard library: connections that are kept, and answers that can be read piece by piece.

A transport is the seam for tests: whatever has `send(Request) -> Response` will do.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import http.client
    from typing import IO

    Body = bytes | IO[bytes] | None

PIECE = 64 * 1024


class Broken(Exception):
    """The connection failed. `sent` says whether the server may have begun to work on the request."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent


@dataclass
class Request:
    """`target` is the path with its query; a `body` that is a file is read from where it stands."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = None
    timeout: float = 60.0
    stream: bool = False


class Response:
    """An answer. `body` of a streamed one is empty until `pieces()` was read; close it, or use it in `with`."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes = b"",
        source: http.client.HTTPResponse | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self._source = source
        self._connection = connection

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises `Broken` if the connection ends too early."""
        if self._source is None:
            if self.body:
                yield self.body
            return
        import http.client

        try:
            while piece := self._source.read1(PIECE):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise Broken(_why(error), sent=True) from None

    def close(self) -> None:
        """Let go of the connection."""
        for part in (self._source, self._connection):
            if part is not None:
                part.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport(Protocol):
    """How a request reaches the server."""

    def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises `Broken` when there is none."""


class HttpTransport:
    """Keeps one connection a thread; a streamed answer gets a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._kept = threading.local()

    def send(self, request: Request) -> Response:
        """See `Transport`."""
        import http.client

        connection = self._fresh(request.timeout) if request.stream else self._connection(request.timeout)
        sent = False
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(request.timeout)
            sent = True
            connection.request(
                request.method, self._prefix + request.target, body=request.body, headers=request.headers
            )
            answer = connection.getresponse()
            if request.stream and answer.status < 400:
                return Response(answer.status, dict(answer.getheaders()), source=answer, connection=connection)
            found = Response(answer.status, dict(answer.getheaders()), answer.read())
            if request.stream:
                connection.close()
            return found
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise Broken(_why(error), sent=sent) from None

    def close(self) -> None:
        """Close this thread's connection."""
        connection: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if connection is not None:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = self._fresh(timeout)
        elif connection.sock is not None and _stale(connection.sock):
            connection.close()
        connection.timeout = timeout
        return connection

    def _fresh(self, timeout: float) -> http.client.HTTPConnection:
        import http.client

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout)


def _stale(sock: socket.socket) -> bool:
    """Whether the server closed a kept connection (or broke the protocol): an idle one has nothing to read."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return "there is no host of that name"
    return str(error) or type(error).__name__
