"""How traces look on the wire: MLflow's `TraceInfo` (version 3), OpenTelemetry's spans and assessments as protobuf's JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.errors import BadInput
from headway.traces.facts import TraceFacts
from headway.traces.tables import Assessment, Span
from headway.tracking import limits
from headway.tracking.wire.shapes import filled, tags

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")
KINDS = ("feedback", "expectation", "issue")  # of assessments
STATES = ("STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS")


# ---------------------------------------------------------------- times
def timestamp(ms: int) -> str:
    """Milliseconds as protobuf's JSON writes a `Timestamp`."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(value: Any, name: str) -> int:
    """Milliseconds of a `Timestamp`. Raises `BadInput`."""
    found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise limits.invalid(name, value, "It must be a time such as 2026-11-23T12:00:00.000Z.")
    try:
        moment = datetime.fromisoformat(found[1].upper() + ("+00:00" if found[3] in "Zz" else found[3]))
    except ValueError:
        raise limits.invalid(name, value, "It must be a time such as 2026-11-23T12:00:00.000Z.") from None
    return round((moment - _EPOCH).total_seconds()) * 1000 + int((found[2] or "0").ljust(3, "0")[:3])


def duration(ms: int) -> str:
    """Milliseconds as protobuf's JSON writes a `Duration`."""
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    return f"{sign}{ms // 1000}.{ms % 1000:03}s"


def parse_duration(value: Any, name: str) -> int | None:
    """Milliseconds of a `Duration`; None for none. Raises `BadInput`."""
    if value in (None, ""):
        return None
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise limits.invalid(name, value, "It must be a duration such as 1.250s.")
    ms = int(found[2]) * 1000 + int((found[3] or "0").ljust(3, "0")[:3])
    return -ms if found[1] else ms


# ---------------------------------------------------------------- traces
def info(facts: TraceFacts) -> dict[str, Any]:
    """A `TraceInfoV3`."""
    row = facts.row
    found: dict[str, Any] = {
        "trace_id": row.uuid,
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": str(row.experiment_id)},
        },
        "request_time": timestamp(row.started_at),
        "state": row.status,
        "trace_metadata": facts.metadata,
        "tags": facts.tags,
    }
    if row.duration_ms is not None:
        found["execution_duration"] = duration(row.duration_ms)
    for name in ("client_request_id", "request_preview", "response_preview"):
        if getattr(row, name) is not None:
            found[name] = getattr(row, name)
    return found | filled(assessments=[assessment(a, row.uuid) for a in facts.assessments])


def info_v2(facts: TraceFacts) -> dict[str, Any]:
    """A `TraceInfo` as clients before MLflow 3 read it."""
    row = facts.row
    return {
        "request_id": row.uuid,
        "experiment_id": str(row.experiment_id),
        "timestamp_ms": row.started_at,
        "status": "TRACE_STATUS_UNSPECIFIED" if row.status == "STATE_UNSPECIFIED" else row.status,
        "request_metadata": tags(facts.metadata.items()),
        "tags": tags(facts.tags.items()),
    } | filled(execution_time_ms=row.duration_ms)


def trace(facts: TraceFacts, spans: list[Span]) -> dict[str, Any]:
    """A `Trace`: its info and its spans."""
    return {"trace_info": info(facts), "spans": [span(one) for one in spans]}


def span(row: Span) -> dict[str, Any]:
    """An OpenTelemetry `Span`."""
    content = json.loads(row.content)
    found: dict[str, Any] = {
        "trace_id": _bytes(row.otel_trace),
        "span_id": _bytes(row.span_id),
        "name": row.name,
        "start_time_unix_nano": str(row.start_ns),
        "attributes": pairs(content.get("attributes", {})),
        "status": {"code": f"STATUS_CODE_{row.status}"} | filled(message=content.get("message", "")),
        "events": [
            {"name": e["name"], "time_unix_nano": str(e["time_ns"]), "attributes": pairs(e["attributes"])}
            for e in content.get("events", [])
        ],
        "links": [
            {"trace_id": _bytes(k["trace"]), "span_id": _bytes(k["span"]), "attributes": pairs(k["attributes"])}
            for k in content.get("links", [])
        ],
    }
    if row.end_ns is not None:
        found["end_time_unix_nano"] = str(row.end_ns)
    return found | filled(parent_span_id=_bytes(row.parent_id))


