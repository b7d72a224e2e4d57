"""One handler for every error: JSON for programs, a page for people, a fragment for htmx, a foreign protocol's own shape.

Services raise from the tree in `errors.py`, and never format. What was not raised on purpose is our bug: it is logged with a
reference, and the answer shows the reference and no more.
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from headway import errors
from headway.errors import HeadwayError
from headway.web import render

log = logging.getLogger("headway.web")

Shape = Callable[[HeadwayError], Response]


def install(app: FastAPI) -> None:
    """Register the handler for everything that a route may raise."""
    app.state.error_shapes = []
    for kind in (HeadwayError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def shape(app: FastAPI, prefix: str, make: Shape) -> None:
    """Below `prefix` an error is formatted by `make`: how a foreign protocol keeps its own error bodies."""
    app.state.error_shapes.append((prefix, make))


def wants_page(request: Request) -> bool:
    """Whether the caller is a person with a browser."""
    path = request.url.path
    if path.startswith(("/api/", "/ajax-api/", "/v1/", "/endpoints/")):
        return False
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def answer(request: Request, error: Exception) -> Response:
    """The answer to an error, in the shape the caller understands."""
    known = _known(error)
    if known.status >= 500 and known.code == "INTERNAL":
        reference = secrets.token_hex(4)
        hint = f"Nothing was saved. The server's log has it under {reference}."
        known = HeadwayError("Something went wrong on our side.", hint=hint, reference=reference)
        log.error("%s %s failed [%s]", request.method, request.url.path, reference, exc_info=error)
    for prefix, make in request.app.state.error_shapes:
        if request.url.path.startswith(prefix):
            return _finish(make(known), known)
    if not wants_page(request):
        return _finish(JSONResponse(known.as_dict(), status_code=known.status), known)
    if known.status == 401 and "hx-request" not in request.headers:
        return render.redirect("/login?next=" + _next(request))
    return _finish(render.error(request, known), known)


def _finish(response: Response, error: HeadwayError) -> Response:
    if (seconds := error.details.get("retry_after")) is not None or error.status in (429, 503):
        response.headers["Retry-After"] = str(seconds or 1)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="headway"'
    return response


def _next(request: Request) -> str:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return quote(here if request.method == "GET" else "/", safe="/")


def _known(error: Exception) -> HeadwayError:
    if isinstance(error, HeadwayError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.StorageFull("The disk is full; nothing was written.", hint="Free some space and try again.")
    if isinstance(error, OperationalError):
        return errors.Unavailable("The database did not answer.", hint="Try again in a moment.")
    return HeadwayError(str(error))


def _invalid(error: RequestValidationError) -> HeadwayError:
    problems = [
        {"field": ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0]), "problem": one["msg"]}
        for one in error.errors()
    ]
    first = problems[0]
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return errors.BadInput("The body is not valid JSON.", problems=problems)
    return errors.Unprocessable(
        f"{first['field']}: {first['problem']}.", hint="See /api/docs for the fields.", problems=problems
    )


def _from_http(error: HTTPException) -> HeadwayError:
    by_status: dict[int, type[HeadwayError]] = {kind.status: kind for kind in reversed(list(errors.tree().values()))}
    by_status[400] = errors.BadInput
    words: dict[int, str] = {404: "There is nothing here.", 405: "This address does not take that method."}
    kind = by_status.get(error.status_code)
    message = words.get(error.status_code, str(error.detail))
    if kind is not None and kind is not HeadwayError:
        return kind(message)

    class Other(HeadwayError):
        status, code = error.status_code, f"HTTP_{error.status_code}"

    return Other(message)


def docs_responses() -> dict[int | str, dict[str, Any]]:
    """The error answers every route may give, for OpenAPI."""
    return {kind.status: {"description": kind.code} for kind in errors.tree().values() if kind.status not in (200, 500)}
