"""The pages of traces: the table of a project, and one trace as a tree of spans over time."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.guard import Signed
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.traces import assessments, facts, query, search, service, tree
from headway.traces.facts import TraceFacts
from headway.traces.tables import Trace
from headway.tracking.find.search import OPERATOR, Clause
from headway.tracking.show import run_tabs
from headway.web.edge import Db, ReadDb
from headway.web.nav import NavItem
from headway.web.render import page, redirect, with_query

router = APIRouter(include_in_schema=False)
NAV = [NavItem("Traces", "workflow", "traces", 27)]
PAGE = 50
Text = Annotated[str, Form()]
STATES = {"OK": "finished", "ERROR": "failed", "IN_PROGRESS": "running", "STATE_UNSPECIFIED": "pending"}
WORDS = {"finished": "ok", "failed": "error", "running": "running", "pending": "unknown"}
_KEY = re.compile(r"(?:trace|tags?|metadata|span|feedback|expectation|attributes?)\.", re.I)


@dataclass
class Listing:
    """A page of the table, or why it can't be shown."""

    rows: list[TraceFacts] = field(default_factory=list)
    token: str = ""
    problem: str = ""


def _listing(db: Session, project: Project, text: str, status: str, run: str, session: str, after: str) -> Listing:
    clauses: list[Clause] = []
    try:
        if _KEY.match(text) and OPERATOR.search(text):
            clauses = search.parse(text)
        elif text:
            clauses = [Clause("attribute", "text", "ILIKE", f"%{text}%")]
        if status in STATES:
            clauses.append(Clause("attribute", "status", "=", status))
        if run:
            clauses.append(Clause("attribute", "run_id", "=", run))
        if session:
            clauses.append(Clause("metadata", facts.SESSION, "=", session))
        rows, token = query.find(db, query.experiments_of(db, project.id), clauses, (), PAGE, after or None)
    except BadInput as problem:
        return Listing(problem=f"{problem.message} {problem.hint}".strip())
    return Listing(facts.of(db, rows), token)


@router.get("/p/{slug}/traces")
def list_page(
    request: Request, who: Signed, db: ReadDb, slug: str, q: str = "", status: str = "", run: str = "", session: str = "",
    after: str = "",
) -> Response:  # fmt: skip
    """The project's traces, the newest first."""
    project = projects.by_slug(db, who, slug)
    found = _listing(db, project, q.strip()[:500], status, run, session, after)
    filtered = bool(q or status or run or session)
    return page(
        request, "traces/list.html", who=who, project=project, title="Traces", found=found, q=q, wanted=status, run=run,
        session=session, filtered=filtered, short=tree.short, states=STATES, words=WORDS,
        next_url=with_query(request, after=found.token) if found.token else "",
        first_url=with_query(request, after=None) if after else "",
        live=not after and any(row.row.status == "IN_PROGRESS" for row in found.rows),
    )  # fmt: skip


def _trace(db: Session, project: Project, who: Any, trace_id: str, verb: str = "view") -> Trace:
    row = service.get(db, who, trace_id, verb)
    if row.project_id != project.id:
        raise service.no_trace(trace_id)
    return row


@router.get("/p/{slug}/traces/{trace_id}")
def trace_page(request: Request, who: Signed, db: ReadDb, slug: str, trace_id: str, span: str = "") -> Response:
    """One trace: its spans as a tree over time, and all of the chosen one."""
    project = projects.by_slug(db, who, slug)
    row = _trace(db, project, who, trace_id)
    told = facts.of(db, [row])[0]
    nodes = tree.grow(facts.spans(db, row.id))
    chosen = next((node for node in nodes if node.id == span), nodes[0] if nodes else None)
    run = told.metadata.get(facts.RUN, "")
    return page(
        request, "traces/trace.html", who=who, project=project, title=told.name, told=told, row=row, nodes=nodes[: tree.MOST],
        more=max(0, len(nodes) - tree.MOST), chosen=chosen, detail=tree.detail(chosen) if chosen else None,
        state=STATES.get(row.status, "pending"), words=WORDS, run=run, base=f"/p/{slug}/traces/{quote(trace_id)}",
        judged=[_judged(one) for one in told.assessments], live=row.status == "IN_PROGRESS",
        tags={k: v for k, v in sorted(told.tags.items()) if not k.startswith("mlflow.")},
    )  # fmt: skip


def _judged(row: Any) -> dict[str, Any]:
    value = json.loads(row.value)
    return {
        "id": row.uuid, "name": row.name, "kind": row.kind, "value": value if isinstance(value, str) else json.dumps(value),
        "good": row.number, "by": row.source_id or row.source_type, "source": row.source_type, "why": row.rationale or "",
        "at": row.updated_at, "valid": row.valid, "error": json.loads(row.error) if row.error else None,
    }  # fmt: skip


@router.post("/p/{slug}/traces/{trace_id}/feedback")
def give_feedback(
    who: Signed, db: Db, slug: str, trace_id: str, name: Text = "quality", value: Text = "", rationale: Text = ""
) -> Response:
    """A person's judgement: good or bad, and why."""
    project = projects.by_slug(db, who, slug, "run")
    row = _trace(db, project, who, trace_id, "run")
    if value not in ("yes", "no"):
        raise BadInput("Say whether it is good (yes) or bad (no).", field="value")
    told = {"name": name.strip() or "quality", "kind": "feedback", "value": value == "yes", "source_type": "HUMAN",
            "source_id": who.name, "rationale": rationale.strip()}  # fmt: skip
    assessments.create(db, who, row.uuid, told)
    return redirect(f"/p/{slug}/traces/{quote(trace_id)}", "Noted")


@router.post("/p/{slug}/traces/{trace_id}/feedback/{assessment_id}/delete")
def take_back(who: Signed, db: Db, slug: str, trace_id: str, assessment_id: str) -> Response:
    """Take a judgement back."""
    project = projects.by_slug(db, who, slug, "run")
    row = _trace(db, project, who, trace_id, "run")
    assessments.remove(db, who, row.uuid, assessment_id)
    return redirect(f"/p/{slug}/traces/{quote(trace_id)}", "Taken back")


@router.post("/p/{slug}/traces/{trace_id}/delete")
def delete_trace(who: Signed, db: Db, slug: str, trace_id: str) -> Response:
    """Delete a trace with all that belongs to it."""
    project = projects.by_slug(db, who, slug, "run")
    service.remove_one(db, who, _trace(db, project, who, trace_id, "run").uuid)
    return redirect(f"/p/{slug}/traces", "Deleted")


def _tab(db: Session, shown: run_tabs.Shown) -> tuple[str, str, int | None] | None:
    """A run's page links to its traces, where it has some."""
    if not query.of_run(db, shown.run.uuid, shown.project.id):
        return None
    return "Traces", f"/p/{shown.project.slug}/traces?run={shown.run.uuid}", None


run_tabs.MORE.append(_tab)
