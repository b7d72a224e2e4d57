"""The pages of runs and experiments: the table with its chart, comparing, experiments. A run's own pages are `run_pages`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from headway.errors import BadInput, HeadwayError
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.tracking import charts, comparing, experiments, readout, run_pages, runtable, service
from headway.tracking.readout import RunFacts
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import fragment, page, redirect, with_query

router = APIRouter(include_in_schema=False)
router.include_router(run_pages.router)

NAV = [
    NavItem("Runs", "activity", "runs", 20, also=("compare", "new-run")),
    NavItem("Experiments", "flask-conical", "experiments", 25),
]

PAGE = 50
CHARTED = 12  # runs drawn in one chart
Text = Annotated[str, Form()]


# ------------------------------------------------------------------ runs
@router.get("/p/{slug}/runs")
def runs_page(
    request: Request, who: Signed, db: ReadDb, slug: str, experiment: str = "", filter: str = "", sort: str = "",
    after: str = "", chart: str = "", deleted: bool = False, children: bool = False,
) -> Response:  # fmt: skip
    """The table of runs. The whole state of the page is its address."""
    project = projects.by_slug(db, who, slug)
    choices = experiments.active(db, project.id)
    chosen = next((e for e in choices if str(e.id) == experiment), None)
    runs: list[RunFacts] = []
    token, problem = "", None
    try:
        runs, token = service.search_runs(
            db, who, [chosen.id] if chosen else [e.id for e in choices], filter_=filter, orders=[sort] if sort else [],
            lifecycle="deleted" if deleted else "active", limit=PAGE, token=after or None, children=children or bool(filter),
        )  # fmt: skip
    except BadInput as error:
        problem = error
    columns = runtable.columns(runs)
    charted = chart or _first_metric(runs, columns)
    return page(
        request,
        "tracking/runs.html",
        who=who,
        project=project,
        title=chosen.name if chosen else "Runs",
        status=400 if problem else 200,
        runs=runs,
        columns=columns,
        experiments=choices,
        chosen=chosen,
        names={e.id: e.name for e in choices},
        filter=filter,
        sort=sort,
        problem=problem,
        state=runtable.state,
        charted=charted,
        drawn=_drawn(runs, charted),
        metrics=sorted({key for run in runs for key in run.metrics}),
        kids=service.children_count(db, [run.uuid for run in runs]),
        running=[run for run in runs if run.status == "RUNNING"],
        deleted=deleted,
        children=children,
        next_url=with_query(request, after=token) if token else "",
        first_url=with_query(request, after=None) if after else "",
        order=_order(sort),
    )


def _order(sort: str) -> Any:
    """For a column's head: the address' `sort` that a click leads to, and the direction that is in force."""
    bare, _, direction = sort.rpartition(" ")
    now = (bare, direction.upper()) if direction.upper() in ("ASC", "DESC") else (sort, "ASC" if sort else "")

    def link(column: str, first: str = "DESC") -> tuple[str, str]:
        mine = now[1] if now[0] == column else ""
        following = first if not mine else ("ASC" if mine == "DESC" else "DESC")
        return f"{column} {following}", mine.lower()

    return link


def _first_metric(runs: list[RunFacts], columns: list[runtable.Column]) -> str:
    ranked = [c.key for c in columns if c.kind == "metric"]
    curves = [key for key in ranked if any(run.metrics[key].is_curve for run in runs if key in run.metrics)]
    return (curves or ranked or [""])[0]


def _drawn(runs: list[RunFacts], key: str) -> list[str]:
    """The runs whose curves are drawn; none where the metric is one number a run, which is drawn over the runs."""
    having = [run for run in runs if key in run.metrics]
    return [run.uuid for run in having[:CHARTED]] if any(r.metrics[key].is_curve for r in having) else []


@router.get("/p/{slug}/runs-live")
def live(request: Request, who: Signed, db: ReadDb, slug: str, runs: str = "", columns: str = "") -> Response:
    """The changing cells of running runs, for htmx to put into their places."""
    projects.by_slug(db, who, slug)
    found = _chosen(db, who, runs)
    keys_ = [key for key in columns.split("\n") if key][: runtable.MOST]
    return fragment(request, "tracking/_live.html", runs=found, metrics=keys_, state=runtable.state)


@router.get("/p/{slug}/series")
def series_of(
    request: Request, who: Signed, db: ReadDb, slug: str, runs: str, key: str, x: str = "step"
) -> JSONResponse:
    """One metric of several runs (ids, by comma), for a chart. `from` and `to` zoom in."""
    projects.by_slug(db, who, slug)
    found = _chosen(db, who, runs)
    return JSONResponse(
        charts.lines(db, found, key, x=_axis(x), low=_bound(request, "from"), high=_bound(request, "to"))
    )


@router.get("/p/{slug}/course")
def course(who: Signed, db: ReadDb, slug: str, runs: str, key: str) -> JSONResponse:
    """One metric's last value in each of several runs, over the time they began."""
    projects.by_slug(db, who, slug)
    return JSONResponse(charts.course(_chosen(db, who, runs), key))


