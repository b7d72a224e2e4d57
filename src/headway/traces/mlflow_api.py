"""`traces/...` and `/v1/traces`: MLflow's tracing (version 3, and 2 for old clients) and OpenTelemetry's OTLP over HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from anyio import to_thread
from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headway.clock import new_id
from headway.engines.host import Host
from headway.errors import BadInput, NotFound, TooLarge
from headway.people import guard
from headway.traces import assessments, eval_api, facts, otlp, query, scorer_api, search, service, shapes
from headway.traces.facts import LOCATION
from headway.tracking import experiments, limits
from headway.tracking.wire import call as wire
from headway.tracking.wire.call import Call, endpoint
from headway.tracking.wire.shapes import filled

router = APIRouter()
ENDPOINTS = (eval_api, scorer_api)  # importing it fills the table
MOST, MOST_SPANS = 500, 100


# ---------------------------------------------------------------- begin, end
@endpoint("POST", "traces")
def start(call: Call, db: Session) -> dict[str, Any]:
    """All that a client knows of a trace at its end (version 3), or its begin (version 2)."""
    if "trace" not in call.values:
        return _start_v2(call, db)
    told = (call.values.get("trace") or {}).get("trace_info")
    if not isinstance(told, dict):
        raise limits.missing("trace.trace_info")
    inner = Call(call.request, call.host, call.who, _experiment_of(told), call.path, writing=True)
    state = told.get("state", "STATE_UNSPECIFIED")
    if state not in shapes.STATES:
        raise limits.invalid("trace.trace_info.state", state, f"It must be one of {', '.join(shapes.STATES)}.")
    row = service.start(
        db, call.who, inner.experiment(db, "run"), told.get("trace_id") or "",
        started_at=shapes.parse_timestamp(told.get("request_time"), "trace.trace_info.request_time"),
        duration_ms=shapes.parse_duration(told.get("execution_duration"), "trace.trace_info.execution_duration"),
        status=state, tags=_texts(told, "tags"), metadata=_texts(told, "trace_metadata"),
        client_request_id=told.get("client_request_id"), request=_text(told, "request_preview"),
        response=_text(told, "response_preview"),
    )  # fmt: skip
    for one in told.get("assessments") or []:
        assessments.keep(db, row, shapes.parse_assessment(one))
    return {"trace": {"trace_info": shapes.info(facts.of(db, [row])[0])}}


def _experiment_of(told: dict[str, Any]) -> dict[str, Any]:
    place = told.get("trace_location")
    inner = place.get("mlflow_experiment") if isinstance(place, dict) else None
    if not isinstance(inner, dict):
        raise BadInput("A trace lies in an experiment of this server.", hint="Set trace_location.mlflow_experiment.")
    return inner


def _texts(told: dict[str, Any], name: str) -> dict[str, str]:
    found = told.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise limits.wrong_type(f"trace.trace_info.{name}", found)
    return {limits.key(key, f"{name}.key"): value for key, value in found.items()}


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise limits.wrong_type(f"trace.trace_info.{name}", value)
    return value


def _start_v2(call: Call, db: Session) -> dict[str, Any]:
    row = service.start(
        db, call.who, call.experiment(db, "run"), f"tr-{new_id()}", started_at=call.integer("timestamp_ms"),
        duration_ms=None, status="IN_PROGRESS", whole=False, tags=dict(call.pairs("tags")),
        metadata=dict(call.pairs("request_metadata")),
    )  # fmt: skip
    return {"trace_info": shapes.info_v2(facts.of(db, [row])[0])}


@endpoint("PATCH", "traces/{trace_id}")
def end_v2(call: Call, db: Session) -> dict[str, Any]:
    row = service.get(db, call.who, call.path["trace_id"], "run")
    status = {0: "STATE_UNSPECIFIED", 1: "OK", 2: "ERROR", 3: "IN_PROGRESS"}.get(
        call.values.get("status", 0), str(call.values.get("status"))
    )
    told = facts.of(db, [row])[0]
    row = service.start(
        db, call.who, experiments.get(db, call.who, row.experiment_id, "run"), row.uuid, started_at=row.started_at,
        duration_ms=call.integer("timestamp_ms") - row.started_at, whole=False, status=status.replace("TRACE_STATUS", "STATE"),
        tags=told.tags | dict(call.pairs("tags")), metadata=told.metadata | dict(call.pairs("request_metadata")),
    )  # fmt: skip
    return {"trace_info": shapes.info_v2(facts.of(db, [row])[0])}


# ---------------------------------------------------------------- reading
@endpoint("GET", "traces/{trace_id}/info", mode="read")
def info_v2(call: Call, db: Session) -> dict[str, Any]:
    return {"trace_info": shapes.info_v2(service.facts(db, call.who, call.path["trace_id"]))}


@endpoint("GET", "traces/{trace_id}", mode="read")
def info(call: Call, db: Session) -> dict[str, Any]:
    return {"trace": {"trace_info": shapes.info(service.facts(db, call.who, call.path["trace_id"]))}}


@endpoint("GET", "traces/get", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    """A trace with its spans."""
    told = service.facts(db, call.who, call.text("trace_id"))
    spans = facts.spans(db, told.row.id)
    if told.tags.get(LOCATION) != "TRACKING_STORE":
        raise NotFound(f"Trace data of {told.row.uuid} is not stored in the tracking store.",
                       hint="Its spans may lie in a file that its client sent: traces.json.")  # fmt: skip
    if not call.boolean("allow_partial") and not service.complete(told, spans):
        raise NotFound(f"Trace with ID {told.row.uuid} is not fully exported yet.", hint="Ask again in a moment.")
    return {"trace": shapes.trace(told, spans)}


@endpoint("GET", "traces/batchGet", mode="read")
def batch_get(call: Call, db: Session) -> dict[str, Any]:
    rows = _visible(call, db, MOST_SPANS)
    spans = facts.spans_of(db, [row.id for row in rows])
    found = [(told, spans.get(told.row.id, [])) for told in facts.of(db, rows)]
    return filled(traces=[shapes.trace(told, its) for told, its in found if service.complete(told, its)])


@endpoint("POST", "traces/batchGetInfos", mode="read")
def batch_get_infos(call: Call, db: Session) -> dict[str, Any]:
    return filled(trace_infos=[shapes.info(told) for told in facts.of(db, _visible(call, db, 1000))])


def _visible(call: Call, db: Session, most: int) -> list[Any]:
    ids = call.strings("trace_ids")
    if len(ids) > most:
        raise BadInput(f"At most {most} traces can be asked for at once. Got {len(ids)}.", field="trace_ids")
    rows = service.visible(db, call.who, ids)
    scope = {int(one) for one in call.strings("experiment_ids") if one.isdigit()}
    return [row for row in rows if row.experiment_id in scope] if scope else rows


@endpoint("POST", "traces/search", mode="read")
def search_traces(call: Call, db: Session) -> dict[str, Any]:
    ids = []
    for place in call.items("locations"):
        if not isinstance(place, dict):
            raise limits.wrong_type("locations", place)
        ids.append(str(_experiment_of({"trace_location": place}).get("experiment_id") or ""))
    rows, token = _search(call, db, ids)
    return filled(traces=[shapes.info(told) for told in facts.of(db, rows)], next_page_token=token)


@endpoint("GET", "traces", mode="read")
def search_v2(call: Call, db: Session) -> dict[str, Any]:
    rows, token = _search(call, db, call.strings("experiment_ids"))
    return filled(traces=[shapes.info_v2(told) for told in facts.of(db, rows)], next_page_token=token)


def _search(call: Call, db: Session, ids: list[str]) -> tuple[list[Any], str]:
    if not ids:
        raise BadInput("At least one experiment must be specified.", field="locations")
    limit = call.integer("max_results", 100)
    if not 1 <= limit <= MOST:
        raise BadInput(f"Invalid value {limit} for parameter 'max_results' supplied. It must be between 1 and {MOST}.")
    scope = experiments.visible(db, call.who, [call.default(db).id if one == "0" else one for one in ids])
    clauses = search.parse(call.text("filter", required=False))
    return query.find(
        db,
        scope,
        clauses,
        search.parse_orders(call.strings("order_by")),
        limit,
        call.text("page_token", required=False),
    )


@endpoint("GET", "get-trace-artifact", mode="raw")
async def artifact(call: Call) -> Response:
    """The spans as a file, as MLflow's own pages ask for them."""
    return await to_thread.run_sync(_artifact, call)


