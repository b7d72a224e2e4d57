"""What the runs explorer asks for besides its rows: suggestions for filters, files, changes to many runs, saved views."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking.show import bulk, cells, export, suggest, views
from headway.tracking.tables import RunView
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter()

Names = Annotated[list[str], Query()]
Filter = Annotated[str, Query(description="MLflow's grammar, e.g. metrics.auc > 0.9 and params.model = 'forest'")]
LONGEST = 10_000  # characters of a filter that is being typed


class Bulk(BaseModel):
    """What to do to which runs: those named, else all that the filter finds, but `except`."""

    action: str = Field(description="tag, untag, delete or restore")
    run_ids: list[str] = Field(default=[], max_length=100_000)
    filter: str = ""
    experiment: list[str] = []
    deleted: bool = False
    children: bool | None = None
    without: list[str] = Field(default=[], alias="except", max_length=100_000)
    all: bool = Field(default=False, description="Must be true to mean all that match, where no run is named.")
    key: str = Field(default="", description="Of a tag.")
    value: str = Field(default="", description="Of a tag.")
    cursor: str = Field(default="", description="Where the last request stopped: its `next`.")


class View(BaseModel):
    """A saved view of the explorer: its name, and the state as in the page's address."""

    name: str
    query: str
    shared: bool = False
    default: bool = False


class Change(BaseModel):
    """What changes in a view; what is left out stays."""

    name: str | None = None
    query: str | None = None
    shared: bool | None = None
    default: bool | None = None


@router.get("/complete")
def complete(
    who: Signed, db: ReadDb, slug: str, text: Annotated[str, Query(max_length=LONGEST)] = "", at: int | None = None,
    experiment: Names = [],  # noqa: B006
) -> dict[str, Any]:  # fmt: skip
    """What may come next in a filter, at a place in it (its end, where none is said)."""
    project = projects.by_slug(db, who, slug)
    return suggest.items(db, who, project, text, len(text) if at is None else at, experiment)


@router.get("/export")
def export_runs(
    who: Signed, db: ReadDb, host: HostDep, slug: str, format: str = "csv", order: Names = [], column: Names = [],  # noqa: B006
    experiment: Names = [], filter: Filter = "", deleted: bool = False, children: bool | None = None, all: bool = False,  # noqa: B006
    run: Names = [], without: Annotated[list[str], Query(alias="except")] = [],  # noqa: B006
) -> StreamingResponse:  # fmt: skip
    """All runs of a filter as a file: csv, jsonl or parquet. `all`: every column there is, else those named. `run`: only these
    of them; `except`: these not."""
    project = projects.by_slug(db, who, slug)
    if format not in export.FORMATS:
        raise BadInput(
            f"Runs can't be written as '{format[:20]}'.", field="format", hint=f"One of: {', '.join(export.FORMATS)}"
        )
    ask = cells.Ask(filter, order, column, experiment, deleted, children)
    table = export.prepare(db, who, project, ask, everything=all, only=run, without=without)
    rows = export.pages(host.database.read, who, project, table)
    name = f"{slug}-runs.{format}"
    return StreamingResponse(
        export.WRITERS[format](table, rows),
        media_type=export.FORMATS[format],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@router.post("/bulk")
def bulk_change(who: Signed, db: Db, slug: str, body: Bulk) -> dict[str, Any]:
    """Change many runs, some thousands a request: ask again with `next` as `cursor` until it is empty."""
    project = projects.by_slug(db, who, slug, "run")
    if not body.run_ids and not (body.all or body.filter or body.experiment):
        raise BadInput("Say which runs: run_ids, a filter, an experiment, or all=true.", field="run_ids")
    selection = bulk.Selection(
        body.run_ids, body.filter, body.experiment, body.deleted, body.children, frozenset(body.without)
    )
    done = bulk.apply(db, who, project, body.action, selection, key=body.key, value=body.value, cursor=body.cursor)
    return {"changed": done.changed, "next": done.next}


# ------------------------------------------------------------------ views
@router.get("/views")
def list_views(who: Signed, db: ReadDb, slug: str) -> dict[str, Any]:
    """The saved views: one's own and the project's."""
    return _views(db, who, projects.by_slug(db, who, slug))


@router.post("/views", status_code=201)
def save_view(who: Signed, db: Db, slug: str, body: View) -> dict[str, Any]:
    """Save a view under a new name."""
    project = projects.by_slug(db, who, slug)
    view = views.save(db, who, project, body.name, body.query, shared=body.shared, is_default=body.default)
    return _views(db, who, project, view)


@router.patch("/views/{number}")
def change_view(who: Signed, db: Db, slug: str, number: int, body: Change) -> dict[str, Any]:
    """Change a view."""
    project = projects.by_slug(db, who, slug)
    view = views.change(
        db, who, project, number, name=body.name, query=body.query, shared=body.shared, is_default=body.default
    )
    return _views(db, who, project, view)


@router.delete("/views/{number}")
def delete_view(who: Signed, db: Db, slug: str, number: int) -> dict[str, Any]:
    """Delete a view."""
    project = projects.by_slug(db, who, slug)
    views.remove(db, who, project, number)
    db.flush()
    return _views(db, who, project)


def _views(db: Session, who: Who, project: Project, view: RunView | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"views": [views.told(one, who) for one in views.visible(db, who, project)]}
    return found if view is None else found | {"id": view.id}
