"""One request of the protocol: found in the table of endpoints, its values checked, answered, or refused in its own words."""

from __future__ import annotations

import errno
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from anyio import to_thread
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from headway import errors
from headway.engines.host import Host
from headway.errors import BadInput, HeadwayError, NotFound, TooLarge, Unauthenticated
from headway.people import guard
from headway.people.rules import Who
from headway.projects import service as projects
from headway.storage.direct import Direct
from headway.tracking import experiments, limits
from headway.tracking.tables import Experiment
from headway.tracking.wire import unserved

log = logging.getLogger("headway.mlflow")

WORKSPACE_HEADER = "x-mlflow-workspace"
CODES: dict[type[HeadwayError], str] = {
    errors.BadInput: "INVALID_PARAMETER_VALUE",
    errors.BadPath: "INVALID_PARAMETER_VALUE",
    errors.Unprocessable: "INVALID_PARAMETER_VALUE",
    errors.TooLarge: "INVALID_PARAMETER_VALUE",
    errors.NotFound: "RESOURCE_DOES_NOT_EXIST",
    errors.Conflict: "RESOURCE_ALREADY_EXISTS",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.TooMany: "REQUEST_LIMIT_EXCEEDED",
    errors.NotServed: "NOT_IMPLEMENTED",
    errors.Unavailable: "TEMPORARILY_UNAVAILABLE",
    errors.StorageFull: "RESOURCE_EXHAUSTED",
}
STATUSES = {"RESOURCE_ALREADY_EXISTS": 400, "INVALID_PARAMETER_VALUE": 400}


class NeedsSession(Exception):
    """Raised by a looking endpoint whose request is a rare one that takes a session: it is run again as a reading one."""


class NeedsWrite(Exception):
    """Raised by a reading endpoint that found something must be made first: it is run again as a writing one."""


@dataclass
class Call:
    """A request: who asks, and its values (from the address or the JSON body)."""

    request: Request
    host: Host
    who: Who
    values: Mapping[str, Any]
    path: Mapping[str, str]
    writing: bool = False

    def text(self, *names: str, required: bool = True) -> str:
        """The first of these values that is there, as text."""
        for name in names:
            value = self.values.get(name)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                raise limits.wrong_type(name, value)
            if "\0" in value:
                raise limits.invalid(name, value, "It holds a NUL character.")
            return value
        if required:
            raise limits.missing(names[0])
        return ""

    def items(self, name: str, *, required: bool = False) -> list[Any]:
        """A list; one value in an address is a list of one."""
        value = self.values.get(name)
        if value is None or value == "":
            if required:
                raise limits.missing(name)
            return []
        if isinstance(value, str) and self.request.method == "GET":
            return [value]
        if not isinstance(value, list):
            raise limits.wrong_type(name, value)
        return value

    def strings(self, name: str, *, required: bool = False) -> list[str]:
        """A list of texts."""
        found = self.items(name, required=required)
        for value in found:
            if not isinstance(value, str):
                raise limits.wrong_type(name, found)
        return found

    def pairs(self, name: str) -> list[tuple[Any, Any]]:
        """A list of `{"key", "value"}` objects."""
        found = []
        for i, item in enumerate(self.items(name)):
            if not isinstance(item, dict):
                raise limits.wrong_type(f"{name}[{i}]", item)
            if item.get("key") in (None, ""):
                raise limits.missing(f"{name}[{i}].key")
            found.append((item["key"], item.get("value")))
        return found

    def integer(
        self, name: str, default: int | None = None, *, least: int | None = None, most: int | None = None
    ) -> int:
        """A 64-bit integer within bounds."""
        number = limits.integer(self.values.get(name), name, default)
        if (least is not None and number < least) or (most is not None and number > most):
            raise limits.invalid(name, number, f"It must be between {least} and {most}.")
        return number

    def boolean(self, name: str) -> bool:
        """A flag; absent is false."""
        value = self.values.get(name)
        if value in (None, "", False, "false", "False"):  # addresses hold them as Python or as JSON writes them
            return False
        if value in (True, "true", "True"):
            return True
        raise limits.wrong_type(name, value)

    def project(self, db: Session) -> str:
        """The id of the project (MLflow: workspace) this request is about: header, else token, else the first one."""
        named = self.request.headers.get(WORKSPACE_HEADER, "")
        if named and not (named == "default" and self.who.project_id is None):
            return str(projects.by_slug(db, self.who, named).id)
        if self.who.project_id is not None:
            return self.who.project_id
        found = projects.visible(db, self.who)
        if not found:
            raise NotFound("You are in no project yet.", hint="Make one, or ask for an invitation.")
        return str(next((p.id for p in found if p.slug == named), found[0].id))

    def experiment(self, db: Session, verb: str = "view", name: str = "experiment_id") -> Experiment:
        """The experiment of this request. Number 0 is the project's own default, made at its first use."""
        value = self.values.get(name)
        if value is None or value == "":
            raise limits.missing(name)
        if isinstance(value, bool | float | list | dict):
            raise limits.wrong_type(name, value)
        if str(value) != "0":
            return experiments.get(db, self.who, value, verb)
        return self.default(db, verb)

    def default(self, db: Session | Direct, verb: str = "view") -> Experiment:
        """The default experiment of this request's project."""
        if isinstance(db, Direct):
            raise NeedsSession
        project_id = self.project(db)
        guard.check(db, self.who, verb, project_id)
        row = experiments.default_or_none(db, project_id)
        if row is not None:
            return row
        if not self.writing:
            raise NeedsWrite
        return experiments.default(db, project_id)


