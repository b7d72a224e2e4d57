"""A reverse proxy for HTTP and WebSockets, to an upstream behind a UNIX socket or a TCP port.

It is deliberately a pipe and no client: no cookie jar (one that is shared hands one person's cookies to the next), no
redirects followed, no bodies decoded, paths passed on byte for byte. What makes an upstream trust a request, `Target.headers`,
can't be sent by a browser: the same names are removed from what it sent, and so is our own session.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio
import httpcore
from fastapi import Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from headway.errors import HeadwayError, Unavailable
from headway.web import safety

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

CONNECT_S = 5.0
READ_S = 600.0
WAIT_FOR_CONNECTION_S = 30.0
OUR_COOKIES = frozenset({"headway", "__Host-headway", "hw_flash", "hw_theme"})
"""Never shown to an upstream, and never set by one."""
PRIVATE_PREFIX = "x-headway-"
"""Headers of that prefix come from us alone, in both directions of trust."""

_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})
_WEBSOCKET = frozenset({
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol", "sec-websocket-accept",
})  # fmt: skip
# RFC 6455: these are never sent, they say that nothing was.
_UNSAID = {1005: 1000, 1006: 1011}


@dataclass(frozen=True)
class Target:
    """An upstream: `socket` is the path of a UNIX socket, else `host` and `port`. `headers` are added to each request.

    `keep_authorization`: hand the Authorization header on; without it our tokens stay here.
    """

    socket: Path | None = None
    host: str = "127.0.0.1"
    port: int = 80
    headers: Mapping[str, str] = field(default_factory=dict)
    keep_authorization: bool = False
    ours: bool = False  # a process of headway's own: its X-Headway- headers go through, both ways

    @property
    def key(self) -> str:
        """What connections are pooled by."""
        return str(self.socket) if self.socket else f"{self.host}:{self.port}"


class _Closing(StreamingResponse):
    """A streamed answer that lets its upstream go however it ends."""

    def __init__(self, upstream: httpcore.Response, status: int) -> None:
        super().__init__(_body(upstream), status_code=status)
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._upstream.aclose()


async def _body(upstream: httpcore.Response) -> AsyncIterator[bytes]:
    async for chunk in upstream.aiter_stream():
        yield chunk


async def http(request: Request, target: Target, *, path: bytes | None = None) -> Response:
    """Pass a request on and stream the answer back. `path` replaces the path (with query) that was asked for.

    Raises `Unavailable` if the upstream can't be reached or breaks off before it has answered.
    """
    asked = path if path is not None else raw_path(request)
    # the authority decides where to connect to; over a UNIX socket it is not looked at
    url = httpcore.URL(scheme=b"http", host=target.host.encode(), port=target.port, target=asked)
    headers = _request_headers(request, target)
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    safety.streams(request)
    if has_body and "content-length" not in request.headers:
        headers.append((b"transfer-encoding", b"chunked"))
    limits = {"connect": CONNECT_S, "read": READ_S, "write": READ_S, "pool": WAIT_FOR_CONNECTION_S}
    outgoing = httpcore.Request(
        request.method,
        url,
        headers=headers,
        content=request.stream() if has_body else None,
        extensions={"timeout": limits},
    )
    try:
        upstream = await _pool(target).handle_async_request(outgoing)
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, FileNotFoundError) as error:
        raise unreachable() from error
    response = _Closing(upstream, upstream.status)
    response.raw_headers = _response_headers(upstream.headers, target.ours)
    return response


async def ask(target: Target, path: str, *, method: str = "GET", timeout_s: float = 5.0) -> tuple[int, bytes]:
    """One small request of our own: (status, body). Raises `Unavailable` if nothing answers."""
    url = httpcore.URL(scheme=b"http", host=target.host.encode(), port=target.port, target=path.encode())
    headers = [(b"host", b"localhost"), *((k.encode(), v.encode()) for k, v in target.headers.items())]
    limits = {"connect": timeout_s, "read": timeout_s, "write": timeout_s, "pool": timeout_s}
    try:
        answer = await _pool(target).request(method, url, headers=headers, extensions={"timeout": limits})
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
        raise unreachable() from error
    return answer.status, answer.content


async def websocket(
    socket: WebSocket,
    target: Target,
    *,
    path: bytes | None = None,
    still: Callable[[], Awaitable[bool]] | None = None,
    every_s: float = 30.0,
) -> None:
    """Connect a browser's WebSocket with the upstream's, until one of them ends; subprotocol and close codes go through.

    `still()` is asked every `every_s` seconds whether the person may still do this; at the first no, both are closed (1008).
    """
    try:
        upstream = await _dial(socket, target, path if path is not None else raw_path(socket))
    except InvalidStatus as error:
        await deny(socket, error.response.status_code)
        return
    except (InvalidHandshake, OSError, TimeoutError):
        await deny(socket, 503)
        return
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(upstream.close)
        await socket.accept(subprotocol=upstream.subprotocol)
        pumps = [asyncio.create_task(_up(socket, upstream)), asyncio.create_task(_down(socket, upstream))]
        if still is not None:
            pumps.append(asyncio.create_task(_watch(still, every_s)))
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            code, reason = next(iter(done)).result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        await upstream.close(code if code != 1008 else 1000, reason)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason)


def raw_path(connection: HTTPConnection) -> bytes:
    """Path and query exactly as they were sent, not decoded and encoded again."""
    path: bytes = connection.scope.get("raw_path") or connection.scope["path"].encode()
    query: bytes = connection.scope.get("query_string", b"")
    return path.partition(b"?")[0] + (b"?" + query if query else b"")


def unreachable() -> HeadwayError:
    """What is said when an upstream does not answer."""
    return Unavailable(
        "The program behind this address does not answer.", hint="It may be starting; try again in a moment."
    )


async def _dial(socket: WebSocket, target: Target, path: bytes) -> ClientConnection:
    from websockets.asyncio.client import connect, unix_connect  # a server whose notebooks rest does without

    host = socket.headers.get("host", "localhost")
    uri = f"ws://{host}{path.decode('ascii')}"
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in _request_headers(socket, target)
        if name.decode("latin-1") not in _WEBSOCKET and name not in (b"host", b"origin", b"content-length")
    ]
    offered = [Subprotocol(name) for name in socket.scope.get("subprotocols", [])]
    options: dict[str, Any] = {
        "additional_headers": headers,
        "origin": socket.headers.get("origin"),
        "subprotocols": offered or None,
        "compression": None,
        "max_size": None,
        "user_agent_header": None,
        "proxy": None,
        "open_timeout": CONNECT_S * 4,
        "close_timeout": CONNECT_S,
    }
    if target.socket is not None:
        return await unix_connect(str(target.socket), uri, **options)
    return await connect(uri, host=target.host, port=target.port, **options)


async def deny(socket: WebSocket, status: int) -> None:
    """Answer a handshake that was not accepted yet with this HTTP status, where the server can, else with 403."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(Response(status_code=status if status >= 400 else 502))
    else:
        await socket.close(1013 if status >= 500 else 1008)