def _bytes(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`KeyValue`s of plain values."""
    return [{"key": key, "value": _any(value)} for key, value in values.items()]


def _any(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": str(value)} if -(2**63) <= value < 2**63 else {"string_value": str(value)}
    if isinstance(value, float):
        return {"double_value": value}
    if isinstance(value, list):
        return {"array_value": {"values": [_any(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlist_value": {"values": pairs(value)}}
    return {"string_value": str(value)}


def artifact(spans: list[Span]) -> dict[str, Any]:
    """The file `traces.json`: the spans as MLflow's own pages read them, attribute values as JSON texts."""
    found = []
    for row in spans:
        content = json.loads(row.content)
        found.append(
            {
                "trace_id": _bytes(row.otel_trace),
                "span_id": _bytes(row.span_id),
                "parent_span_id": _bytes(row.parent_id) or None,
                "name": row.name,
                "start_time_unix_nano": row.start_ns,
                "end_time_unix_nano": row.end_ns,
                "events": [
                    {"name": e["name"], "time_unix_nano": e["time_ns"], "attributes": e["attributes"]}
                    for e in content.get("events", [])
                ],
                "status": {"code": f"STATUS_CODE_{row.status}", "message": content.get("message", "")},
                "attributes": {
                    key: json.dumps(value, ensure_ascii=False) for key, value in content.get("attributes", {}).items()
                },
                "links": [
                    {"trace_id": f"tr-{k['trace']}", "span_id": k["span"], "attributes": k["attributes"]}
                    for k in content.get("links", [])
                ],
            }
        )
    return {"spans": found}


# ---------------------------------------------------------------- assessments
def assessment(row: Assessment, trace_id: str) -> dict[str, Any]:
    """An `Assessment`."""
    value = json.loads(row.value)
    found: dict[str, Any] = {
        "assessment_id": row.uuid,
        "assessment_name": row.name,
        "trace_id": trace_id,
        "source": {"source_type": row.source_type} | filled(source_id=row.source_id),
        "create_time": timestamp(row.created_at),
        "last_update_time": timestamp(row.updated_at),
        "valid": row.valid,
        "metadata": json.loads(row.details),
    }
    if row.kind == "feedback":
        found["feedback"] = {"value": value} | filled(error=json.loads(row.error) if row.error else None)
    elif row.kind == "issue":
        found["issue"] = {"issue_name": value}
    elif isinstance(value, dict | list):
        text = json.dumps(value)
        found["expectation"] = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": text}}
    else:
        found["expectation"] = {"value": value}
    return found | filled(span_id=row.span_id, rationale=row.rationale, overrides=row.overrides)


def parse_value(kind: str, told: Any) -> tuple[Any, dict[str, Any] | None]:
    """(value, error) of a `Feedback`, an `Expectation` or an `IssueReference`. Raises `BadInput`."""
    if not isinstance(told, dict):
        raise limits.wrong_type(f"assessment.{kind}", told)
    if kind == "issue":
        return str(told.get("issue_name") or ""), None
    if kind == "expectation" and isinstance(told.get("serialized_value"), dict):
        try:
            return json.loads(told["serialized_value"].get("value") or "null"), None
        except ValueError:
            raise BadInput("The expectation's serialized value is not valid JSON.") from None
    error = told.get("error")
    return told.get("value"), error if isinstance(error, dict) else None


def parse_assessment(told: Any) -> dict[str, Any]:
    """What an `Assessment` of the wire says, as `assessments.keep` takes it. Raises `BadInput`."""
    if not isinstance(told, dict):
        raise limits.wrong_type("assessment", told)
    kind = next((kind for kind in KINDS if kind in told), None)
    value, error = (None, None) if kind is None else parse_value(kind, told[kind])
    given = told.get("source")
    source: dict[str, Any] = given if isinstance(given, dict) else {}
    times = {
        name: parse_timestamp(told[field], field)
        for name, field in (("created_at", "create_time"), ("updated_at", "last_update_time"))
        if told.get(field)
    }
    details = told.get("metadata") or {}
    if not isinstance(details, dict):
        raise limits.wrong_type("assessment.metadata", details)
    return {
        "uuid": told.get("assessment_id"), "name": told.get("assessment_name"), "kind": kind, "value": value, "error": error,
        "source_type": _source_type(source.get("source_type")), "source_id": source.get("source_id"),
        "span_id": told.get("span_id"), "rationale": told.get("rationale"), "details": details,
        "overrides": told.get("overrides"), "valid": told.get("valid"), **times,
    }  # fmt: skip


def _source_type(value: Any) -> str:
    words = ("SOURCE_TYPE_UNSPECIFIED", "HUMAN", "LLM_JUDGE", "CODE")
    return words[value] if isinstance(value, int) and 0 <= value < len(words) else str(value or words[0])
