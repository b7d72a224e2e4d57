"""The verbs of projects."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines.host import Host
from headway.errors import Conflict, NotFound, Unprocessable
from headway.people import audit, guard, members, rules
from headway.people.rules import APP, EDIT, OWN, VIEW, Who
from headway.projects import names
from headway.projects.tables import Project

MOST_DAYS = 3650


def create(db: Session, who: Who, name: str, description: str = "") -> Project:
    """A new project, owned by `who`. Its slug is made of its name; a taken one gets a number."""
    guard.check(db, who, EDIT, None)
    name, description = names.clean(name), names.clean_description(description)
    project = Project(id=new_id(), slug=_free_slug(db, name), name=name, description=description, created_at=now_ms(),
                      created_by=who.user_id)  # fmt: skip
    db.add(project)
    db.flush()
    members.add(db, project.id, who.user_id, "owner")
    audit.note(db, who, "project.create", project.slug, project_id=project.id)
    return project


def by_slug(db: Session, who: Who, slug: str, verb: str = VIEW) -> Project:
    """The project, if `who` may `verb` in it. Missing and foreign ones raise the same NotFound."""
    project = db.scalar(select(Project).where(Project.slug == slug))
    return _checked(db, who, project, verb)


def by_id(db: Session, who: Who, project_id: str, verb: str = VIEW) -> Project:
    """As `by_slug`, by its id."""
    return _checked(db, who, db.get(Project, project_id), verb)


def member_of(db: Session, who: Who, slug: str) -> Project:
    """The project, for anybody who has some role in it: an expert sees its name, though not its files and runs."""
    project = db.scalar(select(Project).where(Project.slug == slug))
    if project is None:
        raise missing()
    guard.check_any(db, who, (VIEW, APP), project.id)
    return project


def missing() -> NotFound:
    """What is said of a project that isn't there, or not for you: `guard.check` says the same."""
    return NotFound("There is no such project.", hint="Check the address, or ask for an invitation.")


def visible(db: Session, who: Who, *, archived: bool = False, verb: str | None = None) -> list[Project]:
    """The projects `who` has a part in (administrators: all), by name; with `verb` only those where they may do that."""
    query = select(Project).order_by(Project.name, Project.id)
    query = query.where(Project.archived_at.is_not(None) if archived else Project.archived_at.is_(None))
    roles = members.roles_of(db, who.user_id)
    if not who.admin:
        query = query.where(Project.id.in_(roles))
    if who.project_id is not None:
        query = query.where(Project.id == who.project_id)
    found = db.scalars(query)
    return [p for p in found if verb is None or rules.allowed(who, verb, p.id, roles.get(p.id))]


def rename(db: Session, who: Who, project: Project, name: str, description: str) -> Project:
    """Change name and description; the slug, and so every address, stays."""
    guard.check(db, who, OWN, project.id)
    project.name, project.description = names.clean(name), names.clean_description(description)
    audit.note(db, who, "project.rename", project.slug, project_id=project.id, name=project.name)
    return project


def days_of(words: str) -> int:
    """A number of days as it was typed."""
    if not (words.strip().isascii() and words.strip().isdigit() and len(words) < 10):
        raise Unprocessable(f"A whole number of days, got '{words[:20]}'.", field="keep_deleted_days")
    return int(words)


def keep_deleted(db: Session, who: Who, project: Project, days: int) -> Project:
    """How many days a deleted run or experiment can be restored before it is removed for good. Raises `Unprocessable`."""
    guard.check(db, who, OWN, project.id)
    if not 0 <= days <= MOST_DAYS:
        raise Unprocessable(f"Between 0 and {MOST_DAYS} days, got {days}.", field="keep_deleted_days")
    if days != project.keep_deleted_days:
        project.keep_deleted_days = days
        audit.note(db, who, "project.keep_deleted", project.slug, project_id=project.id, days=days)
    return project


def record(db: Session, who: Who, project: Project, wanted: bool) -> Project:
    """Whether what runs in the project is recorded by itself. It holds for what starts from then on."""
    guard.check(db, who, OWN, project.id)
    if wanted != project.records:
        project.records = wanted
        audit.note(db, who, "project.record", project.slug, project_id=project.id, on=wanted)
    return project


def archive(db: Session, who: Who, project: Project, archived: bool = True) -> Project:
    """Put a project away: nothing is deleted, it can be read and restored, and nothing new starts in it."""
    guard.check(db, who, OWN, project.id)
    project.archived_at = now_ms() if archived else None
    audit.note(db, who, "project.archive" if archived else "project.restore", project.slug, project_id=project.id)
    return project


def folder(host: Host, project: Project) -> Path:
    """The project's folder of files; made if it is not there."""
    path = host.settings.path("projects", project.slug)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _checked(db: Session, who: Who, project: Project | None, verb: str) -> Project:
    if project is None:
        raise missing()
    guard.check(db, who, verb, project.id)
    if project.archived_at is not None and verb not in (VIEW, OWN):
        raise Conflict("This project is archived.", hint="An owner can restore it in its settings.")
    return project


def _free_slug(db: Session, name: str) -> str:
    base = names.slug_of(name)
    taken = set(db.scalars(select(Project.slug).where(Project.slug.startswith(base, autoescape=True))))
    return next(slug for slug in (base if n == 1 else f"{base}-{n}" for n in count(1)) if slug not in taken)
