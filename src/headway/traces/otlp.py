"""OpenTelemetry's OTLP/HTTP trace requests, protobuf or JSON, as spans. Pure: bytes in, spans out.

https://opentelemetry.io/docs/specs/otlp/#otlphttp. The protobuf messages are the project's own (`opentelemetry-proto`).
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import orjson

from headway.errors import BadInput, TooLarge
from headway.traces.spans import SpanData

PROTOBUF, JSON = "application/x-protobuf", "application/json"
DEEPEST = 48  # levels of nesting in one attribute; below that it is kept as text
MOST = 20_000  # spans in one request
_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR", "STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR"}


def inflate(body: bytes, encoding: str, most: int) -> bytes:
    """The body as it was before its Content-Encoding (gzip, deflate). Raises `BadInput`, `TooLarge`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise BadInput(f"Unsupported Content-Encoding: {encoding[:40]}", hint="Send gzip, deflate, or neither.")
    for window in (31,) if encoding == "gzip" else (15, -15):  # 31: gzip's own header; -15: deflate without a header
        machine = zlib.decompressobj(window)
        try:
            found = machine.decompress(body, most + 1)
        except zlib.error:
            continue
        if len(found) > most:
            raise TooLarge(f"The body is larger than {most >> 20} MiB.", hint="Export fewer spans at a time.")
        if machine.eof:
            return found
    raise BadInput(f"Failed to decompress {encoding} payload")


def decode(body: bytes, kind: str) -> list[SpanData]:
    """The spans of an `ExportTraceServiceRequest`. Raises `BadInput`."""
    found = _of_json(body) if kind == JSON else _of_protobuf(body)
    if not found:
        raise BadInput("Invalid OpenTelemetry format - no spans found")
    if len(found) > MOST:
        raise BadInput(f"More than {MOST} spans in one request.", hint="Export fewer spans at a time.")
    return found


def _bad() -> BadInput:
    return BadInput("Invalid OpenTelemetry format", hint="Send an ExportTraceServiceRequest (OTLP/HTTP).")


# ---------------------------------------------------------------- protobuf
def _of_protobuf(body: bytes) -> list[SpanData]:
    # Here, not above: a server without traces never loads the protobuf library (6 MB)
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RecursionError):
        raise _bad() from None
    found = []
    for group in request.resource_spans:
        resource = _pairs(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                found.append(
                    SpanData(
                        trace=_id(span.trace_id, 16), id=_id(span.span_id, 8), name=span.name,
                        start_ns=_time(span.start_time_unix_nano), end_ns=_time(span.end_time_unix_nano) or None,
                        parent=_id(span.parent_span_id, 8) if any(span.parent_span_id) else "",
                        status=_STATUS.get(span.status.code, "UNSET"), message=span.status.message,
                        attributes=_pairs(span.attributes), resource=resource,
                        events=[
                            {"name": e.name, "time_ns": _time(e.time_unix_nano), "attributes": _pairs(e.attributes)}
                            for e in span.events
                        ],
                        links=[
                            {"trace": _id(k.trace_id, 16), "span": _id(k.span_id, 8), "attributes": _pairs(k.attributes)}
                            for k in span.links
                        ],
                    )
                )  # fmt: skip
    return found


def _id(value: bytes, size: int) -> str:
    if len(value) != size or not any(value):
        raise BadInput("Cannot convert OpenTelemetry span to MLflow span: an id is missing or has another length.")
    return value.hex()


def _time(value: int) -> int:
    if not 0 <= value < 2**63:
        raise _bad()
    return value


def _pairs(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if depth > DEEPEST:
        return str(value)
    if kind == "array_value":
        return [_value(v, depth + 1) for v in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    found = getattr(value, kind)
    return base64.b64encode(found).decode() if isinstance(found, bytes) else found


# ---------------------------------------------------------------- JSON
def _of_json(body: bytes) -> list[SpanData]:
    try:
        request = orjson.loads(body)
        return [
            _span_of_json(span, _pairs_of_json(group.get("resource", {}).get("attributes")))
            for group in request.get("resourceSpans", [])
            for scope in group.get("scopeSpans", [])
            for span in scope.get("spans", [])
        ]
    except (ValueError, TypeError, AttributeError, KeyError):
        raise _bad() from None


def _span_of_json(span: dict[str, Any], resource: dict[str, Any]) -> SpanData:
    status = span.get("status") or {}
    return SpanData(
        trace=_hex(span.get("traceId"), 16), id=_hex(span.get("spanId"), 8), name=str(span.get("name", "")),
        start_ns=_time(int(span.get("startTimeUnixNano", 0))), end_ns=_time(int(span.get("endTimeUnixNano", 0))) or None,
        parent=_hex(span["parentSpanId"], 8) if str(span.get("parentSpanId") or "").strip("0") else "",
        status=_STATUS.get(status.get("code", 0), "UNSET"), message=str(status.get("message", "")),
        attributes=_pairs_of_json(span.get("attributes")), resource=resource,
        events=[
            {"name": str(e.get("name", "")), "time_ns": _time(int(e.get("timeUnixNano", 0))),
             "attributes": _pairs_of_json(e.get("attributes"))}
            for e in span.get("events") or []
        ],
        links=[
            {"trace": _hex(k.get("traceId"), 16), "span": _hex(k.get("spanId"), 8),
             "attributes": _pairs_of_json(k.get("attributes"))}
            for k in span.get("links") or []
        ],
    )  # fmt: skip


def _hex(value: Any, size: int) -> str:
    try:
        return _id(bytes.fromhex(str(value or "")), size)
    except ValueError:
        raise _bad() from None


def _pairs_of_json(attributes: Any) -> dict[str, Any]:
    return {str(pair["key"]): _value_of_json(pair.get("value")) for pair in attributes or []}


def _value_of_json(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict) or not value:
        return None
    if depth > DEEPEST:
        return str(value)
    kind, found = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value_of_json(v, depth + 1) for v in found.get("values") or []]
    if kind == "kvlistValue":
        return {str(pair["key"]): _value_of_json(pair.get("value"), depth + 1) for pair in found.get("values") or []}
    if kind == "intValue":
        return int(found)
    return found if isinstance(found, str | bool | int | float) else None
