"""How things look on the wire: names and types as MLflow's clients read them. Empty lists are left out, NaN is a string."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from headway.tracking.artifacts import Entry
from headway.tracking.logged_models import STATUSES as MODEL_STATUSES
from headway.tracking.logged_models import ModelFacts
from headway.tracking.store.readout import RunFacts
from headway.tracking.store.series import Points
from headway.tracking.tables import Experiment

ODD = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


def number(value: float) -> float | str:
    """A double as JSON can hold it."""
    if value != value:
        return "NaN"
    return ODD.get(value, value)


def tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """`[{"key", "value"}]`, by key."""
    return [{"key": key, "value": value} for key, value in sorted(pairs)]


def filled(**fields: Any) -> dict[str, Any]:
    """The fields that hold something."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def experiment(row: Experiment, its_tags: dict[str, str]) -> dict[str, Any]:
    """An `Experiment`."""
    return {
        "experiment_id": str(row.id),
        "name": row.name,
        "artifact_location": row.artifact_location,
        "lifecycle_stage": row.lifecycle,
        "last_update_time": row.updated_at,
        "creation_time": row.created_at,
    } | filled(tags=tags(its_tags.items()))


def run_info(run: Any) -> dict[str, Any]:
    """A `RunInfo` of a row or of facts."""
    found = {
        "run_id": run.uuid,
        "run_uuid": run.uuid,
        "run_name": run.name,
        "experiment_id": str(run.experiment_id),
        "user_id": run.user_id,
        "status": run.status,
        "start_time": run.start_time,
        "artifact_uri": run.artifact_uri,
        "lifecycle_stage": run.lifecycle,
    }
    if run.end_time is not None:
        found["end_time"] = run.end_time
    return found


def run(facts: RunFacts) -> dict[str, Any]:
    """A `Run` with data, inputs and outputs."""
    metrics = [
        {"key": key, "value": number(m.last), "timestamp": m.time, "step": m.step}
        for key, m in sorted(facts.metrics.items())
    ]
    data = filled(metrics=metrics, params=tags(facts.params.items()), tags=tags(facts.tags.items()))
    return {"info": run_info(facts), "data": data} | lineage(facts)


def lineage(facts: RunFacts) -> dict[str, Any]:
    """The inputs and the outputs of a `Run`."""
    datasets = [
        filled(
            tags=tags(i.tags.items()),
            dataset=filled(
                name=i.name,
                digest=i.digest,
                source_type=i.source_type,
                source=i.source,
                schema=i.schema,
                profile=i.profile,
            ),
        )
        for i in facts.inputs
    ]
    read = [{"model_id": uuid} for uuid, role, _ in facts.models if role == "input"]
    made = [{"model_id": uuid, "step": step} for uuid, role, step in facts.models if role == "output"]
    return {
        "inputs": filled(dataset_inputs=datasets, model_inputs=read),
        "outputs": filled(model_outputs=made),
    }


def points(key: str, found: Points, run_id: str = "") -> list[dict[str, Any]]:
    """`Metric`s of one series; with a run's id `MetricWithRunId`s."""
    extra = {"run_id": run_id} if run_id else {}
    rows = zip(found.values.tolist(), found.times.tolist(), found.steps.tolist(), strict=True)
    return [{"key": key, "value": number(v), "timestamp": t, "step": s, **extra} for v, t, s in rows]


def files(entries: Sequence[Entry], cut: str = "") -> list[dict[str, Any]]:
    """`FileInfo`s; `cut` is taken off the front of their paths."""
    found = []
    for entry in entries:
        info: dict[str, Any] = {"path": entry.path[len(cut) :], "is_dir": entry.is_dir}
        if entry.size is not None:
            info["file_size"] = entry.size
        found.append(info)
    return found


def logged_model(facts: ModelFacts, registrations: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """A `LoggedModel`."""
    row = facts.row
    info = {
        "model_id": row.uuid,
        "experiment_id": str(row.experiment_id),
        "name": row.name,
        "creation_timestamp_ms": row.created_at,
        "last_updated_timestamp_ms": row.updated_at,
        "artifact_uri": row.artifact_uri,
        "status": f"LOGGED_MODEL_{row.status}" if row.status != "UNSPECIFIED" else "LOGGED_MODEL_STATUS_UNSPECIFIED",
    } | filled(
        model_type=row.model_type,
        source_run_id=row.source_run,
        tags=tags(facts.tags.items()),
        registrations=[{"name": name, "version": version} for name, version in registrations],
    )
    metrics = [
        {"key": m.key, "value": "NaN" if m.is_nan else number(m.value), "timestamp": m.time, "step": m.step,
         "model_id": row.uuid, "run_id": m.run_uuid}
        | filled(dataset_name=m.dataset_name, dataset_digest=m.dataset_digest)
        for m in facts.metrics
    ]  # fmt: skip
    return {"info": info, "data": filled(params=tags(facts.params.items()), metrics=metrics)}


def model_status(value: Any) -> str:
    """Our word for a `LoggedModelStatus`, which is sent as a number or a name; "?" for neither."""
    if isinstance(value, int) and 0 <= value < len(MODEL_STATUSES):
        return MODEL_STATUSES[value]
    return str(value).upper().removeprefix("LOGGED_MODEL_").replace("STATUS_UNSPECIFIED", "UNSPECIFIED")


RUN_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
VIEWS: dict[Any, str | None] = {
    1: "active", 2: "deleted", 3: None, "1": "active", "2": "deleted", "3": None,
    "ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": None, None: "active", "": "active",
}  # fmt: skip
