"""The pages of one run: overview, output, files, code and environment, data, and why we know what we know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import BadInput, NotFound
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking import (
    artifacts,
    charts,
    comparing,
    download,
    following,
    logged_models,
    previews,
    readout,
    record,
    runtable,
    service,
    told,
)
from headway.tracking.readout import RunFacts
from headway.tracking.tables import Experiment
from headway.tracking.wire.logged_models import registrations
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.render import fragment, page, redirect

router = APIRouter(include_in_schema=False)
router.include_router(following.router)

Text = Annotated[str, Form()]
NOTE = "mlflow.note.content"
CHARTS = 24
FIGURES = 60
LONGEST_NOTE = 8000
# An HTML file runs its own scripts (a plot needs them) in a frame without origin, cookies or network.
FRAME = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)


@dataclass
class Shown:
    """A run on one of its pages."""

    project: Project
    run: RunFacts
    tabs: list[tuple[str, str]]
    context: dict[str, Any]


def _shown(db: Session, who: Who, slug: str, run_id: str, verb: str = "view") -> Shown:
    project = projects.by_slug(db, who, slug, verb)
    row = service.get_run(db, who, run_id, verb)
    if row.project_id != project.id:
        raise record.no_run(run_id)
    run = readout.facts(db, [row])[0]
    base = f"/p/{slug}/runs/{run.uuid}"
    tabs = [("Overview", base)]
    if {"headway.execution", "headway.kind"} & run.tags.keys():
        tabs.append(("Output", f"{base}?tab=output"))
    tabs += [("Files", f"{base}?tab=files"), ("Code", f"{base}?tab=code"), ("Data", f"{base}?tab=data")]
    tabs.append(("Why", f"{base}?tab=why"))
    experiment = db.get(Experiment, run.experiment_id)
    context: dict[str, Any] = {
        "run": run,
        "experiment": experiment,
        "base": base,
        "state": runtable.state(run),
        "cause": runtable.cause(run),
        "note": run.tags.get(NOTE, ""),
        "models": logged_models.of_run(db, run.uuid),
        "tabs": tabs,
    }
    return Shown(project, run, tabs, context)


@router.get("/p/{slug}/runs/{run_id}")
def run_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str, tab: str = "overview", file: str = "",
    all: bool = False,
) -> Response:  # fmt: skip
    """One tab of a run's page."""
    shown = _shown(db, who, slug, run_id)
    makers = {"overview": _overview, "files": _files, "code": _code, "data": _data, "why": _why}
    if tab == "output":
        more: dict[str, Any] = {}
    elif tab in makers:
        more = makers[tab](db, host, shown, file, all)
    else:
        raise NotFound("There is no such part of a run.", hint="Overview, Output, Files, Code, Data or Why.")
    title = shown.run.name or shown.run.uuid[:8]
    return page(request, f"tracking/run_{tab}.html", who=who, project=shown.project, title=title, active=tab.title(),
                **shown.context, **more)  # fmt: skip


def _overview(db: Session, host: Host, shown: Shown, _file: str, all_: bool) -> dict[str, Any]:
    run = shown.run
    curves = sorted((key for key, m in run.metrics.items() if m.is_curve), key=lambda k: (k.startswith("system/"), k))
    kids = service.children(db, run.uuid)
    parent = _parent(db, run)
    uuids = [m.uuid for m in shown.context["models"]]
    return {
        "curves": curves if all_ else curves[:CHARTS],
        "more_curves": 0 if all_ else max(0, len(curves) - CHARTS),
        "children": kids,
        "child_columns": [c for c in runtable.columns(kids) if not c.hidden],
        "child_state": runtable.state,
        "parent": parent,
        "registered": registrations(db, uuids) if uuids else {},
        "tags": {k: v for k, v in sorted(run.tags.items()) if not k.startswith(("mlflow.", "headway."))},
        "told": _told(db, host, run),
        "classes": {
            m.row.uuid: m.tags.get("headway.class", "") for m in logged_models.facts(db, shown.context["models"])
        },
    }


def _parent(db: Session, run: RunFacts) -> Any:
    row = service.by_uuid(db, run.parent_uuid) if run.parent_uuid else None
    return row if row is not None and row.project_id == run.project_id else None


def _told(db: Session, host: Host, run: RunFacts) -> told.Told | None:
    try:
        file = artifacts.find(db, run.uuid, "headway/capture.json")
    except NotFound:
        return None
    if file.size > 8 << 20:
        return None
    return told.read(host.blobs.read(file.sha256).decode("utf-8", "replace"))


def _files(db: Session, host: Host, shown: Shown, file: str, _all: bool) -> dict[str, Any]:
    entries = artifacts.tree(db, shown.run.uuid)
    pictures = [e for e in entries if previews.ending(e.path) in previews.IMAGES]
    found = artifacts.find(db, shown.run.uuid, artifacts.check_path(file)) if file else None
    if found is None and not pictures and entries:
        found = artifacts.find(db, shown.run.uuid, entries[0].path)
    return {
        "entries": entries,
        "size": sum(e.size or 0 for e in entries),
        "figures": pictures[:FIGURES] if not file else [],
        "file": found,
        "preview": previews.look(host, found) if found is not None else None,
    }