def _artifact(call: Call) -> Response:
    with call.host.database.read() as db:
        told = service.facts(db, call.who, call.text("request_id", "trace_id"))
        found = wire.respond(shapes.artifact(facts.spans(db, told.row.id)))
    found.headers["Content-Disposition"] = "attachment; filename=traces.json"
    return found


# ---------------------------------------------------------------- tags, links, deleting
@endpoint("PATCH", "traces/{trace_id}/tags")
def set_tag(call: Call, db: Session) -> None:
    service.set_tag(db, call.who, call.path["trace_id"], call.values.get("key"), call.values.get("value"))


@endpoint("DELETE", "traces/{trace_id}/tags")
def delete_tag(call: Call, db: Session) -> None:
    service.delete_tag(db, call.who, call.path["trace_id"], call.text("key"))


@endpoint("POST", "traces/delete-traces")
def delete(call: Call, db: Session) -> dict[str, Any]:
    before = call.values.get("max_timestamp_millis")
    most = call.values.get("max_traces")
    found = service.remove(
        db, call.who, call.experiment(db, "run").id,
        before=None if before in (None, "") else call.integer("max_timestamp_millis"),
        most=None if most in (None, "") else call.integer("max_traces"),
        trace_ids=call.strings("request_ids") or call.strings("trace_ids"),
    )  # fmt: skip
    return {"traces_deleted": found}


