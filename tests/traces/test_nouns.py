"""What is read out of spans, without a database: usage over a tree, previews, the tree of a page, figures, the grammar."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from headway.errors import BadInput
from headway.traces import measures, search, spans, tree
from headway.traces.spans import SpanData
from headway.traces.tables import Span
from headway.tracking.find.search import Clause


def span(name: str, parent: str = "", start: int = 0, end: int | None = 10, **content: Any) -> Span:
    return Span(trace_id=1, span_id=name, parent_id=parent, otel_trace="0" * 32, name=name, kind="UNKNOWN", status="UNSET",
                start_ns=start, end_ns=end, content=json.dumps({"attributes": {}} | content))  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "total"),
    [
        ({}, {}),
        ({"a": ("", {"n": 1}), "b": ("", {"n": 2})}, {"n": 3}),
        ({"a": ("", None), "b": ("a", {"n": 2}), "c": ("a", {"n": 3})}, {"n": 5}),
        (
            {"a": ("", {"n": 5}), "b": ("a", {"n": 2}), "c": ("b", {"n": 3})},
            {"n": 5},
        ),  # the parent speaks for all below
        ({"a": ("", {"n": 5}), "b": ("a", None), "c": ("b", {"n": 3})}, {"n": 5}),
        ({"b": ("lost", {"n": 2})}, {"n": 2}),
        ({"a": ("b", None), "b": ("a", None)}, {}),  # each other's parent
    ],
)
def test_totals_over_a_tree(nodes: dict[str, Any], total: dict[str, int]) -> None:
    assert spans.total(nodes, ("n",)) == total


def test_other_conventions_are_read() -> None:
    told = SpanData("t", "s", "chat", 0, attributes={
        "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": "4", "gen_ai.request.model": "gpt",
        "gen_ai.operation.name": "chat", "gen_ai.conversation.id": "c1"})  # fmt: skip
    assert told.usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert told.known(spans.MODEL) == "gpt" and told.kind == "CHAT_MODEL" and told.session == "c1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None), ("plain", "plain"), (5, "5"), ({"a": 1}, '{"a": 1}'), ("x" * 2000, "x" * 997 + "..."), ("a\0b", "ab"),
        ({"messages": [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}]}, "last"),
        ('{"messages": [{"role": "user", "content": "told as text"}]}', "told as text"),
        ({"messages": [{"role": "system", "content": "x"}]}, '{"messages": [{"role": "system", "content": "x"}]}'),
    ],
)  # fmt: skip
def test_previews(value: Any, shown: str | None) -> None:
    assert spans.preview(value, "user") == shown


def test_a_tree_has_parents_before_children_and_loses_none() -> None:
    told = [span("root", end=100), span("b", "root", 50, 60), span("a", "root", 10, 20), span("aa", "a", 12, 13),
            span("lost", "gone", 5), span("x", "y", 1), span("y", "x", 1), span("open", "root", 90, None)]  # fmt: skip
    nodes = tree.grow(told)
    assert {node.id for node in nodes} == {s.span_id for s in told} and len(nodes) == len(told)
    order = [node.id for node in nodes]
    assert order.index("root") < order.index("a") < order.index("aa") < order.index("b")
    assert {node.id: node.depth for node in nodes}["aa"] == 2
    assert all(0 <= node.x <= 1000 and node.width > 0 for node in nodes)
    assert next(node for node in nodes if node.id == "open").state == "running"
    assert tree.grow([]) == []


def test_all_of_a_span() -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    event = {"name": "exception", "time_ns": 5_000_000, "attributes": {
        "exception.type": "E", "exception.message": "m", "exception.stacktrace": "s", "more": 1}}  # fmt: skip
    (node,) = tree.grow([span("a", attributes={spans.INPUTS: chat, spans.OUTPUTS: "bye", "k": [1]}, events=[event])])
    told = tree.detail(node)
    assert [(p.title, p.chat, p.text) for p in told["parts"]][1] == ("Outputs", [], "bye")
    assert told["parts"][0].chat == [("user", "hi")] and told["attributes"] == {"k": "[1]"}
    assert told["events"][0]["error"] == "E: m" and told["events"][0]["at"] == 5.0


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("trace.status = 'OK'", Clause("attribute", "status", "=", "OK")),
        ("timestamp_ms >= 5", Clause("attribute", "timestamp", ">=", 5)),
        ("span.attributes.`a.b` LIKE '%x%'", Clause("span", "attributes.a.b", "LIKE", "%x%")),
        ("span.attributes.gen_ai.system = 'x'", Clause("span", "attributes.gen_ai.system", "=", "x")),
        ("feedback.q > 0.5", Clause("feedback", "q", ">", 0.5)),
        ("feedback.q = 'true'", Clause("feedback", "q", "=", "true")),
        ("metadata.mlflow.sourceRun = 'r'", Clause("metadata", "mlflow.sourceRun", "=", "r")),
        ("tags.a IS NOT NULL", Clause("tag", "a", "IS NOT NULL", None)),
    ],
)
def test_grammar(text: str, clause: Clause) -> None:
    assert search.parse(text) == [clause]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("status", "Invalid clause"), ("foo.bar = 'x'", "Invalid entity type 'foo'"), ("nope = 'x'", "Invalid attribute key"),
        ("span.size = 'x'", "Invalid span attribute"), ("feedback.q > 'a'", "numeric value"), ("name RLIKE '(a+)+'", "costly"),
        ("name RLIKE '('", "Invalid regular expression"), ("name RLIKE 'a*b*c*d*e'", "costly"), ("prompt != 'a/1'", "Only '='"),
        ("name RLIKE '" + "a" * 300 + "'", "at most"), ("trace.text = 'x'", "Invalid comparator"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told.replace("(", "\\(")):
        search.parse(text)


@pytest.mark.parametrize(
    ("cells", "value"),
    [((0, 5, 5, 5), math.nan), ((5, 0, 0, 0), 1.0), ((5, 0, 0, 5), 1.0), ((25, 25, 25, 25), 0.0), ((1, 9, 9, 81), 0.0)],
)
def test_correlation(cells: tuple[int, int, int, int], value: float) -> None:
    assert measures.npmi(*cells) == pytest.approx(value, abs=1e-9, nan_ok=True)
