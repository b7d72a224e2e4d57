"""The grammar of filters and orders, as MLflow clients write it. Pure: text in, clauses out; SQL is made elsewhere.

    metrics.auc > 0.9 and params.`learning rate` = '0.1' and tags.team ILIKE 'a%' and attributes.run_id IN ('a', 'b')

Conditions are joined by AND. Names with other than letters, digits and `_ . - / : @` go into backticks or double quotes.
A metric is meant by its last value; `min(metrics.loss)`, `max(...)` and `best(...)` mean its lowest, its highest, and whichever
of the two is the better one by the metric's name (`goal`). That much is ours; the rest is MLflow's grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.errors import BadInput

Value = str | int | float | tuple[str, ...] | None

NUMERIC_OPS = frozenset({"=", "!=", "<", "<=", ">", ">="})
TEXT_OPS = frozenset({"=", "!=", "LIKE", "ILIKE"})
NULL_OPS = frozenset({"IS NULL", "IS NOT NULL"})
LIST_OPS = frozenset({"IN", "NOT IN"})

_PART = r"""(?:[^\W\d][\w\-/:@]*|[\w\-/:@]+|"[^"]*"|`[^`]*`)"""
IDENTIFIER = re.compile(rf"{_PART}(?:\.{_PART})*")
OPERATOR = re.compile(
    r"!=|<>|>=|<=|=|<|>|(?:NOT\s+IN|IS\s+NOT\s+NULL|IS\s+NULL|NOT\s+LIKE|IN|LIKE|ILIKE|RLIKE)\b", re.I
)
STRING = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_SPACE = re.compile(r"\s*")
_AND = re.compile(r"AND\b", re.I)
_PART_OF = re.compile(r"(last|best|min|max)\s*\(\s*", re.I)
_CLOSE = re.compile(r"\)")
_LOWER_IS_BETTER = re.compile(
    r"(?:^|[^a-z])(?:loss|err|error|errors|mse|rmse|mae|mape|smape|rmsle|perplexity|ppl|wer|cer|fid|nll|deviance|bce|"
    r"crossentropy|cost|regret|time|seconds|duration|latency|distance|divergence|kl|brier|hinge|logloss)(?:[^a-z]|$)|loss$|error$"
)


@dataclass(frozen=True)
class Clause:
    """One condition. `kind`: attribute, metric, param, tag or dataset. `value` is None for IS NULL and IS NOT NULL.

    `of`: which number of a metric is meant: last, min or max.
    """

    kind: str
    key: str
    op: str
    value: Value
    of: str = "last"


@dataclass(frozen=True)
class Order:
    """One key to sort by; what lacks it comes last in both directions. `of` as in `Clause`."""

    kind: str
    key: str
    ascending: bool = True
    of: str = "last"


