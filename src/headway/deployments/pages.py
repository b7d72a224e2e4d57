"""Pages of endpoints: the list, one endpoint with its traffic, keys, logs and settings, and the way to a new revision."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Form, Request, Response

from headway.clock import now_ms
from headway.deployments import ask, choose, logs, prediction_log, processes, served, service, show, states, tryit
from headway.deployments.rollout import rollback_target, serving
from headway.deployments.snippets import snippets
from headway.deployments.tables import Endpoint, Revision
from headway.engines.host import Host
from headway.errors import Conflict, HeadwayError, NotFound
from headway.people.guard import Signed
from headway.people.rules import DEPLOY, Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking.show import lineage
from headway.web import live
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.forms import Form as Posted
from headway.web.nav import NavItem
from headway.web.render import fragment, page, redirect

router = APIRouter(prefix="/p/{slug}", include_in_schema=False)
NAV = [NavItem("Endpoints", "rocket", "endpoints", 60, also=("deploy",))]

lineage.SERVING.append(served.serving)

Text = Annotated[str, Form()]


# ------------------------------------------------------------------ all endpoints, and a new revision


@router.get("/endpoints")
def index(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str) -> Response:
    project = projects.by_slug(db, who, slug)
    rows = [(e, show.endpoint_json(host, e), _recent(host, e)) for e in service.listed(db, who, project)]
    return page(request, "deployments/endpoints.html", who=who, project=project, title="Endpoints", rows=rows)


def _recent(host: Host, endpoint: Endpoint) -> list[float]:
    """Requests by the minute over the last half hour, for a sparkline."""
    told = show.series(show.stats_of(host, endpoint), "requests", now_ms() // 60_000, 30)["series"]
    return [sum(values) for values in zip(*(s["y"] for s in told), strict=True)] if told else []


@router.get("/deploy")
def choose_page(
    request: Request,
    db: ReadDb,
    who: Signed,
    slug: str,
    run_id: str = "",
    model: str = "",
    version: str = "",
    name: str = "",
) -> Response:
    project = projects.by_slug(db, who, slug, DEPLOY)
    return _confirm(request, db, who, project, run_id=run_id, model=_reference(model, version), name=name)


@router.post("/deploy")
def deploy_form(
    request: Request,
    db: Db,
    who: Signed,
    slug: str,
    run_id: Text = "",
    model: Text = "",
    version: Text = "",
    name: Text = "",
    choice: Text = "",
    confirmed: Text = "",
    traffic: Text = "",
    percent: Text = "",
    replicas: Text = "",
) -> Response:
    """The Deploy button of a run or a model leads here; only the button of the confirmation deploys."""
    values = {"run_id": run_id, "model": model, "version": version, "name": name, "choice": choice, "confirmed": confirmed,
              "traffic": traffic, "percent": percent, "replicas": replicas}  # fmt: skip
    return _deploy(request, db, who, slug, Posted.of(values))


def _deploy(request: Request, db: Db, who: Who, slug: str, form: Posted) -> Response:
    project = projects.by_slug(db, who, slug, DEPLOY)
    run_id, model = (
        form.text("run_id", limit=64),
        _reference(form.text("model", limit=300), form.text("version", limit=20)),
    )
    name, choice = form.text("name", limit=63), form.text("choice", limit=600)
    if not form.flag("confirmed"):
        return _confirm(request, db, who, project, run_id=run_id, model=model, name=name, choice=choice)
    share = form.number("percent", default=10.0, least=0, most=100)
    percent = share if form.choice("traffic", ("all", "canary"), default="all") == "canary" else None
    replicas = form.integer("replicas", default=1, least=1, most=service.REPLICAS) or 1
    try:
        form.check()
        version = choose.resolve(db, who, project, model=model, run_id=run_id, choice=choice)
        row = service.deploy(db, who, project, version, name=name or None, canary=percent, replicas=replicas)
    except HeadwayError as problem:
        if problem.status not in (400, 409, 422):
            raise
        return _confirm(
            request, db, who, project, run_id=run_id, model=model, name=name, choice=choice, problem=problem
        )
    return redirect(f"/p/{slug}/endpoints/{row.endpoint.name}")


def _reference(model: str, version: str) -> str:
    return f"{model}/{version}" if model and version and "/" not in model and "@" not in model else model


def _confirm(
    request: Request,
    db: Db | ReadDb,
    who: Who,
    project: Project,
    *,
    run_id: str,
    model: str,
    name: str = "",
    choice: str = "",
    problem: HeadwayError | None = None,
) -> Response:
    """What is about to be deployed, with the name filled in; nothing is written yet."""
    candidates: list[choose.Candidate] = []
    if model:
        version = choose.resolve(db, who, project, model=model)
        what, suggested = f"{version.name}, version {version.number}", version.name
    elif run_id:
        candidates = choose.of_run(db, who, project, run_id)
        if not candidates:
            raise Conflict("This run left no model.", hint="Fit one in it, or log one with MLflow's log_model.")
        picked = next((c for c in candidates if choice in (c.key, c.path)), candidates[0])
        choice = picked.key
        what, suggested = picked.label, choose.model_name(db, who, run_id, picked)
    else:
        raise NotFound("There is nothing to deploy here.", hint="Use Deploy on the page of a run or of a model.")
    name = name or service.clean_name(suggested)
    existing = {e.name: service.state_of(e) for e in service.listed(db, who, project)}
    return page(
        request,
        "deployments/deploy.html",
        who=who,
        project=project,
        title="Deploy",
        status=200 if problem is None else problem.status,
        what=what,
        run_id=run_id,
        model=model,
        name=name,
        choice=choice,
        candidates=candidates,
        existing=existing,
        problem=problem,
    )


# ------------------------------------------------------------------ one endpoint


def _tabs(endpoint: Endpoint, keys: int | None = None) -> list[Any]:
    base = f"/p/{endpoint.slug}/endpoints/{endpoint.name}"
    return [("Overview", base), ("Use it", f"{base}/use"), ("Keys", f"{base}/keys", keys), ("Logs", f"{base}/logs"),
            ("Predictions", f"{base}/predictions"), ("Settings", f"{base}/settings")]  # fmt: skip


def shown_revision(endpoint: Endpoint) -> Revision | None:
    """The revision that answers most, else the newest."""
    current = serving(service.known(endpoint))
    if current is not None:
        return service.revision(endpoint, current.number)
    return endpoint.revisions[0] if endpoint.revisions else None


def _back(endpoint: Endpoint) -> int | None:
    """Where Roll back leads; None where it leads nowhere."""
    try:
        return rollback_target(service.known(endpoint)).number
    except Conflict:
        return None


def _context(host: Host, endpoint: Endpoint) -> dict[str, Any]:
    newest = endpoint.revisions[0] if endpoint.revisions else None
    told = show.endpoint_json(host, endpoint)
    busy = any(r.state in states.UNDER_WAY for r in endpoint.revisions)
    return {
        "endpoint": endpoint,
        "told": told,
        "newest": newest,
        "steps": show.steps(newest) if newest is not None and newest.state != states.RETIRED else [],
        "busy": busy,
        "back": _back(endpoint),
        "words": states.WORDS,
    }


@router.get("/endpoints/{name}")
def overview(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    row = shown_revision(endpoint)
    return page(request, "deployments/endpoint.html", who=who, project=project, title=name, tabs=_tabs(endpoint),
                active="Overview", summary=service.summary_of(row) if row else {}, **_context(host, endpoint))  # fmt: skip


@router.get("/endpoints/{name}/state")
def state(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    return fragment(request, "deployments/_state.html", who=who, project=project, **_context(host, endpoint))


@router.get("/endpoints/{name}/series/{what}")
def series(db: ReadDb, host: HostDep, who: Signed, slug: str, name: str, what: str) -> dict[str, Any]:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    if what not in ("requests", "latency", "errors"):
        raise NotFound("There is no such chart.")
    return show.series(show.stats_of(host, endpoint), what, now_ms() // 60_000)


@router.get("/endpoints/{name}/use")
def use(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    row = shown_revision(endpoint)
    summary = service.summary_of(row) if row is not None else {}
    url = show.url_of(host, endpoint)
    told = show.endpoint_json(host, endpoint)
    proof = told["revisions"][0]["proof"] if told["revisions"] else None
    context = {"endpoint": endpoint, "told": told, "tabs": _tabs(endpoint), "active": "Use it", "fields": tryit.fields(summary),
               "body": show.payload_of(row), "summary": summary, "methods": (proof or {}).get("methods", []),
               "snippets": snippets(f"{url}/invocations", name, show.payload_of(row))}  # fmt: skip
    return page(request, "deployments/use.html", who=who, project=project, title=name, **context)


@router.post("/endpoints/{name}/try")
async def try_form(request: Request, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    form = Posted.of(await request.form())
    return await to_thread.run_sync(_try, request, host, who, slug, name, form)


def _try(request: Request, host: Host, who: Who, slug: str, name: str, form: Posted) -> Response:
    """Asks as a program would, through the gateway; the transaction is over before."""
    with host.database.read() as db:
        endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
        row = shown_revision(endpoint)
        summary = service.summary_of(row) if row is not None else {}
    try:
        body = tryit.payload(summary, form.values, probabilities=form.flag("probabilities"))
        reply = ask.predict(host, slug, name, body)
    except HeadwayError as problem:
        if problem.status == 503:
            raise
        return fragment(request, "deployments/_answer.html", who=who, reply=None, problem=problem)
    return fragment(request, "deployments/_answer.html", who=who, reply=reply, problem=None)


@router.get("/endpoints/{name}/keys")
def keys(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    return _keys(request, db, host, who, project, service.get(db, who, project, name))


def _keys(
    request: Request,
    db: Any,
    host: Host,
    who: Who,
    project: Project,
    endpoint: Endpoint,
    secret: str = "",
    problem: str = "",
) -> Response:
    rows = service.keys(db, who, endpoint)
    row = shown_revision(endpoint)
    ready = (
        snippets(f"{show.url_of(host, endpoint)}/invocations", endpoint.name, show.payload_of(row), secret)
        if secret
        else []
    )
    return page(
        request, "deployments/keys.html", who=who, project=project, title=endpoint.name, endpoint=endpoint, keys=rows,
        secret=secret,
        snippets=ready, problem=problem, tabs=_tabs(endpoint, len(rows)), active="Keys", told=show.endpoint_json(host, endpoint),
        status=422 if problem else 200,
    )  # fmt: skip


@router.post("/endpoints/{name}/keys")
def create_key(
    request: Request, db: Db, host: HostDep, who: Signed, slug: str, name: str, key_name: Text = ""
) -> Response:
    project = projects.by_slug(db, who, slug, DEPLOY)
    endpoint = service.get(db, who, project, name)
    try:
        _, secret = service.create_key(db, who, endpoint, key_name)
    except HeadwayError as problem:
        if problem.status != 422:
            raise
        return _keys(request, db, host, who, project, endpoint, problem=problem.message)
    return _keys(request, db, host, who, project, endpoint, secret)


@router.post("/endpoints/{name}/keys/{key_id}/revoke")
def revoke_key(db: Db, who: Signed, slug: str, name: str, key_id: str) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    row = service.revoke_key(db, who, endpoint, key_id)
    return redirect(f"/p/{slug}/endpoints/{name}/keys", f"The key '{row.name}' does not work any more.")


@router.get("/endpoints/{name}/logs")
def log_page(
    request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str, revision: int = 0, kind: str = ""
) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    row = service.revision(endpoint, revision or endpoint.revisions[0].number)
    kind = kind if kind in logs.KINDS else logs.current(row)
    base = f"/p/{slug}/endpoints/{name}/logs"
    return page(
        request, "deployments/logs.html", who=who, project=project, title=name, endpoint=endpoint, row=row, kind=kind,
        kinds=[(k, f"{base}?revision={row.number}&kind={k}") for k in logs.KINDS], told=show.endpoint_json(host, endpoint),
        stream=f"{base}/stream?revision={row.number}&kind={kind}", tabs=_tabs(endpoint), active="Logs", base=base,
    )  # fmt: skip


@router.get("/endpoints/{name}/logs/stream")
def log_stream(
    request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str, revision: int, kind: str
) -> Response:
    """The log of what runs now, from the start, as it grows; it ends when the revision is past that."""
    row = service.revision(service.get(db, who, projects.by_slug(db, who, slug), name), revision)
    path = processes.newest_log(host, row.id) if kind == "replica" else None
    if kind == "proof":
        path = processes.folder(host, row.id) / "proof" / "output.log"
    elif kind == "build":
        path = logs.build_log(db, host, row)
    revision_id, done = (
        row.id,
        {"build": (states.ASKED, states.ENVIRONMENT), "proof": (states.PROVING,)}.get(kind, states.RUNS),
    )

    def ended() -> bool:
        with host.database.read() as later:
            found = later.get(Revision, revision_id)
            return found is None or found.state not in done

    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be cut in two

    async def events() -> AsyncIterator[bytes]:
        if path is not None:
            async for offset, piece in live.tail(request, path, live.resume_offset(request), ended):
                yield live.event(json.dumps(decoder.decode(piece)), name="output", id=offset)
        yield live.event("{}", name="end")

    return live.sse(events())


@router.get("/endpoints/{name}/predictions")
def predictions(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    rows = list(prediction_log.read(host.settings.path("predictions"), endpoint.id, limit=100))
    return page(request, "deployments/predictions.html", who=who, project=project, title=name, endpoint=endpoint, rows=rows,
                tabs=_tabs(endpoint), active="Predictions", told=show.endpoint_json(host, endpoint))  # fmt: skip


@router.get("/endpoints/{name}/settings")
def settings(request: Request, db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> Response:
    project = projects.by_slug(db, who, slug)
    endpoint = service.get(db, who, project, name)
    return page(request, "deployments/settings.html", who=who, project=project, title=name, endpoint=endpoint,
                tabs=_tabs(endpoint), active="Settings", told=show.endpoint_json(host, endpoint))  # fmt: skip


# ------------------------------------------------------------------ what changes it


@router.post("/endpoints/{name}/promote")
def promote(db: Db, who: Signed, slug: str, name: str, revision: Annotated[int, Form()]) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    service.promote(db, who, endpoint, revision)
    return redirect(f"/p/{slug}/endpoints/{name}", f"Revision {revision} has all traffic.")


@router.post("/endpoints/{name}/canary")
def canary(
    db: Db, who: Signed, slug: str, name: str, revision: Annotated[int, Form()], percent: Annotated[float, Form()]
) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    service.canary(db, who, endpoint, revision, percent)
    return redirect(f"/p/{slug}/endpoints/{name}", f"Revision {revision} has {percent:g} % of the traffic.")


@router.post("/endpoints/{name}/rollback")
def rollback(db: Db, who: Signed, slug: str, name: str, revision: Annotated[int | None, Form()] = None) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    row = service.rollback(db, who, endpoint, revision)
    told = "has all traffic again" if row.state == states.LIVE else "is starting again and will have all traffic"
    return redirect(f"/p/{slug}/endpoints/{name}", f"Rolled back: revision {row.number} {told}.")


@router.post("/endpoints/{name}/cancel")
def cancel(db: Db, who: Signed, slug: str, name: str, revision: Annotated[int, Form()]) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    service.cancel(db, who, endpoint, revision)
    return redirect(f"/p/{slug}/endpoints/{name}", f"Revision {revision} was cancelled; nothing else changed.")


@router.post("/endpoints/{name}/scale")
def scale(db: Db, who: Signed, slug: str, name: str, replicas: Annotated[int, Form()]) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    service.scale(db, who, endpoint, replicas)
    return redirect(
        f"/p/{slug}/endpoints/{name}/settings", f"{replicas} replica{'s' if replicas != 1 else ''} a revision."
    )


@router.post("/endpoints/{name}/remove")
def remove(db: Db, who: Signed, slug: str, name: str) -> Response:
    endpoint = service.get(db, who, projects.by_slug(db, who, slug, DEPLOY), name)
    service.remove(db, who, endpoint)
    return redirect(f"/p/{slug}/endpoints", f"The endpoint '{name}' is gone.")
