"""The verbs of environments: ask, choose, cancel, find.

A project always has at most one current environment. A new one takes its place when it is ready, and only then, so work goes on
while it is built and a failed build changes nothing.
"""

from __future__ import annotations

import json
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines import keeper
from headway.engines.tables import Process
from headway.environments import formats, lock
from headway.environments.ask import Asked, checked, python_specifier, requirement
from headway.environments.states import ASKED, CANCELLED, READY, UNDER_WAY
from headway.environments.tables import Environment, ProjectEnvironment
from headway.errors import Conflict, NotFound
from headway.events import EnvironmentChanged, publish
from headway.people import audit, guard
from headway.people.rules import EDIT, VIEW, Who

USUAL = """\
numpy
pandas
pyarrow
scikit-learn
xgboost-cpu
lightgbm
matplotlib
seaborn
tqdm
ipywidgets
"""
"""What a new project gets. xgboost-cpu is xgboost without 300 MB of GPU libraries; the module is the same."""


class HasId(Protocol):
    """A project, as far as environments know it."""

    id: str


def for_project(db: Session, project: HasId) -> Environment | None:
    """The project's current environment, ready; None while the first one is being built."""
    choice = db.get(ProjectEnvironment, project.id)
    found = db.get(Environment, choice.current_id) if choice and choice.current_id else None
    return found if found is not None and found.ready else None


def coming(db: Session, project: HasId) -> Environment | None:
    """The one that will take the current one's place, whatever its state."""
    choice = db.get(ProjectEnvironment, project.id)
    return db.get(Environment, choice.wanted_id) if choice and choice.wanted_id else None


def by_id(db: Session, environment_id: str) -> Environment:
    """The environment of that id, in any state, for other slices (no permission is checked). Raises `NotFound`."""
    found = db.get(Environment, environment_id)
    if found is None:
        raise NotFound("There is no such environment.")
    return found


def get(db: Session, who: Who, project: HasId, environment_id: str) -> Environment:
    """An environment of this project. Raises `NotFound` for one of another project, too."""
    guard.check(db, who, VIEW, project.id)
    found = db.get(Environment, environment_id)
    if found is None or found.project_id != project.id:
        raise NotFound("There is no such environment in this project.")
    return found


def listed(db: Session, who: Who, project: HasId, limit: int = 200) -> list[Environment]:
    """The project's environments, newest first."""
    guard.check(db, who, VIEW, project.id)
    query = select(Environment).where(Environment.project_id == project.id)
    return list(db.scalars(query.order_by(Environment.created_at.desc(), Environment.id).limit(limit)))


def ask(
    db: Session,
    who: Who,
    project: HasId,
    text: str,
    kind: str = "requirements",
    *,
    name: str = "",
    use: bool = True,
    from_source: bool = False,
) -> Environment:
    """Ask for an environment; it is built in the background. `use`: the project changes to it as soon as it is ready.

    Raises `BadInput` that names the line for what can't be asked for. Asking again for what is under way gives that one.
    """
    guard.check(db, who, EDIT, project.id)
    asked = formats.read(text, kind)
    twin = _under_way(db, project.id, asked, from_source=from_source)
    row = twin or _add(db, project.id, asked, kind=kind, text=text, name=name or _named(kind), from_source=from_source)
    if twin is None:
        row.created_by = who.user_id
        audit.note(db, who, "environment.ask", row.id, project_id=project.id, kind=kind, from_source=from_source)
    if use:
        _choice(db, project.id).wanted_id = row.id
    db.flush()
    return row


def ask_lock(db: Session, project_id: str, requirements: list[str], python: str = "") -> Environment:
    """The environment of exact pins, as a bundle brings them: one that is ready at once where the store has it.

    `python` is a version (`3.11.7`) or a minor one (`3.11`): its minor version is what is asked for. Other requirements than
    pins are locked first. Raises `BadInput` for those that can't be asked for.
    """
    found = tuple(
        requirement(text, f"Requirement {number}") for number, text in enumerate(requirements, 1) if text.strip()
    )
    minor = ".".join(python.split(".")[:2])
    asked = checked(Asked(found, python_specifier(minor, "The bundle's Python") if minor else ""))
    if (twin := _under_way(db, project_id, asked, from_source=False)) is not None:
        return twin
    pinned = lock.exact(asked.requirements)
    built = _built(db, project_id, pinned, minor) if pinned else None
    if built is not None and built.project_id == project_id:
        return built
    text = "\n".join(asked.requirements) + "\n"
    row = _add(db, project_id, asked, kind="lock", text=text, name="from a model", from_source=False, kernel=False)
    if built is not None:
        _copy(built, row)
        publish(db, EnvironmentChanged(row.id, row.state))
    db.flush()
    return row


