"""Saved views of the runs explorer: a name for the state that is otherwise in the page's address.

A view is its maker's own, or shared with the project. One of them may be where the page begins: somebody's own default wins over
the project's.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, Conflict, NotFound
from headway.people import guard
from headway.people.rules import EDIT, VIEW, Who
from headway.projects.tables import Project
from headway.tracking.tables import RunView

NAME, QUERY, MOST = 80, 8000, 200
FIXED = ("run_name", "status", "start_time", "duration", "experiment", "user_id")
"""Columns that every run has, as the state names them."""

# What the address may hold, in the order in which it is written; the page's script (runs/state.js) has the same.
LISTS = ("experiment", "sort", "column", "pin", "width", "chart")
WORDS = ("filter", "group", "panel", "top", "x", "y", "color", "axis", "smooth")
FLAGS = ("deleted", "children", "log", "mean")
_ORDER = {name: place for place, name in enumerate((*WORDS[:1], *LISTS, *WORDS[1:], *FLAGS))}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_fixed(column: str) -> bool:
    """Whether every run has this column: nothing has to be read for it."""
    return column in FIXED


def clean(query: str) -> str:
    """A state as it is kept: only what a state may hold, in one order. Raises `BadInput` for one that is too long.

    >>> clean("?sort=metrics.auc+DESC&after=x&filter=lr&deleted=false")
    'filter=lr&sort=metrics.auc+DESC'
    """
    pairs: list[tuple[str, str]] = parse_qsl(query.removeprefix("?"), max_num_fields=2000)
    kept = [(name, value) for name, value in pairs if name in _ORDER and (name not in FLAGS or value == "true")]
    kept.sort(key=lambda pair: _ORDER[pair[0]])
    text = urlencode(kept)
    if len(text) > QUERY:
        raise BadInput(f"This view is too long to be kept: {len(text)} characters of at most {QUERY}.", field="query",
                       hint="Show fewer columns, or shorten the filter.")  # fmt: skip
    return text


def clean_name(name: str) -> str:
    """A view's name without odd white space. Raises `BadInput`."""
    found = " ".join(_CONTROL.sub(" ", name).split())
    if not 0 < len(found) <= NAME:
        raise BadInput(
            f"A view needs a name of 1 to {NAME} characters.", field="name", hint="For example: best of March"
        )
    return found


def told(view: RunView, who: Who) -> dict[str, Any]:
    """A view as JSON."""
    return {"id": view.id, "name": view.name, "query": view.query, "shared": view.shared, "default": view.is_default,
            "mine": view.user_id == who.user_id, "updated_at": view.updated_at}  # fmt: skip


def visible(db: Session, who: Who, project: Project) -> list[RunView]:
    """The views that `who` may use, by name. The caller has checked that `who` may see the project."""
    mine = or_(RunView.user_id == who.user_id, RunView.shared)
    return list(db.scalars(select(RunView).where(RunView.project_id == project.id, mine).order_by(RunView.name)))


def default(db: Session, who: Who, project: Project) -> RunView | None:
    """The view with which the page begins for `who`, if there is one."""
    found = [view for view in visible(db, who, project) if view.is_default]
    return next(
        (view for view in found if view.user_id == who.user_id and not view.shared), found[0] if found else None
    )


def save(
    db: Session, who: Who, project: Project, name: str, query: str, *, shared: bool = False, is_default: bool = False
) -> RunView:
    """Keep a state under a new name. Sharing takes an editor. Raises `BadInput`, `Conflict`, `Forbidden`."""
    guard.check(db, who, EDIT if shared else VIEW, project.id)
    name, query = clean_name(name), clean(query)
    mine = list(db.scalars(select(RunView).where(RunView.project_id == project.id, RunView.user_id == who.user_id)))
    _unless_taken(db, project.id, who, name, shared)
    if len(mine) >= MOST:
        raise BadInput(f"You have {MOST} views here already.", hint="Delete those that you don't need.")
    now = now_ms()
    view = RunView(project_id=project.id, user_id=who.user_id, name=name, query=query, shared=shared, is_default=False,
                   created_at=now, updated_at=now)  # fmt: skip
    db.add(view)
    db.flush()
    if is_default:
        _make_default(db, view)
    return view


def change(
    db: Session, who: Who, project: Project, number: int, *, name: str | None = None, query: str | None = None,
    shared: bool | None = None, is_default: bool | None = None,
) -> RunView:  # fmt: skip
    """Change a view; what is None stays. Raises `NotFound`, `Forbidden`, `BadInput`, `Conflict`."""
    view = _find(db, who, project, number)
    if shared and not view.shared:
        guard.check(db, who, EDIT, project.id)
    if name is not None or shared is not None:
        name = clean_name(name if name is not None else view.name)
        shared = view.shared if shared is None else shared
        _unless_taken(db, project.id, who, name, shared, but=view.id)
        view.name, view.shared = name, shared
    if query is not None:
        view.query = clean(query)
    view.updated_at = now_ms()
    db.flush()
    if is_default:
        _make_default(db, view)
    elif is_default is not None:
        view.is_default = False
    return view


def remove(db: Session, who: Who, project: Project, number: int) -> None:
    """Delete a view. Raises `NotFound`, `Forbidden`."""
    db.delete(_find(db, who, project, number))


def _find(db: Session, who: Who, project: Project, number: int) -> RunView:
    """A view to change: one's own, or a shared one with the right to edit."""
    guard.check(db, who, VIEW, project.id)
    view = db.get(RunView, number)
    if view is None or view.project_id != project.id or not (view.shared or view.user_id == who.user_id):
        raise NotFound(f"There is no view {number} here.", hint="Was it deleted meanwhile?")
    if view.shared:
        guard.check(db, who, EDIT, project.id)
    return view


def _unless_taken(db: Session, project_id: str, who: Who, name: str, shared: bool, but: int = 0) -> None:
    """Names are one's own, or the project's; two of a kind would be told apart by nobody."""
    same = select(RunView.id).where(RunView.project_id == project_id, RunView.name == name, RunView.id != but)
    same = same.where(RunView.shared) if shared else same.where(RunView.user_id == who.user_id, ~RunView.shared)
    if db.scalar(same) is not None:
        raise Conflict(f"There is a view '{name}' already.", hint="Choose another name, or save over that one.")


def _make_default(db: Session, view: RunView) -> None:
    others = update(RunView).where(RunView.project_id == view.project_id, RunView.shared == view.shared)
    if not view.shared:
        others = others.where(RunView.user_id == view.user_id)
    db.execute(others.values(is_default=False))
    view.is_default = True
    db.flush()
