"""Home, the project's page, and Cmd-K; the settings are in `settings_pages`."""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from headway.clock import now_ms
from headway.environments import service as environments
from headway.home import inbox, look, search, settings_pages
from headway.home.look import RunLine
from headway.people import guard, members
from headway.people.guard import Signed
from headway.people.rules import RUN, VIEW
from headway.projects import files
from headway.projects import service as projects
from headway.tracking.show import headline
from headway.web.edge import HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import fragment, page

router = APIRouter(include_in_schema=False)
router.include_router(settings_pages.router)

NAV = [NavItem("Home", "house", "/", 0), NavItem("Overview", "layout-dashboard", "", 5)]

RUNS, FILES, MEMBERS = 8, 6, 8


@router.get("/")
def home_page(request: Request, who: Signed, db: ReadDb, host: HostDep) -> Response:
    found = inbox.home(db, host, who)
    archived = projects.visible(db, who, archived=True, verb=VIEW)
    apps_only = [p for p in projects.visible(db, who) if p not in found.projects]
    return page(
        request,
        "home/home.html",
        who=who,
        title="Home",
        home=found,
        archived=archived,
        apps_only=apps_only,
        now=now_ms(),
    )


@router.get("/home/running")
def running_part(request: Request, who: Signed, db: ReadDb) -> Response:
    """What runs now, asked for again every few seconds."""
    running = inbox.running(db, projects.visible(db, who, verb=VIEW))
    return fragment(request, "home/_running.html", running=running, now=now_ms())


@router.get("/search")
def find(who: Signed, db: ReadDb, host: HostDep, q: str = "", project: str = "", kind: str = "") -> JSONResponse:
    """Items for Cmd-K: `{"items": [{"label", "url", "kind", "icon", "hint"}]}`."""
    return JSONResponse({"items": search.find(db, host, who, q, slug=project, kind=kind)})


@router.get("/api/docs")
def reference_page(request: Request, who: Signed) -> Response:
    """The HTTP API, to read and to try."""
    return page(request, "home/reference.html", who=who, title="API")


@router.get("/p/{slug}")
def project_page(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str) -> Response:
    project = projects.by_slug(db, who, slug)
    runs = look.with_expectations(db, look.runs(db, [project], limit=RUNS))
    metric, values = _headline(db, runs)
    entries = files.listing(projects.folder(host, project))
    return page(
        request,
        "home/project.html",
        who=who,
        project=project,
        title="Overview",
        now=now_ms(),
        runs=runs,
        metric=metric,
        values=values,
        course=headline.course([values.get(line.run.uuid) for line in runs]),
        entries=entries[:FILES],
        more_files=max(0, len(entries) - FILES),
        notebooks=inbox.notebooks(host, [project]),
        models=look.models(db, project.id, 5),
        endpoints=look.endpoints(db, host, [project]),
        environment=environments.for_project(db, project),
        coming=environments.coming(db, project),
        people=members.listed(db, who, project.id)[:MEMBERS],
        can_run=guard.may(db, who, RUN, project.id),
    )


def _headline(db: ReadDb, runs: list[RunLine]) -> tuple[str | None, dict[str, float]]:
    """The metric to show beside the runs, and its value by run id; a run of several trainings has none of its own."""
    found = look.facts(db, runs)
    metrics = {run: {name: series.last for name, series in one.metrics.items()} for run, one in found.items()}
    name = headline.choose(list(metrics.values()))
    if name is None:
        return None, {}
    return name, {run: one[name] for run, one in metrics.items() if name in one and math.isfinite(one[name])}
