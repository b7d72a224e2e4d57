"""A span as this slice knows it, and what is read out of many: status, usage, cost. No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

INPUTS, OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"
KIND, REQUEST_ID = "mlflow.spanType", "mlflow.traceRequestId"
USAGE, COST = "mlflow.chat.tokenUsage", "mlflow.llm.cost"
MODEL, PROVIDER = "mlflow.llm.model", "mlflow.llm.provider"
SESSIONS = ("mlflow.trace.session", "session.id", "gen_ai.conversation.id")
USER = "user.id"
TAG_PREFIX = "mlflow.traceTag."
USAGE_KEYS = ("input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
COST_KEYS = ("input_cost", "output_cost", "total_cost")
PREVIEW = 1000  # characters of a request or an answer that a table shows; MLflow's own limit

# What OpenTelemetry's own and others' conventions call the same, newest first.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    INPUTS: ("input.value", "gen_ai.input.messages", "gen_ai.prompt", "traceloop.entity.input"),
    OUTPUTS: ("output.value", "gen_ai.output.messages", "gen_ai.completion", "traceloop.entity.output"),
    MODEL: ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name"),
    PROVIDER: ("gen_ai.provider.name", "gen_ai.system", "llm.provider"),
}
_TOKENS: dict[str, tuple[str, ...]] = {
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.token_count.total"),
}
_KINDS = {
    "chat": "CHAT_MODEL", "text_completion": "LLM", "generate_content": "LLM", "embeddings": "EMBEDDING",
    "execute_tool": "TOOL", "create_agent": "AGENT", "invoke_agent": "AGENT",
}  # fmt: skip


@dataclass
class SpanData:
    """One span. Ids are hexadecimal; times nanoseconds; attributes hold plain JSON values."""

    trace: str
    id: str
    name: str
    start_ns: int
    end_ns: int | None = None
    parent: str = ""
    status: str = "UNSET"
    message: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """LLM, TOOL, AGENT...: MLflow's word, else made of OpenTelemetry's or OpenInference's."""
        given = self.attributes.get(KIND) or self.attributes.get("openinference.span.kind")
        if given is None:
            given = _KINDS.get(str(self.attributes.get("gen_ai.operation.name", "")), "UNKNOWN")
        return str(given)[:100]

    def known(self, key: str) -> Any:
        """The attribute, under its own name or one of its synonyms; None if there is none."""
        for name in (key, *_SYNONYMS.get(key, ())):
            if self.attributes.get(name) is not None:
                return self.attributes[name]
        return None

    @property
    def usage(self) -> dict[str, int] | None:
        """Tokens of this span's own call of a model."""
        given = _object(self.attributes.get(USAGE))
        if given is None:
            given = {
                key: next((self.attributes[n] for n in names if n in self.attributes), None)
                for key, names in _TOKENS.items()
            }
            if (
                given["total_tokens"] is None
                and given["input_tokens"] is not None
                and given["output_tokens"] is not None
            ):
                given["total_tokens"] = _count(given["input_tokens"], 0) + _count(given["output_tokens"], 0)
        found = {key: _count(given[key], -1) for key in USAGE_KEYS if given.get(key) is not None}
        return {key: n for key, n in found.items() if n >= 0} or None

    @property
    def cost(self) -> dict[str, float] | None:
        """Cost of this span's own call of a model, in USD."""
        given = _object(self.attributes.get(COST)) or {}
        found = {key: _number(given.get(key)) for key in COST_KEYS}
        return {key: n for key, n in found.items() if n is not None} or None

    @property
    def session(self) -> str | None:
        """The conversation that this span says it is part of."""
        return next((str(self.attributes[k])[:250] for k in SESSIONS if self.attributes.get(k)), None)


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def _count(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def outcome(spans: Iterable[SpanData]) -> str | None:
    """The trace's status as its root span tells it; None while that hasn't come."""
    root = next((s for s in spans if not s.parent), None)
    if root is None:
        return None
    return "ERROR" if root.status == "ERROR" else "OK"


def total(nodes: Mapping[str, tuple[str, Mapping[str, float] | None]], keys: tuple[str, ...]) -> dict[str, float]:
    """Sums over a tree of spans (id -> parent, numbers): a span that has numbers speaks for all below it, as libraries put the
    sum of the children on their parent."""
    found: dict[str, float] = {}
    counted: dict[str, bool] = {}

    def above(span: str) -> bool:
        """Whether this span, or one above it, has numbers."""
        path: list[str] = []
        while span in nodes and span not in counted and span not in path:
            path.append(span)
            if nodes[span][1]:
                break
            span = nodes[span][0]
        answer = counted.get(span, span in nodes and bool(nodes[span][1]))
        for one in path:
            counted[one] = answer
        return answer

    for parent, numbers in nodes.values():
        if numbers and not above(parent):
            for key in keys:
                if key in numbers:
                    found[key] = found.get(key, 0) + numbers[key]
    return found


def clean(value: Any) -> Any:
    """A JSON value without NUL characters, which PostgreSQL can't keep."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, list) else value


def text(value: Any) -> str:
    """A value as text: itself, or JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def preview(value: Any, role: str) -> str | None:
    """The start of a request (`role` user) or an answer (assistant): the last message of a chat, else all of it."""
    if value is None:
        return None
    found = _message(value, role)
    shown = text(value) if found is None else found
    shown = shown.replace("\0", "")
    return shown if len(shown) <= PREVIEW else shown[: PREVIEW - 3] + "..."


def _message(value: Any, role: str) -> str | None:
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return None
    messages = parsed
    if isinstance(parsed, dict):
        messages = parsed.get("messages") or parsed.get("input")
        if messages is None and isinstance(parsed.get("choices"), list) and parsed["choices"]:
            messages = [choice.get("message") for choice in parsed["choices"] if isinstance(choice, dict)]
    if not isinstance(messages, list):
        return None
    said = [m for m in messages if isinstance(m, dict) and m.get("role") == role and m.get("content")]
    return text(said[-1]["content"]) if said else None
