"""`artifacts/list` and `mlflow-artifacts/artifacts/...`: files go up and down in pieces, never through memory."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from anyio import to_thread
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from headway.engines.host import Host
from headway.errors import BadInput, BadPath, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.storage.blobs import PIECE, Writer
from headway.tracking import artifacts, service
from headway.tracking.show import download
from headway.tracking.tables import Artifact
from headway.tracking.wire import shapes
from headway.tracking.wire.call import Call, committed, endpoint, respond
from headway.tracking.wire.logged import run_id
from headway.web import safety

_PLACE = re.compile(r"(?:[^/]+/)*?(?P<owner>[0-9a-f]{32}|(?:[mv]|tr)-[0-9a-f]{32})/artifacts(?:/(?P<rest>.+))?")


@endpoint("GET", "artifacts/list", mode="read")
def list_of_run(call: Call, db: Session) -> dict[str, Any]:
    row = service.get_run(db, call.who, run_id(call))
    path = artifacts.check_path(call.text("path", required=False).rstrip("/"), empty=True)
    return {"root_uri": row.artifact_uri} | shapes.filled(files=shapes.files(artifacts.listing(db, row.uuid, path)))


@endpoint("GET", "get-artifact", mode="raw")
async def get_of_run(call: Call) -> Response:
    """A run's file, as MLflow's own pages ask for it."""
    path = artifacts.check_path(call.text("path"))
    file = await to_thread.run_sync(file_of, call.host, call.who, run_id(call), path)
    return download.send(call.request, call.host, file, attachment=True)


@endpoint("GET", "logged-models/{model_id}/artifacts/files", mode="raw")
async def get_of_model(call: Call) -> Response:
    """A logged model's file, as MLflow's own pages ask for it."""
    path = artifacts.check_path(call.text("artifact_file_path"))
    file = await to_thread.run_sync(file_of, call.host, call.who, call.path["model_id"], path)
    return download.send(call.request, call.host, file, attachment=True)


@endpoint("POST", "upload-artifact", mode="raw")
async def upload_to_run(call: Call) -> Response:
    """A small file into a run, as MLflow's own pages send it."""
    uuid, path = call.text("run_uuid", "run_id", required=False), call.text("path", required=False)
    if not uuid or not path:
        raise BadInput(f"Request must specify {'path' if uuid else 'run_uuid'}.")
    artifacts.check_path(path)
    await to_thread.run_sync(check, call.host, call.who, uuid)
    blob = await receive(call.request, call.host)
    if not blob.size:
        raise BadInput("Request must specify data.")
    await committed(call.host, lambda db: artifacts.keep(db, call.who, uuid, path, blob))
    return respond({})


def file_of(host: Host, who: Who, owner: str, path: str) -> Artifact:
    """A file that `who` may see. Raises `NotFound`."""
    with host.database.read() as db:
        artifacts.owner(db, who, owner, "view")
        return artifacts.find(db, owner, path)


async def answer_files(request: Request) -> Response:
    """A request below `mlflow-artifacts/`."""
    host: Host = request.app.state.host
    head, _, path = request.path_params["rest"].partition("/")
    if head in OTHERS:
        return await OTHERS[head](request, host, path)
    who = await guard.signed(request)
    if head != "artifacts":
        raise NotFound(f"There is no endpoint mlflow-artifacts/{head[:80]}.", endpoint=True)
    method = request.method
    if method == "PUT":
        return await _upload(request, host, who, path)
    if method == "DELETE":
        owner, rest = place(path)
        await committed(host, lambda db: artifacts.remove(db, who, owner, rest))
        return respond({})
    if path == "":
        return await to_thread.run_sync(_list, host, who, request.query_params.get("path", ""))
    file = await to_thread.run_sync(_find, host, who, path)
    return download.send(request, host, file, attachment=True)


# What else lies below `mlflow-artifacts/`; `uploads` puts itself here. They look after who may by themselves.
OTHERS: dict[str, Callable[[Request, Host, str], Awaitable[Response]]] = {}


def place(path: str) -> tuple[str, str]:
    """(owner's id, path in it) of a path in the proxy's tree. Raises `BadPath`, and `NotFound` where no owner is named."""
    artifacts.check_path(path)
    found = _PLACE.fullmatch(path)
    if found is None:
        raise NotFound(f"No artifact at {path[:200]!r}", hint="Artifacts lie below a run or a model.")
    return found["owner"], artifacts.check_path(found["rest"], empty=True)


def _find(host: Host, who: Who, path: str) -> Artifact:
    owner, rest = place(path)
    return file_of(host, who, owner, rest)


def _list(host: Host, who: Who, path: str) -> Response:
    path = path.strip("/") if path != "/" else ""
    if not path:
        return respond({})  # what lies above runs and models is nobody's to list
    owner, rest = place(path)
    with host.database.read() as db:
        artifacts.owner(db, who, owner, "view")
        found = artifacts.listing(db, owner, rest)
    return respond(orjson.dumps(shapes.filled(files=shapes.files(found, f"{rest}/" if rest else ""))))


async def _upload(request: Request, host: Host, who: Who, path: str) -> Response:
    owner, rest = place(path)
    if not rest:
        raise BadPath(f"Invalid path {path[:200]!r}: it names no file.")
    await to_thread.run_sync(check, host, who, owner)
    blob = await receive(request, host)
    await committed(host, lambda db: artifacts.keep(db, who, owner, rest, blob))
    return respond({})


def check(host: Host, who: Who, owner: str) -> None:
    """Raises unless `who` may put files there."""
    with host.database.read() as db:
        artifacts.writable(db, who, owner)


async def receive(request: Request, host: Host) -> Any:
    """The body as a stored blob, written piece by piece. Raises `TooLarge`, `StorageFull`; then nothing is left behind."""
    safety.streams(request)
    writer = await to_thread.run_sync(host.blobs.writer, host.settings.upload_mb << 20)
    try:
        pieces, size = [], 0
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size >= PIECE:
                await to_thread.run_sync(writer.write, b"".join(pieces))
                pieces, size = [], 0
        return await to_thread.run_sync(_finish, writer, b"".join(pieces))
    except BaseException:
        writer.abort()
        raise


def _finish(writer: Writer, piece: bytes) -> Any:
    if piece:
        writer.write(piece)
    return writer.finish()
