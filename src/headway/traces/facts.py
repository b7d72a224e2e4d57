"""Reading traces whole: a row with its tags, metadata and assessments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from headway.traces.tables import Assessment, Span, Trace, TraceMetadata, TraceTag

NAME, LOCATION = "mlflow.traceName", "mlflow.trace.spansLocation"
RUN, MODEL_ID = "mlflow.sourceRun", "mlflow.modelId"
TOKENS, COST, SIZES = "mlflow.trace.tokenUsage", "mlflow.trace.cost", "mlflow.trace.sizeStats"
SESSION, USER = "mlflow.trace.session", "mlflow.trace.user"
_IN_ONE = 500  # ids in one query; SQLite's own limit is far above


@dataclass(frozen=True)
class TraceFacts:
    """A trace without its spans."""

    row: Trace
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    assessments: list[Assessment] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name, or its id's start where it has none."""
        return self.tags.get(NAME) or self.row.uuid[:11]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens by kind (input_tokens, output_tokens, total_tokens)."""
        return {key: value for key, value in _json(self.metadata.get(TOKENS)).items() if isinstance(value, int)}

    @property
    def cost(self) -> float | None:
        """Its cost in USD, where it is known."""
        found = _json(self.metadata.get(COST)).get("total_cost")
        return float(found) if isinstance(found, int | float) else None

    @property
    def promised(self) -> int:
        """How many spans the client said there are; 0 where it said nothing."""
        found = _json(self.metadata.get(SIZES)).get("num_spans", 0)
        return found if isinstance(found, int) else 0


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def of(db: Session, rows: Sequence[Trace]) -> list[TraceFacts]:
    """The facts of these traces, in their order."""
    tags: dict[int, dict[str, str]] = {}
    metadata: dict[int, dict[str, str]] = {}
    judged: dict[int, list[Assessment]] = {}
    ids = [row.id for row in rows]
    for start in range(0, len(ids), _IN_ONE):
        some = ids[start : start + _IN_ONE]
        for tag in db.scalars(select(TraceTag).where(TraceTag.trace_id.in_(some))):
            tags.setdefault(tag.trace_id, {})[tag.key] = tag.value
        for datum in db.scalars(select(TraceMetadata).where(TraceMetadata.trace_id.in_(some))):
            metadata.setdefault(datum.trace_id, {})[datum.key] = datum.value
        query = select(Assessment).where(Assessment.trace_id.in_(some)).order_by(Assessment.created_at, Assessment.id)
        for one in db.scalars(query):
            judged.setdefault(one.trace_id, []).append(one)
    return [TraceFacts(row, tags.get(row.id, {}), metadata.get(row.id, {}), judged.get(row.id, [])) for row in rows]


def spans(db: Session, trace_id: int) -> list[Span]:
    """The spans of a trace: the root first, then by time."""
    return spans_of(db, [trace_id]).get(trace_id, [])


def spans_of(db: Session, trace_ids: Sequence[int]) -> dict[int, list[Span]]:
    """The spans of several traces."""
    found: dict[int, list[Span]] = {}
    root_first = case((Span.parent_id == "", 0), else_=1)
    for start in range(0, len(trace_ids), _IN_ONE):
        query = select(Span).where(Span.trace_id.in_(list(trace_ids[start : start + _IN_ONE])))
        ordered = query.order_by(root_first, Span.start_ns, Span.span_id)
        for row in db.scalars(
            ordered.execution_options(populate_existing=True)
        ):  # spans are written around the session
            found.setdefault(row.trace_id, []).append(row)
    return found
