"""Large files in parts, and files by a signed address: `mlflow-artifacts/mpu/...`, `parts/...`, `presigned/...`, `signed/...`.

The client sends parts without its credentials, to addresses that this server signed: each is good for one part of one upload for
a day. A part is a blob that the upload holds; completing writes them one after the other into the file's own blob.
"""

from __future__ import annotations

import hmac
import posixpath
import re
from functools import partial
from typing import Any

from anyio import to_thread
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from headway.clock import new_id, now_ms
from headway.engines.host import Host
from headway.errors import BadInput, BadPath, Forbidden, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.storage import blobs
from headway.storage.blobs import Blob, Hold
from headway.tracking import artifacts, limits
from headway.tracking.show import download
from headway.tracking.wire import artifacts as proxy
from headway.tracking.wire.call import body_of, committed, respond

MOST_PARTS = 10_000
DAY_MS, DOWNLOAD_MS = 86_400_000, 900_000
_ID = re.compile(r"(\d{15})-[0-9a-f]{32}-[0-9a-f]{32}")


async def answer(request: Request, host: Host, who: Who, verb: str, path: str) -> Response:
    """`mpu/<create|complete|abort>/<folder>`: the file's name is the last part of the body's `path`."""
    told = await body_of(request)
    name = posixpath.basename(limits.text(told.get("path"), "path", artifacts.LONGEST).replace("\\", "/"))
    owner, rest = proxy.place(f"{path.strip('/')}/{name}" if name else path)
    if not rest or not name:
        raise BadPath(f"Invalid path {path[:200]!r}: it names no file.")
    await to_thread.run_sync(proxy.check, host, who, owner)
    if verb == "create":
        return respond(_create(request, host, owner, rest, limits.integer(told.get("num_parts"), "num_parts", 1)))
    upload = _mine(host, told.get("upload_id"), owner, rest)
    if verb == "abort":
        await committed(host, partial(_forget, upload=upload))
        return respond({})
    if verb != "complete":
        raise NotFound(f"There is no endpoint mlflow-artifacts/mpu/{verb[:40]}.", endpoint=True)
    blob = await to_thread.run_sync(_assemble, host, upload, told.get("parts"))

    def finish(db: Session) -> None:
        artifacts.keep(db, who, owner, rest, blob)
        _forget(db, upload)

    await committed(host, finish)
    return respond({})


