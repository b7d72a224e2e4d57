"""The pages of models: the list, one model with its versions, one version with its proof, files and lineage."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.models import bundles, find, service
from headway.models.service import Version
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking import artifacts
from headway.tracking import service as tracking
from headway.tracking.show import download, runtable
from headway.tracking.store import readout
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import page, redirect, with_query

router = APIRouter(include_in_schema=False)
NAV = [NavItem("Models", "box", "models", 40)]
Text = Annotated[str, Form()]
USUAL = ("champion", "candidate")
PAGE = 100


@router.get("/p/{slug}/models")
def list_page(request: Request, who: Signed, db: ReadDb, slug: str, q: str = "", after: str = "") -> Response:
    """The project's models with their newest versions and aliases."""
    project = projects.by_slug(db, who, slug)
    text = q.replace("'", "''").replace("%", "")
    filter_ = f"name ILIKE '%{text}%'" if text else ""
    rows, token = find.models(
        db, who, project.id, filter_, ["last_updated_timestamp DESC"], PAGE, after or None
    )  # fmt: skip
    newest = {
        row.id: max(v, key=lambda one: one.number) for row in rows if (v := find.latest(db, [row.id]).get(row.id))
    }
    versions = {v.name: v for v in service.seen(db, list(newest.values()))}
    aliases = find.aliases(db, [row.id for row in rows])
    return page(request, "models/list.html", who=who, project=project, title="Models", models=rows, versions=versions,
                aliases=aliases, q=q, next_url=with_query(request, after=token) if token else "",
                first_url=with_query(request, after=None) if after else "")  # fmt: skip


@router.get("/p/{slug}/models/{name}")
def model_page(request: Request, who: Signed, db: ReadDb, slug: str, name: str) -> Response:
    """One model: its versions, newest first."""
    project = projects.by_slug(db, who, slug)
    row = service.model(db, who, project.id, name)
    versions = service.seen(db, find.of_model(db, row.id, 500))
    runs = _runs(db, project, [v.run_id for v in versions])
    return page(request, "models/model.html", who=who, project=project, title=row.name, model=row, versions=versions, runs=runs,
                columns=[c for c in runtable.columns(list(runs.values())) if c.kind == "metric"][:4])  # fmt: skip


def _runs(db: Session, project: Project, ids: list[str]) -> dict[str, readout.RunFacts]:
    rows = [row for run_id in dict.fromkeys(ids) if run_id and (row := tracking.by_uuid(db, run_id)) is not None]
    return {facts.uuid: facts for facts in readout.facts(db, [row for row in rows if row.project_id == project.id])}


@router.get("/p/{slug}/models/{name}/{number}")
def version_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, name: str, number: int
) -> Response:
    """One version: what it takes and gives, what proves it, where it comes from, what is in it."""
    project, version = _version(db, who, slug, name, number)
    look = bundles.look(db, host, version.id)
    runs = _runs(db, project, [version.run_id])
    run = runs.get(version.run_id)
    base = str(request.base_url).rstrip("/")
    return page(
        request,
        "models/version.html",
        who=who,
        project=project,
        title=f"{version.name} {version.number}",
        version=version,
        look=look,
        run=run,
        code=artifacts.tree(db, version.run_id, "headway/code") if run else [],
        usual=[alias for alias in USUAL if alias not in version.aliases],
        base=_url(slug, version.name, version.number),
        snippets=_snippets(base, project, version, look),
    )


def _version(db: Session, who: Who, slug: str, name: str, number: int, verb: str = "view") -> tuple[Project, Version]:
    project = projects.by_slug(db, who, slug, verb)
    row = service.version(db, who, project.id, name, number, verb)
    return project, service.seen(db, [row])[0]


