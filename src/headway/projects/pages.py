"""Pages of a project itself: making one, its files, its people, its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.datastructures import UploadFile

from headway.clock import now_ms
from headway.errors import BadInput, HeadwayError
from headway.people import guard, members
from headway.people.guard import Person, Signed
from headway.people.rules import EDIT, OWN, ROLE_HELP
from headway.projects import files, paths, preview, service
from headway.projects.api import download
from headway.projects.tables import Project
from headway.web import safety
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import page, redirect

router = APIRouter(include_in_schema=False)

NAV = [
    NavItem("Files", "folder", "files", 15),
    NavItem("People", "users", "people", 90),
    NavItem("Settings", "settings", "settings", 95, verb="own"),
]

Text = Annotated[str, Form()]
ROLE_CHOICES = [(role, f"{role.capitalize()}: {text}") for role, text in ROLE_HELP.items()]


# ------------------------------------------------------------------ a new one


@router.get("/new-project")
def new_page(request: Request, who: Signed) -> Response:
    return page(request, "projects/new.html", who=who, title="New project", values={}, errors={})


@router.post("/new-project")
def new(request: Request, who: Signed, db: Db, host: HostDep, name: Text = "", description: Text = "") -> Response:
    try:
        with db.begin_nested():
            project = service.create(db, who, name, description)
    except HeadwayError as problem:
        if problem.status != 422:
            raise
        values = {"name": name[:200], "description": description[:1200]}
        return page(
            request,
            "projects/new.html",
            who=who,
            title="New project",
            status=422,
            values=values,
            errors=_errors(problem),
        )
    service.folder(host, project)
    return redirect(f"/p/{project.slug}")


def _errors(problem: HeadwayError) -> dict[str, str]:
    return {str(problem.details.get("field", "name")): f"{problem.message} {problem.hint}".strip()}


# ------------------------------------------------------------------ files


@router.get("/p/{slug}/files")
def files_page(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, path: str = "") -> Response:
    project = service.by_slug(db, who, slug)
    parts = paths.folder_of(path)
    entries = files.listing(service.folder(host, project), parts)
    return page(
        request,
        "projects/files.html",
        who=who,
        project=project,
        title="Files",
        entries=entries,
        full=len(entries) >= files.LISTED,
        parts=parts,
        path="/".join(parts),
    )


@router.get("/p/{slug}/files/view")
def file_page(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, path: str) -> Response:
    project = service.by_slug(db, who, slug)
    parts = paths.parts_of(path)
    shown = preview.of(service.folder(host, project), parts)
    return page(
        request,
        "projects/file.html",
        who=who,
        project=project,
        title=parts[-1],
        shown=shown,
        parts=parts,
        path="/".join(parts),
    )


@router.get("/p/{slug}/files/raw")
def raw_file(who: Signed, db: ReadDb, host: HostDep, slug: str, path: str) -> Response:
    """A picture, for the page that shows it: only kinds that can't hold a script, under the policy of a sandbox."""
    parts = paths.parts_of(path)
    root = service.folder(host, service.by_slug(db, who, slug))
    kind = preview.picture_kind(parts[-1])
    if kind is None:
        raise BadInput("Only pictures are shown this way.", hint="Download the file.")
    response = download(root, parts)
    response.headers["content-type"] = kind
    response.headers["content-disposition"] = "inline"
    return response


@router.get("/p/{slug}/files/download")
def download_page(who: Signed, db: ReadDb, host: HostDep, slug: str, path: str) -> Response:
    return download(service.folder(host, service.by_slug(db, who, slug)), paths.parts_of(path))


@router.post("/p/{slug}/files/upload", dependencies=[Depends(safety.streams)])
async def upload(request: Request, who: Signed, host: HostDep, slug: str) -> Response:
    """One or more files of a form, into folder `path`. Nothing of it is read before it is known who sends it."""

    def allowed() -> Path:
        with host.database.read() as db:
            return service.folder(host, service.by_slug(db, who, slug, EDIT))

    try:
        root = await to_thread.run_sync(allowed)
        form = await request.form()
        folder = form.get("path", "")
        given = [item for item in form.getlist("files") if isinstance(item, UploadFile) and item.filename]
        if not given or not isinstance(folder, str):
            raise BadInput("No file came with this.", hint="Choose a file first.")
        # All names are looked at before the first byte is written: either all of them can be kept, or none is.
        wanted = [(item, (*paths.folder_of(folder), *paths.parts_of(item.filename or ""))) for item in given]
        for item, parts in wanted:
            await to_thread.run_sync(_save, root, parts, item, host.settings.upload_mb << 20)
        names = given[0].filename if len(given) == 1 else f"{len(given)} files"
        return redirect(_files_url(slug, folder), f"{names} uploaded.")
    finally:
        await request.close()  # and with it the temporary files that hold what came


def _save(root: Path, parts: tuple[str, ...], item: UploadFile, limit: int) -> None:
    with files.Upload(root, parts, limit) as target:
        while chunk := item.file.read(1 << 20):
            target.write(chunk)
        target.keep()


@router.post("/p/{slug}/files/folder")
def new_folder(who: Signed, db: Db, host: HostDep, slug: str, path: Text = "", name: Text = "") -> Response:
    root = service.folder(host, service.by_slug(db, who, slug, EDIT))
    parts = (*paths.folder_of(path), *paths.parts_of(name))
    files.make_folder(root, parts)
    return redirect(_files_url(slug, "/".join(parts)))


