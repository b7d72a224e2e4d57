"""The addresses that MLflow's client prints (`http://server/#/experiments/1/runs/<id>`) lead to the pages they mean.

What stands behind # never reaches a server: the front page's script (`js/mlflow-links.js`) asks these instead.
"""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Response

from headway.people.guard import Signed
from headway.projects import service as projects
from headway.tracking import experiments, service
from headway.web.edge import ReadDb
from headway.web.render import redirect

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run_id}")
def run_link(who: Signed, db: ReadDb, run_id: str) -> Response:
    """The page of a run whose project is not known."""
    row = service.get_run(db, who, run_id)
    return redirect(f"/p/{projects.by_id(db, who, row.project_id).slug}/runs/{row.uuid}")


@router.get("/experiments/{experiment_id}")
def experiment_link(who: Signed, db: ReadDb, experiment_id: str) -> Response:
    """The runs of an experiment whose project is not known."""
    row = experiments.get(db, who, experiment_id)
    project = projects.by_id(db, who, row.project_id)
    return redirect(f"/p/{project.slug}/runs?{urlencode({'experiment': row.id})}")
