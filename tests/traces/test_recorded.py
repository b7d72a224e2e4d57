"""Traces that another MLflow kept: spans of each of its releases, and what becomes of traces sent to the route of imports."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.errors import BadInput
from headway.traces.recorded import spans_of
from tests.tracking.serving import Server, serve

TRACE, SPAN, PARENT = "0123456789abcdef" * 2, "0123456789abcdef", "fedcba9876543210"
ID = f"tr-{TRACE}"


def b64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


TODAY = {
    "trace_id": b64(TRACE), "span_id": b64(SPAN), "parent_span_id": b64(PARENT), "name": "a", "start_time_unix_nano": 5,
    "end_time_unix_nano": 9, "status": {"code": "STATUS_CODE_ERROR", "message": "no"},
    "attributes": {"mlflow.spanType": '"LLM"', "n": "1", "plain": "words", "deep": '{"a": [1, null]}'},
    "events": [{"name": "e", "time_unix_nano": 6, "attributes": {"k": "v"}}],
    "links": [{"trace_id": ID, "span_id": SPAN, "attributes": {}}],
}  # fmt: skip
WIRE = TODAY | {
    "start_time_unix_nano": "5", "end_time_unix_nano": "9",
    "attributes": [
        {"key": "mlflow.spanType", "value": {"string_value": "LLM"}}, {"key": "n", "value": {"int_value": "1"}},
        {"key": "plain", "value": {"string_value": "words"}},
        {"key": "deep", "value": {"kvlist_value": {"values": [
            {"key": "a", "value": {"array_value": {"values": [{"int_value": "1"}, {}]}}}]}}},
    ],
    "events": [{"name": "e", "time_unix_nano": "6", "attributes": [{"key": "k", "value": {"string_value": "v"}}]}],
    "links": [{"trace_id": b64(TRACE), "span_id": b64(SPAN), "attributes": []}],
}  # fmt: skip
RELEASE_3_5 = TODAY | {
    "trace_id": f"0x{TRACE}",
    "span_id": SPAN,
    "parent_span_id": PARENT,
    "status": {"code": "ERROR", "message": "no"},
}
RELEASE_2 = {
    "name": "a", "context": {"span_id": f"0x{SPAN}", "trace_id": f"0x{TRACE}"}, "parent_id": f"0x{PARENT}", "start_time": 5,
    "end_time": 9, "status_code": "ERROR", "status_message": "no", "attributes": TODAY["attributes"],
    "events": [{"name": "e", "timestamp": 6, "attributes": {"k": "v"}}], "links": TODAY["links"],
}  # fmt: skip


@pytest.mark.parametrize("told", [TODAY, WIRE, RELEASE_3_5, RELEASE_2], ids=["today", "on the wire", "3.5", "2"])
def test_a_span_of_every_release_is_the_same(told: dict[str, Any]) -> None:
    (span,) = spans_of(ID, [told])
    assert (span.trace, span.id, span.parent, span.name) == (TRACE, SPAN, PARENT, "a")
    assert (span.start_ns, span.end_ns, span.status, span.message) == (5, 9, "ERROR", "no")
    known = {"mlflow.spanType": "LLM", "n": 1, "plain": "words", "deep": {"a": [1, None]}, "mlflow.traceRequestId": ID}
    assert span.attributes == known
    assert span.events == [{"name": "e", "time_ns": 6, "attributes": {"k": "v"}}]
    assert span.links == [{"trace": TRACE, "span": SPAN, "attributes": {}}]


@pytest.mark.parametrize(
    "change",
    [{"trace_id": "?"}, {"span_id": b64(TRACE)}, {"start_time_unix_nano": -1}, {"start_time_unix_nano": "soon"},
     {"attributes": 7}, {"status": "fine"}, {"events": [{"attributes": 3}]}, {"links": [{}]}],
)  # fmt: skip
def test_what_is_no_span(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="can't be read"):
        spans_of(ID, [TODAY | change])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path / "home") as server:
        yield server


def info(**more: Any) -> dict[str, Any]:
    return {"trace_id": ID, "request_time": "2026-11-23T12:00:00.000Z", "state": "OK", "tags": {"a": "b"},
            "execution_duration": "0.004s", "trace_metadata": {"mlflow.trace.session": "s"}} | more  # fmt: skip


def send(server: Server, *traces: dict[str, Any], project: str = "") -> dict[str, Any]:
    from headway.sdk.client import Client

    client = Client(server.url, server.token)
    try:
        base = f"/api/v1/projects/{project or server.project.slug}/import"
        number = client.post(f"{base}/experiments", {"name": "chats"})["experiment_id"]
        told = [{"experiment_id": number, "spans": [], "runs": []} | one for one in traces]
        found: dict[str, Any] = client.post(f"{base}/traces", {"traces": told})
        found["absent"] = client.post(f"{base}/traces/absent", {"trace_ids": [ID, "tr-other"]})["absent"]
        return found
    finally:
        client.close()


def test_a_trace_is_taken_once_and_one_under_way_is_brought_up_to_date(server: Server) -> None:
    first = send(server, {"info": info(state="IN_PROGRESS"), "spans": []})
    assert (first["new"], first["there"], first["absent"]) == ([ID], [], [ID, "tr-other"])
    whole = {"info": info(), "spans": [TODAY | {"parent_span_id": None}]}
    second = send(server, whole)
    assert (second["new"], second["left"], second["absent"]) == ([ID], [], ["tr-other"])
    third = send(server, whole | {"info": info(tags={"a": "changed"})})
    assert (third["new"], third["there"]) == ([], [ID])
    other = server.world.project("Other", server.who)
    taken = send(server, whole, project=other.slug)
    assert taken["new"] == []
    assert taken["left"] == [{"what": ID, "why": "a trace of this id is in another project of this server"}]


def test_one_that_can_not_be_kept_is_told_and_the_others_are_kept(server: Server) -> None:
    wrong = {"info": info(trace_id="tr-wrong"), "spans": [TODAY | {"span_id": "?"}]}
    late = {"info": info(trace_id="tr-late", request_time="yesterday")}
    judged = [{"assessment_name": "", "feedback": {"value": 1}}, {"assessment_name": "ok", "feedback": {"value": True}}]
    odd = {"info": info(tags={"a": "b\0c", "../x": "y"}, assessments=judged)}
    found = send(server, wrong, late, odd)
    assert found["new"] == [ID]
    why = [(one["what"], one["why"]) for one in found["left"]]
    assert [what for what, _ in why] == ["tr-wrong", "tr-late", ID, ID]
    assert "can't be read" in why[0][1] and "../x" in why[2][1] and "an assessment" in why[3][1]
