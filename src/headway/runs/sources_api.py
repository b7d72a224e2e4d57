"""Sending a folder along with a run."""

from __future__ import annotations

import tempfile
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from headway.errors import BadInput, TooLarge
from headway.people.guard import Signed
from headway.people.rules import RUN
from headway.projects import service as projects
from headway.runs import sources
from headway.web import safety
from headway.web.answers import docs_responses
from headway.web.edge import HostDep

router = APIRouter(prefix="/api/v1/projects/{slug}/sources", tags=["runs"], responses=docs_responses())


@router.post("", status_code=201)
async def send(request: Request, who: Signed, host: HostDep, slug: str) -> dict[str, Any]:
    """Keep the folder in the body, a tar archive (gzipped or not); `source` in the answer is for submitting a run of it."""

    def allowed() -> str:
        with host.database.read() as db:
            return projects.by_slug(db, who, slug, RUN).id

    project_id = await to_thread.run_sync(allowed)
    safety.streams(request)
    size = 0
    with tempfile.TemporaryFile(dir=host.settings.path()) as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > sources.MOST_BYTES + (16 << 20):
                raise TooLarge(f"The archive is larger than {sources.MOST_BYTES >> 20} MiB.", hint="Send less.")
            await to_thread.run_sync(file.write, chunk)
        expected = request.headers.get("content-length")
        if expected is not None and int(expected) != size:
            raise BadInput(f"{expected} bytes were announced, {size} came.", hint="Nothing was kept; send it again.")
        file.seek(0)
        return {"source": await to_thread.run_sync(sources.keep, host, project_id, file), "size": size}
