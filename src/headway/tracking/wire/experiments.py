"""`experiments/...` and `workspaces`: a project is what MLflow calls a workspace."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from headway.errors import NotFound
from headway.people import guard
from headway.projects import service as projects
from headway.tracking import experiments, limits
from headway.tracking.tables import Experiment
from headway.tracking.wire import shapes
from headway.tracking.wire.call import Call, endpoint


def _one(db: Session, row: Experiment) -> dict[str, Any]:
    return {"experiment": shapes.experiment(row, experiments.tags_of(db, [row.id])[row.id])}


@endpoint("POST", "experiments/create")
def create(call: Call, db: Session) -> dict[str, Any]:
    name = experiments.check_name(call.values.get("name"))
    row = experiments.create(
        db,
        call.who,
        call.project(db),
        name,
        location=call.text("artifact_location", required=False),
        tags=call.pairs("tags"),
    )
    return {"experiment_id": str(row.id)}


@endpoint("GET", "experiments/get", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    return _one(db, call.experiment(db))


@endpoint("GET", "experiments/get-by-name", mode="read")
def get_by_name(call: Call, db: Session) -> dict[str, Any]:
    name = call.text("experiment_name")
    if name == experiments.DEFAULT:
        return _one(db, call.default(db))
    return _one(db, experiments.by_name(db, call.who, call.project(db), name))


@endpoint("POST", "experiments/search", mode="read")
@endpoint("GET", "experiments/search", mode="read")
def search(call: Call, db: Session) -> dict[str, Any]:
    project_id = call.project(db)
    guard.check(db, call.who, "view", project_id)
    call.default(db)
    rows, token = experiments.search(
        db, call.who, project_id, view=view(call, "view_type"), filter_=call.text("filter", required=False),
        orders=call.strings("order_by"), limit=call.integer("max_results", 1000, least=1, most=50_000),
        token=call.text("page_token", required=False),
    )  # fmt: skip
    tags = experiments.tags_of(db, [row.id for row in rows])
    return shapes.filled(experiments=[shapes.experiment(row, tags[row.id]) for row in rows], next_page_token=token)


def view(call: Call, name: str) -> str | None:
    """Which lifecycle is asked for; None for both."""
    value = call.values.get(name)
    if isinstance(value, list | dict) or value not in shapes.VIEWS:
        raise limits.invalid(name, value, "It must be ACTIVE_ONLY, DELETED_ONLY or ALL.")
    return shapes.VIEWS[value]


@endpoint("POST", "experiments/update")
def update(call: Call, db: Session) -> None:
    row = call.experiment(db, "edit")
    if call.values.get("new_name"):
        experiments.rename(db, call.who, row.id, call.text("new_name"))


@endpoint("POST", "experiments/delete")
def delete(call: Call, db: Session) -> None:
    experiments.delete(db, call.who, call.experiment(db, "edit").id)


@endpoint("POST", "experiments/restore")
def restore(call: Call, db: Session) -> None:
    experiments.restore(db, call.who, call.experiment(db, "edit").id)


@endpoint("POST", "experiments/set-experiment-tag")
def set_tag(call: Call, db: Session) -> None:
    experiments.set_tag(db, call.who, call.experiment(db).id, call.text("key"), call.text("value", required=False))


@endpoint("POST", "experiments/delete-experiment-tag")
def delete_tag(call: Call, db: Session) -> None:
    experiments.delete_tag(db, call.who, call.experiment(db).id, call.text("key"))


@endpoint("GET", "workspaces", mode="read")
def workspaces(call: Call, db: Session) -> dict[str, Any]:
    return shapes.filled(workspaces=[{"name": p.slug, "description": p.name} for p in projects.visible(db, call.who)])


@endpoint("GET", "workspaces/{name}", mode="read")
def workspace(call: Call, db: Session) -> dict[str, Any]:
    try:
        found = projects.by_slug(db, call.who, call.path["name"])
    except NotFound:
        raise NotFound(f"Workspace '{call.path['name'][:80]}' not found") from None
    return {"workspace": {"name": found.slug, "description": found.name}}
