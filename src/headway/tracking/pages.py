"""The runs explorer (its table; scripts bring it to life) and what its charts ask for. A run's own pages are `run_pages`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking import experiments, service, states
from headway.tracking.find import completion
from headway.tracking.find.search import parse_order
from headway.tracking.show import cells, charts, curves, experiment_pages, links, run_pages, views
from headway.tracking.store import readout
from headway.tracking.store.readout import RunFacts
from headway.tracking.tables import Experiment
from headway.web import show
from headway.web.edge import ReadDb
from headway.web.nav import NavItem
from headway.web.render import page, redirect, with_query

router = APIRouter(include_in_schema=False)
router.include_router(run_pages.router)
router.include_router(experiment_pages.router)
router.include_router(links.router)

NAV = [
    NavItem("Runs", "activity", "runs", 20, also=("compare", "new-run")),
    NavItem("Experiments", "flask-conical", "experiments", 25),
]

PAGE = 50  # rows that the page comes with; its script asks for the others as they are scrolled to
Names = Annotated[list[str], Query()]
STATES = (*states.STATES.values(), *sorted(states.CAUSES))


# ------------------------------------------------------------------ runs
@dataclass
class _Shown:
    """The first rows, as columns of cells, or why there are none."""

    table: dict[str, Any] = field(default_factory=dict)
    problem: BadInput | None = None

    @property
    def count(self) -> int:
        return len(self.table.get("run_id", ()))


@router.get("/p/{slug}/runs")
def runs_page(
    request: Request, who: Signed, db: ReadDb, slug: str, experiment: Names = [], filter: str = "", sort: Names = [],  # noqa: B006
    column: Names = [], after: str = "", deleted: bool = False, children: bool = False, view: str = "",  # noqa: B006
) -> Response:  # fmt: skip
    """The explorer. Its whole state is its address; without one, the default view's."""
    project = projects.by_slug(db, who, slug)
    if not request.url.query and (start := views.default(db, who, project)) is not None:
        return redirect(f"/p/{slug}/runs?view={start.id}&{start.query}")
    choices = experiments.active(db, project.id)
    chosen = [one for one in choices if str(one.id) in experiment]
    wanted = [name for name in column if not views.is_fixed(name)]
    ask = cells.Ask(
        completion.meant(filter), sort, wanted, [str(one.id) for one in chosen], deleted, children, after, limit=PAGE
    )
    shown = _first_rows(db, who, project, ask)
    return page(
        request,
        "tracking/runs.html",
        who=who,
        project=project,
        title=chosen[0].name if len(chosen) == 1 else "Runs",
        status=400 if shown.problem else 200,
        table=shown.table,
        count=shown.count,
        problem=shown.problem,
        experiments=choices,
        chosen=chosen,
        names={one.id: one.name for one in choices},
        filter=filter,
        meant=ask.filter,
        sort=sort,
        deleted=deleted,
        children=children,
        next_url=with_query(request, after=shown.table["next"]) if shown.table.get("next") else "",
        first_url=with_query(request, after=None) if after else "",
        order=_order(sort[0] if sort else ""),
        setup=_setup(db, who, project, choices, view),
    )


def _first_rows(db: Session, who: Who, project: Project, ask: cells.Ask) -> _Shown:
    try:
        return _Shown(cells.page(db, who, project, ask))
    except BadInput as problem:
        return _Shown(problem=problem)


def _setup(db: Session, who: Who, project: Project, choices: list[Experiment], view: str) -> dict[str, Any]:
    """What the page's script is told: names of experiments, words and signs of states, saved views."""
    shown = {name: show.status_of(name) for name in STATES}
    return {
        "experiments": {str(one.id): one.name for one in choices},
        "states": {name: [one.word, one.tone, one.icon] for name, one in shown.items()},
        "views": [views.told(one, who) for one in views.visible(db, who, project)],
        "view": view,
    }


def _order(sort: str) -> Any:
    """For a column's head: the address' `sort` that a click leads to, and the direction that is in force."""
    now = ("", "", "")
    direction = ""
    try:
        order = parse_order(sort) if sort else None
    except BadInput:
        order = None
    if order is not None:
        now, direction = (order.kind, order.key, order.of), "ASC" if order.ascending else "DESC"

    def link(column: str, first: str = "DESC") -> tuple[str, str]:
        asked = parse_order(column)
        mine = direction if (asked.kind, asked.key, asked.of) == now else ""
        following = first if not mine else ("ASC" if mine == "DESC" else "DESC")
        return f"{column} {following}", mine.lower()

    return link


# ------------------------------------------------------------------ what charts ask for
@router.get("/p/{slug}/curves")
def curves_of(who: Signed, db: ReadDb, slug: str, runs: str) -> JSONResponse:
    """The metrics that have a course to draw in some of these runs (ids, by comma), those that most have first."""
    projects.by_slug(db, who, slug)
    return JSONResponse({"metrics": curves.names(db, [run.id for run in _rows(db, who, runs)])})


@router.get("/p/{slug}/series")
def series_of(request: Request, who: Signed, db: ReadDb, slug: str, runs: str, key: str, x: str = "step") -> Response:
    """One metric of several runs (ids, by comma), for a chart. `from` and `to` zoom in."""
    projects.by_slug(db, who, slug)
    low, high = _bound(request, "from"), _bound(request, "to")
    found = charts.drawn(db, _chosen(db, who, runs), key, x=_axis(x), low=low, high=high)
    return Response(found, media_type="application/json")


@router.get("/p/{slug}/parallel")
def parallel(who: Signed, db: ReadDb, slug: str, runs: str) -> JSONResponse:
    """What differs between several runs, for parallel coordinates."""
    projects.by_slug(db, who, slug)
    return JSONResponse(charts.parallel(_chosen(db, who, runs), lambda uuid: f"/p/{slug}/runs/{uuid}"))


def _rows(db: Session, who: Who, ids: str) -> list[Any]:
    wanted = list(dict.fromkeys(one for one in ids.split(",") if one))
    if len(wanted) > 100:
        raise BadInput(f"{len(wanted)} runs are too many at once.", hint="Choose at most 100.")
    return [service.get_run(db, who, one) for one in wanted]


def _chosen(db: Session, who: Who, ids: str) -> list[RunFacts]:
    return readout.facts(db, _rows(db, who, ids))


def _axis(x: str) -> str:
    if x not in charts.AXES:
        raise BadInput("The axis is 'step', 'time' or 'relative'.", field="x")
    return x


def _bound(request: Request, name: str) -> float | None:
    value = request.query_params.get(name, "")
    try:
        return float(value) if value else None
    except ValueError:
        raise BadInput(f"'{name}' must be a number.", field=name) from None
