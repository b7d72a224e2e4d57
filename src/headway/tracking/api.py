"""The table of runs and the charts over JSON. The contract, with examples, is at the top of `runtable.py`."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Query, Response

from headway.people.guard import Signed
from headway.projects import service as projects
from headway.tracking import cells, explorer_api, points_api
from headway.web.answers import docs_responses
from headway.web.edge import ReadDb

router = APIRouter(prefix="/api/v1/projects/{slug}/runs", tags=["runs"], responses=docs_responses())
router.include_router(explorer_api.router)

Filter = Annotated[str, Query(description="MLflow's grammar, e.g. metrics.auc > 0.9 and params.model = 'forest'")]
Names = Annotated[list[str], Query()]


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


def install(app: FastAPI) -> None:
    """Points in columns have addresses of their own."""
    points_api.install(app)
