"""Projects, their files and their members, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict

from headway.errors import BadInput
from headway.people import members
from headway.people.guard import Signed
from headway.people.rules import EDIT, OWN
from headway.projects import files, paths, service
from headway.projects.tables import Project
from headway.web import safety
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])

_CHUNK = 1 << 20


class NewProject(BaseModel):
    """A new project."""

    model_config = ConfigDict(extra="forbid")
    name: str
    description: str = ""


class ProjectChange(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    description: str | None = None
    archived: bool | None = None
    keep_deleted_days: int | None = None
    records: bool | None = None


class Role(BaseModel):
    """A member's role."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["viewer", "expert", "editor", "owner"]


class NewInvitation(BaseModel):
    """An invitation by link."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["viewer", "expert", "editor", "owner"]
    note: str = ""


class Move(BaseModel):
    """A file's new path."""

    model_config = ConfigDict(extra="forbid")
    path: str
    to: str


@router.get("")
def list_projects(who: Signed, db: ReadDb, archived: bool = False) -> dict[str, Any]:
    """The projects one has a part in."""
    return {"projects": [as_dict(project) for project in service.visible(db, who, archived=archived)]}


@router.post("", status_code=201)
def create_project(who: Signed, db: Db, host: HostDep, body: NewProject) -> dict[str, Any]:
    """A new project, owned by whoever asks."""
    project = service.create(db, who, body.name, body.description)
    service.folder(host, project)
    return as_dict(project)


@router.get("/{slug}")
def show_project(who: Signed, db: ReadDb, slug: str) -> dict[str, Any]:
    """One project."""
    return as_dict(service.by_slug(db, who, slug))


@router.patch("/{slug}")
def change_project(who: Signed, db: Db, slug: str, body: ProjectChange) -> dict[str, Any]:
    """Rename, describe, archive or restore a project, or say how long deleted runs can be restored (owners)."""
    project = service.by_slug(db, who, slug, OWN)
    if body.name is not None or body.description is not None:
        name = project.name if body.name is None else body.name
        service.rename(db, who, project, name, project.description if body.description is None else body.description)
    if body.keep_deleted_days is not None:
        service.keep_deleted(db, who, project, body.keep_deleted_days)
    if body.records is not None:
        service.record(db, who, project, body.records)
    if body.archived is not None:
        service.archive(db, who, project, body.archived)
    return as_dict(project)


# ------------------------------------------------------------------ files


@router.get("/{slug}/files")
def list_files(who: Signed, db: ReadDb, host: HostDep, slug: str, path: str = "") -> dict[str, Any]:
    """What lies in one folder of the project."""
    root = service.folder(host, service.by_slug(db, who, slug))
    return {"files": [asdict(entry) for entry in files.listing(root, paths.folder_of(path))]}


@router.post("/{slug}/files/move")
def move_file(who: Signed, db: Db, host: HostDep, slug: str, body: Move) -> dict[str, Any]:
    """Give a file or folder another name or place; nothing is written over."""
    root = service.folder(host, service.by_slug(db, who, slug, EDIT))
    files.move(root, paths.parts_of(body.path), paths.parts_of(body.to))
    return {"path": body.to}


@router.get("/{slug}/files/{path:path}")
def download_file(who: Signed, db: ReadDb, host: HostDep, slug: str, path: str) -> Response:
    """A file's bytes, as a download: never shown by the browser as a page of ours."""
    return download(service.folder(host, service.by_slug(db, who, slug)), paths.parts_of(path))


@router.put("/{slug}/files/{path:path}", status_code=201)
async def upload_file(request: Request, who: Signed, host: HostDep, slug: str, path: str) -> dict[str, Any]:
    """Write a file; the request's body is its content. What was there is replaced at once, by the whole new file."""

    def allowed() -> Path:
        with host.database.read() as db:
            return service.folder(host, service.by_slug(db, who, slug, EDIT))

    root = await to_thread.run_sync(allowed)
    size = await receive(request, root, paths.parts_of(path), host.settings.upload_mb << 20)
    return {"path": path, "size": size}


@router.delete("/{slug}/files/{path:path}")
def delete_file(who: Signed, db: Db, host: HostDep, slug: str, path: str) -> dict[str, Any]:
    """Delete a file, or a folder with all that is in it."""
    files.delete(service.folder(host, service.by_slug(db, who, slug, EDIT)), paths.parts_of(path))
    return {"deleted": path}


async def receive(request: Request, root: Path, parts: tuple[str, ...], limit: int) -> int:
    """Stream a request's body into a file; returns its size in bytes. A body cut short leaves no file."""
    safety.streams(request)
    upload = files.Upload(root, parts, limit)
    await to_thread.run_sync(upload.__enter__)
    try:
        async for chunk in request.stream():
            if chunk:
                await to_thread.run_sync(upload.write, chunk)
        expected = request.headers.get("content-length")
        if expected is not None and int(expected) != upload.size:
            raise BadInput(
                f"{expected} bytes were announced, {upload.size} came.", hint="Nothing was saved; send it again."
            )
        await to_thread.run_sync(upload.keep)
    finally:
        await to_thread.run_sync(upload.__exit__)
    return upload.size


def download(root: Path, parts: tuple[str, ...]) -> Response:
    """A file as an attachment, whatever it is."""
    file = files.open_file(root, parts)
    size = file.seek(0, 2)
    file.seek(0)
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\;' else "_" for c in parts[-1])
    headers = {
        "content-length": str(size),
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{_quoted(parts[-1])}",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "no-store",
    }
    return StreamingResponse(_chunks(file, size), media_type="application/octet-stream", headers=headers)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """At most `size` bytes: a file that grows meanwhile must not run past the length that was announced."""
    with file:
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


# ------------------------------------------------------------------ members


@router.get("/{slug}/members")
def list_members(who: Signed, db: ReadDb, slug: str) -> dict[str, Any]:
    """Who is in the project, and as what."""
    project = service.by_slug(db, who, slug)
    found = members.listed(db, who, project.id)
    return {"members": [{"user_id": u.id, "name": u.name, "full_name": u.full_name, "role": m.role, "since": m.since}
                        for m, u in found]}  # fmt: skip


@router.put("/{slug}/members/{user_id}")
def change_member(who: Signed, db: Db, slug: str, user_id: str, body: Role) -> dict[str, Any]:
    """Give a member another role (owners)."""
    project = service.by_slug(db, who, slug, OWN)
    members.set_role(db, who, project.id, user_id, body.role)
    return {"user_id": user_id, "role": body.role}


@router.delete("/{slug}/members/{user_id}")
def remove_member(who: Signed, db: Db, slug: str, user_id: str) -> dict[str, Any]:
    """Take somebody out of the project (owners), or leave it (`me`)."""
    project = service.member_of(db, who, slug)
    user_id = who.user_id if user_id == "me" else user_id
    members.remove(db, who, project.id, user_id)
    return {"removed": user_id}


@router.post("/{slug}/invitations", status_code=201)
def invite(who: Signed, db: Db, host: HostDep, slug: str, body: NewInvitation) -> dict[str, Any]:
    """A link that makes whoever opens it a member, once (owners)."""
    project = service.by_slug(db, who, slug, OWN)
    return {"url": members.invite(db, who, host, project.id, body.role, body.note), "role": body.role}


def as_dict(project: Project) -> dict[str, Any]:
    """A project as JSON."""
    return {
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "description": project.description,
        "created_at": project.created_at,
        "archived": project.archived_at is not None,
        "keep_deleted_days": project.keep_deleted_days,
        "records": project.records,
        "url": f"/p/{project.slug}",
    }