@router.post("/p/{slug}/files/move")
def move(who: Signed, db: Db, host: HostDep, slug: str, path: Text = "", to: Text = "") -> Response:
    root = service.folder(host, service.by_slug(db, who, slug, EDIT))
    source, target = paths.parts_of(path), paths.parts_of(to)
    files.move(root, source, target)
    return redirect(_files_url(slug, "/".join(target[:-1])), f"{source[-1]} is {'/'.join(target)} now.")


@router.post("/p/{slug}/files/delete")
def delete(who: Signed, db: Db, host: HostDep, slug: str, path: Text = "") -> Response:
    root = service.folder(host, service.by_slug(db, who, slug, EDIT))
    parts = paths.parts_of(path)
    files.delete(root, parts)
    return redirect(_files_url(slug, "/".join(parts[:-1])), f"{parts[-1]} is deleted.")


def _files_url(slug: str, folder: str) -> str:
    return f"/p/{slug}/files" + (f"?{urlencode({'path': folder})}" if folder else "")


# ------------------------------------------------------------------ people


@router.get("/p/{slug}/people")
def people_page(request: Request, who: Signed, db: ReadDb, slug: str) -> Response:
    project = service.by_slug(db, who, slug)
    return _people(request, who, db, project)


def _people(request: Request, who: Signed, db: Any, project: Project, link: str = "") -> Response:
    owner = guard.may(db, who, OWN, project.id)
    return page(
        request,
        "projects/people.html",
        who=who,
        project=project,
        title="People",
        people=members.listed(db, who, project.id),
        invitations=members.invitations(db, who, project.id) if owner else [],
        roles=ROLE_CHOICES,
        link=link,
        now=now_ms(),
    )


@router.post("/p/{slug}/people/invite")
def invite(
    request: Request, who: Person, db: Db, host: HostDep, slug: str, role: Text = "viewer", note: Text = ""
) -> Response:
    project = service.by_slug(db, who, slug, OWN)
    return _people(request, who, db, project, members.invite(db, who, host, project.id, role, note))


@router.post("/p/{slug}/people/withdraw")
def withdraw(who: Person, db: Db, slug: str, invitation: Text = "") -> Response:
    project = service.by_slug(db, who, slug, OWN)
    members.withdraw(db, who, project.id, invitation)
    return redirect(f"/p/{slug}/people", "The invitation is worth nothing now.")


@router.post("/p/{slug}/people/{user_id}/role")
def change_role(who: Person, db: Db, slug: str, user_id: str, role: Text = "") -> Response:
    project = service.by_slug(db, who, slug, OWN)
    members.set_role(db, who, project.id, user_id, role)
    return redirect(f"/p/{slug}/people", "The role is changed.")


@router.post("/p/{slug}/people/{user_id}/remove")
def remove(who: Person, db: Db, slug: str, user_id: str) -> Response:
    project = service.member_of(db, who, slug)
    members.remove(db, who, project.id, user_id)
    if user_id == who.user_id:
        return redirect("/", f"You left {project.name}.")
    return redirect(f"/p/{slug}/people", "They are no longer in this project.")


# ------------------------------------------------------------------ settings


@router.get("/p/{slug}/settings")
def settings_page(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str) -> Response:
    project = service.by_slug(db, who, slug, OWN)
    return _settings(request, who, host, project, _as_it_is(project), {})


@router.post("/p/{slug}/settings")
def change_settings(
    request: Request, who: Signed, db: Db, host: HostDep, slug: str, name: Text = "", description: Text = ""
) -> Response:
    project = service.by_slug(db, who, slug, OWN)
    try:
        service.rename(db, who, project, name, description)
    except HeadwayError as problem:
        values = _as_it_is(project) | {"name": name[:200], "description": description[:1200]}
        return _settings(request, who, host, project, values, _errors(problem), problem.status)
    return redirect(f"/p/{slug}/settings", "Saved.")


@router.post("/p/{slug}/settings/keep")
def keep(request: Request, who: Signed, db: Db, host: HostDep, slug: str, days: Text = "") -> Response:
    project = service.by_slug(db, who, slug, OWN)
    try:
        service.keep_deleted(db, who, project, service.days_of(days))
    except HeadwayError as problem:
        values = _as_it_is(project) | {"days": days[:20]}
        return _settings(request, who, host, project, values, {"days": problem.message}, problem.status)
    return redirect(f"/p/{slug}/settings", "Saved.")


@router.post("/p/{slug}/settings/record")
def record(who: Signed, db: Db, slug: str, record: Text = "") -> Response:
    project = service.record(db, who, service.by_slug(db, who, slug, OWN), record == "yes")
    said = "Experiments are recorded" if project.records else "Experiments are not recorded"
    return redirect(f"/p/{slug}/settings", f"{said} from the next start on.")


def _as_it_is(project: Project) -> dict[str, str]:
    return {"name": project.name, "description": project.description, "days": str(project.keep_deleted_days)}


@router.post("/p/{slug}/settings/archive")
def archive(who: Signed, db: Db, slug: str, archived: Text = "yes") -> Response:
    project = service.by_slug(db, who, slug, OWN)
    service.archive(db, who, project, archived == "yes")
    if project.archived_at is None:
        return redirect(f"/p/{slug}", f"{project.name} is back.")
    return redirect("/", f"{project.name} is archived. Nothing is deleted; its settings restore it.")


def _settings(request: Request, who: Signed, host: HostDep, project: Project, values: dict[str, str], errors: dict[str, str],
              status: int = 200) -> Response:  # fmt: skip
    return page(request, "projects/settings.html", who=who, project=project, title="Settings", status=status, values=values,
                errors=errors, folder=str(service.folder(host, project)))  # fmt: skip