@endpoint("POST", "traces/link-to-run")
def link_to_run(call: Call, db: Session) -> None:
    service.link(db, call.who, call.strings("trace_ids"), call.text("run_id"))


@endpoint("POST", "traces/link-prompts")
def link_prompts(call: Call, db: Session) -> None:
    found = []
    for item in call.items("prompt_versions"):
        if not isinstance(item, dict) or not item.get("name"):
            raise limits.missing("prompt_versions.name")
        found.append((str(item["name"]), str(item.get("version") or "")))
    service.link_prompts(db, call.who, call.text("trace_id"), found)


# ---------------------------------------------------------------- assessments
def _shown(row: Any, trace_id: str) -> dict[str, Any]:
    return {"assessment": shapes.assessment(row, trace_id)}


@endpoint("POST", "traces/{trace_id}/assessments")
def create_assessment(call: Call, db: Session) -> dict[str, Any]:
    told = shapes.parse_assessment(call.values.get("assessment"))
    if told["kind"] is None:
        raise BadInput("An assessment holds one of feedback, expectation or issue.", field="assessment")
    return _shown(assessments.create(db, call.who, call.path["trace_id"], told | {"uuid": None}), call.path["trace_id"])


@endpoint("GET", "traces/{trace_id}/assessments/{assessment_id}", mode="read")
def get_assessment(call: Call, db: Session) -> dict[str, Any]:
    trace_id = call.path["trace_id"]
    return _shown(assessments.get(db, call.who, trace_id, call.path["assessment_id"]), trace_id)


@endpoint("PATCH", "traces/{trace_id}/assessments/{assessment_id}")
def update_assessment(call: Call, db: Session) -> dict[str, Any]:
    trace_id = call.path["trace_id"]
    row = assessments.change(
        db, call.who, trace_id, call.path["assessment_id"], shapes.parse_assessment(call.values.get("assessment"))
    )
    return _shown(row, trace_id)


@endpoint("DELETE", "traces/{trace_id}/assessments/{assessment_id}")
def delete_assessment(call: Call, db: Session) -> None:
    assessments.remove(db, call.who, call.path["trace_id"], call.path["assessment_id"])


# ---------------------------------------------------------------- OpenTelemetry
async def receive(request: Request) -> Response:
    """`POST /v1/traces`: spans of any OpenTelemetry exporter; header `x-mlflow-experiment-id` says which experiment."""
    who = await guard.signed(request)
    host: Host = request.app.state.host
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (otlp.PROTOBUF, otlp.JSON):
        raise BadInput(f"Invalid Content-Type: {kind[:80]}. Expected: {otlp.PROTOBUF} or {otlp.JSON}")
    experiment = request.headers.get("x-mlflow-experiment-id", "")
    if not experiment:
        raise BadInput("The header x-mlflow-experiment-id is missing.", hint="It names the experiment of the traces.")
    most = host.settings.body_mb << 20
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise TooLarge(
                f"The body is larger than {host.settings.body_mb} MiB.", hint="Export fewer spans at a time."
            )
        pieces.append(piece)
    body = otlp.inflate(b"".join(pieces), request.headers.get("content-encoding", "").lower(), most)
    spans = otlp.decode(body, kind)
    call = Call(request, host, who, {"experiment_id": experiment}, {}, writing=True)
    run = unquote(request.headers.get("x-mlflow-run-id", ""))
    await wire.committed(host, lambda db: service.log_spans(db, who, call.experiment(db, "run"), spans, run))
    # An ExportTraceServiceResponse without a partial success is no bytes at all
    return Response(b"" if kind == otlp.PROTOBUF else json.dumps({}), media_type=kind)


router.routes.append(Route("/v1/traces", wire.guarded(receive), methods=["POST"], include_in_schema=False))