Answer = Callable[[Call, Session], Any]


@dataclass(frozen=True)
class Endpoint:
    """How a method and path of the protocol is answered: by reading (`read`; `look`: with the driver alone), in a group commit
    (`write`; `direct`: its answer is the run and the work to do there with the driver, made of values that it has checked), or as
    it likes (`raw`)."""

    answer: Any
    mode: str


EXACT: dict[tuple[str, str], Endpoint] = {}
PATTERNS: list[tuple[str, re.Pattern[str], Endpoint]] = []


def endpoint(method: str, path: str, *, mode: str = "write") -> Callable[[Any], Any]:
    """Register the function below for a method and path (relative to `/api/x.0/mlflow/`); `{name}` matches one part."""

    def register(answer: Any) -> Any:
        made = Endpoint(answer, mode)
        if "{" in path:
            pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
            PATTERNS.append((method, pattern, made))
        else:
            EXACT[method, path] = made
        return answer

    return register


def find(method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """The endpoint for a method and path. Raises `NotServed` for known ones we lack, `NotFound` for others."""
    found = EXACT.get((method, path))
    if found is not None:
        return found, {}
    for its_method, pattern, made in PATTERNS:
        if its_method == method and (match := pattern.fullmatch(path)):
            return made, match.groupdict()
    if (absent := unserved.refusal(method, path)) is not None:
        raise absent
    raise NotFound(f"There is no endpoint {method} {path[:200]}.", endpoint=True)


def guarded(inner: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers every error in the protocol's own words."""

    async def route(request: Request) -> Response:
        try:
            return await inner(request)
        except HeadwayError as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return refusal(errors.StorageFull("The disk is full; nothing was written."))
            return _ours(request)
        except Exception:
            return _ours(request)

    return route


def _ours(request: Request) -> Response:
    reference = secrets.token_hex(4)
    log.exception("%s %s failed [%s]", request.method, request.url.path, reference)
    return refusal(HeadwayError(f"Something went wrong on our side; the server's log has it under {reference}."))


async def committed(host: Host, work: Callable[[Session], Any]) -> Any:
    """The result of `work(session)`, once it is committed together with others."""
    return await host.database.group_soon(work)


async def answer(request: Request) -> Response:
    """Answer a request of the protocol by its table of endpoints."""
    method = "GET" if request.method == "HEAD" else request.method
    who = await guard.signed(request)
    found, path = find(method, request.path_params["rest"].rstrip("/"))
    host: Host = request.app.state.host
    if found.mode == "raw":
        response: Response = await found.answer(Call(request, host, who, _query(request), path))
        return response
    values = _query(request) if method == "GET" else await body_of(request)
    call = Call(request, host, who, values, path, writing=found.mode == "write")
    if found.mode == "direct":
        run, work = found.answer(call)
        return respond(await host.database.group_direct(work, order=run))
    if found.mode == "look":
        try:
            return respond(await to_thread.run_sync(host.database.look, partial(found.answer, call)))
        except NeedsSession:
            pass
    if found.mode in ("read", "look"):
        try:
            return respond(await to_thread.run_sync(_read, found.answer, call))
        except NeedsWrite:
            call.writing = True
    return respond(await committed(host, partial(found.answer, call)))


def _read(answer: Answer, call: Call) -> Any:
    with call.host.database.read() as db:
        return answer(call, db)


def respond(result: Any) -> Response:
    """JSON; bytes are JSON already."""
    body = result if isinstance(result, bytes) else orjson.dumps(result if result is not None else {})
    return Response(body, media_type="application/json")


def refusal(error: HeadwayError) -> Response:
    """An error as the protocol tells it."""
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "INTERNAL_ERROR")
    status = error.status if isinstance(error, TooLarge) else STATUSES.get(code, error.status)
    if error.details.get("endpoint"):
        code = "ENDPOINT_NOT_FOUND"
    message = error.message
    if error.hint:
        message = f"{message}{'' if message.endswith(('.', ':', '?')) else '.'} {error.hint}"
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="headway"'
    if status in (429, 503):
        headers["Retry-After"] = str(error.details.get("retry_after", 1))
    body = orjson.dumps({"error_code": code, "message": message})
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def _query(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not request.scope["query_string"]:
        return found
    for key, value in request.query_params.multi_items():
        if key not in found:
            found[key] = value
        elif isinstance(found[key], list):
            found[key].append(value)
        else:
            found[key] = [found[key], value]
    return found


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body; without a body, the values in its address. Raises `BadInput`."""
    receive, pieces, size = request.receive, [], 0
    while True:  # how much it may be, web/safety.py looks after
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(piece := message.get("body", b""))
        size += len(piece)
        if not message.get("more_body"):
            break
    if not size:
        return _query(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadInput("Bad Request. Content-Type must be one of ['application/json'].")
    try:
        found = orjson.loads(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if isinstance(found, str):  # old clients encode twice
            found = orjson.loads(found)
    except ValueError as error:
        raise BadInput(f"The body is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadInput("The body must be a JSON object.")
    return found
