"""The verbs of traces: begin and end, log spans, read, tag, link, delete. Checks who may: a trace is its project's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from headway import events
from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.traces import facts as reading
from headway.traces import spans as nouns
from headway.traces.facts import COST, LOCATION, NAME, SESSION, TOKENS, USER, TraceFacts
from headway.traces.spans import SpanData
from headway.traces.tables import Assessment, Span, Trace, TraceMetadata, TraceRun, TraceTag
from headway.tracking import artifacts, experiments, limits
from headway.tracking import service as runs
from headway.tracking.artifacts import Owner
from headway.tracking.store import locations, purge
from headway.tracking.tables import Experiment

FINALIZED = "mlflow.trace.infoFinalized"
ARTIFACTS, PROMPTS = "mlflow.artifactLocation", "mlflow.linkedPrompts"
LINKS, MOST_DELETED = 100, 100
TAG_VALUE, METADATA_VALUE, PREVIEW = 8000, 65_536, 10_000
OPEN = ("IN_PROGRESS", "STATE_UNSPECIFIED")
_ID = re.compile(r"[\w\-]{1,100}")


def _of_trace(db: Session, uuid: str) -> Owner | None:
    project = db.scalar(select(Trace.project_id).where(Trace.uuid == uuid))
    return None if project is None else Owner(project, active=True)


artifacts.OWNERS["tr"] = _of_trace  # attachments of spans, and spans that a client sends as a file


def no_trace(trace_id: object) -> NotFound:
    """The answer for a trace that isn't there, or isn't yours to see."""
    return NotFound(
        f"Trace with ID {str(trace_id)[:100]} is not found.", hint="Was it deleted, or is it in another project?"
    )


def get(db: Session, who: Who, trace_id: Any, verb: str = "view") -> Trace:
    """The row of a trace. Raises `NotFound` (also for one that `who` may not see), `Forbidden`."""
    row = db.scalar(select(Trace).where(Trace.uuid == str(trace_id)))
    return guard.visible(db, who, verb, row, lambda: no_trace(trace_id))


def visible(db: Session, who: Who, trace_ids: Sequence[str]) -> list[Trace]:
    """Those of these traces that `who` may see, in the order asked for."""
    rows = {row.uuid: row for row in db.scalars(select(Trace).where(Trace.uuid.in_(list(trace_ids))))}
    may = {project: guard.may(db, who, "view", project) for project in {row.project_id for row in rows.values()}}
    wanted = dict.fromkeys(trace_ids)
    return [rows[one] for one in wanted if one in rows and may[rows[one].project_id]]


def facts(db: Session, who: Who, trace_id: Any) -> TraceFacts:
    """A trace with its tags, metadata and assessments."""
    return reading.of(db, [get(db, who, trace_id)])[0]


def complete(told: TraceFacts, found: Sequence[Span]) -> bool:
    """Whether all spans have come that the client announced."""
    return bool(found) and len(found) >= told.promised


# ---------------------------------------------------------------- writing
def start(
    db: Session, who: Who, experiment: Experiment, trace_id: str, *, started_at: int, duration_ms: int | None, status: str,
    tags: Mapping[str, str], metadata: Mapping[str, str], client_request_id: str | None = None,
    request: str | None = None, response: str | None = None, whole: bool = True,
) -> Trace:  # fmt: skip
    """All that a client knows of a trace. What it told before is overwritten; spans, tags and assessments stay.

    `whole`: spans that come later change no times and no totals.
    """
    _check_active(experiment)
    row = _take(db, who, experiment, _check_id(trace_id), started_at, status)
    row.experiment_id, row.project_id = experiment.id, experiment.project_id
    row.started_at, row.duration_ms, row.status, row.finalized = started_at, duration_ms, status, whole
    row.client_request_id = limits.text(client_request_id, "client_request_id", 500) or None
    row.request_preview = _short(request) if request is not None else row.request_preview
    row.response_preview = _short(response) if response is not None else row.response_preview
    row.session = metadata.get(SESSION, row.session)
    _put(db, TraceTag, row.id, {k: v[:TAG_VALUE] for k, v in tags.items()} | {ARTIFACTS: _place(experiment, row.uuid)})
    _put(
        db,
        TraceMetadata,
        row.id,
        {k: v[:METADATA_VALUE] for k, v in metadata.items()} | ({FINALIZED: "true"} if whole else {}),
    )
    _changed(db, row)
    return row


def _short(text: str) -> str:
    return text.replace("\0", "")[:PREVIEW]


def _check_id(trace_id: Any) -> str:
    if not isinstance(trace_id, str) or not _ID.fullmatch(trace_id):
        raise limits.invalid("trace_id", trace_id, "It must be 1 to 100 letters, digits, - or _.")
    return trace_id


def _check_active(experiment: Experiment) -> None:
    if experiment.lifecycle != "active":
        raise BadInput(
            f"The experiment {experiment.id} must be in the 'active' state. Current state is {experiment.lifecycle}.",
            hint="Restore the experiment, or choose another.",
        )


def _place(experiment: Experiment, trace_id: str) -> str:
    home = experiment.artifact_location or f"mlflow-artifacts:/{experiment.id}"
    return locations.below(home, "traces", trace_id, "artifacts")


def _take(db: Session, who: Who, experiment: Experiment, trace_id: str, started_at: int, status: str) -> Trace:
    """The row of a trace, locked; made if there is none. Raises `NotFound` for a trace of another project."""
    query = select(Trace).where(Trace.uuid == trace_id).with_for_update()
    row = db.scalar(query)
    if row is None:
        row = Trace(uuid=trace_id, experiment_id=experiment.id, project_id=experiment.project_id, status=status,
                    started_at=started_at)  # fmt: skip
        try:
            with db.begin_nested():
                db.add(row)
            _put(db, TraceTag, row.id, {ARTIFACTS: _place(experiment, trace_id)})
            return row
        except IntegrityError:  # its spans came over another connection meanwhile
            row = db.scalar(query)
            assert row is not None
    if row.project_id != experiment.project_id:
        raise no_trace(trace_id)
    guard.check(db, who, "run", row.project_id)
    return row


def _put(db: Session, table: Any, trace_id: int, values: Mapping[str, str]) -> None:
    for key, value in sorted(values.items()):
        db.merge(table(trace_id=trace_id, key=key[:250], value=value.replace("\0", "")))
    db.flush()


def _changed(db: Session, row: Trace) -> None:
    db.flush()
    events.publish(db, events.TraceChanged(row.uuid, row.project_id, row.status))


def log_spans(db: Session, who: Who, experiment: Experiment, found: Sequence[SpanData], run: str = "") -> list[str]:
    """Keep spans, of one trace or several; a span that was kept before is overwritten. Returns the traces' ids."""
    _check_active(experiment)
    by_trace: dict[str, list[SpanData]] = {}
    for span in found:
        by_trace.setdefault(_trace_of(span), []).append(span)
    for trace_id, some in sorted(by_trace.items()):
        row = _take(db, who, experiment, trace_id, min(s.start_ns for s in some) // 1_000_000, "IN_PROGRESS")
        db.execute(_KEEP, [_values(row.id, span) for span in {span.id: span for span in some}.values()])
        _follow(db, row, some)
        _changed(db, row)
    if run:
        link(db, who, list(by_trace), run)
    return list(by_trace)


def _trace_of(span: SpanData) -> str:
    """MLflow's id of the trace: what its client put into the span, else made of OpenTelemetry's, as MLflow does."""
    given = span.attributes.get(nouns.REQUEST_ID)
    if isinstance(given, str) and _ID.fullmatch(given):
        return given
    return f"tr-{span.trace}"


_COLUMNS = [column.name for column in Span.__table__.columns]
# One statement for all spans of a request: an exporter sends thousands at once. The names are those of our own columns.
_KEEP = text(
    "INSERT INTO trace_spans ({}) VALUES ({}) ON CONFLICT (trace_id, span_id) DO UPDATE SET {}".format(  # noqa: S608
        ", ".join(_COLUMNS),
        ", ".join(f":{name}" for name in _COLUMNS),
        ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("trace_id", "span_id")),
    )
)


