"""`logged-models/...`: what `log_model` of MLflow 3 leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from headway.tracking import artifacts, limits, logged_models
from headway.tracking.logged_models import Sort
from headway.tracking.tables import LoggedModel
from headway.tracking.wire import shapes
from headway.tracking.wire.call import Call, endpoint


def _one(db: Session, row: LoggedModel) -> dict[str, Any]:
    return {
        "model": shapes.logged_model(logged_models.facts(db, [row])[0], registrations(db, [row.uuid]).get(row.uuid, []))
    }


# Who knows which versions were made of models: (db, models' ids) -> (name, version) by model. The registry, which stands on
# tracking, adds itself here.
REGISTRIES: list[Callable[[Session, list[str]], dict[str, list[tuple[str, str]]]]] = []


def registrations(db: Session, uuids: list[str]) -> dict[str, list[tuple[str, str]]]:
    """(name, version) of the versions that were made of each model."""
    found: dict[str, list[tuple[str, str]]] = {}
    for registry in REGISTRIES:
        for uuid, versions in registry(db, uuids).items():
            found.setdefault(uuid, []).extend(versions)
    return found


def _texts(pairs: list[tuple[Any, Any]]) -> dict[str, str]:
    return {limits.key(key): limits.text(value, "value", limits.TAG_VALUE) for key, value in pairs}


@endpoint("POST", "logged-models")
def create(call: Call, db: Session) -> dict[str, Any]:
    row = logged_models.create(
        db, call.who, call.experiment(db, "run").id, name=call.text("name", required=False),
        model_type=limits.text(call.values.get("model_type"), "model_type", 500),
        source_run=limits.text(call.values.get("source_run_id"), "source_run_id", 64),
        params=_texts(call.pairs("params")), tags=_texts(call.pairs("tags")),
    )  # fmt: skip
    return _one(db, row)


@endpoint("GET", "logged-models/{model_id}", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    return _one(db, logged_models.get(db, call.who, call.path["model_id"]))


@endpoint("PATCH", "logged-models/{model_id}")
def finalize(call: Call, db: Session) -> dict[str, Any]:
    if call.values.get("status") in (None, ""):
        raise limits.missing("status")
    status = shapes.model_status(call.values["status"])
    return _one(db, logged_models.finalize(db, call.who, call.path["model_id"], status))


@endpoint("DELETE", "logged-models/{model_id}")
def delete(call: Call, db: Session) -> None:
    logged_models.remove(db, call.who, call.path["model_id"])


@endpoint("PATCH", "logged-models/{model_id}/tags")
def set_tags(call: Call, db: Session) -> dict[str, Any]:
    return _one(db, logged_models.set_tags(db, call.who, call.path["model_id"], _texts(call.pairs("tags"))))


@endpoint("DELETE", "logged-models/{model_id}/tags/{key}")
def delete_tag(call: Call, db: Session) -> None:
    logged_models.delete_tag(db, call.who, call.path["model_id"], call.path["key"])


@endpoint("POST", "logged-models/{model_id}/params")
def set_params(call: Call, db: Session) -> None:
    logged_models.set_params(db, call.who, call.path["model_id"], _texts(call.pairs("params")))


@endpoint("POST", "logged-models/search", mode="read")
def search(call: Call, db: Session) -> dict[str, Any]:
    ids = [call.default(db).id if one == "0" else one for one in call.strings("experiment_ids", required=True)]
    orders = []
    for item in call.items("order_by"):
        if not isinstance(item, dict) or not isinstance(item.get("field_name"), str):
            raise limits.invalid("order_by", item, "`field_name` in the `order_by` clause must be specified.")
        orders.append(
            Sort(item["field_name"], item.get("ascending", True) is not False, str(item.get("dataset_name") or ""),
                 str(item.get("dataset_digest") or ""))
        )  # fmt: skip
    datasets = []
    for item in call.items("datasets"):
        if not isinstance(item, dict) or not item.get("dataset_name"):
            raise limits.missing("datasets.dataset_name")
        datasets.append((str(item["dataset_name"]), str(item.get("dataset_digest") or "")))
    found, token = logged_models.search(
        db, call.who, ids, filter_=call.text("filter", required=False), datasets=datasets, orders=orders,
        limit=call.integer("max_results", 100, least=1), token=call.text("page_token", required=False),
    )  # fmt: skip
    made = registrations(db, [m.row.uuid for m in found])
    return shapes.filled(
        models=[shapes.logged_model(m, made.get(m.row.uuid, [])) for m in found], next_page_token=token
    )


@endpoint("GET", "logged-models/{model_id}/artifacts/directories", mode="read")
def list_files(call: Call, db: Session) -> dict[str, Any]:
    row = logged_models.get(db, call.who, call.path["model_id"])
    path = artifacts.check_path(call.text("artifact_directory_path", required=False), empty=True)
    return {"root_uri": row.artifact_uri} | shapes.filled(files=shapes.files(artifacts.listing(db, row.uuid, path)))
