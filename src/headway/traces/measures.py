"""Figures over many traces: counts, latencies, tokens, costs, assessments, by time and dimension; correlation of filters."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from headway.errors import BadInput
from headway.traces import query
from headway.traces.facts import NAME, TOKENS
from headway.traces.tables import Assessment, Span, Trace, TraceMetadata, TraceTag
from headway.tracking.find.search import Clause, bare

_NUMBERS = frozenset({"AVG", "MIN", "MAX", "PERCENTILE"})
_SUMS = _NUMBERS | {"SUM"}
_TOKENS = ("input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_COSTS: dict[str, Any] = {
    "input_cost": Span.input_cost,
    "output_cost": Span.output_cost,
    "total_cost": Span.total_cost,
}
_MODELS = frozenset({"span_model_name", "span_model_provider"})
# view -> metric -> (aggregations, dimensions), as MLflow allows them
KINDS: dict[str, dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "TRACES": {
        "trace_count": (frozenset({"COUNT"}), frozenset({"trace_name", "trace_status"})),
        "session_count": (frozenset({"COUNT"}), frozenset()),
        "latency": (_NUMBERS, frozenset({"trace_name"})),
        **{name: (_SUMS, frozenset({"trace_name"})) for name in _TOKENS},
    },
    "SPANS": {
        "span_count": (frozenset({"COUNT"}), frozenset({"span_name", "span_type", "span_status"}) | _MODELS),
        "latency": (_NUMBERS, frozenset({"span_name", "span_status"})),
        **dict.fromkeys(_COSTS, (_SUMS, _MODELS)),
    },
    "ASSESSMENTS": {
        "assessment_count": (frozenset({"COUNT"}), frozenset({"assessment_name", "assessment_value"})),
        "assessment_value": (_NUMBERS, frozenset({"assessment_name"})),
    },
}
_DIMENSIONS: dict[str, Any] = {
    "trace_status": Trace.status, "span_name": Span.name, "span_type": Span.kind, "span_status": Span.status,
    "span_model_name": Span.model, "span_model_provider": Span.provider, "assessment_name": Assessment.name,
    "assessment_value": Assessment.value,
}  # fmt: skip
_FILTERS: dict[str, dict[str, Any]] = {
    "span": {"name": Span.name, "status": Span.status, "type": Span.kind},
    "assessment": {"name": Assessment.name, "type": Assessment.kind},
}


EXAMPLE = "For example: trace.status = 'OK'"
_FILTER = re.compile(
    r"""\s*(?P<left>[^\s=!<>]+|\S+\.`[^`]+`)\s*(?P<op>=|!=|<>|<=|>=|<|>|(?:I|R)?LIKE|IN)\s*(?P<value>'[^']*'|"[^"]*")\s*""",
    re.I,
)


@dataclass(frozen=True)
class Asked:
    """What is asked for. `aggregations`: (COUNT, SUM, AVG, MIN, MAX or PERCENTILE, percent or None). Times: ms, included."""

    view: str
    metric: str
    aggregations: tuple[tuple[str, float | None], ...]
    dimensions: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    interval_s: int | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 1000


@dataclass
class Point:
    """One figure: the group it is of, and its values by aggregation."""

    dimensions: dict[str, str]
    values: dict[str, float] = field(default_factory=dict)


def check(asked: Asked) -> None:
    """Raises `BadInput` for what can't be asked."""
    if asked.view not in KINDS:
        raise BadInput(f"view_type must be one of {sorted(KINDS)}, got '{asked.view}'")
    if asked.metric not in KINDS[asked.view]:
        raise BadInput(f"metric_name must be one of {list(KINDS[asked.view])}, got '{asked.metric}'")
    allowed, dimensions = KINDS[asked.view][asked.metric]
    if wrong := {kind for kind, _ in asked.aggregations} - allowed:
        raise BadInput(
            f"Found invalid aggregation_type(s): {sorted(wrong)}. Supported aggregation types: {sorted(allowed)}"
        )
    if strange := set(asked.dimensions) - dimensions:
        raise BadInput(f"Found invalid dimension(s): {sorted(strange)}. Supported dimensions: {sorted(dimensions)}")
    if any(kind == "PERCENTILE" and (p is None or not 0 <= p <= 100) for kind, p in asked.aggregations):
        raise BadInput("Percentile value must be between 0 and 100.")
    if asked.interval_s is not None and (asked.since is None or asked.until is None):
        raise BadInput("start_time_ms and end_time_ms are required if time_interval_seconds is set")


def points(db: Session, experiments: Sequence[int], asked: Asked) -> list[Point]:
    """The figures, by time and then by dimension. The caller has checked the rights and `asked`."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for moment, value, *dims in _rows(db, experiments, asked):
        if any(one is None for one in dims) or value is None:
            continue
        bucket = () if asked.interval_s is None else (moment // (asked.interval_s * 1000) * asked.interval_s * 1000,)
        groups.setdefault((*bucket, *dims), []).append(value)
    if not groups and not asked.dimensions and asked.interval_s is None and asked.metric.endswith("_count"):
        groups[()] = []
    found = []
    for key in sorted(groups, key=lambda k: tuple((isinstance(one, str), one) for one in k))[: asked.limit]:
        labels: dict[str, str] = {}
        if asked.interval_s is not None:
            labels["time_bucket"] = datetime.fromtimestamp(key[0] / 1000, UTC).isoformat()
        for name, one in zip(asked.dimensions, key[len(key) - len(asked.dimensions) :], strict=True):
            labels[name] = str(one)
        found.append(Point(labels, _values(asked, groups[key])))
    return found


_ONE = {"SUM": "sum", "AVG": "mean", "MIN": "min", "MAX": "max"}  # of an array


def _values(asked: Asked, values: list[Any]) -> dict[str, float]:
    if asked.aggregations and asked.aggregations[0][0] == "COUNT":
        return {"COUNT": float(len(set(values)) if asked.metric == "session_count" else len(values))}
    array = np.asarray(values, dtype=float)
    found: dict[str, float] = {}
    for kind, percent in asked.aggregations:
        if kind == "PERCENTILE":
            found[f"P{percent}"] = float(np.percentile(array, percent or 0.0))
        else:
            found[kind] = float(getattr(array, _ONE[kind])())
    return found


def _rows(db: Session, experiments: Sequence[int], asked: Asked) -> Iterator[tuple[Any, ...]]:
    """(time in ms, value, dimensions...) of all that falls into the question."""
    moment: Any = Trace.started_at
    value: Any = Trace.uuid
    joins: list[tuple[Any, Any]] = []
    if asked.view == "SPANS":
        joins.append((Span, Span.trace_id == Trace.id))
        moment = Span.start_ns / 1_000_000
        value = _COSTS.get(asked.metric, Span.span_id)
        if asked.metric == "latency":
            value = Span.end_ns - Span.start_ns
    elif asked.view == "ASSESSMENTS":
        joins.append((Assessment, Assessment.trace_id == Trace.id))
        value = Assessment.number if asked.metric == "assessment_value" else Assessment.uuid
    elif asked.metric == "latency":
        value = Trace.duration_ms
    elif asked.metric == "session_count":
        value = Trace.session
    elif asked.metric in _TOKENS:
        told = aliased(TraceMetadata)
        joins.append((told, and_(told.trace_id == Trace.id, told.key == TOKENS)))
        value = told.value
    columns: list[Any] = []
    for name in asked.dimensions:
        if name == "trace_name":
            tag = aliased(TraceTag)
            joins.append((tag, and_(tag.trace_id == Trace.id, tag.key == NAME)))
            columns.append(tag.value)
        else:
            columns.append(_DIMENSIONS[name])
    text = select(moment, value, *columns).select_from(Trace)
    for table, on in joins:
        text = text.join(table, on)
    where = [Trace.experiment_id.in_(list(experiments)), *_filters(db, asked)]
    if asked.since is not None:
        where.append(Trace.started_at >= asked.since)
    if asked.until is not None:
        where.append(Trace.started_at <= asked.until)
    for when, given, *dims in db.execute(text.where(*where)):
        yield math.floor(when), _number(asked, given), *dims


def _number(asked: Asked, given: Any) -> Any:
    if asked.view == "SPANS" and asked.metric == "latency":
        return None if given is None else given // 1_000_000
    if asked.metric in _TOKENS:
        try:
            return json.loads(given).get(asked.metric)
        except (ValueError, AttributeError):
            return None
    return given


def _filters(db: Session, asked: Asked) -> list[Any]:
    found: list[Any] = []
    for text in asked.filters:
        match = _FILTER.fullmatch(text)
        if match is None:
            raise BadInput(f"Invalid filter: '{text[:120]}'. Expected one filter clause.", hint=EXAMPLE)
        if match["op"] != "=":
            raise BadInput(f"Invalid comparator: '{match['op']}', only '=' operator is supported", hint=EXAMPLE)
        left, value = match["left"], match["value"]
        view, _, rest = left.partition(".")
        entity, _, key = rest.partition(".")
        if not entity:
            raise BadInput(
                f"Invalid identifier '{left}'. Write trace.<key>, span.<key> or assessment.<key>.", hint=EXAMPLE
            )
        found.append(_filter(db, asked, bare(view), bare(entity), bare(key), value[1:-1]))
    return found


def _filter(db: Session, asked: Asked, view: str, entity: str, key: str, value: str) -> Any:
    if view not in ("trace", "span", "assessment"):
        raise BadInput(f"Invalid view type '{view}'. Valid values are trace, span, assessment.")
    if view == "trace" and entity in ("status", "tag", "metadata"):
        if (entity == "status") == bool(key):
            wanted = f"use '{view}.{entity}' instead" if key else f"e.g. '{view}.{entity}.<key> = <value>'"
            need = "does not require a key" if key else "requires a key"
            raise BadInput(f"Filtering by {entity} {need}, {wanted}")
        clause = Clause("attribute" if entity == "status" else entity, key or "status", "=", value)
        return query.conditions(db, [clause])[0]
    columns = _FILTERS.get(view, {"status": 0, "tag": 0, "metadata": 0})
    if entity not in columns or view == "trace":
        raise BadInput(
            f"Invalid entity '{entity}' specified for view type '{view}'. Valid entities are {list(columns)}"
        )
    if key:
        raise BadInput(f"Filtering by {entity} does not require a key, use '{view}.{entity}' instead")
    if asked.view != f"{view.upper()}S":
        raise BadInput(f"Filtering by {view} is only supported for {view.upper()}S view type")
    return columns[entity] == value


# ---------------------------------------------------------------- correlation
@dataclass(frozen=True)
class Correlation:
    """How two filters go together, as normalised pointwise mutual information (-1 to 1); `smoothed` with Jeffreys' prior 0.5."""

    npmi: float
    smoothed: float
    first: int
    second: int
    both: int
    all: int


def correlate(
    db: Session, experiments: Sequence[int], first: Sequence[Clause], second: Sequence[Clause], base: Sequence[Clause]
) -> Correlation:
    """Of the traces that meet `base`: how many meet each filter, and both, and how that compares with chance."""

    def count(clauses: Sequence[Clause]) -> int:
        where = [Trace.experiment_id.in_(list(experiments)), *query.conditions(db, base)]
        text = select(func.count()).select_from(Trace).where(*where, *query.conditions(db, clauses))
        return int(db.scalar(text) or 0)

    # each filter by itself: conditions on spans of both need not meet in one span
    where = [Trace.experiment_id.in_(list(experiments)), *query.conditions(db, base)]
    joint = select(func.count()).select_from(Trace)
    joint = joint.where(*where, *query.conditions(db, first), *query.conditions(db, second))
    a, b, both, everything = count(first), count(second), int(db.scalar(joint) or 0), count([])
    if not everything or not a or not b:
        return Correlation(math.nan, math.nan, a, b, both, everything)
    cells = (both, a - both, b - both, everything - a - b + both)
    return Correlation(-1.0 if not both else npmi(*cells), npmi(*(c + 0.5 for c in cells)), a, b, both, everything)


def npmi(both: float, first: float, second: float, neither: float) -> float:
    """log(p(xy) / p(x)p(y)) / -log p(xy) of a table of counts (Bouma 2009); 1 where both always come together."""
    total = both + first + second + neither
    if both <= 0:
        return math.nan
    if both == total:
        return 1.0
    mutual = math.log(both) + math.log(total) - math.log(both + first) - math.log(both + second)
    return max(-1.0, min(1.0, mutual / (math.log(total) - math.log(both))))
