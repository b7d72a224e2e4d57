"""Judgements of traces: feedback, expectations, issues. Said, corrected, overridden, taken back."""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.errors import BadInput, Conflict, NotFound
from headway.people.rules import Who
from headway.traces import service
from headway.traces.spans import clean
from headway.traces.tables import Assessment, Trace
from headway.tracking import limits

NAME, RATIONALE, VALUE = 250, 65_536, 65_536


def create(db: Session, who: Who, trace_id: str, told: dict[str, Any]) -> Assessment:
    """A new assessment of a trace; one that it overrides is no longer valid. Raises `BadInput`, `NotFound`.

    `told`: name, kind, value, error, source_type, source_id, span_id, rationale, details, overrides, created_at, updated_at.
    """
    trace = service.get(db, who, trace_id, "run")
    row = keep(db, trace, told)
    if row.overrides:
        found = db.execute(
            update(Assessment)
            .where(Assessment.trace_id == trace.id, Assessment.uuid == row.overrides, Assessment.id != row.id)
            .values(valid=False)
        )
        if not found.rowcount:  # type: ignore[attr-defined]
            raise _missing(row.overrides, trace_id)
    return row


def keep(db: Session, trace: Trace, told: dict[str, Any]) -> Assessment:
    """As `create`, for a trace that is checked already; with the id of one that is kept, that one is overwritten."""
    moment = now_ms()
    value = _dumped(told.get("value"), "value")
    uuid = limits.text(told.get("uuid"), "assessment_id", 50) or f"a-{new_id()}"
    row = db.scalar(select(Assessment).where(Assessment.uuid == uuid))
    if row is not None and row.trace_id != trace.id:
        raise Conflict(f"There is an assessment {uuid} already.", hint="Leave assessment_id out.")
    row = row or Assessment(uuid=uuid, trace_id=trace.id, created_at=told.get("created_at") or moment)
    row.name = limits.text(told.get("name"), "assessment_name", NAME)
    if not row.name:
        raise limits.missing("assessment.assessment_name")
    row.kind, row.value, row.number = told["kind"], value, number(told.get("value"))
    row.error = _dumped(told["error"], "error") if told.get("error") else None
    row.source_type = limits.text(told.get("source_type"), "source.source_type", 50)
    row.source_id = limits.text(told.get("source_id"), "source.source_id", 250) or None
    row.span_id = limits.text(told.get("span_id"), "span_id", 50) or None
    row.rationale = limits.text(told.get("rationale"), "rationale", RATIONALE) or None
    row.details = json.dumps(clean(told.get("details") or {}))
    row.overrides = limits.text(told.get("overrides"), "overrides", 50) or None
    row.valid = told.get("valid") is not False
    row.updated_at = told.get("updated_at") or moment
    try:
        with db.begin_nested():
            db.add(row)
    except IntegrityError:
        raise Conflict(f"There is an assessment {uuid} already.", hint="Leave assessment_id out.") from None
    return row


def _dumped(value: Any, name: str) -> str:
    text = json.dumps(clean(value), ensure_ascii=False)
    if len(text) > VALUE:
        raise BadInput(f"The assessment's {name} is longer than {VALUE} characters.", field=name)
    return text


def number(value: Any) -> float | None:
    """What counts in averages: numbers, and true/false, yes/no, pass/fail as 1 and 0."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return {"yes": 1.0, "true": 1.0, "pass": 1.0, "no": 0.0, "false": 0.0, "fail": 0.0}.get(value.lower())
    return None


def _missing(uuid: object, trace_id: str) -> NotFound:
    return NotFound(f"Assessment with ID '{str(uuid)[:50]}' not found for trace '{trace_id}'")


def get(db: Session, who: Who, trace_id: str, uuid: str, verb: str = "view") -> Assessment:
    """An assessment of a trace. Raises `NotFound`."""
    trace = _trace(db, who, trace_id, verb)
    row = db.scalar(select(Assessment).where(Assessment.trace_id == trace.id, Assessment.uuid == uuid))
    if row is None:
        raise _missing(uuid, trace_id)
    return row


def _trace(db: Session, who: Who, trace_id: str, verb: str) -> Trace:
    try:
        return service.get(db, who, trace_id, verb)
    except NotFound:
        raise NotFound(f"Trace with request_id '{trace_id[:100]}' not found") from None


def change(db: Session, who: Who, trace_id: str, uuid: str, told: dict[str, Any]) -> Assessment:
    """Change name, value, rationale or metadata (`details`, merged). Raises `BadInput` for a value of another kind."""
    row = get(db, who, trace_id, uuid, "run")
    kind = told.get("kind")
    if kind is not None and kind != row.kind:
        raise BadInput(f"Cannot update {kind} value on {_a(row.kind)} assessment.")
    if kind is not None:
        row.value, row.number = _dumped(told.get("value"), "value"), number(told.get("value"))
        row.error = _dumped(told["error"], "error") if told.get("error") else None
    if told.get("name") is not None:
        row.name = limits.text(told["name"], "assessment_name", NAME) or row.name
    if told.get("rationale") is not None:
        row.rationale = limits.text(told["rationale"], "rationale", RATIONALE)
    if told.get("details"):
        row.details = json.dumps(json.loads(row.details) | clean(told["details"]))
    row.updated_at = max(now_ms(), row.updated_at + 1)
    db.flush()
    return row


def _a(kind: str) -> str:
    return {"feedback": "a Feedback", "expectation": "an Expectation"}.get(kind, "an Issue")


def remove(db: Session, who: Who, trace_id: str, uuid: str) -> None:
    """Take an assessment back; one that it had overridden is valid again. Nothing happens where it isn't."""
    trace = service.get(db, who, trace_id, "run")
    row = db.scalar(select(Assessment).where(Assessment.trace_id == trace.id, Assessment.uuid == uuid))
    if row is None:
        return
    if row.overrides:
        restored = update(Assessment).where(Assessment.trace_id == trace.id, Assessment.uuid == row.overrides)
        db.execute(restored.values(valid=True))
    db.execute(delete(Assessment).where(Assessment.id == row.id))
