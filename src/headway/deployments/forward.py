"""Endpoints on the main address: `/endpoints/<project>/<name>/...` is passed on to the gateway.

Who brings a key or a token is checked by the gateway itself. Who is signed in with a browser, and may see the project,
gets in by the platform's key.
"""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from headway.deployments import service
from headway.deployments.platform import platform_key
from headway.engines.host import Host
from headway.people import guard
from headway.people.rules import Who
from headway.projects import service as projects
from headway.web import proxy
from headway.web.edge import HostDep

router = APIRouter(include_in_schema=False)


@router.api_route("/endpoints/{slug}/{name}", methods=["GET", "POST"])
@router.api_route("/endpoints/{slug}/{name}/{rest:path}", methods=["GET", "POST"])
async def forward(request: Request, host: HostDep, slug: str, name: str) -> Response:
    """The gateway's answer, byte for byte."""
    settings = host.settings
    headers = {}
    if not {"authorization", "x-api-key"} & set(request.headers):
        who = await guard.maybe(request)
        if who is not None:
            await to_thread.run_sync(_check, host, who, slug, name)
            headers["authorization"] = f"Bearer {platform_key(host)}"
    where = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host  # noqa: S104
    target = proxy.Target(
        host=where, port=settings.gateway_port, headers=headers, keep_authorization=not headers, ours=True
    )
    return await proxy.http(request, target)


def _check(host: Host, who: Who, slug: str, name: str) -> None:
    """Raises the same NotFound for what is missing and what is foreign."""
    with host.database.read() as db:
        service.get(db, who, projects.by_slug(db, who, slug), name)