_ALIASES = {
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "metric": "metric", "metrics": "metric",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param",
    "tag": "tag", "tags": "tag", "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip


@dataclass(frozen=True)
class Grammar:
    """What may be searched: kinds of keys, attributes by type, and which of them may be compared with lists."""

    kinds: frozenset[str]
    text: frozenset[str]
    numbers: frozenset[str]
    ordered: frozenset[str]
    lists: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    nulls: bool = True
    text_ops: frozenset[str] = TEXT_OPS
    number_strings: bool = False
    order_word: str = "attribute"  # what errors call a key to sort by


RUNS = Grammar(
    kinds=frozenset({"attribute", "metric", "param", "tag", "dataset"}),
    text=frozenset({"run_id", "run_name", "status", "user_id", "artifact_uri"}),
    numbers=frozenset({"start_time", "end_time"}),
    ordered=frozenset({"run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time"}),
    lists=frozenset({"run_id"}),
    synonyms={"created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name",
              "Run Name": "run_name"},
)  # fmt: skip
EXPERIMENTS = Grammar(
    kinds=frozenset({"attribute", "tag"}),
    text=frozenset({"name", "experiment_id"}),
    numbers=frozenset({"creation_time", "last_update_time"}),
    ordered=frozenset({"name", "experiment_id", "creation_time", "last_update_time"}),
    lists=frozenset({"experiment_id"}),
)
LOGGED_MODELS = Grammar(
    kinds=frozenset({"attribute", "metric", "param", "tag"}),
    text=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    numbers=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    ordered=frozenset({"name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp",
                       "last_updated_timestamp"}),
    lists=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    synonyms={"creation_time": "creation_timestamp", "last_updated_time": "last_updated_timestamp"},
    nulls=False,
)  # fmt: skip


class Reader:
    """Walks through a filter, one condition at a time. Other grammars (traces) refine what a key may be and hold."""

    example = ""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.text, self.grammar, self.at = text, grammar, 0

    def skip(self) -> None:
        """Go past white space."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """What matches here, and go past it; None if it doesn't."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def wrong(self, message: str, hint: str = "") -> BadInput:
        """The error, with its place."""
        rest = self.text[self.at : self.at + 30]
        where = f"at character {self.at + 1}: '{rest}'" if rest else "at its end"
        return BadInput(f"{message}, {where}.", hint=hint or self.example or EXAMPLE, position=self.at)

    def clauses(self) -> list[Clause]:
        """All conditions."""
        found: list[Clause] = []
        while True:
            found.append(self.clause())
            self.skip()
            if self.at >= len(self.text):
                return found
            if self.take(_AND) is None:
                raise self.wrong("Invalid clause(s) in filter string", "Conditions are joined by AND; there is no OR.")

    def clause(self) -> Clause:
        """The next condition."""
        part = self.take(_PART_OF) if "metric" in self.grammar.kinds else None
        raw = self.take(IDENTIFIER)
        if raw is None:
            raise self.wrong("Invalid clause(s) in filter string: expected a key such as metrics.auc")
        kind, key = self.identify(raw)
        if part and (kind != "metric" or self.take(_CLOSE) is None):
            raise self.wrong(f"Invalid clause(s) in filter string: expected {part.strip()}metrics.name)")
        start = self.at
        op = self.take(OPERATOR)
        if op is None:
            raise self.wrong(f"Invalid clause(s) in filter string: expected a comparison after '{raw}'")
        op = " ".join(op.upper().split()).replace("<>", "!=")
        allowed = self.operators(kind, key)
        if op in NULL_OPS and op not in allowed:
            self.at = start
            where = "tags and params" if "param" in self.grammar.kinds else "tags"
            raise self.wrong(f"IS NULL / IS NOT NULL is only supported for {where}, not for '{raw}'")
        if op not in allowed:
            self.at = start
            raise self.wrong(self.refusal(raw, op, allowed))
        value = None if op in NULL_OPS else self.value(kind, key, op)
        return Clause(kind, key, op, value, _part(part or "last", key))

    def identify(self, raw: str) -> tuple[str, str]:
        """(kind, key) of an identifier."""
        return identify(raw, self.grammar, self.grammar.text | self.grammar.numbers)

    def operators(self, kind: str, key: str) -> frozenset[str]:
        """The comparisons a key allows."""
        grammar = self.grammar
        if kind == "metric" or (kind == "attribute" and key in grammar.numbers):
            return NUMERIC_OPS
        if kind in ("param", "tag"):
            return TEXT_OPS | NULL_OPS if grammar.nulls else TEXT_OPS
        return grammar.text_ops | LIST_OPS if kind == "dataset" or key in grammar.lists else grammar.text_ops

    def refusal(self, raw: str, op: str, allowed: frozenset[str]) -> str:
        """What is said of a comparison that a key does not allow."""
        return f"Invalid comparator '{op}' for '{raw}', not one of {', '.join(sorted(allowed))}"

    def value(self, kind: str, key: str, op: str) -> Value:
        """The value after a comparison."""
        if op in LIST_OPS:
            return self.strings()
        if kind == "metric" or (kind == "attribute" and key in self.grammar.numbers):
            raw = self.take(NUMBER)
            if raw is None and self.grammar.number_strings and (quoted := self.take(STRING)) is not None:
                raw = quoted[1:-1].strip()
            try:
                number = float(raw or "")
            except ValueError:
                raise self.wrong(f"Expected numeric value type for {kind} '{key}'") from None
            return int(raw) if raw and kind == "attribute" and raw.lstrip("+-").isdigit() else number
        raw = self.take(STRING)
        if raw is None:
            raise self.wrong(f"Expected a quoted string value for {kind} '{key}' (e.g. 'my-value')")
        return _unquote(raw)

    def strings(self) -> tuple[str, ...]:
        if self.take(re.compile(r"\(")) is None:
            raise self.wrong("Expected a list of quoted strings, such as ('a', 'b')")
        found: list[str] = []
        while True:
            raw = self.take(STRING)
            if raw is None:
                raise self.wrong("While parsing a list in the query, expected string value")
            found.append(_unquote(raw))
            if self.take(re.compile(r",")) is None or self.take(re.compile(r"(?=\))")) is not None:
                break
        if self.take(re.compile(r"\)")) is None:
            raise self.wrong("Expected ')' at the end of the list")
        return tuple(found)


EXAMPLE = "For example: metrics.accuracy > 0.9 and params.model = 'forest'"


def parse_filter(text: str | None, grammar: Grammar = RUNS) -> list[Clause]:
    """The conditions of a filter, all of which must hold; none for an empty one. Raises `BadInput` that says where."""
    if not text or not text.strip():
        return []
    return Reader(text.strip(), grammar).clauses()


_ORDER = re.compile(
    rf"\s*(?:({IDENTIFIER.pattern})|(last|best|min|max)\s*\(\s*({IDENTIFIER.pattern})\s*\))(?:\s+(\S+))?\s*", re.I
)


def goal(key: str) -> str:
    """Whether a metric of this name is better the lower it is ("min": losses, errors, times) or the higher ("max")."""
    return "min" if _LOWER_IS_BETTER.search(key.lower()) else "max"


def _part(word: str, key: str) -> str:
    word = word.strip(" (\t\n").lower()
    return goal(key) if word == "best" else word


def parse_order(text: str, grammar: Grammar = RUNS) -> Order:
    """One `key [ASC|DESC]`. Raises `BadInput`."""
    found = _ORDER.fullmatch(text)
    if found is None:
        raise BadInput(f"Invalid order_by clause '{text}'. Could not be parsed.", hint="For example: metrics.auc DESC")
    bare, part, inner, direction = found.groups()
    raw = bare or inner
    if direction is not None and direction.lower() not in ("asc", "desc"):
        raise BadInput(f"Invalid ordering key in order_by clause '{text}'.", hint="End it with ASC or DESC.")
    kind, key = identify(raw, grammar, grammar.ordered, what=grammar.order_word)
    if part and kind != "metric":
        raise BadInput(
            f"Invalid order_by clause '{text}': {part}() takes a metric.", hint="For example: min(metrics.loss)"
        )
    return Order(kind, key, direction is None or direction.lower() == "asc", _part(part or "last", key))


def parse_orders(texts: list[str], grammar: Grammar = RUNS) -> list[Order]:
    """Several orders, the first one first. Raises `BadInput`, also for a key that is there twice."""
    orders = [parse_order(text, grammar) for text in texts]
    if len({(o.kind, o.key, o.of) for o in orders}) != len(orders):
        raise BadInput(f"`order_by` contains duplicate fields: {texts}")
    return orders


def identify(raw: str, grammar: Grammar, attributes: frozenset[str], *, what: str = "attribute") -> tuple[str, str]:
    """(kind, key) of an identifier; a bare name is an attribute. Raises `BadInput`."""
    head, dot, key = (raw, "", "") if raw[:1] in '"`' and "." not in _after_quote(raw) else raw.partition(".")
    if not dot:
        kind, key = "attribute", head
    else:
        found = _ALIASES.get(bare(head))
        if found is None or found not in grammar.kinds:
            raise BadInput(
                f"Invalid entity type '{bare(head)}'. Valid values are {sorted(grammar.kinds)}.", hint=EXAMPLE
            )
        kind = found
    key = bare(key)
    if kind == "attribute":
        key = grammar.synonyms.get(key, key)
        if key not in attributes:
            raise BadInput(f"Invalid {what} key '{key}' specified. Valid keys are {sorted(attributes)}.", hint=EXAMPLE)
    elif kind == "dataset" and key not in ("name", "digest", "context"):
        raise BadInput(
            f"Invalid dataset key '{key}' specified. Valid keys are ['context', 'digest', 'name'].", hint=EXAMPLE
        )
    if not key:
        raise BadInput(f"'{raw}' lacks a key after the dot.", hint=EXAMPLE)
    return kind, key


def _after_quote(raw: str) -> str:
    return raw[raw.find(raw[0], 1) + 1 :]


def bare(text: str) -> str:
    """The text without its quotes or backticks."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"`'" else text


def _unquote(raw: str) -> str:
    return raw[1:-1].replace(raw[0] * 2, raw[0])


def quote_key(key: str) -> str:
    """The key as it is written in a filter: in backticks where it has other characters."""
    return key if re.fullmatch(rf"{IDENTIFIER.pattern}", key) and key[0] not in '"`' else f"`{key}`"


def column_id(kind: str, key: str, of: str = "last") -> str:
    """A key as filters, orders and columns of the table name it: params.lr, metrics.`a b`, min(metrics.loss)."""
    name = f"{kind}s.{quote_key(key)}"
    return name if of == "last" else f"{of}({name})"