def _values(trace_id: int, span: SpanData) -> dict[str, Any]:
    cost = span.cost or {}
    content = {"attributes": span.attributes, "events": span.events, "links": span.links, "message": span.message}
    model, provider = span.known(nouns.MODEL), span.known(nouns.PROVIDER)
    return {
        "trace_id": trace_id, "span_id": span.id, "parent_id": span.parent, "otel_trace": span.trace,
        "name": span.name.replace("\0", ""),
        "kind": span.kind.replace("\0", ""), "status": span.status, "start_ns": span.start_ns, "end_ns": span.end_ns,
        "model": None if model is None else str(model).replace("\0", "")[:500],
        "provider": None if provider is None else str(provider).replace("\0", "")[:200],
        "input_cost": cost.get("input_cost"), "output_cost": cost.get("output_cost"), "total_cost": cost.get("total_cost"),
        "content": json.dumps(nouns.clean(content), ensure_ascii=False, default=str),
    }  # fmt: skip


def as_data(row: Span) -> SpanData:
    """A kept span as it came."""
    content = json.loads(row.content)
    return SpanData(row.otel_trace, row.span_id, row.name, row.start_ns, row.end_ns, row.parent_id, row.status,
                    content.get("message", ""), content.get("attributes", {}), content.get("events", []),
                    content.get("links", []))  # fmt: skip


