"""Sending stored bytes: in pieces, in part where a range is asked, and never as something a browser would run."""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headway.engines.host import Host
from headway.tracking.tables import Artifact

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
# What a browser may show by itself: nothing here can hold a script, and `nosniff` keeps it at its word.
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "text/csv", "application/json"})
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def kind(path: str) -> str:
    """The media type by the file's name; text for what people read, bytes for the rest."""
    name = path.rpartition("/")[2]
    if name in ("MLmodel", "requirements.txt") or name.endswith(
        (".log", ".yaml", ".yml", ".toml", ".py", ".md", ".ipynb")
    ):
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def send(request: Request, host: Host, file: Artifact, *, attachment: bool) -> Response:
    """The file, or the part of it that `Range` asks for. Raises `NotFound` if its bytes are gone."""
    media = kind(file.path)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{file.sha256}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": "private, no-cache",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if attachment or media not in INLINE:
        name = file.path.rpartition("/")[2]
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(name)}"
    start, end, status = 0, file.size, 200
    asked = request.headers.get("range")
    if asked and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        part = span(asked, file.size)
        if part is not None and part[0] >= part[1]:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
        if part is not None:
            (start, end), status = part, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media)
    return StreamingResponse(host.blobs.open(file.sha256, start, end), status, headers, media)


def framed(host: Host, file: Artifact, policy: str) -> Response:
    """An HTML file under a policy of its own, which must sandbox it."""
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache",
               "Content-Length": str(file.size)}  # fmt: skip
    return StreamingResponse(host.blobs.open(file.sha256), 200, headers, "text/html; charset=utf-8")


def span(asked: str, size: int) -> tuple[int, int] | None:
    """(start, end) of a `Range` header; an empty one if it can't be fulfilled; None if it isn't one range of bytes."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or asked.strip() == "bytes=-":
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if last == "" else min(int(last) + 1, size)
    return (start, end) if start < end else (0, 0)
