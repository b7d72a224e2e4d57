"""`datasets/...`, `issues/...` and the figures of `traces/metrics`: what MLflow's evaluations and their pages ask for."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.traces import datasets, issues, measures
from headway.traces import search as searching
from headway.traces.tables import EvalDataset, EvalRecord, Issue
from headway.tracking import experiments, limits
from headway.tracking.wire.call import Call, endpoint
from headway.tracking.wire.shapes import filled, number


# ---------------------------------------------------------------- shapes
def _dataset(row: EvalDataset) -> dict[str, Any]:
    return {
        "dataset_id": row.uuid,
        "name": row.name,
        "tags": row.tags,
        "digest": row.digest,
        "created_time": row.created_at,
        "last_update_time": row.updated_at,
    } | filled(schema=row.schema, profile=row.profile, created_by=row.created_by, last_updated_by=row.updated_by)


def _record(row: EvalRecord, dataset_id: str) -> dict[str, Any]:
    source = json.loads(row.source) if row.source else None
    kind = str(source.get("source_type", "UNSPECIFIED")).upper() if isinstance(source, dict) else None
    data = source.get("source_data") if isinstance(source, dict) else None
    origin = data.get("trace_id" if kind == "TRACE" else "source_id") if isinstance(data, dict) else None
    return {
        "dataset_record_id": row.uuid,
        "dataset_id": dataset_id,
        "inputs": json.loads(row.inputs),
        "outputs": None if row.outputs is None else json.loads(row.outputs),
        "expectations": json.loads(row.expectations) or None,
        "tags": json.loads(row.tags),
        "created_time": row.created_at,
        "last_update_time": row.updated_at,
    } | filled(
        source=source, source_id=origin, source_type=kind, created_by=row.created_by, last_updated_by=row.updated_by
    )


def _issue(row: Issue) -> dict[str, Any]:
    return {
        "issue_id": row.uuid,
        "experiment_id": str(row.experiment_id),
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "created_timestamp": row.created_at,
        "last_updated_timestamp": row.updated_at,
    } | filled(
        severity=row.severity, root_causes=json.loads(row.root_causes), categories=json.loads(row.categories),
        source_run_id=row.source_run, created_by=row.created_by,
    )  # fmt: skip


def _json(call: Call, name: str, default: Any) -> Any:
    text = call.text(name, required=False)
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError:
        raise BadInput(f"Parameter '{name}' must hold valid JSON.", field=name) from None


def _tags(call: Call) -> dict[str, Any]:
    found = _json(call, "tags", {})
    if not isinstance(found, dict):
        raise limits.wrong_type("tags", found)
    return found


# ---------------------------------------------------------------- datasets
@endpoint("POST", "datasets/create")
def create(call: Call, db: Session) -> dict[str, Any]:
    ids = [call.default(db, "run").id if one == "0" else one for one in call.strings("experiment_ids")]
    row = datasets.create(db, call.who, call.project(db), call.text("name"), _tags(call), ids)
    return {"dataset": _dataset(row)}


@endpoint("GET", "datasets/{dataset_id}", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    return {"dataset": _dataset(datasets.get(db, call.who, call.path["dataset_id"]))}


@endpoint("DELETE", "datasets/{dataset_id}")
def delete(call: Call, db: Session) -> None:
    datasets.remove(db, call.who, call.path["dataset_id"])


@endpoint("POST", "datasets/search", mode="read")
@endpoint("GET", "datasets/search", mode="read")
def search(call: Call, db: Session) -> dict[str, Any]:
    ids = [call.default(db).id if one == "0" else one for one in call.strings("experiment_ids")]
    rows, token = datasets.search(
        db, call.who, call.project(db), ids, call.text("filter_string", required=False), call.strings("order_by"),
        call.integer("max_results", 1000, least=1, most=1000), call.text("page_token", required=False),
    )  # fmt: skip
    return filled(datasets=[_dataset(row) for row in rows], next_page_token=token)


@endpoint("PATCH", "datasets/{dataset_id}/tags")
def set_tags(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"], "run")
    datasets.tag(db, row, _tags(call))
    return {"dataset": _dataset(row)}


@endpoint("DELETE", "datasets/{dataset_id}/tags/{key}")
def delete_tag(call: Call, db: Session) -> None:
    datasets.untag(db, datasets.get(db, call.who, call.path["dataset_id"], "run"), call.path["key"])


@endpoint("POST", "datasets/{dataset_id}/records")
def upsert(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"], "run")
    new, merged = datasets.upsert(db, row, _json(call, "records", []))
    return {"inserted_count": new, "updated_count": merged}


@endpoint("GET", "datasets/{dataset_id}/records", mode="read")
def records(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"])
    limit = call.integer("max_results", 1000, least=1, most=1000)
    found, token = datasets.records(db, row, limit, call.text("page_token", required=False))
    return {"records": json.dumps([_record(one, row.uuid) for one in found])} | filled(next_page_token=token)


@endpoint("DELETE", "datasets/{dataset_id}/records")
def delete_records(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"], "run")
    return {"deleted_count": datasets.remove_records(db, row, call.strings("dataset_record_ids"))}


@endpoint("GET", "datasets/{dataset_id}/experiment-ids", mode="read")
def experiment_ids(call: Call, db: Session) -> dict[str, Any]:
    return filled(experiment_ids=datasets.experiment_ids(db, datasets.get(db, call.who, call.path["dataset_id"])))


@endpoint("POST", "datasets/{dataset_id}/add-experiments")
def add_experiments(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"], "run")
    datasets.attach(db, call.who, row, call.strings("experiment_ids"))
    return {"dataset": _dataset(row) | filled(experiment_ids=datasets.experiment_ids(db, row))}


@endpoint("POST", "datasets/{dataset_id}/remove-experiments")
def remove_experiments(call: Call, db: Session) -> dict[str, Any]:
    row = datasets.get(db, call.who, call.path["dataset_id"], "run")
    datasets.detach(db, row, call.strings("experiment_ids"))
    return {"dataset": _dataset(row) | filled(experiment_ids=datasets.experiment_ids(db, row))}


# ---------------------------------------------------------------- issues
@endpoint("POST", "issues")
def create_issue(call: Call, db: Session) -> dict[str, Any]:
    return {"issue": _issue(issues.create(db, call.who, call.experiment(db, "run"), dict(call.values)))}


@endpoint("GET", "issues/{issue_id}", mode="read")
def get_issue(call: Call, db: Session) -> dict[str, Any]:
    return {"issue": _issue(issues.get(db, call.who, call.path["issue_id"]))}


@endpoint("PATCH", "issues/{issue_id}")
def update_issue(call: Call, db: Session) -> dict[str, Any]:
    return {"issue": _issue(issues.change(db, call.who, call.path["issue_id"], dict(call.values)))}


@endpoint("POST", "issues/search", mode="read")
def search_issues(call: Call, db: Session) -> dict[str, Any]:
    limit = call.integer("max_results", 100)
    if not 1 <= limit <= 1000:
        raise limits.invalid("max_results", limit, "It must be between 1 and 1000.")
    one = call.experiment(db) if call.values.get("experiment_id") else None
    rows, token = issues.search(
        db, call.who, one.project_id if one else call.project(db), one.id if one else None,
        call.text("filter_string", required=False), limit, call.text("page_token", required=False),
    )  # fmt: skip
    counts = issues.trace_counts(db, rows) if call.boolean("include_trace_count") else {}
    shown = [_issue(row) | ({"trace_count": counts[row.uuid]} if counts else {}) for row in rows]
    return filled(issues=shown) | {"next_page_token": token}


# ---------------------------------------------------------------- figures
def _scope(call: Call, db: Session) -> list[int]:
    ids = call.strings("experiment_ids", required=True)
    return experiments.visible(db, call.who, [call.default(db).id if one == "0" else one for one in ids])


def _whole(call: Call, name: str) -> int | None:
    return None if call.values.get(name) in (None, "") else call.integer(name)


@endpoint("POST", "traces/metrics", mode="read")
def metrics(call: Call, db: Session) -> dict[str, Any]:
    wanted = []
    for item in call.items("aggregations", required=True):
        if not isinstance(item, dict) or not isinstance(item.get("aggregation_type"), str):
            raise limits.wrong_type("aggregations", item)
        percent = item.get("percentile_value")
        wanted.append(
            (item["aggregation_type"], None if percent is None else limits.number(percent, "percentile_value"))
        )
    asked = measures.Asked(
        view=call.text("view_type"), metric=call.text("metric_name"), aggregations=tuple(wanted),
        dimensions=tuple(call.strings("dimensions")), filters=tuple(call.strings("filters")),
        interval_s=_whole(call, "time_interval_seconds"), since=_whole(call, "start_time_ms"),
        until=_whole(call, "end_time_ms"), limit=call.integer("max_results", 1000, least=1, most=1000),
    )  # fmt: skip
    measures.check(asked)
    found = measures.points(db, _scope(call, db), asked)
    return filled(
        data_points=[
            {"metric_name": asked.metric, "values": {key: number(v) for key, v in one.values.items()}}
            | filled(dimensions=one.dimensions)
            for one in found
        ]
    )


@endpoint("POST", "traces/calculate-filter-correlation", mode="read")
def correlation(call: Call, db: Session) -> dict[str, Any]:
    first, second, base = (
        searching.parse(call.text(name, required=False)) for name in ("filter_string1", "filter_string2", "base_filter")
    )
    found = measures.correlate(db, _scope(call, db), first, second, base)
    return {
        "npmi": number(found.npmi), "npmi_smoothed": number(found.smoothed), "filter1_count": found.first,
        "filter2_count": found.second, "joint_count": found.both, "total_count": found.all,
    }  # fmt: skip