def _snippets(base: str, project: Project, version: Version, look: bundles.Look) -> list[tuple[str, str, str]]:
    reference = f"{version.name}@{version.aliases[0]}" if version.aliases else f"{version.name}/{version.number}"
    data = "data  # a DataFrame with the columns of the signature"
    if look.columns and look.rows:
        columns = json.dumps(look.columns)
        data = f"pandas.DataFrame({json.dumps(look.rows[:1], default=str)}, columns={columns})"
    python = (
        f'import mlflow\nimport pandas\n\nmlflow.set_tracking_uri("{base}")  # MLFLOW_TRACKING_TOKEN holds your token\n'
        f'model = mlflow.pyfunc.load_model("models:/{reference}")\nprint(model.predict({data}))'
    )
    curl = (
        f'curl -H "Authorization: Bearer $HEADWAY_TOKEN" -H "X-MLFLOW-WORKSPACE: {project.slug}" \\\n'
        f"  '{base}/api/2.0/mlflow/model-versions/get?name={version.name}&version={version.number}'"
    )
    cli = f"headway models download {version.name}/{version.number}\nheadway deploy {version.name}/{version.number}"
    return [("Python", "python", python), ("CLI", "bash", cli), ("curl", "bash", curl)]


@router.get("/p/{slug}/models/{name}/{number}/files/{path:path}")
def version_file(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, name: str, number: int, path: str
) -> Response:
    """One file of the version, as a download."""
    _, version = _version(db, who, slug, name, number)
    return download.send(request, host, artifacts.find(db, version.id, artifacts.check_path(path)), attachment=True)


# ------------------------------------------------------------------ verbs
@router.post("/p/{slug}/models/register")
def register(
    who: Signed, db: Db, slug: str, name: Text = "", model_id: Text = "", run_id: Text = "", path: Text = "",
    description: Text = "",
) -> Response:  # fmt: skip
    """Register a run's model or a logged model."""
    project = projects.by_slug(db, who, slug, "edit")
    made = service.register(db, who, project, name.strip(), source_run_id=run_id or None, logged_model_id=model_id or None,
                            path=path or None, description=description.strip())  # fmt: skip
    return redirect(_url(slug, made.name, made.number), f"{made.name} {made.number} is registered.")


def _url(slug: str, name: str, number: Any = "") -> str:
    return f"/p/{slug}/models/{quote(name, safe='')}" + (f"/{number}" if number else "")


@router.post("/p/{slug}/models/{name}/do/{verb}")
def change_model(
    who: Signed, db: Db, slug: str, name: str, verb: str, new_name: Text = "", description: Text = ""
) -> Response:
    """Rename, describe or delete a model."""
    project = projects.by_slug(db, who, slug, "edit")
    if verb == "rename":
        row = service.rename(db, who, project.id, name, new_name.strip())
        return redirect(_url(slug, row.name), "Renamed.")
    if verb == "describe":
        service.describe_model(db, who, project.id, name, description.strip())
        return redirect(_url(slug, name), "Saved.")
    if verb == "delete":
        service.delete_model(db, who, project.id, name)
        return redirect(f"/p/{slug}/models", f"{name} and its versions are deleted.")
    raise NotFound("A model has no such verb.", hint="rename, describe or delete")


@router.post("/p/{slug}/models/{name}/{number}/do/{verb}")
def change_version(
    who: Signed, db: Db, slug: str, name: str, number: int, verb: str, alias: Text = "", description: Text = "",
) -> Response:  # fmt: skip
    """Give or take an alias, describe or delete a version."""
    project = projects.by_slug(db, who, slug, "edit")
    here = _url(slug, name, number)
    if verb == "alias":
        service.set_alias(db, who, project.id, name, alias.strip(), number)
        return redirect(here, f"{name}@{alias.strip()} is version {number} now.")
    if verb == "unalias":
        service.delete_alias(db, who, project.id, name, alias)
        return redirect(here, f"{name} has no {alias} now.", "warn")
    if verb == "describe":
        service.describe(db, who, project.id, name, number, description.strip())
        return redirect(here, "Saved.")
    if verb == "delete":
        service.delete_version(db, who, project.id, name, number)
        return redirect(_url(slug, name), f"Version {number} is deleted.")
    raise BadInput(f"A version can't be asked to '{verb[:40]}'.", hint="alias, unalias, describe or delete")
