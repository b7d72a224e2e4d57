"""Searching traces: clauses as SQL, pages by keys. The same on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, false, func, literal_column, not_, or_, select
from sqlalchemy.orm import Session, aliased

from headway.errors import BadInput
from headway.traces.facts import NAME, RUN
from headway.traces.sqltools import json_text
from headway.traces.tables import Assessment, Span, Trace, TraceMetadata, TraceRun, TraceTag
from headway.tracking.find.conditions import compare
from headway.tracking.find.search import NULL_OPS, Clause, Order
from headway.tracking.tables import Experiment
from headway.web.paging import cursor, uncursor

PROMPTS = "mlflow.linkedPrompts"
SUBJECT = 1000  # characters of a value that a regular expression is matched against
_END = Trace.started_at + func.coalesce(Trace.duration_ms, 0)
_COLUMNS: dict[str, Any] = {
    "timestamp": Trace.started_at, "execution_time": Trace.duration_ms, "end_time": _END, "status": Trace.status,
    "request_id": Trace.uuid, "trace_id": Trace.uuid, "client_request_id": Trace.client_request_id,
    "experiment_id": Trace.experiment_id,
}  # fmt: skip


def find(
    db: Session, experiments: Sequence[int], clauses: Sequence[Clause], orders: Sequence[Order] = (), limit: int = 100,
    token: str | None = None,
) -> tuple[list[Trace], str]:  # fmt: skip
    """A page of traces of these experiments, the newest first unless ordered otherwise, and the next page's token or ""."""
    where = [Trace.experiment_id.in_(list(experiments)), *conditions(db, clauses)]
    terms = [_term(order) for order in orders]
    if not any(o.key in ("timestamp",) for o in orders):
        terms.append((Trace.started_at, False))
    mark = hashlib.blake2s(repr((sorted(experiments), list(clauses), list(orders))).encode(), digest_size=6).hexdigest()
    if token:
        values = uncursor(token, len(terms) + 2)
        if values[0] != mark:
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
        where.append(_beyond(terms, values[1:]))
    order = [part for value, up in terms for part in (value.is_(None), value if up else value.desc())]
    query = select(Trace, *(value for value, _ in terms)).where(*where).order_by(*order, Trace.uuid).limit(limit + 1)
    rows = db.execute(query).all()
    if len(rows) <= limit:
        return [row[0] for row in rows], ""
    last = rows[limit - 1]
    return [row[0] for row in rows[:limit]], cursor([mark, *last[1:], last[0].uuid])


def _term(order: Order) -> tuple[Any, bool]:
    if order.kind == "attribute" and order.key in _COLUMNS:
        return _COLUMNS[order.key], order.ascending
    table: Any = TraceMetadata if order.kind == "metadata" or order.key == "run_id" else TraceTag
    key = {"name": NAME, "run_id": RUN}.get(order.key, order.key) if order.kind == "attribute" else order.key
    value = select(table.value).where(table.trace_id == Trace.id, table.key == key).scalar_subquery()
    return value, order.ascending


def _beyond(terms: Sequence[tuple[Any, bool]], after: Sequence[Any]) -> Any:
    """What comes after the row with these values; those without a value come last."""
    found: Any = Trace.uuid > after[-1]
    for (value, up), its in reversed(list(zip(terms, after[:-1], strict=True))):
        if its is None:
            found = value.is_(None) & found
        else:
            further = value > its if up else value < its
            found = or_(further, value.is_(None), (value == its) & found)
    return found


def conditions(db: Session, clauses: Sequence[Clause]) -> list[Any]:
    """The clauses as SQL over `Trace`. Conditions on spans must hold for one and the same span."""
    spans = [
        clause for clause in clauses if clause.kind == "span" or (clause.key == "text" and clause.kind == "attribute")
    ]
    found = [_condition(db, clause) for clause in clauses if clause not in spans]
    together = [clause for clause in spans if clause.kind == "span"]
    if together:
        found.append(exists().where(Span.trace_id == Trace.id, *(_on_span(db, clause) for clause in together)))
    for clause in spans:
        if clause.kind != "span":
            wanted = or_(
                _compare(db, Span.content, clause), _compare(db, Span.name, clause), _compare(db, Span.kind, clause)
            )
            found.append(exists().where(Span.trace_id == Trace.id, wanted))
    return found


def _compare(db: Session, column: Any, clause: Clause) -> Any:
    if clause.op != "RLIKE":
        return compare(db, column, clause.op, clause.value)
    subject = func.substr(column, 1, SUBJECT)
    if db.get_bind().dialect.name == "sqlite":
        return subject.regexp_match(str(clause.value))
    return subject.op("~", is_comparison=True)(str(clause.value))


