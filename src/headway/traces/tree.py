"""Spans as a page shows them: a tree, each with its place in time, and all of one. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headway.traces import spans as nouns
from headway.traces.tables import Span

MOST = 1000  # spans that one page draws
WIDE = 1000.0  # units of the waterfall's width
DEEPEST = 12  # levels that are indented; deeper ones stand below the last
ICONS = {
    "LLM": "sparkles", "CHAT_MODEL": "message-square", "TOOL": "wrench", "AGENT": "brain-circuit", "CHAIN": "link",
    "RETRIEVER": "search", "EMBEDDING": "hash", "RERANKER": "list-filter", "PARSER": "braces", "MEMORY": "database",
    "EVALUATOR": "scale", "GUARDRAIL": "shield", "TASK": "circle-dot", "WORKFLOW": "workflow",
}  # fmt: skip
_HIDDEN = (nouns.INPUTS, nouns.OUTPUTS, nouns.REQUEST_ID, nouns.KIND, nouns.USAGE, nouns.MODEL, "mlflow.experimentId",
           "mlflow.spanLogLevel")  # shown elsewhere, or of no use to a reader  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A span in the tree. `x` and `width` are its place in the waterfall (0 to 1000); `ms` is None while it runs."""

    span: Span
    id: str
    depth: int
    x: float
    width: float
    ms: float | None
    icon: str
    state: str


def grow(spans: Sequence[Span]) -> list[Node]:
    """The spans in the order of a tree, parents before children, each by its start; what lost its parent is a root."""
    if not spans:
        return []
    known = {span.span_id for span in spans}
    below: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, one.span_id)):
        below.setdefault(
            span.parent_id if span.parent_id in known and span.parent_id != span.span_id else "", []
        ).append(span)
    first = min(span.start_ns for span in spans)
    last = max([span.end_ns or span.start_ns for span in spans])
    scale = WIDE / max(1, last - first)
    found: list[Node] = []
    seen: set[str] = set()
    todo = [(span, 0) for span in reversed(below.get("", []))]
    while todo or len(found) < len(spans):
        if not todo:  # spans that call each other their parent
            todo = [(next(span for span in spans if span.span_id not in seen), 0)]
        span, depth = todo.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        end = last if span.end_ns is None else span.end_ns
        x = (span.start_ns - first) * scale
        found.append(
            Node(span, span.span_id, min(depth, DEEPEST), round(x, 1), round(max(4.0, (end - span.start_ns) * scale), 1),
                 None if span.end_ns is None else (span.end_ns - span.start_ns) / 1e6,
                 ICONS.get(span.kind, "circle-dot"),
                 "running" if span.end_ns is None else "failed" if span.status == "ERROR" else "finished")
        )  # fmt: skip
        todo += [(child, depth + 1) for child in reversed(below.get(span.span_id, []))]
    return found


@dataclass(frozen=True)
class Part:
    """One input or output: as a chat (role, text), else as text of a language."""

    title: str
    chat: list[tuple[str, str]]
    text: str
    language: str


def detail(node: Node) -> dict[str, Any]:
    """All of a span: inputs, outputs, attributes, events, its message."""
    content = json.loads(node.span.content)
    attributes = content.get("attributes", {})
    span = nouns.SpanData(node.span.otel_trace, node.id, node.span.name, node.span.start_ns, attributes=attributes)
    shown = {nouns.INPUTS: span.known(nouns.INPUTS), nouns.OUTPUTS: span.known(nouns.OUTPUTS)}
    parts = [
        _part(title, value)
        for title, value in (("Inputs", shown[nouns.INPUTS]), ("Outputs", shown[nouns.OUTPUTS]))
        if value is not None
    ]
    events = [
        {
            "name": event["name"],
            "at": (event["time_ns"] - node.span.start_ns) / 1e6,
            "stack": str(event["attributes"].get("exception.stacktrace") or ""),
            "error": ": ".join(
                str(event["attributes"][key])
                for key in ("exception.type", "exception.message")
                if event["attributes"].get(key)
            ),
            "attributes": {k: nouns.text(v) for k, v in event["attributes"].items() if not k.startswith("exception.")},
        }
        for event in content.get("events", [])
    ]
    others = {key: nouns.text(value) for key, value in sorted(attributes.items()) if key not in _HIDDEN}
    return {"parts": parts, "events": events, "attributes": others, "message": content.get("message", ""), "usage": span.usage,
            "cost": span.cost, "model": node.span.model}  # fmt: skip


def short(preview: str | None) -> str:
    """A request or an answer for a cell of a table: the text inside, where the JSON holds only one."""
    if not preview:
        return ""
    try:
        value = json.loads(preview)
    except ValueError:
        return preview
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return value if isinstance(value, str) else preview


def _part(title: str, value: Any) -> Part:
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return Part(title, [], value, "text")
    if isinstance(parsed, str | int | float | bool) or parsed is None:
        return Part(title, [], nouns.text(value), "text")
    return Part(title, _chat(parsed), json.dumps(parsed, indent=2, ensure_ascii=False), "json")


def _chat(value: Any) -> list[tuple[str, str]]:
    """The messages of a chat, where it is one."""
    messages = value
    if isinstance(value, dict):
        messages = value.get("messages")
        if messages is None and isinstance(value.get("choices"), list):
            messages = [one.get("message") for one in value["choices"] if isinstance(one, dict)]
    if not isinstance(messages, list) or not messages:
        return []
    if not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
        return []
    return [(one["role"], nouns.text(one.get("content") or one.get("tool_calls") or "")) for one in messages]
