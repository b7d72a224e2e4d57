"""`/api/v1/runs/{run_id}/points`: whole columns of points in, and whole histories out, for our own SDK and capture.

A request is all or nothing, and durable once it is answered. With an `Idempotency-Key` it counts once, however often it is
sent: the key is kept for a day with the run, in the transaction that writes the points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import orjson
from anyio import to_thread
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from headway.clock import now_ms
from headway.engines.host import Host
from headway.errors import BadInput, TooLarge
from headway.people import guard
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.storage.direct import Direct
from headway.tracking import service
from headway.tracking.store import columns, history, keys, record, series
from headway.tracking.store.series import Packed
from headway.web import answers, front, safety
from headway.web.answers import docs_responses
from headway.web.edge import HostDep

router = APIRouter(prefix="/api/v1/runs", tags=["runs"], responses=docs_responses())
MOST_KEY = 200
_BINARY = {columns.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.post("/{run_id}/points", openapi_extra={"requestBody": {"required": True, "content": _BINARY}})
async def put(request: Request, run_id: str) -> Response:
    """Log points of any number of series. The body's format is in docs/tracking.md; header `Idempotency-Key` for retries."""
    who = await guard.signed(request)
    host: Host = request.app.state.host
    key = request.headers.get("idempotency-key", "")
    if len(key) > MOST_KEY:
        raise BadInput(f"An Idempotency-Key may have {MOST_KEY} characters.", field="Idempotency-Key")
    body = await _body(request)
    prepare = partial(_prepare, body)
    packed = prepare() if len(body) < 10_000 else await to_thread.run_sync(prepare)
    once = hashlib.sha256(key.encode()).hexdigest() if key else ""
    work = partial(_write, who=who, run_id=run_id, once=once, packed=packed)
    fresh = await host.database.group_direct(work, order=run_id)
    told = {"points": sum(one.short.points for one in packed.values()), "repeated": not fresh}
    return Response(orjson.dumps(told), media_type="application/json")


@router.get("/{run_id}/points", response_class=Response, responses={200: {"content": _BINARY}})
def get(who: Signed, host: HostDep, run_id: str, key: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """All points of the series named by `key`, of all if none is named, in order. The format is that of logging."""
    number = host.database.look(lambda db: service.seen_run(db, who, run_id)).id

    def pieces() -> Iterator[bytes]:
        yield columns.MAGIC
        with host.database.reader() as db:
            for name in key or keys.of_series(db, number):
                yield from columns.block(name, partial(history.pieces, db, number, name))

    return StreamingResponse(pieces(), media_type=columns.MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """The routes; training loops log by them, a few points at a time, so they are found at once."""
    app.include_router(router)
    front.install(app, "/api/v1/runs/", _guarded, ["POST"], suffix="/points")


async def _guarded(request: Request) -> Response:
    try:
        return await put(request, request.path_params["rest"])
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as error:
        return answers.answer(request, error)


async def _body(request: Request) -> bytes:
    safety.streams(request)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > columns.MOST_BYTES:
            raise TooLarge(
                f"More than {columns.MOST_BYTES >> 20} MiB of points.", hint="Send them in several requests."
            )
        pieces.append(piece)
    return b"".join(pieces)


def _prepare(body: bytes) -> dict[str, Packed]:
    return {name: series.packed(p) for name, p in columns.read(body).items()}


def _write(db: Direct, who: Who, run_id: str, once: str, packed: dict[str, Packed]) -> bool:
    run = record.touch(db, who, run_id)
    if once and not record.first_time(db, run, once, now_ms()):
        return False
    record.packed(db, run, packed)
    return True