def _condition(db: Session, clause: Clause) -> Any:
    if clause.kind == "attribute":
        return _attribute(db, clause)
    if clause.kind in ("tag", "metadata"):
        return _pair(db, TraceTag if clause.kind == "tag" else TraceMetadata, clause.key, clause)
    return _judged(db, clause)


def _attribute(db: Session, clause: Clause) -> Any:
    if clause.key == "name":
        return _pair(db, TraceTag, NAME, clause)
    if clause.key == "prompt":
        return _prompt(str(clause.value))
    if clause.key == "run_id":
        linked = exists().where(TraceRun.trace_uuid == Trace.uuid, _compare(db, TraceRun.run_uuid, clause))
        return or_(_pair(db, TraceMetadata, RUN, clause), linked)
    return _compare(db, _COLUMNS[clause.key], clause)


def _pair(db: Session, table: Any, key: str, clause: Clause) -> Any:
    has = exists().where(table.trace_id == Trace.id, table.key == key)
    if clause.op in NULL_OPS:
        return not_(has) if clause.op == "IS NULL" else has
    return exists().where(table.trace_id == Trace.id, table.key == key, _compare(db, table.value, clause))


def _prompt(value: str) -> Any:
    name, slash, version = value.rpartition("/")
    if not slash or not name or not version or "/" in name:
        raise BadInput(f"Invalid prompts filter value '{value[:120]}'. Expected format: prompt = \"name/version\"")
    wanted = json.dumps({"name": name, "version": version})
    found = TraceTag.value.contains(wanted, autoescape=True)
    return exists().where(TraceTag.trace_id == Trace.id, TraceTag.key == PROMPTS, found)


def _on_span(db: Session, clause: Clause) -> Any:
    if clause.key.startswith("attributes."):
        return _span_attribute(db, clause.key.removeprefix("attributes."), clause)
    column = {"name": Span.name, "type": Span.kind, "status": Span.status, "content": Span.content}[clause.key]
    return _compare(db, column, clause)


def _span_attribute(db: Session, key: str, clause: Clause) -> Any:
    return _compare(db, json_text(db, Span.content, "attributes", key), clause)


def _judged(db: Session, clause: Clause) -> Any:
    """Feedback and expectations by name: of this trace, or said of the session that it is in."""
    if clause.kind == "issue":
        where = [Assessment.kind == "issue", Assessment.valid, Assessment.name == str(clause.value)]
        return exists().where(Assessment.trace_id == Trace.id, *where)
    where = [Assessment.kind == clause.kind, Assessment.valid, Assessment.name == clause.key]
    if clause.op not in NULL_OPS:
        where.append(_said(db, clause))
    other = aliased(Trace)
    of_session = (
        select(other.session)
        .join(Assessment, Assessment.trace_id == other.id)
        .where(*where, other.session.is_not(None), other.experiment_id == Trace.experiment_id,
               Assessment.details.contains('"mlflow.trace.session"'))
    )  # fmt: skip
    found = or_(exists().where(Assessment.trace_id == Trace.id, *where), Trace.session.in_(of_session))
    return not_(found) if clause.op == "IS NULL" else found


def _said(db: Session, clause: Clause) -> Any:
    value = clause.value
    if isinstance(value, float | int):
        plain = func.substr(Assessment.value, 1, 1).not_in(
            ['"', "t", "f"]
        )  # not what only counts as a number in averages
        return and_(plain, compare(db, Assessment.number, clause.op, value)) if value == value else false()
    text = str(value)
    if clause.op in ("=", "!="):
        same = Assessment.value.in_([text, json.dumps(text), json.dumps(text, ensure_ascii=False)])
        return same if clause.op == "=" else not_(same)
    return _compare(db, Assessment.value, clause)


def _head(column: Any) -> Any:
    """The part of a value that its index holds; the numbers are written out, or no index would match."""
    return func.substr(column, literal_column("1"), literal_column("200"))


def experiments_of(db: Session, project_id: str) -> list[int]:
    """The active experiments of a project. The caller has checked the rights."""
    active = select(Experiment.id).where(Experiment.project_id == project_id, Experiment.lifecycle == "active")
    return list(db.scalars(active))


def of_run(db: Session, run_uuid: str, project_id: str) -> bool:
    """Whether a run of the project has traces."""
    told = select(Trace.id).join(TraceMetadata, TraceMetadata.trace_id == Trace.id)
    told = told.where(TraceMetadata.key == RUN, _head(TraceMetadata.value) == run_uuid, Trace.project_id == project_id)
    linked = select(Trace.id).join(TraceRun, TraceRun.trace_uuid == Trace.uuid)
    linked = linked.where(TraceRun.run_uuid == run_uuid, Trace.project_id == project_id)
    return db.scalar(told.limit(1)) is not None or db.scalar(linked.limit(1)) is not None
