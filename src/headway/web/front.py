"""Addresses that are asked a thousand times a second, found by their beginning instead of by a walk along all routes.

FastAPI matches a request against every route before the right one, some 0.3 ms for a late one. What is registered here is
answered before that, by the same handler as its route. It stands behind `web/safety.py`: Host, Origin, sizes and headers
hold as everywhere, and who may is asked by the handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]


def install(app: FastAPI, prefix: str, handler: Handler, methods: Collection[str], suffix: str = "") -> None:
    """Answer what begins with `prefix` and ends with `suffix` by `handler`, which finds the rest in `path_params["rest"]`.

    There must be a route of this address and these methods with the same answers; the handler answers its own errors.
    """
    app.add_middleware(_Front, prefix=prefix, suffix=suffix, handler=handler, methods=frozenset(methods))


class _Front:
    def __init__(self, app: ASGIApp, prefix: str, suffix: str, handler: Handler, methods: frozenset[str]) -> None:
        self._app, self._handler, self._methods = app, handler, methods
        self._prefix, self._suffix = prefix, suffix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http" or not scope["path"].startswith(self._prefix)
            or scope["method"] not in self._methods or not scope["path"].endswith(self._suffix) or scope.get("root_path")
        ):  # fmt: skip
            await self._app(scope, receive, send)
            return
        rest = scope["path"][len(self._prefix) :]
        scope["path_params"] = {"rest": rest.removesuffix(self._suffix)}
        response = await self._handler(Request(scope, receive, send))
        await response(scope, receive, send)