def _base(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/api/2.0/mlflow-artifacts"


def _create(request: Request, host: Host, owner: str, rest: str, parts: int) -> dict[str, Any]:
    if not 1 <= parts <= MOST_PARTS:
        raise limits.invalid("num_parts", parts, f"It must be between 1 and {MOST_PARTS}.")
    start = f"{now_ms():015d}-{new_id()}"
    upload = f"{start}-{host.vault.sign('upload', f'{start}/{owner}/{rest}')[:32]}"
    return {
        "upload_id": upload,
        "credentials": [
            {"url": f"{_base(request)}/parts/{upload}/{n}?s={_sign(host, upload, n)}", "part_number": n, "headers": {}}
            for n in range(1, parts + 1)
        ],
    }


def _sign(host: Host, upload: str, number: int) -> str:
    return host.vault.sign("upload part", f"{upload}/{number}")


def _mine(host: Host, upload: Any, owner: str, rest: str) -> str:
    """The id of an upload of this very file, of the last day. Raises `NotFound`."""
    match = _ID.fullmatch(upload) if isinstance(upload, str) else None
    if match is not None:
        start, _, given = match.group().rpartition("-")
        known = host.vault.sign("upload", f"{start}/{owner}/{rest}")[:32]
        if hmac.compare_digest(known, given) and now_ms() - int(match[1]) < DAY_MS:
            return match.group()
    raise NotFound("There is no such upload of this file.", hint="It may be older than a day: begin anew.")


async def part(request: Request, host: Host, path: str) -> Response:
    """`PUT parts/<upload>/<number>?s=`: the signature is all it needs. The answer's ETag is the part's SHA-256."""
    upload, _, number = path.partition("/")
    match = _ID.fullmatch(upload)
    signed = match is not None and number.isdigit() and len(number) <= 5
    if not signed or not hmac.compare_digest(_sign(host, upload, int(number)), request.query_params.get("s", "")):
        raise Forbidden("This address is not one that this server signed.")
    if match is None or now_ms() - int(match[1]) >= DAY_MS:
        raise Forbidden("This address was good for a day.", hint="Begin the upload anew.")
    blob = await proxy.receive(request, host)
    await committed(host, lambda db: blobs.hold(db, blob, f"upload:{upload}/{number}"))
    return Response(headers={"ETag": f'"{blob.sha256}"'})


def _assemble(host: Host, upload: str, told: Any) -> Blob:
    if not isinstance(told, list) or not told or not all(isinstance(one, dict) for one in told):
        raise limits.missing("parts")
    prefix = f"upload:{upload}/"
    with host.database.read() as db:
        query = select(Hold).where(Hold.owner.startswith(prefix, autoescape=True))
        have = {hold.owner.removeprefix(prefix): hold.sha256 for hold in db.scalars(query)}
    wanted = []
    for one in sorted(told, key=lambda one: limits.integer(one.get("part_number"), "parts.part_number")):
        sha256 = have.get(str(one["part_number"]))
        if sha256 is None or str(one.get("etag", "")).strip('"') != sha256:
            raise BadInput(f"Part {one['part_number']} has not come, or is another one.", hint="Send it again.")
        wanted.append(sha256)
    return host.blobs.put(
        (piece for sha256 in wanted for piece in host.blobs.open(sha256)), host.settings.upload_mb << 20
    )


def _forget(db: Session, upload: str) -> None:
    blobs.release(db, f"upload:{upload}/", below=True)


def expire(db: Session, now: int) -> None:
    """Let go the parts of uploads that were begun more than a day ago and never completed."""
    old = Hold.owner.startswith("upload:"), Hold.owner < f"upload:{now - DAY_MS:015d}"
    db.execute(delete(Hold).where(*old))


# ---------------------------------------------------------------- signed downloads
def presign(request: Request, host: Host, who: Who, path: str) -> Response:
    """`GET presigned/<path>`: an address that gives this file to who has it, for a quarter of an hour; ranges included."""
    owner, rest = proxy.place(path)
    file = proxy.file_of(host, who, owner, rest)
    until = now_ms() + DOWNLOAD_MS
    signature = host.vault.sign("download", f"{until}/{owner}/{rest}/{file.sha256}")
    url = f"{_base(request)}/signed/{until}/{signature}/{owner}/{rest}"
    return respond({"url": url, "headers": {}, "file_size": file.size})


def signed(request: Request, host: Host, path: str) -> Response:
    """`GET signed/...`: the file, if this server signed the address and it is still good."""
    until, signature, owner, rest = [*path.split("/", 3), "", "", ""][:4]
    if not until.isdigit() or len(until) > 15 or int(until) < now_ms():
        raise Forbidden("This address is no longer good.", hint="Ask for a new one.")
    with host.database.read() as db:
        try:
            file = artifacts.find(db, owner, rest)
        except NotFound:
            raise Forbidden("This address is not one that this server signed.") from None
    if not hmac.compare_digest(host.vault.sign("download", f"{until}/{owner}/{rest}/{file.sha256}"), signature):
        raise Forbidden("This address is not one that this server signed.")
    return download.send(request, host, file, attachment=True)


# ---------------------------------------------------------------- routes
def _only(request: Request, method: str) -> None:
    if request.method != method:
        raise NotFound(f"There is no endpoint {request.method} {request.url.path[:200]}.", endpoint=True)


async def _mpu(request: Request, host: Host, path: str) -> Response:
    who = await guard.signed(request)
    _only(request, "POST")
    verb, _, rest = path.partition("/")
    return await answer(request, host, who, verb, rest)


async def _parts(request: Request, host: Host, path: str) -> Response:
    _only(request, "PUT")
    return await part(request, host, path)


async def _presigned(request: Request, host: Host, path: str) -> Response:
    who = await guard.signed(request)
    _only(request, "GET")
    return await to_thread.run_sync(presign, request, host, who, path)


async def _signed(request: Request, host: Host, path: str) -> Response:
    _only(request, "GET")
    return await to_thread.run_sync(signed, request, host, path)


proxy.OTHERS.update(mpu=_mpu, parts=_parts, presigned=_presigned, signed=_signed)