def _follow(db: Session, row: Trace, some: Sequence[SpanData]) -> None:
    """Let the trace's own row say what its spans tell, where the client has not said it itself."""
    metadata = reading.of(db, [row])[0].metadata
    if not row.finalized:
        ends = [s.end_ns // 1_000_000 for s in some if s.end_ns]
        if row.duration_ms is not None:
            ends.append(row.started_at + row.duration_ms)
        row.started_at = min(row.started_at, *(s.start_ns // 1_000_000 for s in some))
        if ends:
            row.duration_ms = max(ends) - row.started_at
    state = nouns.outcome(some)
    if state and row.status in OPEN:
        row.status = state
    root = next((s for s in some if not s.parent), None)
    if root is not None:
        if row.request_preview is None:
            row.request_preview = nouns.preview(root.known(nouns.INPUTS), "user")
        if row.response_preview is None:
            row.response_preview = nouns.preview(root.known(nouns.OUTPUTS), "assistant")
    new: dict[str, str] = {}
    if any(s.usage for s in some) and not (row.finalized and TOKENS in metadata):
        new[TOKENS] = json.dumps(_total(db, row, "usage", nouns.USAGE_KEYS))
    if any(s.cost for s in some) and not (row.finalized and COST in metadata):
        new[COST] = json.dumps(_total(db, row, "cost", nouns.COST_KEYS))
    session = next((s.session for s in some if s.session), None)
    if session and row.session is None:
        row.session = new[SESSION] = session
    user = next((str(s.attributes[nouns.USER]) for s in some if s.attributes.get(nouns.USER)), None)
    if user and USER not in metadata:
        new[USER] = user[:250]
    _put(db, TraceMetadata, row.id, new)
    _put(db, TraceTag, row.id, _told_tags(db, row, root, some) | {LOCATION: "TRACKING_STORE"})


def _total(db: Session, row: Trace, what: str, keys: tuple[str, ...]) -> dict[str, float]:
    kept = [as_data(s) for s in reading.spans(db, row.id)]
    return nouns.total({s.id: (s.parent, getattr(s, what)) for s in kept}, keys)


def _told_tags(db: Session, row: Trace, root: SpanData | None, some: Sequence[SpanData]) -> dict[str, str]:
    """Tags that came with spans: of OpenTelemetry's resource, and those MLflow's client hides in the root span."""
    found: dict[str, str] = {}
    for key, value in some[0].resource.items():
        if not key.startswith(("telemetry.sdk.", "mlflow.")) and _sound(key):
            found[key] = nouns.text(value)[:TAG_VALUE]
    if root is None:
        return found
    for key, value in root.attributes.items():
        if key.startswith(nouns.TAG_PREFIX) and _sound(key.removeprefix(nouns.TAG_PREFIX)):
            found[key.removeprefix(nouns.TAG_PREFIX)] = nouns.text(value)[:TAG_VALUE]
    if NAME not in found and db.get(TraceTag, (row.id, NAME)) is None and root.name:
        found[NAME] = root.name[:TAG_VALUE]
    return found


def _sound(key: str) -> bool:
    try:
        limits.key(key)
    except BadInput:
        return False
    return True


def set_tag(db: Session, who: Who, trace_id: Any, key: Any, value: Any) -> None:
    """Set a tag of a trace."""
    sound, text = limits.key(key), limits.text(value, "value", TAG_VALUE)
    _put(db, TraceTag, get(db, who, trace_id, "run").id, {sound: text})


def delete_tag(db: Session, who: Who, trace_id: Any, key: str) -> None:
    """Remove a tag; `NotFound` if the trace lacks it."""
    row = get(db, who, trace_id, "run")
    found = db.execute(delete(TraceTag).where(TraceTag.trace_id == row.id, TraceTag.key == key))
    if not found.rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"No trace tag with key '{key[:250]}' for trace with ID '{row.uuid}'")


def link(db: Session, who: Who, trace_ids: Sequence[str], run_id: str) -> None:
    """Say that traces belong to a run too; those that aren't there yet will. Traces of other projects are left out."""
    if len(trace_ids) > LINKS:
        raise BadInput(
            f"Cannot link more than {LINKS} traces to a run in a single request. Provided {len(trace_ids)} traces."
        )
    run = runs.get_run(db, who, run_id, "run")
    query = select(Trace.uuid).where(Trace.uuid.in_(list(trace_ids)), Trace.project_id != run.project_id)
    foreign = set(db.scalars(query))
    for trace_id in dict.fromkeys(trace_ids):
        if trace_id not in foreign:
            db.merge(TraceRun(trace_uuid=_check_id(trace_id), run_uuid=run.uuid))
    db.flush()


def link_prompts(db: Session, who: Who, trace_id: str, prompts: Iterable[tuple[str, str]]) -> None:
    """Note which versions of prompts a trace used."""
    row = get(db, who, trace_id, "run")
    tag = db.get(TraceTag, (row.id, PROMPTS))
    known = json.loads(tag.value) if tag else []
    for name, version in prompts:
        if {"name": name, "version": version} not in known:
            known.append({"name": name, "version": version})
    _put(db, TraceTag, row.id, {PROMPTS: json.dumps(known)})


def remove(
    db: Session, who: Who, experiment_id: int, *, before: int | None, most: int | None, trace_ids: Sequence[str]
) -> int:
    """Delete traces of an experiment, the oldest first: those that began before a moment (ms), or these. How many it were."""
    if bool(trace_ids) == (before is not None):
        raise BadInput("Exactly one of `max_timestamp_millis` and `trace_ids` must be specified.")
    if trace_ids and most is not None:
        raise BadInput("`max_traces` can't be specified if `trace_ids` is specified.")
    if most is not None and most <= 0:
        raise BadInput(f"`max_traces` must be a positive integer, received {most}.")
    experiments.get(db, who, experiment_id, "run")
    query = select(Trace).where(Trace.experiment_id == experiment_id).order_by(Trace.started_at, Trace.uuid)
    query = query.where(Trace.uuid.in_(list(trace_ids))) if trace_ids else query.where(Trace.started_at <= before)
    rows = db.scalars(query if most is None else query.limit(most)).all()
    for row in rows:
        _drop(db, row)
    return len(rows)


def remove_one(db: Session, who: Who, trace_id: str) -> None:
    """Delete one trace with all that belongs to it."""
    _drop(db, get(db, who, trace_id, "run"))


def _drop(db: Session, row: Trace) -> None:
    purge.files(db, row.uuid)
    for table in (Span, TraceTag, TraceMetadata, Assessment):
        db.execute(delete(table).where(table.trace_id == row.id))
    db.execute(delete(TraceRun).where(TraceRun.trace_uuid == row.uuid))
    db.execute(delete(Trace).where(Trace.id == row.id))


def _of_experiment(db: Session, experiment_id: int) -> None:
    for row in db.scalars(select(Trace).where(Trace.experiment_id == experiment_id)).all():
        _drop(db, row)


purge.FURTHER.append(_of_experiment)
