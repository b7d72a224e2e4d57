"""Cmd-K: anything by its name or id, as far as the person may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from headway.deployments.tables import Endpoint
from headway.engines.host import Host
from headway.home import inbox
from headway.models.tables import RegisteredModel
from headway.people import guard
from headway.people.rules import DEPLOY, EDIT, OWN, RUN, VIEW, Who
from headway.projects import service as projects_service
from headway.projects.tables import Project
from headway.runs.tables import Schedule
from headway.tracking.tables import Experiment, Run

KINDS = ("project", "run", "experiment", "model", "endpoint", "notebook", "schedule", "action")
EACH, LONGEST = 6, 100


@dataclass(frozen=True)
class Item:
    """One thing to go to. `icon` is a name of static/icons.txt."""

    label: str
    url: str
    kind: str
    icon: str
    hint: str = ""


def find(db: Session, host: Host, who: Who, text: str, *, slug: str = "", kind: str = "") -> list[dict[str, Any]]:
    """What matches `text`, at most six of a kind, this project's first. No text: the projects and what can be begun."""
    words = " ".join(text.split())[:LONGEST]
    mine = projects_service.visible(db, who, verb=VIEW)
    here = next((project for project in mine if project.slug == slug), None)
    mine.sort(key=lambda project: project.slug != slug)
    finders = {
        "project": lambda: _projects(mine, words, EACH if words else 12),
        "endpoint": lambda: _endpoints(db, mine, words),
        "model": lambda: _models(db, mine, words),
        "notebook": lambda: _notebooks(host, mine, words),
        "run": lambda: _runs(db, mine, words),
        "experiment": lambda: _experiments(db, mine, words),
        "schedule": lambda: _schedules(db, mine, words),
        "action": lambda: _actions(db, who, here, words),
    }
    wanted = [kind] if kind in finders else (list(finders) if words else ["action", "project"])
    return [asdict(item) for name in wanted for item in finders[name]()]


def _like(column: InstrumentedAttribute[str], words: str) -> ColumnElement[bool]:
    return func.lower(column).contains(words.lower(), autoescape=True)


def _projects(mine: Sequence[Project], words: str, limit: int) -> list[Item]:
    wanted = words.lower()
    found = [p for p in mine if wanted in p.name.lower() or wanted in p.slug]
    return [Item(p.name, f"/p/{p.slug}", "project", "layers", p.slug) for p in found[:limit]]


def _runs(db: Session, mine: Sequence[Project], words: str) -> list[Item]:
    by_id = {p.id: p for p in mine}
    query = select(Run).where(
        Run.project_id.in_(by_id),
        Run.lifecycle == "active",
        or_(_like(Run.name, words), Run.uuid.startswith(words.lower(), autoescape=True)),
    )
    found = db.scalars(query.order_by(Run.start_time.desc(), Run.uuid).limit(EACH))
    return [
        Item(
            r.name or r.uuid[:8],
            f"/p/{by_id[r.project_id].slug}/runs/{r.uuid}",
            "run",
            "play",
            by_id[r.project_id].name,
        )
        for r in found
    ]


def _experiments(db: Session, mine: Sequence[Project], words: str) -> list[Item]:
    by_id = {p.id: p for p in mine}
    query = select(Experiment).where(
        Experiment.project_id.in_(by_id), Experiment.lifecycle == "active", _like(Experiment.name, words)
    )
    return [
        Item(e.name, f"/p/{by_id[e.project_id].slug}/runs?{urlencode({'experiment': e.id})}", "experiment", "flask-conical",
             by_id[e.project_id].name)
        for e in db.scalars(query.order_by(Experiment.updated_at.desc()).limit(EACH))
    ]  # fmt: skip


def _models(db: Session, mine: Sequence[Project], words: str) -> list[Item]:
    by_id = {p.id: p for p in mine}
    query = select(RegisteredModel).where(
        RegisteredModel.project_id.in_(by_id), RegisteredModel.is_prompt.is_(False), _like(RegisteredModel.name, words)
    )
    return [
        Item(
            m.name,
            f"/p/{by_id[m.project_id].slug}/models/{quote(m.name, safe='')}",
            "model",
            "box",
            by_id[m.project_id].name,
        )
        for m in db.scalars(query.order_by(RegisteredModel.updated_at.desc()).limit(EACH))
    ]


def _endpoints(db: Session, mine: Sequence[Project], words: str) -> list[Item]:
    by_id = {p.id: p for p in mine}
    query = select(Endpoint).where(
        Endpoint.project_id.in_(by_id), Endpoint.removed_at == 0, _like(Endpoint.name, words)
    )
    return [
        Item(
            e.name, f"/p/{by_id[e.project_id].slug}/endpoints/{e.name}", "endpoint", "rocket", by_id[e.project_id].name
        )
        for e in db.scalars(query.order_by(Endpoint.name).limit(EACH))
    ]


def _schedules(db: Session, mine: Sequence[Project], words: str) -> list[Item]:
    by_id = {p.id: p for p in mine}
    query = select(Schedule).where(Schedule.project_id.in_(by_id), _like(Schedule.name, words))
    return [
        Item(s.name, f"/p/{by_id[s.project_id].slug}/schedules", "schedule", "calendar-clock", by_id[s.project_id].name)
        for s in db.scalars(query.order_by(Schedule.name).limit(EACH))
    ]


def _notebooks(host: Host, mine: Sequence[Project], words: str) -> list[Item]:
    wanted = words.lower()
    found = [one for one in inbox.notebooks(host, mine, limit=200) if wanted in one.path.lower()]
    return [
        Item(
            one.path,
            f"/p/{one.project.slug}/notebooks/{quote(one.path)}",
            "notebook",
            "notebook",
            one.project.name,
        )
        for one in found[:EACH]
    ]


def _actions(db: Session, who: Who, here: Project | None, words: str) -> list[Item]:
    """What can be begun from here: only what this person may do."""
    items = []
    if here is not None:
        base = f"/p/{here.slug}"
        for label, url, icon, verb in (
            ("New run", f"{base}/new-run", "play", RUN),
            ("New schedule", f"{base}/schedules", "calendar-clock", RUN),
            ("Upload files", f"{base}/files", "upload", EDIT),
            ("Open notebooks", f"{base}/notebooks", "notebook-pen", VIEW),
            ("Deploy a model", f"{base}/models", "rocket", DEPLOY),
            ("Invite someone", f"{base}/people", "user-plus", OWN),
        ):
            if guard.may(db, who, verb, here.id):
                items.append(Item(label, url, "action", icon, here.name))
    if guard.may(db, who, EDIT, None):
        items.append(Item("New project", "/new-project", "action", "folder-plus"))
    items.append(Item("New token", "/settings/tokens", "action", "key-round"))
    wanted = words.lower()
    return [item for item in items if wanted in item.label.lower()][:EACH]