@router.get("/p/{slug}/parallel")
def parallel(who: Signed, db: ReadDb, slug: str, runs: str) -> JSONResponse:
    """What differs between several runs, for parallel coordinates."""
    projects.by_slug(db, who, slug)
    return JSONResponse(charts.parallel(_chosen(db, who, runs), lambda uuid: f"/p/{slug}/runs/{uuid}"))


def _chosen(db: Session, who: Who, ids: str) -> list[RunFacts]:
    wanted = list(dict.fromkeys(one for one in ids.split(",") if one))
    if len(wanted) > 100:
        raise BadInput(f"{len(wanted)} runs are too many at once.", hint="Choose at most 100.")
    return readout.facts(db, [service.get_run(db, who, one) for one in wanted])


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


# ------------------------------------------------------------------ compare
@router.get("/p/{slug}/compare")
def compare_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, runs: str = "", all: bool = False
) -> Response:
    """Runs beside each other: what differs in parameters, metrics, packages and code."""
    project = projects.by_slug(db, who, slug)
    found = _chosen(db, who, runs)
    if len(found) > 20:
        raise BadInput(f"{len(found)} runs are too many to compare.", hint="Choose at most 20.")
    params = runtable.diff([run.params for run in found])
    metrics = runtable.diff([{key: m.last for key, m in run.metrics.items()} for run in found])
    curves = sorted({key for run in found for key, m in run.metrics.items() if m.is_curve})
    return page(
        request,
        "tracking/compare.html",
        who=who,
        project=project,
        title="Compare",
        runs=found,
        state=runtable.state,
        params=[row for row in params if all or row.differs or len(found) == 1],
        metrics=[row for row in metrics if all or row.differs or len(found) == 1],
        hidden=0 if all else sum(1 for row in [*params, *metrics] if not row.differs),
        all=all,
        curves=curves[:12],
        ids=",".join(run.uuid for run in found),
        packages=comparing.packages(db, host, found) if len(found) > 1 else [],
        patches=comparing.code(db, host, found[0], found[1]) if len(found) == 2 else [],
    )


# ------------------------------------------------------------------ experiments
@router.get("/p/{slug}/experiments")
def experiments_page(request: Request, who: Signed, db: ReadDb, slug: str, deleted: bool = False) -> Response:
    """The project's experiments with the number of their runs."""
    project = projects.by_slug(db, who, slug)
    view = "deleted" if deleted else "active"
    found, _ = experiments.search(db, who, project.id, view=view, orders=["last_update_time DESC"], limit=1000)
    counts = experiments.counts(db, [e.id for e in found])
    tags = experiments.tags_of(db, [e.id for e in found])
    return page(request, "tracking/experiments.html", who=who, project=project, title="Experiments", experiments=found,
                counts=counts, tags=tags, deleted=deleted)  # fmt: skip


@router.post("/p/{slug}/experiments")
def new_experiment(who: Signed, db: Db, slug: str, name: Text = "") -> Response:
    """Make an experiment."""
    project = projects.by_slug(db, who, slug, "run")
    row = experiments.create(db, who, project.id, name.strip())
    return redirect(f"/p/{slug}/runs?experiment={row.id}", f"{row.name} is made.")


@router.post("/p/{slug}/experiments/{number}/{verb}")
def change_experiment(who: Signed, db: Db, slug: str, number: int, verb: str, name: Text = "") -> Response:
    """Rename, delete or restore an experiment."""
    project = projects.by_slug(db, who, slug, "edit")
    row = experiments.get(db, who, number, "edit")
    if row.project_id != project.id:
        raise experiments.no_experiment(number)
    if verb == "rename":
        experiments.rename(db, who, row.id, name.strip())
        return redirect(f"/p/{slug}/experiments", f"It is {row.name} now.")
    if verb == "delete":
        experiments.delete(db, who, row.id)
        return redirect(f"/p/{slug}/experiments", f"{row.name} and its runs are in the bin for 30 days.")
    if verb == "restore":
        experiments.restore(db, who, row.id)
        return redirect(f"/p/{slug}/experiments", f"{row.name} is back, with its runs.")
    raise _no_verb(verb)


def _no_verb(verb: str) -> HeadwayError:
    return BadInput(f"An experiment can't be asked to '{verb[:40]}'.", hint="rename, delete or restore")
