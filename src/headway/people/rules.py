"""Every rule of who may do what, in one table, without I/O.

A person has one role in a project. A role is a set of verbs. A token narrows its person: to some verbs, to one project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VIEW, RUN, EDIT, DEPLOY, OWN, APP = "view", "run", "edit", "deploy", "own", "app"
VERBS: dict[str, str] = {
    VIEW: "see the project's files, runs, models and endpoints",
    RUN: "start, cancel and record runs",
    EDIT: "change files, notebooks, environments, experiments and models",
    DEPLOY: "deploy, promote, roll back and delete endpoints",
    OWN: "manage members, settings and the project itself",
    APP: "use the project's apps",
}

ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({VIEW}),
    "expert": frozenset({APP}),
    "editor": frozenset({VIEW, RUN, EDIT, DEPLOY, APP}),
    "owner": frozenset(VERBS),
}
ROLE_HELP: dict[str, str] = {
    "viewer": "sees everything, changes nothing",
    "expert": "uses the project's apps, sees no code",
    "editor": "works in it: notebooks, runs, models, deployments",
    "owner": "an editor who also manages members and settings",
}

# What a token may be asked for. "run" is what a run's own token holds: it records, it can't deploy.
SCOPES: dict[str, frozenset[str]] = {
    "read": frozenset({VIEW}),
    "run": frozenset({VIEW, RUN, EDIT}),
    "deploy": frozenset({VIEW, DEPLOY}),
    "all": frozenset(VERBS),
}
SCOPE_HELP: dict[str, str] = {
    "read": "see projects, runs, models and endpoints",
    "run": "record and start runs, change files and models",
    "deploy": "see, and deploy, promote and roll back",
    "all": "whatever you may do yourself",
}

# What somebody signed in may do outside any project; `own` (users, machine, whole audit log) is for admins alone.
_SERVER_VERBS = frozenset({VIEW, EDIT, APP})


@dataclass(frozen=True)
class Who:
    """The one who asks. `project_id` is set for a token that reaches one project only; `scopes` are the verbs it holds, and
    `until` is when it ends (milliseconds; None: never).
    """

    user_id: str
    name: str
    admin: bool = False
    kind: Literal["user", "run", "token"] = "user"
    project_id: str | None = None
    scopes: frozenset[str] = frozenset(VERBS)
    until: int | None = None


def reaches(who: Who, project_id: str | None) -> bool:
    """Whether `who` can have anything to do with the project: a token of one project sees no other, and no server page."""
    return who.project_id is None or who.project_id == project_id


def allowed(who: Who, verb: str, project_id: str | None, role: str | None) -> bool:
    """The whole rule. `role` is the person's role in the project (None: not a member); `project_id` None is the server."""
    if verb not in VERBS:
        raise ValueError(f"unknown verb {verb!r}: one of {', '.join(VERBS)}")
    if verb not in who.scopes or not reaches(who, project_id):
        return False
    if who.admin:
        return True
    if project_id is None:
        return verb in _SERVER_VERBS
    return verb in ROLES.get(role or "", frozenset())
