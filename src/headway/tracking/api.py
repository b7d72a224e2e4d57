"""The table of runs and the charts over JSON. The contract, with examples, is at the top of `runtable.py`."""

from __future__ import annotations

import math
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Query, Request, Response

from headway.errors import BadInput
from headway.people.guard import Signed
from headway.projects import service as projects
from headway.tracking import points_api
from headway.tracking.find import counting
from headway.tracking.show import bands, cells, charts, choosing, explorer_api, group_curves, grouping
from headway.web.answers import docs_responses
from headway.web.edge import ReadDb

router = APIRouter(prefix="/api/v1/projects/{slug}/runs", tags=["runs"], responses=docs_responses())
router.include_router(explorer_api.router)

Filter = Annotated[str, Query(description="MLflow's grammar, e.g. metrics.auc > 0.9 and params.model = 'forest'")]
Names = Annotated[list[str], Query()]
MOST_RUNS = 100


def _json(found: Any) -> Response:
    return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@router.get("/table")
def table(
    who: Signed, db: ReadDb, slug: str, order: Names = [], column: Names = [], experiment: Names = [],  # noqa: B006
    filter: Filter = "", deleted: bool = False, children: bool | None = None, cursor: str = "", offset: int = 0, limit: int = 100,
    count: bool = False,
) -> Response:  # fmt: skip
    """A page of the table of runs, column by column: which runs, and their cells."""
    project = projects.by_slug(db, who, slug)
    ask = cells.Ask(filter, order, column, experiment, deleted, children, cursor, offset, limit, count)
    return _json(cells.page(db, who, project, ask))


@router.get("/columns")
def columns(
    who: Signed, db: ReadDb, slug: str, q: str = "", kind: str = "", filter: Filter = "", experiment: Names = [],  # noqa: B006
    deleted: bool = False, children: bool | None = None, cursor: str = "", limit: int = 200,
) -> Response:  # fmt: skip
    """The names of all columns that the table can have, those in which the runs differ first; `q` is part of a name."""
    project = projects.by_slug(db, who, slug)
    ask = cells.Ask(filter, (), (), experiment, deleted, children, cursor, limit=limit)
    return _json(choosing.columns(db, who, project, ask, part=q, kind=kind))


@router.get("/groups")
def groups(
    who: Signed, db: ReadDb, slug: str, by: str, metric: str = "", filter: Filter = "", experiment: Names = [],  # noqa: B006
    deleted: bool = False, children: bool | None = None, limit: int = 100,
) -> Response:  # fmt: skip
    """How many runs have each value of a parameter, a tag or an attribute, and a metric's mean, lowest and highest in them."""
    project = projects.by_slug(db, who, slug)
    ask = cells.Ask(filter, (), (), experiment, deleted, children, limit=limit)
    return _json(grouping.groups(db, who, project, ask, by, metric))


@router.get("/bands")
def group_bands(
    request: Request, who: Signed, db: ReadDb, slug: str, by: str, key: str, x: str = "step", band: str = "range",
    filter: Filter = "", experiment: Names = [], deleted: bool = False, children: bool | None = None,  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Response:  # fmt: skip
    """A metric's course in the groups of most runs: their mean, and the band around it (`range` or `deviation`)."""
    project = projects.by_slug(db, who, slug)
    if x not in charts.AXES or band not in bands.KINDS:
        raise BadInput(
            "The axis is step, time or relative, the band range or deviation.",
            field="x" if x not in charts.AXES else "band",
        )
    ask = cells.Ask(filter, (), (), experiment, deleted, children, limit=limit)
    low, high = (_bound(request, name) for name in ("from", "to"))
    return _json(group_curves.group_curves(db, who, project, ask, by, key, x=x, kind=band, low=low, high=high))


@router.get("/importance")
def importance(
    who: Signed, db: ReadDb, slug: str, metric: str, filter: Filter = "", experiment: Names = [],  # noqa: B006
    deleted: bool = False, children: bool | None = None,
) -> Response:  # fmt: skip
    """The parameters by how much a metric hangs on them, with direction and confidence."""
    project = projects.by_slug(db, who, slug)
    ask = cells.Ask(filter, (), (), experiment, deleted, children)
    return _json(grouping.what_matters(db, who, project, ask, metric))


@router.get("/series")
def series(
    request: Request, who: Signed, db: ReadDb, slug: str, key: str, run: Names = [], x: str = "step",  # noqa: B006
    group: str = "", band: str = "range",
) -> Response:  # fmt: skip
    """One metric of up to 100 runs, at most 1,000 points each; `from` and `to` zoom in. `group`: the mean and the band of runs
    that agree in a parameter, a tag or an attribute; `band` is their range or deviation."""
    project = projects.by_slug(db, who, slug)
    if not 1 <= len(run) <= MOST_RUNS:
        raise BadInput(f"1 to {MOST_RUNS} runs can be asked for at once, not {len(run)}.", field="run")
    if x not in charts.AXES:
        raise BadInput("The axis is one of " + ", ".join(charts.AXES) + ".", field="x")
    if band not in bands.KINDS or (group and x != "step"):
        raise BadInput("A band is 'range' or 'deviation', over steps.", field="band")
    low, high = (_bound(request, name) for name in ("from", "to"))
    rows = counting.named(db, project.id, run)
    if not group:
        return Response(charts.drawn(db, rows, key, x=x, low=low, high=high), media_type="application/json")
    where = cells.scope(db, who, project, cells.Ask())
    return _json(charts.bands_of(db, grouping.together(db, where, rows, group), key, low=low, high=high, kind=band))


def _bound(request: Request, name: str) -> float | None:
    value = request.query_params.get(name, "")
    try:
        found = float(value) if value else None
    except ValueError:
        found = math.nan
    if found is not None and math.isnan(found):
        raise BadInput(f"'{name}' must be a number, not '{value[:40]}'.", field=name)
    return found


def install(app: FastAPI) -> None:
    """Points in columns have addresses of their own."""
    points_api.install(app)
