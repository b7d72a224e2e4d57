"""The grammar of searches over traces, as MLflow clients write it. Pure: text in, clauses out.

trace.status = 'ERROR' AND span.attributes.`gen_ai.system` = 'openai' AND feedback.correctness = 'true'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway.errors import BadInput
from headway.tracking.find.search import (
    IDENTIFIER,
    LIST_OPS,
    NULL_OPS,
    NUMBER,
    NUMERIC_OPS,
    OPERATOR,
    TEXT_OPS,
    Clause,
    Grammar,
    Order,
    Reader,
    Value,
    bare,
)

EXAMPLE = "For example: trace.status = 'ERROR' AND span.name LIKE '%search%'"
REGEX_OPS = frozenset({"RLIKE"})
_ENTITIES = {
    "trace": "attribute", "attribute": "attribute", "attributes": "attribute", "tag": "tag", "tags": "tag",
    "metadata": "metadata", "request_metadata": "metadata", "span": "span", "feedback": "feedback",
    "expectation": "expectation", "issue": "issue",
}  # fmt: skip
_NUMBERS = {
    "timestamp": "timestamp", "timestamp_ms": "timestamp", "execution_time": "execution_time",
    "execution_time_ms": "execution_time", "end_time": "end_time", "end_time_ms": "end_time",
}  # fmt: skip
_TEXTS = frozenset({"request_id", "trace_id", "status", "client_request_id", "name", "run_id", "prompt", "text"})
_LISTS = frozenset({"status", "request_id", "trace_id", "run_id", "client_request_id"})
_ORDERED = frozenset({*_NUMBERS, "experiment_id", "status", "request_id", "name", "run_id"})
_SPAN = frozenset({"name", "type", "status", "content"})
TRACES = Grammar(
    kinds=frozenset(_ENTITIES.values()), text=_TEXTS, numbers=frozenset(_NUMBERS), ordered=_ORDERED, lists=_LISTS
)


class _TraceReader(Reader):
    """Reads conditions on traces, their spans and what was said of them."""

    example = EXAMPLE

    def identify(self, raw: str) -> tuple[str, str]:
        if "." not in raw and OPERATOR.match(self.text[self.at :].lstrip()) is None:
            raise self.wrong(f"Invalid clause(s) in filter string: expected a comparison after '{raw}'")
        return _identify(raw, self.grammar.text | self.grammar.numbers)

    def refusal(self, raw: str, op: str, allowed: frozenset[str]) -> str:
        if bare(raw).removeprefix("trace.") == "prompt":
            return (
                f"Invalid comparator '{op}' for prompts filter. Only '=' is supported with format:"
                ' prompt = "name/version"'
            )
        if raw.startswith("span."):
            return f"{raw} comparator '{op}' not one of {', '.join(sorted(allowed))}"
        return super().refusal(raw, op, allowed)

    def operators(self, kind: str, key: str) -> frozenset[str]:
        if kind in ("tag", "metadata"):
            return TEXT_OPS | REGEX_OPS | NULL_OPS
        if kind in ("feedback", "expectation"):
            return TEXT_OPS | REGEX_OPS | NULL_OPS | NUMERIC_OPS
        if kind == "issue" or key == "prompt":
            return frozenset({"="})
        if kind == "span":
            return frozenset({"LIKE", "ILIKE"}) if key == "content" else TEXT_OPS | REGEX_OPS | LIST_OPS
        if key in self.grammar.numbers:
            return NUMERIC_OPS
        if key == "text":
            return frozenset({"LIKE", "ILIKE"})
        return TEXT_OPS | REGEX_OPS | LIST_OPS if key in _LISTS else TEXT_OPS | REGEX_OPS

    def value(self, kind: str, key: str, op: str) -> Value:
        if kind in ("feedback", "expectation") and op in NUMERIC_OPS - TEXT_OPS:
            given = self.take(NUMBER)
            if given is None:
                raise self.wrong(f"Expected a numeric value for {kind} when using comparator '{op}'")
            return float(given)
        found = super().value(kind, key, op)
        if op == "RLIKE":
            check_pattern(str(found))
        return found


def _identify(raw: str, attributes: frozenset[str]) -> tuple[str, str]:
    head, dot, key = raw.partition(".")
    if not dot:
        kind, key = "attribute", head
    else:
        found = _ENTITIES.get(bare(head))
        if found is None:
            raise BadInput(f"Invalid entity type '{bare(head)}'. Valid values are {sorted(_ENTITIES)}.", hint=EXAMPLE)
        kind = found
    if kind == "span" and key.startswith("attributes."):
        key = f"attributes.{bare(key.removeprefix('attributes.'))}"
    key = bare(key)
    if not key or key == "attributes.":
        raise BadInput(f"'{raw}' lacks a key after the dot.", hint=EXAMPLE)
    if kind == "attribute" and key not in attributes:
        raise BadInput(f"Invalid attribute key '{key}' specified. Valid keys are {sorted(attributes)}.", hint=EXAMPLE)
    if kind == "span" and key not in _SPAN and not key.startswith("attributes."):
        raise BadInput(
            f"Invalid span attribute '{key}'. Supported attributes: name, status, type, attributes.<attribute_name>.",
            hint="span.content searches all of a span. " + EXAMPLE,
        )
    if kind == "issue" and key != "id":
        raise BadInput(f"Invalid issue attribute '{key}'. Supported attributes: id", hint=EXAMPLE)
    return kind, _NUMBERS.get(key, key) if kind == "attribute" else key


def parse(text: str | None) -> list[Clause]:
    """The conditions of a filter, all of which must hold. Raises `BadInput` that says where."""
    if not text or not text.strip():
        return []
    return _TraceReader(text.strip(), TRACES).clauses()


_ORDER = re.compile(rf"\s*({IDENTIFIER.pattern})(?:\s+(asc|desc))?\s*", re.I)


def parse_orders(texts: Sequence[str]) -> list[Order]:
    """`key [ASC|DESC]`, several. Raises `BadInput`."""
    found = []
    for text in texts:
        match = _ORDER.fullmatch(text)
        if match is None:
            raise BadInput(f"Invalid order_by clause '{text[:120]}'.", hint="For example: timestamp_ms DESC")
        kind, key = _identify(match[1], _ORDERED)
        if kind not in ("attribute", "tag", "metadata"):
            raise BadInput(f"Invalid order_by entity `{kind}` with key `{key}`", hint="For example: timestamp_ms DESC")
        found.append(Order(kind, key, (match[2] or "asc").lower() == "asc"))
    return found


_UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
_NESTED = re.compile(r"(?<!\\)\)(?:[*+?]|\{)")
LONGEST_PATTERN = 200


def check_pattern(pattern: str) -> None:
    """Raises `BadInput` for a regular expression that is wrong, or that could run for ages (a repeated group, or more than two
    open repeats): it is matched inside the server, against every row."""
    if len(pattern) > LONGEST_PATTERN:
        raise BadInput(f"A regular expression may have at most {LONGEST_PATTERN} characters.")
    try:
        re.compile(pattern)
    except re.error as error:
        raise BadInput(f"Invalid regular expression '{pattern}': {error}.") from None
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "x", pattern)
    if len(_UNBOUNDED.findall(plain)) > 3 or _NESTED.search(plain) or re.search(r"\\\d|\(\?[^:]", plain):
        raise BadInput(
            f"The regular expression '{pattern}' is too costly.",
            hint="At most three of * and +, no repeated groups, no look-around. LIKE '%...%' often does.",
        )
