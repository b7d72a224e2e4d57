"""`runs/...`: beginning, ending, inputs and outputs, searching."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.storage.direct import Direct
from headway.tracking import inputs, limits, service
from headway.tracking.store import readout, record
from headway.tracking.wire import documents, shapes
from headway.tracking.wire.call import Call, endpoint
from headway.tracking.wire.experiments import view
from headway.tracking.wire.logged import run_id


@endpoint("POST", "runs/create")
def create(call: Call, db: Session) -> dict[str, Any]:
    experiment = (
        call.experiment(db, "run") if call.values.get("experiment_id") not in (None, "") else call.default(db, "run")
    )
    start = call.values.get("start_time")
    tags = service.check_tags(call.pairs("tags"))
    row = service.create_run(
        db, call.who, project_id=experiment.project_id, experiment_id=experiment.id,
        name=call.text("run_name", required=False), tags=tags,
        start_time=None if start in (None, "") else call.integer("start_time", least=0),
        user=call.text("user_id", required=False),
    )  # fmt: skip
    return {"run": shapes.run(readout.bare(row, tags | {record.RUN_NAME_TAG: row.name}))}


@endpoint("POST", "runs/update")
def update(call: Call, db: Session) -> dict[str, Any]:
    status: Any = call.values.get("status")
    if status is not None and status not in service.STATUSES and status not in shapes.RUN_STATUSES:
        raise limits.invalid("status", status, f"It must be one of {', '.join(service.STATUSES)}.")
    end = call.values.get("end_time")
    row = service.update_run(
        db, call.who, run_id(call), status=status and shapes.RUN_STATUSES.get(status, status),
        end_time=None if end in (None, "") else call.integer("end_time"), name=call.text("run_name", required=False) or None,
    )  # fmt: skip
    return {"run_info": shapes.run_info(row)}


@endpoint("GET", "runs/get", mode="look")
def get(call: Call, db: Session | Direct) -> bytes:
    (document,) = documents.documents(db, [service.seen_run(db, call.who, run_id(call))])
    return b'{"run":' + document + b"}"


@endpoint("POST", "runs/search", mode="look")
def search(call: Call, db: Session | Direct) -> bytes:
    found = service.find(
        db, call.who, _experiment_ids(call, db), filter_=call.text("filter", required=False), orders=call.strings("order_by"),
        lifecycle=view(call, "run_view_type"), limit=call.integer("max_results", 1000, least=1, most=50_000),
        token=call.text("page_token", required=False),
    )  # fmt: skip
    texts = documents.documents(db, found.rows)
    if not texts:
        return b"{}"
    tail = b'],"next_page_token":' + orjson.dumps(found.token) + b"}" if found.token else b"]}"
    texts[0] = b'{"runs":[' + texts[0]  # so that a quarter of a megabyte is copied once
    texts[-1] += tail
    return b",".join(texts)


def _experiment_ids(call: Call, db: Session | Direct) -> list[Any]:
    ids: list[Any] = []
    for one in call.items("experiment_ids"):
        if not isinstance(one, str | int) or isinstance(one, bool):
            raise limits.invalid("experiment_ids", one)
        ids.append(call.default(db).id if str(one) == "0" else one)
    return ids


@endpoint("POST", "runs/delete")
def delete(call: Call, db: Session) -> None:
    service.delete_run(db, call.who, run_id(call))


@endpoint("POST", "runs/restore")
def restore(call: Call, db: Session) -> None:
    service.restore_run(db, call.who, run_id(call))


@endpoint("POST", "runs/delete-tag")
def delete_tag(call: Call, db: Session) -> None:
    record.delete_tag(db, record.touch(db, call.who, run_id(call)), call.text("key"))


@endpoint("POST", "runs/log-model")
def log_model(call: Call, db: Session) -> None:
    """Clients before MLflow 3 note each model in a tag of its run."""
    try:
        model = orjson.loads(call.text("model_json"))
    except ValueError:
        raise BadInput("Malformed model info: 'model_json' is not a valid JSON.") from None
    absent = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model if isinstance(model, dict) else ())
    if absent:
        raise BadInput(f"Model json is missing mandatory fields: {sorted(absent)}")
    run = record.touch(db, call.who, run_id(call))
    before = service.facts(db, call.who, run.uuid).tags.get("mlflow.log-model.history", "[]")
    entry = {key: model[key] for key in ("artifact_path", "flavors", "utc_time_created", "run_id")}
    entry |= {key: model[key] for key in ("model_uuid",) if key in model}
    record.tags(db, run, {"mlflow.log-model.history": orjson.dumps([*orjson.loads(before), entry]).decode()})


@endpoint("POST", "runs/log-inputs")
def log_inputs(call: Call, db: Session) -> None:
    uses = [_use(item, f"datasets[{i}]") for i, item in enumerate(call.items("datasets"))]
    run = record.touch(db, call.who, run_id(call))
    inputs.datasets(db, run, uses)
    inputs.models(db, run, "input", _models(call))


def _use(item: Any, path: str) -> inputs.DatasetUse:
    dataset = item.get("dataset") if isinstance(item, dict) else None
    if not isinstance(dataset, dict):
        raise limits.missing(f"{path}.dataset")
    for name in ("name", "digest", "source_type", "source"):
        if not dataset.get(name):
            raise limits.missing(f"{path}.dataset.{name}")
    tags = [
        (
            limits.text(tag.get("key"), f"{path}.tags.key", limits.INPUT_TAG_KEY, "key"),
            limits.text(tag.get("value"), f"{path}.tags.value", limits.INPUT_TAG_VALUE, "value"),
        )
        for tag in item.get("tags") or []
        if isinstance(tag, dict)
    ]
    longest = {"name": limits.DATASET_NAME, "digest": limits.DATASET_DIGEST, "source_type": 64,
               "source": limits.DATASET_SOURCE, "schema": limits.DATASET_SCHEMA, "profile": limits.DATASET_PROFILE}  # fmt: skip
    fields = {
        name: limits.text(dataset.get(name), f"{path}.dataset.{name}", most, name) for name, most in longest.items()
    }
    return inputs.DatasetUse(**fields, tags=tuple(tags))


def _models(call: Call) -> list[tuple[str, int]]:
    found = []
    for i, item in enumerate(call.items("models")):
        if not isinstance(item, dict) or not isinstance(item.get("model_id"), str):
            raise limits.missing(f"models[{i}].model_id")
        found.append((item["model_id"], limits.integer(item.get("step"), f"models[{i}].step", 0)))
    return found


@endpoint("POST", "runs/outputs")
def log_outputs(call: Call, db: Session) -> None:
    call.items("models", required=True)
    inputs.models(db, record.touch(db, call.who, run_id(call)), "output", _models(call))


@endpoint("POST", "experiments/search-datasets", mode="read")
def search_datasets(call: Call, db: Session) -> dict[str, Any]:
    ids = _experiment_ids(call, db)
    if not ids:
        raise BadInput("SearchDatasets request must specify at least one experiment_id.")
    if len(ids) > 20:
        raise BadInput(f"SearchDatasets request cannot specify more than 20 experiment_ids. Received {len(ids)}.")
    found = inputs.summaries(db, call.who, ids)
    return shapes.filled(
        dataset_summaries=[
            {"experiment_id": str(e), "name": name, "digest": digest} | shapes.filled(context=context)
            for e, name, digest, context in found
        ]
    )
