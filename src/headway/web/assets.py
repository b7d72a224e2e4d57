"""Stylesheet, scripts, fonts and icons: their addresses and how they are served.

The address holds a hash of the whole folder (`/static/<hash>/css/app.css`), so that a browser may keep a file for ever and a
module that imports its neighbour by a relative path gets the neighbour of the same version.
"""

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"


@cache
def version() -> str:
    """12 hex characters over the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(FOLDER)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def url(path: str) -> str:
    """The address of a file of `static/`: `url("css/app.css")`."""
    return f"/static/{version()}/{path}"


@cache
def icons() -> frozenset[str]:
    """Names that `icon(name)` knows: those of `static/icons.txt`, which the build puts into one sprite."""
    lines = (FOLDER / "icons.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


class Assets(StaticFiles):
    """Serves `static/` with or without the hash in the path: `app.mount("/static", Assets())`."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; kept for a year when the hash in its address is the current one, asked for again each time otherwise."""
        first, _, rest = path.partition("/")
        hashed = len(first) == 12 and all(char in "0123456789abcdef" for char in first)
        response = await super().get_response(rest if hashed else path, scope)
        kept = hashed and first == version() and response.status_code in (200, 206, 304)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return response
