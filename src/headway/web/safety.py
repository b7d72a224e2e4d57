"""What stands before every route: the Host allow-list, the Origin of writes and websockets, the size of bodies, and the
headers that tell a browser what it must not do.

It is plain ASGI, so it also holds for proxied and streamed answers. A header that a route has set itself is left alone: an
artifact is shown under a stricter policy than a page, and Jupyter brings its own.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway.errors import BadInput, Forbidden, HeadwayError, TooLarge, WrongHost
from headway.settings import Settings
from headway.web import answers

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": 80, "https": 443}
_STREAMS = "headway.streams"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; frame-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def install(app: FastAPI, settings: Settings) -> None:
    """Put the guard in front of all routes of `app`."""
    app.add_middleware(_Safety, settings=settings)


def streams(connection: HTTPConnection) -> None:
    """Say, before the body is read, that this route streams it: the limit for files holds, not the one for requests.

    Everything else is read into memory, by FastAPI even before anybody has asked who is there; so the limit is small unless
    a route that has looked at its caller asks for more.
    """
    connection.scope[_STREAMS] = True


def hosts_of(settings: Settings) -> frozenset[str]:
    """The host names under which this server may be reached, lower case, without port."""
    names = {"127.0.0.1", "localhost", "::1"}
    names |= {name.strip().lower().strip("[]") for name in settings.allowed_hosts.split(",") if name.strip()}
    if settings.public_url:
        names.add((urlsplit(settings.public_url).hostname or "").lower())
    if _is_wildcard(settings.host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    else:
        names.add(settings.host.lower().strip("[]"))
    return frozenset(names - {""})


def same_origin(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether a write or a websocket comes from a page of ours, as the browser says. Programs send no Origin and pass."""
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    wanted = {_netloc(f"{scheme}://{connection.headers.get('host', '')}") for scheme in _schemes(connection)}
    if settings.public_url:
        wanted.add(_netloc(settings.public_url))
    asked = _netloc(origin)
    return asked is not None and asked in wanted


def _schemes(connection: HTTPConnection) -> tuple[str, ...]:
    # Behind a proxy that ends TLS and does not say so, the page is https and this connection http; never the other way.
    return ("https",) if connection.url.scheme in ("https", "wss") else ("http", "https")


@lru_cache(maxsize=256)
def _netloc(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme]


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


class _Safety:
    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._hosts = hosts_of(settings)
        self._small = settings.body_mb << 20
        self._large = settings.upload_mb << 20

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._problem(scope, headers)
        if problem is not None:
            await self._refuse(problem, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._app(scope, self._measured(scope, headers, receive), _hardened(scope, send))

    def _problem(self, scope: Scope, headers: Headers) -> HeadwayError | None:
        named = headers.getlist("host")
        host = _netloc(f"http://{named[0]}") if len(named) == 1 and "@" not in named[0] else None
        if host is None:
            return BadInput("The request must name one host.", hint="Send one Host header.")
        if host[1] not in self._hosts:
            return WrongHost(
                f"This server does not answer for '{host[1][:200]}'.",
                hint="If that is its name, add it: HEADWAY_ALLOWED_HOSTS or --public-url.",
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return BadInput("Content-Length must be a whole number.")
        # A page of another site can make a browser send our cookie, but never an Authorization header of its choosing.
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        trusted = scope["type"] == "http" and "authorization" in headers
        if unsafe and not trusted and not same_origin(HTTPConnection(scope), self._settings):
            return Forbidden(
                "This request comes from another site.",
                hint="Open headway itself and do it there. A program sends a token instead of a cookie.",
            )
        return None

    def _measured(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        seen = 0
        announced = headers.get("content-length", "")

        async def measured() -> Message:
            nonlocal seen
            limit = self._large if scope.get(_STREAMS) else self._small
            # What is announced is refused before a byte of it is read, and what is not announced is counted as it comes.
            if announced.isdigit() and int(announced) > limit:
                raise _BodyTooLarge(limit)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _BodyTooLarge(limit)
            return message

        return measured

    async def _refuse(self, problem: HeadwayError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": problem.message[:120]})
            return
        response = answers.answer(Request(scope, receive), problem)
        await response(scope, receive, _hardened(scope, send))


class _BodyTooLarge(HTTPException, TooLarge):
    """Both kinds at once: FastAPI lets an HTTPException through that is raised while it reads a body, and nothing else."""

    def __init__(self, limit: int) -> None:
        hint = "Send less at once, or upload it as a file."
        HeadwayError.__init__(self, f"The body is larger than {limit >> 20} MiB.", hint=hint)
        self.status_code, self.detail, self.headers = 413, self.message, None


def _hardened(scope: Scope, send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"] = list(message.get("headers", ()))
            said = {name.lower(): value for name, value in headers}
            headers += [pair for pair in _RAW if pair[0] not in said]
            if scope["scheme"] == "https" and b"strict-transport-security" not in said:
                headers.append((b"strict-transport-security", b"max-age=31536000"))
            if b"cache-control" not in said and said.get(b"content-type", b"").startswith(b"text/html"):
                headers.append((b"cache-control", b"no-store"))
        await send(message)

    return hardened
