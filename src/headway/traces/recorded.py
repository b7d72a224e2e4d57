"""Spans as MLflow keeps and sends them, of any of its releases. Pure: JSON values in, `SpanData` out.

- its REST answers (`traces/get`): protobuf's JSON with names as in the proto file, ids in base64, attributes as `KeyValue`s;
- its rows and its file `traces.json`: the same with attributes as an object of JSON texts, ids in base64, or hexadecimal (3.5);
- before MLflow 3: `context`, `parent_id`, `start_time`, `status_code`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from headway.errors import BadInput
from headway.traces.otlp import DEEPEST
from headway.traces.spans import REQUEST_ID, SpanData

_STATUSES = {"STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR", "OK": "OK", "ERROR": "ERROR", 1: "OK", 2: "ERROR"}


def spans_of(trace_id: str, told: list[Any]) -> list[SpanData]:
    """The spans of one trace. Raises `BadInput` for what is no span."""
    found = []
    for at, one in enumerate(told):
        try:
            span = _span(_of_version_2(one) if "context" in one else one)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BadInput(f"Span {at} of {trace_id} can't be read: {type(error).__name__} {error}.") from None
        span.attributes[REQUEST_ID] = trace_id
        found.append(span)
    return found


def _span(one: dict[str, Any]) -> SpanData:
    status = one.get("status") or {}
    return SpanData(
        trace=_id(one["trace_id"], 16), id=_id(one["span_id"], 8), name=str(one.get("name") or ""),
        start_ns=_time(one["start_time_unix_nano"]), end_ns=_time(one.get("end_time_unix_nano") or 0) or None,
        parent=_parent(one.get("parent_span_id")), status=_STATUSES.get(status.get("code", 0), "UNSET"),
        message=str(status.get("message") or ""), attributes=_attributes(one.get("attributes"), texts=True),
        events=[
            {"name": str(e.get("name") or ""), "time_ns": _time(e.get("time_unix_nano") or 0),
             "attributes": _attributes(e.get("attributes"))}
            for e in one.get("events") or []
        ],
        links=[_link(k) for k in one.get("links") or []],
    )  # fmt: skip


def _link(one: dict[str, Any]) -> dict[str, Any]:
    return {"trace": _id(one["trace_id"], 16), "span": _id(one["span_id"], 8),
            "attributes": _attributes(one.get("attributes"))}  # fmt: skip


def _of_version_2(one: dict[str, Any]) -> dict[str, Any]:
    """A span of a release before MLflow 3, as those after it keep it."""
    return {
        **one, **one["context"], "parent_span_id": one.get("parent_id"), "start_time_unix_nano": one["start_time"],
        "end_time_unix_nano": one.get("end_time"),
        "status": {"code": one.get("status_code", 0), "message": one.get("status_message")},
        "events": [{**e, "time_unix_nano": e.get("timestamp")} for e in one.get("events") or []],
    }  # fmt: skip


def _id(value: str, size: int) -> str:
    """An id as hexadecimal digits, from them (also with `0x` or `tr-` before them) or from base64."""
    plain = value.removeprefix("tr-").removeprefix("0x")
    if len(plain) == 2 * size:
        try:
            return bytes.fromhex(plain).hex()
        except ValueError:
            pass
    try:
        found = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError(f"'{value[:40]}' is no id") from None
    if len(found) != size:
        raise ValueError(f"'{value[:40]}' is no id of {size} bytes")
    return found.hex()


def _parent(value: str | None) -> str:
    return _id(value, 8) if value else ""


def _time(value: int | str) -> int:
    found = int(value)
    if not 0 <= found < 2**63:
        raise ValueError(f"{found} is no time")
    return found


def _attributes(told: Any, *, texts: bool = False) -> dict[str, Any]:
    """Plain values of `KeyValue`s or of an object; `texts`: the object's values are JSON texts."""
    if isinstance(told, list):
        return {str(pair["key"]): _value(pair.get("value")) for pair in told}
    return {str(key): _loaded(value) if texts else value for key, value in (told or {}).items()}


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _value(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict) or not value:
        return None
    if depth > DEEPEST:
        return str(value)
    kind, found = next(iter(value.items()))
    if kind == "array_value":
        return [_value(v, depth + 1) for v in found.get("values") or []]
    if kind == "kvlist_value":
        return {str(pair["key"]): _value(pair.get("value"), depth + 1) for pair in found.get("values") or []}
    if kind == "int_value":
        return int(found)
    if kind == "double_value":
        return float(found)  # NaN and the infinities are texts in protobuf's JSON
    return found
