"""OTLP over HTTP: protobuf and JSON mean the same; what is wrong, hostile or too much is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headway.errors import BadInput, TooLarge
from headway.traces import otlp

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
JSON: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": TRACE, "spanId": SPAN, "parentSpanId": PARENT, "name": "GET /",
                            "startTimeUnixNano": "1000", "endTimeUnixNano": "3000",
                            "attributes": [
                                {"key": "n", "value": {"intValue": "9007199254740993"}},
                                {"key": "ok", "value": {"boolValue": True}},
                                {"key": "list", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}]}}},
                                {"key": "map", "value": {"kvlistValue": {"values": [
                                    {"key": "a", "value": {"stringValue": "b"}}]}}},
                                {"key": "none", "value": {}},
                            ],
                            "events": [{"name": "e", "timeUnixNano": "2000", "attributes": []}],
                            "links": [{"traceId": TRACE, "spanId": PARENT}],
                            "status": {"code": 2, "message": "broken"},
                        }
                    ]
                }
            ],
        }
    ]
}  # fmt: skip


def protobuf() -> bytes:
    """The same as `JSON`."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    span = group.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), parent_span_id=bytes.fromhex(PARENT), name="GET /",
        start_time_unix_nano=1000, end_time_unix_nano=3000,
    )  # fmt: skip
    span.attributes.add(key="n").value.int_value = 9007199254740993
    span.attributes.add(key="ok").value.bool_value = True
    span.attributes.add(key="list").value.array_value.values.add().double_value = 0.5
    span.attributes.add(key="map").value.kvlist_value.values.add(key="a").value.string_value = "b"
    span.attributes.add(key="none")
    span.events.add(name="e", time_unix_nano=2000)
    span.links.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(PARENT))
    span.status.code, span.status.message = 2, "broken"
    return bytes(request.SerializeToString())


@pytest.mark.parametrize(("body", "kind"), [(json.dumps(JSON).encode(), otlp.JSON), (protobuf(), otlp.PROTOBUF)])
def test_both_forms_mean_the_same(body: bytes, kind: str) -> None:
    (span,) = otlp.decode(body, kind)
    assert (span.trace, span.id, span.parent, span.name) == (TRACE, SPAN, PARENT, "GET /")
    assert (span.start_ns, span.end_ns, span.status, span.message) == (1000, 3000, "ERROR", "broken")
    assert span.attributes == {"n": 9007199254740993, "ok": True, "list": [0.5], "map": {"a": "b"}, "none": None}
    assert span.resource == {"service.name": "shop"}
    assert span.events == [{"name": "e", "time_ns": 2000, "attributes": {}}]
    assert span.links == [{"trace": TRACE, "span": PARENT, "attributes": {}}]


def _json(**changes: Any) -> bytes:
    told = json.loads(json.dumps(JSON))
    told["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= changes
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", otlp.PROTOBUF), (b"\xff\xff\xff", otlp.PROTOBUF), (b"", otlp.JSON), (b"[]", otlp.JSON), (b"{}", otlp.JSON),
        (b'{"resourceSpans": 5}', otlp.JSON), (b'{"resourceSpans": [5]}', otlp.JSON), (b"[" * 5000, otlp.JSON),
        (_json(traceId=""), otlp.JSON), (_json(traceId="0" * 32), otlp.JSON), (_json(spanId="zz"), otlp.JSON),
        (_json(startTimeUnixNano="-1"), otlp.JSON), (_json(startTimeUnixNano="9" * 30), otlp.JSON),
        (_json(attributes=5), otlp.JSON), (_json(attributes=[{"value": {}}]), otlp.JSON), (_json(events=["x"]), otlp.JSON),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(BadInput):
        otlp.decode(body, kind)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("", b"abc"), ("identity", b"abc"), ("gzip", gzip.compress(b"abc", mtime=0)), ("deflate", zlib.compress(b"abc")),
     ("deflate", zlib.compressobj(wbits=-15).compress(b"") or b"\x4b\x4c\x4a\x06\x00")],
)  # fmt: skip
def test_encodings(encoding: str, packed: bytes) -> None:
    assert otlp.inflate(packed, encoding, 100) == b"abc"


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(TooLarge):
        otlp.inflate(gzip.compress(b"\0" * 50_000_000), "gzip", 1 << 20)
    for encoding, body in (("gzip", b"junk"), ("deflate", b"junk"), ("br", b""), ("gzip", gzip.compress(b"abc")[:-9])):
        with pytest.raises(BadInput):
            otlp.inflate(body, encoding, 100)
