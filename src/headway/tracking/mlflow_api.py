"""The routes of MLflow's REST protocol. Every endpoint is in the table of `wire/call.py`; the registry adds its own there."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headway.people import guard
from headway.tracking.wire import artifacts, call, experiments, logged_models, metrics, runs, uploads
from headway.web import front

router = APIRouter()
ENDPOINTS = (experiments, runs, metrics, artifacts, logged_models, uploads)  # importing them fills the table

# The release of MLflow whose client this server is tested with; old clients ask for it.
PROTOCOL_VERSION = "3.17.2"


async def server_info(_: Request) -> Response:
    """What a client must know before it signs in: that workspaces (projects) are on, and no multipart uploads."""
    return call.respond(
        {
            "store_type": "SqlStore",
            "workspaces_enabled": True,
            "trace_archival_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
            "features_enabled": {"gateway": False},
        }
    )


async def version(_: Request) -> Response:
    """The protocol's version, as plain text."""
    return Response(PROTOCOL_VERSION, media_type="text/plain")


def install(app: FastAPI) -> None:
    """Loops of training and charts call these most; they are found without a walk along all routes."""
    for prefix in ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"):
        front.install(app, prefix, _answer, _METHODS)


async def file_of_run(request: Request) -> Response:
    """`GET /get-artifact?run_id=&path=`, where MLflow's own server has it too."""
    who = await guard.signed(request)
    asked = call.Call(request, request.app.state.host, who, dict(request.query_params), {})
    found: Response = await artifacts.get_of_run(asked)
    return found


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_answer = call.guarded(call.answer)
router.routes.append(Route("/get-artifact", call.guarded(file_of_run), methods=["GET"], include_in_schema=False))
router.routes.append(Route("/version", version, methods=["GET"], include_in_schema=False))
for _prefix in ("/api", "/ajax-api"):
    router.routes.append(Route(f"{_prefix}/3.0/mlflow/server-info", server_info, methods=["GET"]))
    for _major in ("2.0", "3.0"):
        router.routes += [
            Route(f"{_prefix}/{_major}/mlflow/{{rest:path}}", _answer, methods=_METHODS),
            Route(
                f"{_prefix}/{_major}/mlflow-artifacts/{{rest:path}}",
                call.guarded(artifacts.answer_files),
                methods=_METHODS,
            ),
        ]
