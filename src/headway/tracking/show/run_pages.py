"""The pages of one run: its tabs, what their charts ask, its files, and what can be done with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.tracking import artifacts, limits, logged_models, service, states
from headway.tracking.live import following
from headway.tracking.show import charts, compare_pages, download, endings, previews, resources, run_tabs, standing
from headway.tracking.show.run_tabs import NOTE, TABS, Asked, Shown
from headway.tracking.store import readout, record
from headway.tracking.tables import Experiment
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.render import fragment, page, redirect

router = APIRouter(include_in_schema=False)
router.include_router(following.router)
router.include_router(compare_pages.router)

Text = Annotated[str, Form()]
LONGEST_NOTE = 8000
GOING = ("RUNNING", "SCHEDULED")
OURS = {"headway.execution", "headway.kind"}
# An HTML file runs its own scripts (a plot needs them) in a frame without origin, cookies or network.
FRAME = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)


def _shown(db: Session, who: Who, slug: str, run_id: str, verb: str = "view") -> Shown:
    project = projects.by_slug(db, who, slug, verb)
    row = service.get_run(db, who, run_id, verb)
    if row.project_id != project.id:
        raise record.no_run(run_id)
    run = readout.facts(db, [row])[0]
    return Shown(who, project, run, f"/p/{slug}/runs/{run.uuid}", logged_models.of_run(db, run.uuid))


def _frame(db: Session, shown: Shown) -> dict[str, Any]:
    """What is around every tab."""
    run, base = shown.run, shown.base
    ours = bool(OURS & run.tags.keys())
    state = states.state(run)
    return {
        "run": run,
        "experiment": db.get(Experiment, run.experiment_id),
        "base": base,
        "state": state,
        "ending": endings.ending(state, states.cause(run), ours=ours),
        "note": run.tags.get(NOTE, ""),
        "models": shown.models,
        "tabs": _tabs(shown, ours, resources.measured(db, run.uuid))
        + [tab for more in run_tabs.MORE if (tab := more(db, shown)) is not None],
        "active_run": run.status in GOING,
        "ours": ours,
    }


def _tabs(shown: Shown, ours: bool, watched: bool) -> list[tuple[str, str, int | None]]:
    run, base = shown.run, shown.base
    measured = sum(not limits.of_machine(key) for key in run.metrics)
    found: list[tuple[str, str, int | None]] = [("Overview", base, None)]
    if measured:
        found.append(("Metrics", f"{base}?tab=metrics", measured))
    if ours:
        found.append(("Output", f"{base}?tab=output", None))
    found += [(name, f"{base}?tab={name.lower()}", None) for name in ("Files", "Code", "Environment")]
    found.append(("Data", f"{base}?tab=data", len({i.name for i in run.inputs}) or None))
    if watched or measured < len(run.metrics):
        found.append(("Resources", f"{base}?tab=resources", None))
    return [*found, ("Why", f"{base}?tab=why", None)]


@router.get("/p/{slug}/runs/{run_id}")
def run_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str, tab: str = "overview", file: str = "",
    q: str = "", number: Annotated[int, Query(alias="page")] = 1, line: int = 0, rows: int = 1,
) -> Response:  # fmt: skip
    """One tab of a run's page."""
    shown = _shown(db, who, slug, run_id)
    if tab not in TABS:
        raise NotFound("There is no such part of a run.", hint=f"{', '.join(name.title() for name in TABS)}.")
    if shown.run.status in GOING and tab != "output":
        following.hub_of(request.app).expect(shown.run)
    more = TABS[tab](db, host, shown, Asked(file, q, number, line, rows))
    title = shown.run.name or shown.run.uuid[:8]
    return page(request, f"tracking/run_{tab}.html", who=who, project=shown.project, title=title, active=tab.title(),
                **_frame(db, shown), **more)  # fmt: skip