async def _up(socket: WebSocket, upstream: ClientConnection) -> tuple[int, str]:
    """From the browser to the upstream; how the browser closed."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return _sendable(message.get("code")), (message.get("reason") or "")[:120]
            data = message.get("bytes")
            await upstream.send(data if data is not None else message.get("text", ""))
    return _ended(upstream)


async def _down(socket: WebSocket, upstream: ClientConnection) -> tuple[int, str]:
    """From the upstream to the browser; how the upstream closed."""
    try:
        async for message in upstream:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)
    except ConnectionClosed:
        pass
    except (RuntimeError, WebSocketDisconnect):
        return 1000, ""
    return _ended(upstream)


def _ended(upstream: ClientConnection) -> tuple[int, str]:
    return _sendable(upstream.close_code), (upstream.close_reason or "")[:120]


def _sendable(code: int | None) -> int:
    """The code to close the other side with: some only say that no code came."""
    code = _UNSAID.get(code or 1005, code or 1005)
    return code if (1000 <= code <= 1014 and code != 1004) or 3000 <= code <= 4999 else 1000


async def _watch(still: Callable[[], Awaitable[bool]], every_s: float) -> tuple[int, str]:
    while True:
        await asyncio.sleep(every_s)
        if not await still():
            return 1008, "You may not do this any more."


def _request_headers(connection: HTTPConnection, target: Target) -> list[tuple[bytes, bytes]]:
    listed = {name.strip().lower() for name in connection.headers.get("connection", "").split(",")}
    ours = {name.lower() for name in target.headers}
    dropped = _HOP | _FORWARDED | listed | ours | {"cookie"}
    if not target.keep_authorization:
        dropped |= {"authorization"}
    kept = [
        (name, value)
        for name, value in connection.headers.raw
        if (text := name.decode("latin-1").lower()) not in dropped
        and (target.ours or not text.startswith(PRIVATE_PREFIX))
    ]
    if cookies := _foreign_cookies(connection.headers.getlist("cookie")):
        kept.append((b"cookie", cookies.encode("latin-1")))
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    added = {
        "x-forwarded-proto": scheme,
        "x-forwarded-host": connection.headers.get("host", ""),
        "x-forwarded-for": connection.client.host if connection.client else "",
        **target.headers,
    }
    return kept + [(name.lower().encode(), value.encode("latin-1")) for name, value in added.items() if value]


def _foreign_cookies(headers: Iterable[str]) -> str:
    """The cookies that are not ours."""
    pairs = [pair.strip() for header in headers for pair in header.split(";")]
    return "; ".join(pair for pair in pairs if pair and pair.partition("=")[0].strip() not in OUR_COOKIES)


def _response_headers(headers: Iterable[tuple[bytes, bytes]], ours: bool = False) -> list[tuple[bytes, bytes]]:
    found = [(name.lower(), value) for name, value in headers]
    listed = {part.strip().lower() for name, value in found if name == b"connection" for part in value.split(b",")}
    dropped = {name.encode() for name in _HOP} | listed
    return [
        (name, value)
        for name, value in found
        if name not in dropped
        and not (name == b"set-cookie" and _sets_ours(value))
        and (ours or not name.startswith(b"x-headway-"))
    ]


def _sets_ours(value: bytes) -> bool:
    return value.partition(b"=")[0].strip().decode("latin-1") in OUR_COOKIES


_pools: WeakKeyDictionary[object, dict[str, httpcore.AsyncConnectionPool]] = WeakKeyDictionary()


def _pool(target: Target) -> httpcore.AsyncConnectionPool:
    """One pool for each upstream and event loop."""
    mine = _pools.setdefault(asyncio.get_running_loop(), {})
    if target.key not in mine:
        mine[target.key] = httpcore.AsyncConnectionPool(
            max_connections=200,
            max_keepalive_connections=20,
            keepalive_expiry=20.0,
            uds=str(target.socket) if target.socket else None,
        )
    return mine[target.key]


async def close() -> None:
    """Give all connections of this event loop back: for the server's end."""
    for pool in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pool.aclose()