def ensure_default(db: Session, project_id: str, text: str = "") -> Environment | None:
    """The usual environment for a project that has never had one; None if it has."""
    if db.get(ProjectEnvironment, project_id) is not None:
        return None
    text = text or USUAL
    row = _add(db, project_id, formats.read(text), kind="requirements", text=text, name="default", from_source=False)
    db.flush()
    _choice(db, project_id).wanted_id = row.id
    db.flush()
    return row


def use(db: Session, who: Who, project: HasId, environment_id: str) -> Environment:
    """Let the project use this environment, now or as soon as it is ready. Raises `Conflict` for one that failed."""
    guard.check(db, who, EDIT, project.id)
    row = get(db, who, project, environment_id)
    if row.state not in UNDER_WAY and not row.ready:
        raise Conflict(f"This environment is {row.state}.", hint="Ask for it again, or choose one that is ready.")
    choice = _choice(db, project.id)
    if row.ready:
        choice.current_id, choice.wanted_id = row.id, None
    else:
        choice.wanted_id = row.id
    audit.note(db, who, "environment.use", row.id, project_id=project.id)
    publish(db, EnvironmentChanged(row.id, row.state))
    return row


def cancel(db: Session, who: Who, project: HasId, environment_id: str) -> Environment:
    """Stop a build. Raises `Conflict` if it is over already."""
    guard.check(db, who, EDIT, project.id)
    row = get(db, who, project, environment_id)
    if row.state not in UNDER_WAY:
        raise Conflict(f"There is nothing to cancel: the environment is {row.state}.")
    process = db.get(Process, row.process_id) if row.process_id else None
    if process is not None:
        keeper.stop(db, process)
    else:
        end(db, row, CANCELLED, "It was cancelled before its build began.", "")
    audit.note(db, who, "environment.cancel", row.id, project_id=project.id)
    return row


def end(db: Session, row: Environment, state: str, message: str, hint: str) -> None:
    """A build is over, for better or worse; the project changes to it if that was wanted."""
    row.state, row.message, row.hint, row.ended_at = state, message, hint, now_ms()
    choices = db.scalars(select(ProjectEnvironment).where(ProjectEnvironment.wanted_id == row.id))
    for choice in choices:
        if state == READY:
            choice.current_id = row.id
        choice.wanted_id = None
    publish(db, EnvironmentChanged(row.id, state))


def _choice(db: Session, project_id: str) -> ProjectEnvironment:
    found = db.get(ProjectEnvironment, project_id)
    if found is None:
        found = ProjectEnvironment(project_id=project_id)
        db.add(found)
        db.flush()
    return found


def _add(
    db: Session,
    project_id: str,
    asked: Asked,
    *,
    kind: str,
    text: str,
    name: str,
    from_source: bool,
    kernel: bool = True,
) -> Environment:
    row = Environment(
        id=new_id(),
        project_id=project_id,
        name=_one_line(name),
        kind=kind,
        asked=text,
        requirements=json.dumps(asked.requirements),
        hashes=json.dumps(asked.hashes),
        python_asked=asked.python,
        from_source=from_source,
        kernel=kernel,
        notes=json.dumps(asked.notes),
        state=ASKED,
        created_at=now_ms(),
    )
    db.add(row)
    db.flush()
    publish(db, EnvironmentChanged(row.id, row.state))
    return row


def _under_way(db: Session, project_id: str, asked: Asked, *, from_source: bool) -> Environment | None:
    query = select(Environment).where(Environment.project_id == project_id, Environment.state.in_(UNDER_WAY))
    wanted = (json.dumps(asked.requirements), asked.python, from_source)
    for row in db.scalars(query):
        if (row.requirements, row.python_asked, row.from_source) == wanted:
            return row
    return None


def _built(db: Session, project_id: str, pinned: list[str], minor: str) -> Environment | None:
    """A ready environment of precisely these packages on this Python, the project's own first."""
    query = select(Environment).where(Environment.state == READY, Environment.lock == "\n".join(pinned) + "\n")
    rows = sorted(db.scalars(query.order_by(Environment.created_at)), key=lambda row: row.project_id != project_id)
    return next((row for row in rows if not minor or row.python_version.startswith(minor + ".")), None)


def _copy(source: Environment, target: Environment) -> None:
    for name in ("hash", "lock", "folder", "python_version", "size", "packages", "state"):
        setattr(target, name, getattr(source, name))
    target.reused, target.started_at, target.ended_at = True, target.created_at, target.created_at


def _one_line(name: str) -> str:
    """A name for lists and kernel menus: what can't be seen is left out."""
    return " ".join("".join(char for char in name if char.isprintable() or char == " ").split())[:120] or "unnamed"


def _named(kind: str) -> str:
    names = {"requirements": "requirements.txt", "conda": "environment.yml", "pep723": "script header"}
    return names.get(kind, "pyproject.toml")