# ------------------------------------------------------------------ parts
@router.get("/p/{slug}/runs/{run_id}/live")
def run_live(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str) -> Response:
    """The tables of facts anew, for a page that is open when new names come."""
    shown = _shown(db, who, slug, run_id)
    run = shown.run
    names = standing.ordered([k for k in run.metrics if not limits.of_machine(k)], run.metrics)
    context = run_tabs.facts(db, host, shown, names)
    return fragment(request, "tracking/_run_facts.html", project=shown.project, **_frame(db, shown), **context)


@router.get("/p/{slug}/runs/{run_id}/series")
def run_series(
    request: Request, who: Signed, db: ReadDb, slug: str, run_id: str, key: str, x: str = "step"
) -> Response:
    """One metric of the run, for a chart. `from` and `to` zoom in."""
    shown = _shown(db, who, slug, run_id)
    if x not in charts.AXES:
        raise BadInput("The axis is 'step', 'time' or 'relative'.", field="x")
    low, high = _bounds(request)
    found = charts.drawn(db, [shown.run], key, x=x, low=low, high=high, name=key)
    return Response(found, media_type="application/json")


def _bounds(request: Request) -> list[float | None]:
    found = []
    for name in ("from", "to"):
        try:
            found.append(float(request.query_params[name]) if request.query_params.get(name) else None)
        except ValueError:
            raise BadInput(f"'{name}' must be a number.", field=name) from None
    return found


@router.get("/p/{slug}/runs/{run_id}/resources")
def run_resources(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str, key: str, x: str = "relative"
) -> Response:
    """What the run took of its machine over time, for a chart: `cpu_percent`, `memory_mb`... `from` and `to` zoom in."""
    shown = _shown(db, who, slug, run_id)
    if x not in ("time", "relative"):
        raise BadInput("The axis is 'time' or 'relative'.", field="x")
    series = resources.told(db, host, shown.run.uuid)["series"].get(key, {})
    low, high = _bounds(request)
    return JSONResponse(resources.line(series, key, began=shown.run.start_time or 0, x=x, low=low, high=high))


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
def change_run(
    who: Signed, db: Db, slug: str, run_id: str, verb: str, name: Text = "", note: Text = "", key: Text = "", value: Text = ""
) -> Response:  # fmt: skip
    """Rename, describe, tag, delete or restore a run."""
    shown = _shown(db, who, slug, run_id, "run")
    uuid, base = shown.run.uuid, shown.base
    if verb == "rename":
        if not name.strip():
            raise BadInput("Say the new name.", field="name")
        service.update_run(db, who, uuid, name=name.strip())
        return redirect(base, "Renamed.")
    if verb == "describe":
        if len(note) > LONGEST_NOTE:
            raise BadInput(f"The note has {len(note):,} characters.", hint=f"At most {LONGEST_NOTE:,}.", field="note")
        service.log_batch(db, uuid, tags=service.check_tags([(NOTE, note.replace("\r\n", "\n"))]), who=who)
        return redirect(base, "Saved.")
    if verb in ("tag", "untag"):
        return _tag(db, who, shown, verb, key.strip(), value.strip())
    if verb == "delete":
        service.delete_run(db, who, uuid)
        return redirect(f"/p/{slug}/runs", f"{shown.run.name} is in the bin for 30 days.")
    if verb == "restore":
        service.restore_run(db, who, uuid)
        return redirect(base, f"{shown.run.name} is back.")
    raise BadInput(f"A run can't be asked to '{verb[:40]}'.", hint="rename, describe, tag, untag, delete or restore")


def _tag(db: Session, who: Who, shown: Shown, verb: str, key: str, value: str) -> Response:
    key = limits.key(key) if key else ""
    if not key:
        raise BadInput("Say the tag's name.", field="key")
    if key.startswith(("mlflow.", "headway.")):
        raise BadInput(f"The tag '{key}' is kept by the platform.", hint="Choose a name of your own.", field="key")
    if verb == "tag":
        service.log_batch(db, shown.run.uuid, tags=service.check_tags([(key, value)]), who=who)
        return redirect(f"{shown.base}#tags", f"Tagged {key}.")
    record.delete_tag(db, record.touch(db, who, shown.run.uuid), key)
    return redirect(f"{shown.base}#tags", f"The tag {key} is gone.")
