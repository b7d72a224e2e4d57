"""The gate to Jupyter: `/notebooks/<slug>/...`, for those who may edit the project.

A notebook's output runs scripts in the page that shows it, so Jupyter has an origin of its own, another port of the same
server: from there a script can neither read headway's pages nor write to it (their Origin is refused). On that port nothing but
this gate answers, and on the main port the gate only leads there. docs/notebooks.md says what remains.
"""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, RedirectResponse
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from headway.engines.host import Host
from headway.errors import Forbidden, HeadwayError, Unauthenticated
from headway.people import guard
from headway.people.rules import EDIT, Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.web import answers, proxy
from headway.web.proxy import Target
from headway.workspaces import presence, process, service

router = APIRouter(include_in_schema=False)

PREFIX = "/notebooks/"
RECHECK_S = 20.0
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def install(app: FastAPI) -> None:
    """Keep the two origins apart. `app.state.notebooks_port` is the second port, None where there is only one."""
    app.state.notebooks_port = getattr(app.state, "notebooks_port", None)
    app.add_middleware(_Origins, state=app.state)


def address(request: Request, project: Project, path: str = "") -> str:
    """The browser's address of something in the project's Jupyter, on the notebooks' origin."""
    return _origin(request) + process.base_url(project) + path


def _origin(connection: HTTPConnection) -> str:
    port = getattr(connection.app.state, "notebooks_port", None)
    host: Host = connection.app.state.host
    if port is None:
        return ""
    if host.settings.notebooks_url:
        return host.settings.notebooks_url.rstrip("/")
    name = connection.url.hostname or "127.0.0.1"
    return f"{connection.url.scheme}://{f'[{name}]' if ':' in name else name}:{port}"


async def answers_now(target: Target, project: Project) -> bool:
    """Whether Jupyter is up and lets this person in."""
    try:
        status, _ = await proxy.ask(target, f"{process.base_url(project)}api/me")
    except HeadwayError:
        return False
    return status == 200


@router.api_route(PREFIX + "{slug}", methods=["GET"])
async def bare(slug: str) -> Response:
    """The address without its last slash."""
    return RedirectResponse(f"{PREFIX}{slug}/")


@router.api_route(PREFIX + "{slug}/{path:path}", methods=METHODS)
async def http(request: Request, slug: str, path: str) -> Response:
    """Everything that Jupyter serves. Who may only look is led to our own pages; who may nothing gets the usual 404."""
    who = await _who(request)
    try:
        project, target = await to_thread.run_sync(_enter, _host(request), who, slug)
    except Forbidden:
        if answers.wants_page(request) and request.method == "GET":
            return RedirectResponse(f"{_main_origin(request)}/p/{slug}/notebooks", status_code=303)
        raise
    del project, path
    return await proxy.http(request, target)


@router.websocket(PREFIX + "{slug}/{path:path}")
async def websocket(socket: WebSocket, slug: str, path: str) -> None:
    """Kernels, terminals and shared documents. The permission is asked for again while it lasts."""
    del path
    host: Host = socket.app.state.host
    try:
        who = await guard.identify(socket)
        if who is None:
            raise Unauthenticated("Sign in first.")
        _, target = await to_thread.run_sync(_enter, host, who, slug)
    except HeadwayError as error:
        await proxy.deny(socket, error.status)
        return

    async def still() -> bool:
        try:
            present = await guard.identify(socket)
            return present is not None and bool(await to_thread.run_sync(_enter, host, present, slug))
        except HeadwayError:
            return False

    await proxy.websocket(socket, target, still=still, every_s=RECHECK_S)


async def _who(request: Request) -> Who:
    # not `guard.signed`: its CSRF token is of our own forms. Jupyter has its own, and the Origin was checked before us.
    who = await guard.identify(request)
    if who is None:
        raise Unauthenticated("Sign in first.")
    request.state.who = who
    return who


def _enter(host: Host, who: Who, slug: str) -> tuple[Project, Target]:
    with host.database.read() as db:
        project = projects.by_slug(db, who, slug, EDIT)
        if who.kind == "run":
            raise Forbidden("A run's own token does not open notebooks.", hint="Sign in, or use a token of yours.")
        presence.seen(host, project.id)
        return project, service.target(host, who, project)


def _host(request: Request) -> Host:
    host: Host = request.app.state.host
    return host


def _main_origin(request: Request) -> str:
    settings = _host(request).settings
    if getattr(request.app.state, "notebooks_port", None) is None:
        return ""
    if settings.public_url:
        return settings.url
    name = request.url.hostname or settings.host
    return f"{request.url.scheme}://{f'[{name}]' if ':' in name else name}:{settings.port}"


class _Origins:
    """The notebooks' port serves notebooks alone; the main port serves everything else."""

    def __init__(self, app: ASGIApp, state: object) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        port = getattr(self._state, "notebooks_port", None)
        if port is None or scope["type"] not in ("http", "websocket") or self._fits(scope, port):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "Not on this port."})
        else:
            await self._elsewhere(scope)(scope, receive, send)

    def _fits(self, scope: Scope, port: int) -> bool:
        here = (scope.get("server") or ("", 0))[1] == port
        return bool(here == scope["path"].startswith(PREFIX))

    def _elsewhere(self, scope: Scope) -> Response:
        request = Request(scope)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Not on this port.\n", status_code=404)
        origin = _origin(request) if scope["path"].startswith(PREFIX) else _main_origin(request)
        where = proxy.raw_path(request).decode("latin-1")
        page = "text/html" in Headers(scope=scope).get("accept", "")
        if not page:
            return PlainTextResponse(f"Not on this port: see {origin}.\n", status_code=404)
        return RedirectResponse(origin + where, status_code=307)
