"""Pages of notebooks: the list, the read-only view, and the way into JupyterLab."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Form, Request, Response

from headway.engines.host import Host
from headway.environments import service as environments
from headway.environments.states import UNDER_WAY
from headway.environments.tables import Environment
from headway.errors import BadInput, Conflict, NotFound
from headway.people import guard
from headway.people.guard import Signed
from headway.people.rules import EDIT, Who
from headway.projects import files, paths
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import notebooks
from headway.web import cells as view
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import fragment, page, redirect
from headway.workspaces import blank, gate, service

router = APIRouter(include_in_schema=False)
router.include_router(gate.router)

NAV = [NavItem("Notebooks", "notebook-pen", "notebooks", 10)]

Text = Annotated[str, Form()]


def install(app: FastAPI) -> None:
    """The two origins: see `gate`."""
    gate.install(app)


@router.get("/p/{slug}/notebooks")
def index(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str) -> Response:
    """All notebooks of the project's folder."""
    project = projects.by_slug(db, who, slug)
    found = [entry for entry in files.walk(projects.folder(host, project)) if entry.name.endswith(".ipynb")]
    found.sort(key=lambda entry: (-entry.modified_at, entry.path))
    return page(
        request,
        "workspaces/list.html",
        who=who,
        project=project,
        title="Notebooks",
        notebooks=found,
        workspace=service.state(db, project),
        environment=environments.for_project(db, project),
        coming=environments.coming(db, project),
    )


@router.post("/p/{slug}/notebooks/new")
def new(who: Signed, db: Db, host: HostDep, slug: str, name: Text = "") -> Response:
    """An empty notebook, and the way into it."""
    project = projects.by_slug(db, who, slug, EDIT)
    path = blank.path_of(name)
    parts = paths.parts_of(path)
    root = projects.folder(host, project)
    with contextlib.suppress(NotFound), files.reading(root, parts):
        raise Conflict(f"There is a file '{path}' already.", hint="Choose another name, or open that one.")
    files.write(root, parts, blank.notebook())
    return redirect(f"/p/{project.slug}/notebooks/{quote(path)}/open")


@router.post("/p/{slug}/notebooks/stop")
def stop(who: Signed, db: Db, slug: str) -> Response:
    """End the project's Jupyter server."""
    project = projects.by_slug(db, who, slug, EDIT)
    service.stop(db, who, project)
    return redirect(f"/p/{project.slug}/notebooks", "The workspace is stopping; the files stay as they are.")


@router.get("/p/{slug}/notebooks/{path:path}/open")
async def open_page(request: Request, who: Signed, host: HostDep, slug: str, path: str) -> Response:
    """Straight into JupyterLab where it runs, else a page that starts it and goes there. Viewers read our own page."""
    parts = paths.parts_of(path)
    look = await to_thread.run_sync(_look, host, who, slug, parts)
    if not look.may_edit:
        return redirect(f"/p/{slug}/notebooks/{quote(path)}")
    if look.kernel_ready and look.state.state == service.RUNNING and await gate.answers_now(look.target, look.project):
        return redirect(_lab(request, who, look.project, path))
    return page(
        request, "workspaces/opening.html", who=who, project=look.project, title=parts[-1], path=path, **look.shown()
    )


@router.post("/p/{slug}/notebooks/{path:path}/start")
def start(request: Request, who: Signed, db: Db, host: HostDep, slug: str, path: str) -> Response:
    """Start the workspace; the answer is the progress."""
    project = projects.by_slug(db, who, slug, EDIT)
    service.open(db, host, who, project)
    return fragment(
        request, "workspaces/_opening.html", project=project, path=path, **_Look(host, db, who, project).shown()
    )


@router.get("/p/{slug}/notebooks/{path:path}/ready")
async def ready(request: Request, who: Signed, host: HostDep, slug: str, path: str, anyway: bool = False) -> Response:
    """How far the start is; once Jupyter answers, the browser is led there."""
    look = await to_thread.run_sync(_look, host, who, slug, paths.parts_of(path))
    if not look.may_edit:
        raise Conflict("You may only look at this notebook.", hint="Reload the page.")
    up = look.state.state == service.RUNNING and await gate.answers_now(look.target, look.project)
    if up and (look.kernel_ready or anyway):
        response = Response(status_code=204)
        response.headers["HX-Redirect"] = _lab(request, who, look.project, path)
        return response
    return fragment(request, "workspaces/_opening.html", project=look.project, path=path, **look.shown(up=up))


@router.get("/p/{slug}/notebooks/{path:path}")
def show(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, path: str) -> Response:
    """The notebook as it was saved last, without a kernel and without any script of it."""
    project = projects.by_slug(db, who, slug)
    parts = paths.parts_of(path)
    if not parts[-1].endswith(".ipynb"):
        raise BadInput(f"'{parts[-1]}' is not a notebook.", hint="Notebooks end in .ipynb.")
    with files.reading(projects.folder(host, project), parts) as file:
        data = file.read(notebooks.MOST_BYTES + 1)
    return page(
        request,
        "workspaces/show.html",
        who=who,
        project=project,
        title=parts[-1],
        path=path,
        parts=parts,
        cells=view.cells(notebooks.read(data, parts[-1], to_run=False)),
    )


class _Look:
    """What the way into a notebook depends on, read in one go."""

    def __init__(self, host: Host, db: ReadDb, who: Who, project: Project) -> None:
        self.project = project
        self.may_edit = guard.may(db, who, EDIT, project.id)
        self.state = service.state(db, project)
        self.environment: Environment | None = environments.for_project(db, project)
        self.coming = environments.coming(db, project)
        self.kernel_ready = self.environment is not None
        self.target = service.target(host, who, project)

    def shown(self, *, up: bool = False) -> dict[str, Any]:
        """What the progress shows."""
        building = self.coming if self.coming is not None and self.coming.state in UNDER_WAY else None
        return {"workspace": self.state, "up": up, "environment": self.environment, "building": building}


def _look(host: Host, who: Who, slug: str, parts: tuple[str, ...]) -> _Look:
    with host.database.read() as db:
        project = projects.by_slug(db, who, slug)
        with files.reading(projects.folder(host, project), parts):
            pass  # NotFound for what is not there
        return _Look(host, db, who, project)


def _lab(request: Request, who: Who, project: Project, path: str) -> str:
    """The notebook in JupyterLab. Each person has a layout of their own: the tabs of one are not opened for the other."""
    return gate.address(request, project, f"lab/workspaces/{who.user_id[:12]}/tree/{quote(path)}")