def _code(db: Session, host: Host, shown: Shown, _file: str, _all: bool) -> dict[str, Any]:
    sources = []
    for entry in artifacts.tree(db, shown.run.uuid, comparing.CODE)[:20]:
        preview = previews.look(host, artifacts.find(db, shown.run.uuid, entry.path))
        if preview.kind == "text":
            sources.append((entry.path.removeprefix(comparing.CODE + "/"), entry.path, preview))
    environment = comparing.read(db, host, shown.run.uuid, comparing.ENVIRONMENT)
    git = {
        k.rpartition(".")[2]: v for k, v in shown.run.tags.items() if k.startswith(("mlflow.source.git", "headway.git"))
    }
    return {"sources": sources, "environment": environment, "git": git, "packages": environment.count("==")}


def _data(_db: Session, _host: Host, shown: Shown, _file: str, _all: bool) -> dict[str, Any]:
    return {
        "inputs": [(item, _schema(item.schema), _json(item.profile), _json(item.source)) for item in shown.run.inputs]
    }


def _schema(text: str) -> list[tuple[str, str]]:
    """(column, type) of an MLflow schema; empty where it says something else."""
    found = _json(text)
    columns = found.get("mlflow_colspec") if isinstance(found, dict) else found
    if not isinstance(columns, list):
        return []
    return [(str(c.get("name", "")), str(c.get("type", ""))) for c in columns[:500] if isinstance(c, dict)]


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}


def _why(db: Session, host: Host, shown: Shown, _file: str, _all: bool) -> dict[str, Any]:
    return {"told": _told(db, host, shown.run)}


# ------------------------------------------------------------------ parts
@router.get("/p/{slug}/runs/{run_id}/live")
def run_live(request: Request, who: Signed, db: ReadDb, slug: str, run_id: str) -> Response:
    """What changes while a run goes on, for htmx; once it has ended, the page is asked to load anew."""
    shown = _shown(db, who, slug, run_id)
    response = fragment(request, "tracking/_run_facts.html", project=shown.project, **shown.context)
    if shown.run.status in service.ENDED:
        response.headers["HX-Refresh"] = "true"
    return response


@router.get("/p/{slug}/runs/{run_id}/series")
def run_series(
    request: Request, who: Signed, db: ReadDb, slug: str, run_id: str, key: str, x: str = "step"
) -> Response:
    """One metric of the run, for a chart. `from` and `to` zoom in."""
    shown = _shown(db, who, slug, run_id)
    if x not in charts.AXES:
        raise BadInput("The axis is 'step', 'time' or 'relative'.", field="x")
    bounds = []
    for name in ("from", "to"):
        try:
            bounds.append(float(request.query_params[name]) if request.query_params.get(name) else None)
        except ValueError:
            raise BadInput(f"'{name}' must be a number.", field=name) from None
    found = charts.lines(db, [shown.run], key, x=x, low=bounds[0], high=bounds[1])
    for line in found["series"]:
        line["name"] = key
    return JSONResponse(found)


@router.get("/p/{slug}/runs/{run_id}/files/{path:path}")
def run_file(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str, path: str) -> Response:
    """A file as it is. What a browser could run is only ever downloaded."""
    shown = _shown(db, who, slug, run_id)
    found = artifacts.find(db, shown.run.uuid, artifacts.check_path(path))
    return download.send(request, host, found, attachment="download" in request.query_params)


@router.get("/p/{slug}/runs/{run_id}/frame/{path:path}")
def run_frame(who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str, path: str) -> Response:
    """An HTML file, for the sandboxed frame on the page. Opened by itself it is sandboxed just as well."""
    shown = _shown(db, who, slug, run_id)
    found = artifacts.find(db, shown.run.uuid, artifacts.check_path(path))
    if previews.ending(path) not in ("html", "htm"):
        raise BadInput("Only HTML files are shown in a frame.", hint="Download the file.")
    return download.framed(host, found, FRAME)


# ------------------------------------------------------------------ verbs
@router.post("/p/{slug}/runs/{run_id}/do/{verb}")
def change_run(who: Signed, db: Db, slug: str, run_id: str, verb: str, name: Text = "", note: Text = "") -> Response:
    """Rename, describe, delete or restore a run."""
    shown = _shown(db, who, slug, run_id, "run")
    uuid, base = shown.run.uuid, shown.context["base"]
    if verb == "rename":
        if not name.strip():
            raise BadInput("Say the new name.", field="name")
        service.update_run(db, who, uuid, name=name.strip())
        return redirect(base, "Renamed.")
    if verb == "describe":
        service.log_batch(db, uuid, tags=service.check_tags([(NOTE, note[:LONGEST_NOTE])]), who=who)
        return redirect(base, "Saved.")
    if verb == "delete":
        service.delete_run(db, who, uuid)
        return redirect(f"/p/{slug}/runs", f"{shown.run.name} is in the bin for 30 days.")
    if verb == "restore":
        service.restore_run(db, who, uuid)
        return redirect(base, f"{shown.run.name} is back.")
    raise BadInput(f"A run can't be asked to '{verb[:40]}'.", hint="rename, describe, delete or restore")
