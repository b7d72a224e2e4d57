"""Many runs at once: tag, delete, restore. Those named, or all that a filter finds, some thousands a request.

A request does a part and says where it stopped, so that no transaction holds up the writers of runs for long, and whoever
asked can show how far it is. Doing a part twice changes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, NotFound
from headway.people import audit, guard
from headway.people.rules import RUN, Who
from headway.projects.tables import Project
from headway.storage import direct
from headway.tracking import limits
from headway.tracking.find import query
from headway.tracking.find.search import parse_filter
from headway.tracking.show import cells
from headway.tracking.store import keys
from headway.tracking.tables import Run

ACTIONS = ("tag", "untag", "delete", "restore")
AT_ONCE = 2000
_PIECE = 500
_RUNS: Any = bindparam("runs", expanding=True)
_DELETE = text(
    "UPDATE runs SET lifecycle = 'deleted', deleted_at = :now, version = version + 1 WHERE id IN :runs AND lifecycle = 'active'"
).bindparams(_RUNS)
_RESTORE = text(
    "UPDATE runs SET lifecycle = 'active', deleted_at = NULL, version = version + 1 WHERE id IN :runs AND lifecycle = 'deleted'"
).bindparams(_RUNS)
_TOUCH = text("UPDATE runs SET version = version + 1 WHERE id IN :runs").bindparams(_RUNS)
_UNTAG = text("DELETE FROM tags WHERE key_id = :key AND run_id IN :runs").bindparams(_RUNS)
_TAG = direct.Sql(
    "INSERT INTO tags (run_id, key_id, experiment_id, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (run_id, key_id) DO UPDATE SET value = excluded.value"
)


@dataclass(frozen=True)
class Selection:
    """Which runs: `run_ids`, else all that the table finds with this filter, but `without`."""

    run_ids: Sequence[str] = ()
    filter: str = ""
    experiments: Sequence[str] = ()
    deleted: bool = False
    children: bool | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Done:
    """How many runs were changed, and where to go on; "" where nothing is left."""

    changed: int
    next: str


def apply(
    db: Session, who: Who, project: Project, action: str, selection: Selection, *, key: str = "", value: str = "",
    cursor: str = "",
) -> Done:  # fmt: skip
    """Do `action` to a part of the selection. Raises `BadInput`, `Forbidden`, `NotFound`."""
    guard.check(db, who, RUN, project.id)
    if action not in ACTIONS:
        raise BadInput(f"Runs can't be asked to '{action[:40]}'.", field="action", hint=f"One of: {', '.join(ACTIONS)}")
    if action in ("tag", "untag"):
        key = limits.key(_own(key.strip()), "key")
        value = limits.text(value, "value", limits.TAG_VALUE)
    rows, following = _part(db, who, project, selection, cursor)
    changed = _do(db, action, rows, key, value)
    if changed and action in ("delete", "restore"):
        audit.note(db, who, f"runs.{action}", project.slug, project_id=project.id, runs=changed)
    return Done(changed, following)


def _own(key: str) -> str:
    if key.startswith("mlflow."):
        raise BadInput(
            f"'{key}' is a tag that the platform writes.", field="key", hint="Choose a name of your own, such as team."
        )
    if not key:
        raise BadInput("A tag needs a name.", field="key", hint="For example: team")
    return key


def _part(db: Session, who: Who, project: Project, selection: Selection, cursor: str) -> tuple[list[Any], str]:
    if selection.run_ids:
        return _named(db, project, selection.run_ids, cursor)
    ask = cells.Ask(
        selection.filter, experiments=selection.experiments, deleted=selection.deleted, children=selection.children
    )
    where = cells.scope(db, who, project, ask)
    rows, following = query.find_runs(db, where, parse_filter(selection.filter), [], AT_ONCE, cursor or None)
    return [row for row in rows if row.uuid not in selection.without], following


def _named(db: Session, project: Project, run_ids: Sequence[str], cursor: str) -> tuple[list[Any], str]:
    start = int(cursor) if cursor.isascii() and cursor.isdigit() else 0
    wanted = list(dict.fromkeys(run_ids))
    part = wanted[start : start + AT_ONCE]
    found: list[Any] = []
    for at in range(0, len(part), _PIECE):
        found += db.execute(
            select(Run.id, Run.uuid, Run.experiment_id).where(Run.uuid.in_(part[at : at + _PIECE]), Run.project_id == project.id)
        ).all()  # fmt: skip
    missing = set(part) - {row.uuid for row in found}
    if missing:
        raise NotFound(f"Run with id={min(missing)[:80]} not found in {project.slug}; nothing was changed.",
                       hint="Was it removed for good meanwhile? Load the page anew.")  # fmt: skip
    return found, str(start + AT_ONCE) if start + AT_ONCE < len(wanted) else ""


def _do(db: Session, action: str, rows: Sequence[Any], key: str, value: str) -> int:
    changed = 0
    key_id = _key_id(db, action, key)
    for at in range(0, len(rows), _PIECE):
        piece = rows[at : at + _PIECE]
        runs = [row.id for row in piece]
        if action == "delete":
            changed += _count(db.execute(_DELETE, {"runs": runs, "now": now_ms()}))
        elif action == "restore":
            changed += _count(db.execute(_RESTORE, {"runs": runs}))
        elif key_id is not None:
            db.execute(_TOUCH, {"runs": runs})
            if action == "tag":
                direct.of(db).many(_TAG, [(row.id, key_id, row.experiment_id, value) for row in piece])
                changed += len(piece)
            else:
                changed += _count(db.execute(_UNTAG, {"runs": runs, "key": key_id}))
    return changed


def _key_id(db: Session, action: str, key: str) -> int | None:
    if action == "tag":
        return keys.ensure(db, [key])[key]
    return keys.find(db, [key]).get(key) if action == "untag" else None


def _count(result: Any) -> int:
    return int(result.rowcount)
