"""Pages of environments: what there is, what is being built, and asking for another."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from headway.engines.host import Host
from headway.environments import formats, lock, service
from headway.environments.ask import MAX_BYTES
from headway.environments.loop import folder
from headway.environments.states import UNDER_WAY
from headway.environments.tables import Environment
from headway.errors import BadInput, HeadwayError, TooLarge
from headway.people.guard import Signed
from headway.people.rules import EDIT
from headway.projects import service as projects
from headway.web import live
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import page, redirect

router = APIRouter(include_in_schema=False)

NAV = [NavItem("Environments", "boxes", "environments", 70)]
KINDS = [
    ("requirements", "requirements.txt"),
    ("pyproject", "pyproject.toml"),
    ("pep723", "script with a # /// header"),
    ("conda", "environment.yml"),
]

Text = Annotated[str, Form()]


@router.get("/p/{slug}/environments")
def index(request: Request, who: Signed, db: ReadDb, slug: str) -> Response:
    """All environments of the project, newest first."""
    project = projects.by_slug(db, who, slug)
    rows = service.listed(db, who, project)
    return page(
        request,
        "environments/list.html",
        who=who,
        project=project,
        title="Environments",
        rows=rows,
        current=service.for_project(db, project),
        coming=service.coming(db, project),
        under_way=[row for row in rows if row.state in UNDER_WAY],
    )


@router.get("/p/{slug}/environments/new")
def new_page(request: Request, who: Signed, db: ReadDb, slug: str, like: str = "") -> Response:
    """The form, filled with what another environment (`like`, else the current one) was asked for."""
    project = projects.by_slug(db, who, slug, EDIT)
    source = service.get(db, who, project, like) if like else service.for_project(db, project)
    source = source or service.coming(db, project)
    values = {"text": service.USUAL, "kind": "requirements", "use": "on"}
    if source is not None and source.kind != "lock":
        values |= {"text": source.asked, "kind": source.kind, "from_source": "on" if source.from_source else ""}
    elif source is not None:
        values["text"] = source.asked
    return _form(request, who, project, values, {})


@router.post("/p/{slug}/environments/new")
def new(
    request: Request,
    who: Signed,
    db: Db,
    slug: str,
    text: Text = "",
    kind: Text = "requirements",
    name: Text = "",
    use: Text = "",
    from_source: Text = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Ask for it; the page of the new environment shows the build."""
    project = projects.by_slug(db, who, slug, EDIT)
    values = {"text": text, "kind": kind, "name": name, "use": use, "from_source": from_source}
    try:
        if file is not None and file.filename:
            values["text"], values["kind"] = _uploaded(file), formats.kind_of(file.filename)
        row = service.ask(
            db,
            who,
            project,
            values["text"],
            values["kind"],
            name=name.strip(),
            use=use == "on",
            from_source=from_source == "on",
        )
    except (BadInput, TooLarge) as problem:
        return _form(request, who, project, values, {"text": f"{problem.message} {problem.hint}".strip()}, problem)
    return redirect(f"/p/{project.slug}/environments/{row.id}")


def _uploaded(file: UploadFile) -> str:
    try:
        return file.file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{(file.filename or 'The file')[:100]} is not a text file in UTF-8.") from None


def _form(
    request: Request,
    who: Signed,
    project: Any,
    values: dict[str, str],
    errors: dict[str, str],
    problem: HeadwayError | None = None,
) -> Response:
    return page(
        request,
        "environments/new.html",
        who=who,
        project=project,
        title="New environment",
        status=422 if errors else 200,
        values={"name": "", "use": "", "from_source": ""} | values,
        errors=errors,
        kinds=KINDS,
        translated=problem.details.get("translated", "") if problem else "",
    )


@router.get("/p/{slug}/environments/{environment_id}")
def show(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, environment_id: str) -> Response:
    """One environment: how it is, its packages, its log, and how it differs from the one in use."""
    project = projects.by_slug(db, who, slug)
    row = service.get(db, who, project, environment_id)
    current, coming = service.for_project(db, project), service.coming(db, project)
    compared = row.ready and current is not None and current.hash != row.hash
    return page(
        request,
        "environments/show.html",
        who=who,
        project=project,
        title=row.name,
        row=row,
        packages=[pin.split("==", 1) for pin in row.lock.split()],
        requirements=json.loads(row.requirements),
        notes=json.loads(row.notes),
        in_use=current is not None and current.id == row.id,
        wanted=coming is not None and coming.id == row.id,
        under_way=row.state in UNDER_WAY,
        difference=lock.difference(current.lock, row.lock) if compared and current else [],
        current=current,
        has_log=_log(host, row).is_file() or row.state in UNDER_WAY,
    )


@router.get("/p/{slug}/environments/{environment_id}/log")
def log(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, environment_id: str) -> StreamingResponse:
    """What the build prints, live."""
    row = service.get(db, who, projects.by_slug(db, who, slug), environment_id)
    return live.sse(_follow(request, host, row, live.resume_offset(request)))


async def _follow(request: Request, host: Host, row: Environment, offset: int) -> AsyncIterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def ended() -> bool:
        with host.database.read() as db:
            return service.by_id(db, row.id).state not in UNDER_WAY

    async for position, piece in live.tail(request, _log(host, row), offset, ended):
        yield live.event({"text": decoder.decode(piece)}, name="output", id=position)
    with host.database.read() as db:
        state = service.by_id(db, row.id).state
    yield live.event({"status": state}, name="end")


@router.post("/p/{slug}/environments/{environment_id}/cancel")
def cancel(who: Signed, db: Db, slug: str, environment_id: str) -> Response:
    """Stop a build."""
    project = projects.by_slug(db, who, slug, EDIT)
    row = service.cancel(db, who, project, environment_id)
    return redirect(f"/p/{project.slug}/environments/{row.id}", "The build is being stopped.")


@router.post("/p/{slug}/environments/{environment_id}/use")
def use(who: Signed, db: Db, slug: str, environment_id: str) -> Response:
    """Let the project use it."""
    project = projects.by_slug(db, who, slug, EDIT)
    row = service.use(db, who, project, environment_id)
    said = "New kernels and runs use it now." if row.ready else "The project changes to it as soon as it is ready."
    return redirect(f"/p/{project.slug}/environments/{row.id}", said)


def _log(host: Host, row: Environment) -> Path:
    return folder(host, row.id, row.attempt) / "output.log"
