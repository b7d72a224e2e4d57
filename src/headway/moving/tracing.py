"""Traces as stores of MLflow keep them, as its REST API tells them (`TraceInfoV3`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.moving.store import File, Trace, text

ARTIFACTS, LOCATION = "mlflow.artifactLocation", "mlflow.trace.spansLocation"
SPANS_FILE = "traces.json"
ATTACHED = "mlflow-attachment://"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(ms: int) -> str:
    """Milliseconds as protobuf's JSON writes a `Timestamp`."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(ms: int) -> str:
    """Milliseconds as protobuf's JSON writes a `Duration`."""
    return f"{ms // 1000}.{ms % 1000:03}s" if ms >= 0 else f"-{duration(-ms)}"


def info_of(
    trace_id: str,
    *,
    time: int,
    took: int | None,
    state: str,
    tags: dict[str, str],
    metadata: dict[str, str],
    **more: Any,
) -> dict[str, Any]:
    """A `TraceInfoV3` of plain values: `time` and `took` in milliseconds; fields of `more` that are None are left out."""
    found = {
        "trace_id": trace_id, "request_time": timestamp(time), "state": state or "STATE_UNSPECIFIED", "tags": tags,
        "trace_metadata": metadata, "execution_duration": None if took is None else duration(took), **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def info_of_version_2(told: dict[str, Any]) -> dict[str, Any]:
    """A `TraceInfoV3` of what releases before MLflow 3 wrote; one of today's is returned as it is."""
    if "request_time" in told:
        took = told.get("execution_duration_ms")  # how its file store writes it
        return told if took is None else told | {"execution_duration": duration(int(took))}
    state = text(told.get("status")).replace("TRACE_STATUS_UNSPECIFIED", "STATE_UNSPECIFIED")
    took = told.get("execution_time_ms")
    return info_of(text(told.get("request_id") or told.get("trace_id")), time=int(told.get("timestamp_ms") or 0),
                   took=None if took is None else int(took), state=state, tags=_pairs(told.get("tags")),
                   metadata=_pairs(told.get("request_metadata")))  # fmt: skip


def _pairs(found: Any) -> dict[str, str]:
    if isinstance(found, dict):
        return {text(key): text(value) for key, value in found.items()}
    return {text(one["key"]): text(one.get("value")) for one in found or []}


_COUNTS = (
    "input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
)  # fmt: skip
_COSTS = ("input_cost", "output_cost", "total_cost")
PROMOTED = " ".join(["trace_name", "session_id", *_COUNTS, *_COSTS])


def named(row: Any) -> dict[str, str]:
    """The tags that MLflow's table `trace_info` has columns for since 3.16."""
    return {} if row["trace_name"] is None else {"mlflow.traceName": row["trace_name"]}


def promoted(row: Any) -> dict[str, str]:
    """The metadata that MLflow's table `trace_info` has columns (`PROMOTED`) for since 3.16."""
    found = {} if row["session_id"] is None else {"mlflow.trace.session": row["session_id"]}
    for name, columns in (("mlflow.trace.tokenUsage", _COUNTS), ("mlflow.trace.cost", _COSTS)):
        if numbers := {column: row[column] for column in columns if row[column] is not None}:
            found[name] = json.dumps(numbers)
    return found


def assessment_of(row: Any) -> dict[str, Any]:
    """An `Assessment` of a row of MLflow's table `assessments`."""
    value = _loaded(row["value"])
    kind = text(row["assessment_type"])
    told: dict[str, Any] = {"value": value}
    if kind == "feedback" and row["error"]:
        told["error"] = _loaded(row["error"])
    elif kind == "expectation" and isinstance(value, dict | list):
        told = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": row["value"]}}
    elif kind == "issue":
        told = {"issue_name": text(value)}
    found = {
        "assessment_id": row["assessment_id"], "assessment_name": row["name"], kind: told,
        "source": {"source_type": text(row["source_type"]), "source_id": text(row["source_id"])},
        "create_time": timestamp(row["created_timestamp"]), "last_update_time": timestamp(row["last_updated_timestamp"]),
        "span_id": row["span_id"], "rationale": row["rationale"], "overrides": row["overrides"], "valid": bool(row["valid"]),
        "metadata": _loaded(row["assessment_metadata"]) or None,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _loaded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def spans_in(body: bytes) -> list[dict[str, Any]]:
    """The spans in a file `traces.json`. Raises `ValueError` for one that is damaged."""
    found = json.loads(body)
    spans = found.get("spans") if isinstance(found, dict) else None
    if not isinstance(spans, list):
        raise ValueError("it holds no spans")
    return spans


def spans_from(files: Iterable[File], trace: Trace, left: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The spans in the file that lies among these of a trace; none, and why in `left`, if it can't be read."""
    why = f"there is no {SPANS_FILE}"
    for file in files:
        if file.path == SPANS_FILE:
            try:
                with file.open() as source:
                    return spans_in(source.read())
            except (OSError, ValueError) as error:
                why = str(error)
    left.append((f"spans of the trace {trace.trace_id}", why))
    return []
