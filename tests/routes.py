"""Every route of the application, flat, whichever way FastAPI keeps routers that were included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute


@dataclass(frozen=True)
class Known:
    """One method of one route. `route` is the APIRoute, None for websockets and mounts (whose method is their kind)."""

    method: str
    path: str
    route: APIRoute | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def all_routes(app: FastAPI) -> list[Known]:
    """All of them, in the order in which they are tried."""
    return list(_flat(app.routes, ""))


def _flat(routes: Iterable[Any], prefix: str) -> Iterator[Known]:
    for item in routes:
        if hasattr(item, "original_router"):
            yield from _flat(item.original_router.routes, prefix + item.include_context.prefix)
        elif isinstance(item, APIRoute):
            for method in sorted(item.methods):
                yield Known(method, prefix + item.path, item)
        elif methods := getattr(item, "methods", None):
            for method in sorted(methods - {"HEAD"}):
                yield Known(method, prefix + item.path, None)
        else:
            kind = "WEBSOCKET" if "WebSocket" in type(item).__name__ else "MOUNT"
            yield Known(kind, prefix + item.path, None)
