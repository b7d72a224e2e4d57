"""`scorers/...`: registered scorers. That the server runs them on new traces by itself is not served."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from headway.errors import BadInput, NotServed
from headway.people import guard
from headway.traces import scorers
from headway.tracking import experiments, limits
from headway.tracking.wire.call import Call, endpoint
from headway.tracking.wire.shapes import filled


def _shown(kept: scorers.Kept) -> dict[str, Any]:
    row, version = kept
    return {
        "experiment_id": row.experiment_id, "scorer_name": row.name, "scorer_version": version.version,
        "serialized_scorer": version.content, "creation_time": version.created_at, "scorer_id": row.uuid,
    }  # fmt: skip


def _version(call: Call) -> int | None:
    return None if call.values.get("version") in (None, "") else call.integer("version")


@endpoint("POST", "scorers/register")
def register(call: Call, db: Session) -> dict[str, Any]:
    experiment = call.experiment(db, "run")
    row, version = scorers.register(db, experiment, call.values.get("name"), call.values.get("serialized_scorer"))
    return {
        "version": version.version, "scorer_id": row.uuid, "experiment_id": str(row.experiment_id), "name": row.name,
        "serialized_scorer": version.content, "creation_time": version.created_at,
    }  # fmt: skip


@endpoint("GET", "scorers/list", mode="read")
def search(call: Call, db: Session) -> dict[str, Any]:
    """Those of an experiment, of several, or of all in the project."""
    ids = call.strings("experiment_ids")
    if ids and call.values.get("experiment_id"):
        raise BadInput("Cannot specify both 'experiment_id' and 'experiment_ids'.", field="experiment_ids")
    if ids:
        scope = list(experiments.visible(db, call.who, [call.default(db).id if one == "0" else one for one in ids]))
    elif call.values.get("experiment_id"):
        scope = [call.experiment(db).id]
    else:
        project = call.project(db)
        guard.check(db, call.who, "view", project)
        return filled(scorers=[_shown(one) for one in scorers.of_project(db, project)])
    return filled(scorers=[_shown(one) for one in scorers.latest(db, scope)])


@endpoint("GET", "scorers/versions", mode="read")
def versions(call: Call, db: Session) -> dict[str, Any]:
    return filled(scorers=[_shown(one) for one in scorers.versions(db, call.experiment(db), call.text("name"))])


@endpoint("GET", "scorers/get", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    return {"scorer": _shown(scorers.get(db, call.experiment(db), call.text("name"), _version(call)))}


@endpoint("DELETE", "scorers/delete")
def delete(call: Call, db: Session) -> None:
    scorers.remove(db, call.experiment(db, "run"), call.text("name"), _version(call))


@endpoint("GET", "scorers/online-configs", mode="read")
def online_configs(call: Call, _db: Session) -> dict[str, Any]:
    """Clients ask beside each list: none is scored by the server."""
    if not call.strings("scorer_ids"):
        raise limits.missing("scorer_ids")
    return {"configs": []}


@endpoint("PUT", "scorers/online-config")
def set_online_config(call: Call, db: Session) -> None:
    scorers.get(db, call.experiment(db, "run"), call.text("name"))
    raise NotServed(
        "headway does not run scorers on new traces by itself.",
        hint="Run mlflow.genai.evaluate with them in a script, on a schedule: see Schedules in the project.",
    )
