"""Issues: what several traces of an experiment have in common, found by somebody or by an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, literal, select, tuple_
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.traces.tables import Assessment, Issue
from headway.tracking import limits
from headway.tracking import service as runs
from headway.tracking.find.search import Grammar, parse_filter
from headway.tracking.tables import Experiment
from headway.web.paging import cursor, uncursor

STATUSES = ("pending", "rejected", "resolved")
SEVERITIES = ("not_an_issue", "low", "medium", "high")
_FIELDS = {"status": Issue.status, "source_run_id": Issue.source_run}
_GRAMMAR = Grammar(
    kinds=frozenset({"attribute"}), text=frozenset(_FIELDS), numbers=frozenset(), ordered=frozenset(),
    text_ops=frozenset({"=", "!="}), nulls=False,
)  # fmt: skip


def get(db: Session, who: Who, uuid: str, verb: str = "view") -> Issue:
    """An issue. Raises `NotFound`, `Forbidden`."""
    row = db.scalar(select(Issue).where(Issue.uuid == uuid))
    return guard.visible(db, who, verb, row, lambda: NotFound(f"Issue with ID '{uuid[:80]}' not found"))


def create(db: Session, who: Who, experiment: Experiment, told: dict[str, Any]) -> Issue:
    """A new issue of an experiment. `told`: name, description, status, severity, root_causes, categories, source_run_id,
    created_by."""
    if told.get("source_run_id"):
        run = runs.get_run(db, who, told["source_run_id"])
        if run.project_id != experiment.project_id:
            raise NotFound(f"Run with id={run.uuid} not found")
    moment = now_ms()
    row = Issue(
        uuid=f"iss-{new_id()}", experiment_id=experiment.id, project_id=experiment.project_id, name="", description="",
        status="pending", root_causes=json.dumps(_list(told, "root_causes")), categories=json.dumps(_list(told, "categories")),
        source_run=told.get("source_run_id") or "", created_by=limits.text(told.get("created_by"), "created_by", 255),
        created_at=moment, updated_at=moment,
    )  # fmt: skip
    if not told.get("name"):
        raise limits.missing("name")
    _change(row, told)
    db.add(row)
    db.flush()
    return row


def _list(told: dict[str, Any], name: str) -> list[str]:
    found = told.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise limits.wrong_type(name, found)
    return [one.replace("\0", "") for one in found]


def _change(row: Issue, told: dict[str, Any]) -> None:
    if told.get("name") is not None:
        row.name = limits.text(told["name"], "name", 250)
    if told.get("description") is not None:
        row.description = limits.text(told["description"], "description", 65_536)
    for name, words in (("status", STATUSES), ("severity", SEVERITIES)):
        if told.get(name) in (None, ""):
            continue
        if told[name] not in words:
            raise limits.invalid(name, told[name], f"It must be one of {', '.join(words)}.")
        setattr(row, name, told[name])


def change(db: Session, who: Who, uuid: str, told: dict[str, Any]) -> Issue:
    """Change an issue's name, description, status or severity."""
    row = get(db, who, uuid, "run")
    _change(row, told)
    row.updated_at = max(now_ms(), row.updated_at + 1)
    db.flush()
    return row


def search(
    db: Session, who: Who, project_id: str, experiment_id: int | None, filter_: str, limit: int, token: str | None
) -> tuple[list[Issue], str]:
    """A page of a project's issues, or of one of its experiments: the most severe first, then the most often seen."""
    guard.check(db, who, "view", project_id)
    where: list[Any] = [Issue.project_id == project_id]
    if experiment_id is not None:
        where.append(Issue.experiment_id == experiment_id)
    try:
        clauses = parse_filter(filter_, _GRAMMAR)
    except BadInput as error:
        message = error.message.replace("Invalid attribute key", "Invalid filter field")
        raise BadInput(message, hint="For example: status = 'pending'") from None
    for clause in clauses:
        column = _FIELDS[clause.key]
        where.append(column == clause.value if clause.op == "=" else column != clause.value)
    rank = case({word: number for number, word in enumerate(SEVERITIES)}, value=Issue.severity, else_=-1)
    seen = select(func.count(func.distinct(Assessment.trace_id))).where(Assessment.kind == "issue",
                                                                        Assessment.name == Issue.uuid)  # fmt: skip
    columns = (rank, seen.scalar_subquery(), Issue.created_at, Issue.uuid)
    if token:
        where.append(tuple_(*columns) < tuple_(*(literal(one) for one in uncursor(token, len(columns)))))
    query = select(Issue, *columns).where(*where).order_by(*(one.desc() for one in columns)).limit(limit + 1)
    rows = db.execute(query).all()
    if len(rows) <= limit:
        return [row[0] for row in rows], ""
    return [row[0] for row in rows[:limit]], cursor(list(rows[limit - 1][1:]))


def trace_counts(db: Session, rows: Sequence[Issue]) -> dict[str, int]:
    """How many traces each issue was seen in."""
    query = (
        select(Assessment.name, func.count(func.distinct(Assessment.trace_id)))
        .where(Assessment.kind == "issue", Assessment.name.in_([row.uuid for row in rows]))
        .group_by(Assessment.name)
    )
    found: dict[str, int] = {row[0]: row[1] for row in db.execute(query)}
    return {row.uuid: found.get(row.uuid, 0) for row in rows}
