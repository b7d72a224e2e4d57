"""Requests with a token, tried again where that is safe, and answers that turn back into the exceptions they were."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from headway import errors
from headway.errors import HeadwayError, NotFound, Unauthenticated, Unavailable
from headway.sdk import address as addresses
from headway.sdk.address import Address
from headway.sdk.transport import Broken, HttpTransport, Request, Response, Transport

if TYPE_CHECKING:
    from headway.sdk.transport import Body

SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
TRIES = 4
PATIENCE_S = 20.0  # the longest wait that a Retry-After may ask for
TIMEOUT_S = 60.0


class Client:
    """One server, as one person. `Client()` finds both; see `address.find`. Threads may share it."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        address: Address | None = None,
        transport: Transport | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.address = address or addresses.find(url, token)
        self.timeout = timeout
        self._transport: Transport = transport or HttpTransport(self.address.url)

    def get(self, path: str, /, **query: Any) -> Any:
        """The JSON at a path. None in `query` is left out, lists are repeated."""
        return self.json("GET", path, query=query)

    def post(self, path: str, body: Any = None, *, again: bool = False) -> Any:
        """Send JSON. `again`: it may be sent twice without harm, so a broken connection is tried again."""
        return self.json("POST", path, body, again=again)

    def delete(self, path: str, /, **query: Any) -> Any:
        """Remove what is at the path."""
        return self.json("DELETE", path, query=query)

    def json(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, Any] | None = None, again: bool = False
    ) -> Any:
        """The answer's JSON; None for an empty one."""
        data = None if body is None else _encode(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        answer = self.request(method, path, data, query=query, headers=headers, again=again)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except ValueError:
            raise _foreign(self.address.url, answer) from None

    def request(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stream: bool = False,
        again: bool = False,
    ) -> Response:
        """The answer of a request that went well. Raises the error that the server answered, or `Unavailable`.

        A body that is a file is sent as it is read, and from the same place again when the request is repeated.
        """
        request = Request(method, target(path, query), self._headers(headers), body, timeout or self.timeout, stream)
        start = body.tell() if body is not None and not isinstance(body, bytes) else None
        safe = again or method in SAFE
        for last in (False,) * (TRIES - 1) + (True,):
            if start is not None and body is not None and not isinstance(body, bytes):
                body.seek(start)
            wait = 0.2
            try:
                answer = self._transport.send(request)
            except Broken as error:
                if last or (error.sent and not safe) or "no host" in error.why:
                    raise self._unreachable(error) from None
            else:
                if answer.status < 400:
                    return answer
                wait = _retry_after(answer)
                if last or wait > PATIENCE_S or not (answer.status in (429, 503) and safe):
                    raise error_of(answer, self.address.url)
            time.sleep(wait)
        raise AssertionError

    def pieces(self, path: str, /, *, headers: Mapping[str, str] | None = None, **query: Any) -> Iterator[bytes]:
        """A long answer as it comes. Raises `Unavailable` if it breaks off."""
        with self.request("GET", path, query=query, headers=headers, stream=True, timeout=120) as answer:
            try:
                yield from answer.pieces()
            except Broken as error:
                raise self._unreachable(error) from None

    def close(self) -> None:
        """Close the connection that this thread has kept. The client can be used further."""
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "headway"}
        if self.address.token:
            headers["Authorization"] = f"Bearer {self.address.token}"
        return headers | dict(more or {})

    def _unreachable(self, error: Broken) -> Unavailable:
        where = self.address
        if where.source.endswith("cli.json") and not addresses.alive(where.pid):
            return Unavailable(f"headway is not running ({where.url}).", hint="Start it with `headway up`.")
        return Unavailable(f"{where.url} can't be reached: {error.why}.", hint="Is it running? See `headway status`.")


def target(path: str, query: Mapping[str, Any] | None = None) -> str:
    """The path with its query as it goes over the wire."""
    pairs = [(name, _text(one)) for name, value in (query or {}).items() for one in _many(value)]
    return quote(path, safe="/%:@!$&'()*+,;=~") + (f"?{urlencode(pairs)}" if pairs else "")


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def part(name: str) -> str:
    """A name as one part of a path; slashes in it are escaped."""
    return quote(name, safe="@:~")


def _encode(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(body)).encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN; MLflow's protocol and ours take the words."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _retry_after(answer: Response) -> float:
    try:
        return max(0.1, float(answer.headers.get("retry-after", "0.5")))
    except ValueError:
        return 0.5


def error_of(answer: Response, url: str = "") -> HeadwayError:
    """The exception that an answer stands for: headway's own shape, MLflow's, or whatever else answered."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    said = body.get("error") if isinstance(body, dict) else None
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        details = {str(k): v for k, v in said.items() if k not in ("code", "message", "hint")}
        kind = errors.tree().get(str(said.get("code"))) or kind_of(answer.status)
        return kind(said["message"], hint=str(said.get("hint", "")), **details)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return kind_of(answer.status)(body["message"], error_code=body.get("error_code", ""))
    return _foreign(url, answer)


def kind_of(status: int) -> type[HeadwayError]:
    """The class of errors with a status."""
    for kind in errors.tree().values():
        if kind.status == status and kind.__base__ is HeadwayError:
            return kind
    return HeadwayError


def _foreign(url: str, answer: Response) -> HeadwayError:
    hint = f"Is {url or 'the address'} a headway server?"
    if answer.status == 401:
        return Unauthenticated("The server wants to know who you are.", hint="Log in with `headway login URL`.")
    if answer.status == 404:
        return NotFound("There is nothing at that address.", hint=hint)
    return kind_of(answer.status)(f"An answer that headway doesn't give (status {answer.status}).", hint=hint)
