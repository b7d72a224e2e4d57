"""Taking in traces that another MLflow kept: with their own ids, times, spans, tags, assessments and links to runs.

A trace comes in one piece, so it is there whole or not at all. One that has ended is never changed by a later import; one that
was under way when it was imported is brought up to date by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.errors import BadInput, HeadwayError
from headway.people import guard
from headway.people.rules import Who
from headway.traces import assessments, recorded, service, shapes
from headway.traces.tables import Trace, TraceRun
from headway.tracking import experiments, limits


@dataclass(frozen=True)
class RecordedTrace:
    """A trace as another server kept it: its `TraceInfoV3` on the wire, its spans (`recorded.spans_of`), its further runs."""

    experiment_id: int
    info: dict[str, Any]
    spans: list[Any] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass
class Taken:
    """What became of traces, by their ids. `left` says what could not be kept, as (trace, why)."""

    new: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)


def absent(db: Session, who: Who, project_id: str, trace_ids: Sequence[str]) -> list[str]:
    """Those that an import would bring: not here yet, or here but not ended. (What another project has is told by `take`.)"""
    guard.check(db, who, "edit", project_id)
    query = select(Trace.uuid).where(
        Trace.uuid.in_(list(trace_ids)), Trace.project_id == project_id, Trace.status.not_in(service.OPEN)
    )
    whole = set(db.scalars(query))
    return [one for one in dict.fromkeys(trace_ids) if one not in whole]


def take(db: Session, who: Who, project_id: str, found: Sequence[RecordedTrace]) -> Taken:
    """Keep traces. One that can't be kept is told in `left`; the others are kept."""
    guard.check(db, who, "edit", project_id)
    answer = Taken()
    for one in found:
        trace_id = str(one.info.get("trace_id") or "")
        home = experiments.get(db, who, one.experiment_id, "run")
        if home.project_id != project_id:
            raise experiments.no_experiment(one.experiment_id)
        old = db.scalar(select(Trace).where(Trace.uuid == trace_id))
        if old is not None and old.project_id != project_id:
            answer.left.append((trace_id, "a trace of this id is in another project of this server"))
            continue
        if old is not None and old.status not in service.OPEN:
            answer.there.append(trace_id)
            continue
        try:
            with db.begin_nested():
                trouble = _keep(db, who, home, trace_id, one)
        except HeadwayError as error:
            answer.left.append((trace_id, error.message))
            continue
        answer.new.append(trace_id)
        answer.left += [(trace_id, why) for why in trouble]
    return answer


def _keep(db: Session, who: Who, home: Any, trace_id: str, one: RecordedTrace) -> list[str]:
    told = one.info
    left: list[str] = []
    spans = recorded.spans_of(trace_id, one.spans)
    state = told.get("state", "STATE_UNSPECIFIED")
    row = service.start(
        db, who, home, trace_id, started_at=shapes.parse_timestamp(told.get("request_time"), "request_time"),
        duration_ms=shapes.parse_duration(told.get("execution_duration"), "execution_duration"),
        status=state if state in shapes.STATES else "STATE_UNSPECIFIED", tags=_sound("tag", told.get("tags"), left),
        metadata=_sound("metadata", told.get("trace_metadata"), left), client_request_id=told.get("client_request_id"),
        request=told.get("request_preview"), response=told.get("response_preview"), whole=state not in service.OPEN,
    )  # fmt: skip
    if spans:
        service.log_spans(db, who, home, spans)
    for judged in told.get("assessments") or []:
        try:
            with db.begin_nested():
                assessments.keep(db, row, shapes.parse_assessment(judged))
        except HeadwayError as error:
            left.append(f"an assessment: {error.message}")
    for run in one.runs:
        db.merge(TraceRun(trace_uuid=trace_id, run_uuid=str(run)[:64]))
    db.flush()
    return left


def _sound(what: str, pairs: Any, left: list[str]) -> dict[str, str]:
    kept = {}
    for key, value in (pairs or {}).items():
        try:
            kept[limits.key(key)] = str(value)
        except BadInput as error:
            left.append(f"the {what} {str(key)[:60]!r}: {error.message}")
    return kept
