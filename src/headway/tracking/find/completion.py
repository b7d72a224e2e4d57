"""What may come next in a filter that is being typed. Pure: text and a place in it, to what is expected there.

The store's names and values are looked up by the caller (`suggest.py`), which is told what to look for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headway.tracking.find.search import LIST_OPS, NULL_OPS, NUMERIC_OPS, RUNS, TEXT_OPS, quote_key

ATTRIBUTES = ("run_name", "status", "start_time", "end_time", "user_id", "run_id", "artifact_uri")
STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
DATASET_KEYS = ("name", "digest", "context")
KINDS = {"metrics": "metric", "params": "param", "tags": "tag", "attributes": "attribute", "dataset": "dataset"}
_ORDERED = ("=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")
_SPECIAL = re.compile(r"""[=<>!`'"()]|(?:^|\s)(?:i?like|in|is|and)(?:\s|$)""", re.I)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^']|'')*(?:'|$))
    |(?P<key>(?:min|max|best|last)\((?:[\w\-/:@.]|`[^`]*(?:`|$)|"[^"]*(?:"|$))*\)?|(?:[\w\-/:@.+]|`[^`]*(?:`|$)|"[^"]*(?:"|$))+)
    |(?P<op><=|>=|!=|<>|=|<|>|!)
    |(?P<other>.)""",
    re.X | re.I,
)
_WORD_OPS = re.compile(r"\s*(NOT\s+IN|IS\s+NOT\s+NULL|IS\s+NULL|ILIKE|LIKE|IN)\b", re.I)
_KEY = re.compile(
    r"(?:(?:min|max|best|last)\()?(metrics?|params?|tags?|attributes?|attr|run|datasets?)\.(.*?)\)?$", re.I | re.S
)


@dataclass(frozen=True)
class Expected:
    """`what`: key, operator, value or join. `text[start:end]` is what a suggestion replaces, `typed` how it begins so far.

    `kind` and `key` say of which key the operator or the value is; of a key, `kind` is the one that was typed, or "".
    """

    what: str
    start: int
    end: int
    typed: str = ""
    kind: str = ""
    key: str = ""
    op: str = ""


def meant(text: str) -> str:
    """The filter that a text means: plain words are looked for in the run's name, anything else is MLflow's grammar.

    >>> meant("calm fox")
    "attributes.run_name ILIKE '%calm%' AND attributes.run_name ILIKE '%fox%'"
    >>> meant("metrics.auc > 0.9")
    'metrics.auc > 0.9'
    """
    text = text.strip()
    if not text or _SPECIAL.search(text):
        return text
    return " AND ".join(f"attributes.run_name ILIKE '%{word}%'" for word in text.split())


def expected(text: str, at: int) -> Expected:
    """What is being typed at place `at` (a caret: between characters)."""
    at = max(0, min(at, len(text)))
    state = Expected("key", at, at)
    place = 0
    for what, start, end in _pieces(text):
        if start >= at and not (start == at and end == at):
            break
        here = start < at <= end
        piece = text[start:end]
        if here:
            return _inside(state, what, piece, start, end, at)
        state = _after(state, what, piece)
        place = end
    return Expected(state.what, at, at, "", state.kind, state.key, state.op) if place <= at else state


def _pieces(text: str) -> list[tuple[str, int, int]]:
    """(what, start, end) of the tokens; white space is left out, operators of words are one token, a list is one value."""
    found: list[tuple[str, int, int]] = []
    place = 0
    while place < len(text):
        word = _WORD_OPS.match(text, place) if found and found[-1][0] == "key" else None
        if word is not None:
            found.append(("op", word.start(1), word.end()))
            place = word.end()
            continue
        match = _TOKEN.match(text, place)
        assert match is not None  # the last alternative takes any character
        what = str(match.lastgroup)
        end = match.end()
        if what == "other" and match.group() == "(":
            closing = text.find(")", end)
            what, end = "string", len(text) if closing < 0 else closing + 1
        if (
            what == "key"
            and found
            and found[-1][0] == "op"
            and text[found[-1][1] : found[-1][2]].upper() not in NULL_OPS
        ):
            what = "string"
        if what == "key" and match.group().upper() == "AND":
            what = "and"
        if what != "space":
            found.append((what, match.start(), end))
        place = end
    return found


def _inside(state: Expected, what: str, piece: str, start: int, end: int, at: int) -> Expected:
    """The caret is in, or right behind, a piece."""
    typed = piece[: at - start]
    if what == "key" and state.what == "key":
        kind, key = _split(typed)
        return Expected("key", start, end, typed, kind, key)
    if what in ("op", "key") and state.what == "operator":
        return Expected("operator", start, end, typed, state.kind, state.key)
    if what == "op":
        return Expected("value", at, at, "", state.kind, state.key, piece.upper())
    if what == "string" and state.what == "value":
        return Expected("value", start, end, typed, state.kind, state.key, state.op)
    if what in ("key", "and") and state.what == "join":
        return Expected("join", start, end, typed)
    return Expected("join", at, at)


def _after(state: Expected, what: str, piece: str) -> Expected:
    """What comes behind a whole piece."""
    if what == "key" and state.what == "key":
        kind, key = _split(piece)
        return Expected("operator", 0, 0, "", kind, key)
    if what == "op":
        op = " ".join(piece.upper().split())
        return Expected("join", 0, 0) if op in NULL_OPS else Expected("value", 0, 0, "", state.kind, state.key, op)
    if what == "and":
        return Expected("key", 0, 0)
    return Expected("join", 0, 0)


def _split(raw: str) -> tuple[str, str]:
    """(kind, key) of a name as typed; ("", the name) where it has no kind yet."""
    found = _KEY.match(raw)
    if found is None:
        return ("attribute", raw) if raw in ATTRIBUTES else ("", raw)
    word = found.group(1).lower()
    kinds = {"metric": "metric", "param": "param", "tag": "tag", "dataset": "dataset"}
    return kinds.get(word.rstrip("s"), "attribute"), found.group(2).strip('`"')


def operators(kind: str, key: str) -> list[str]:
    """The comparisons that a key allows, in the order in which they are offered."""
    if kind == "metric" or (kind == "attribute" and key in RUNS.numbers):
        allowed = NUMERIC_OPS
    elif kind in ("param", "tag"):
        allowed = TEXT_OPS | NULL_OPS
    else:
        allowed = TEXT_OPS | LIST_OPS if kind == "dataset" or key in RUNS.lists else TEXT_OPS
    first = ">" if kind == "metric" else "="
    return sorted((op for op in _ORDERED if op in allowed), key=lambda op: (op != first, _ORDERED.index(op)))


def name(kind: str, key: str) -> str:
    """A key as it is written in a filter."""
    plural = {"metric": "metrics", "param": "params", "tag": "tags", "attribute": "attributes"}.get(kind, kind)
    return f"{plural}.{quote_key(key)}"


def quoted(value: str) -> str:
    """A text as it is written in a filter."""
    return "'" + value.replace("'", "''") + "'"
