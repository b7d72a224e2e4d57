"""The pages of experiments: their list, and making, renaming, deleting and restoring one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from headway.errors import BadInput, HeadwayError
from headway.people.guard import Signed
from headway.projects import service as projects
from headway.tracking import experiments
from headway.web.edge import Db, ReadDb
from headway.web.render import page, redirect

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


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
