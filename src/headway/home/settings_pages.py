"""Settings that look over the whole server: tokens, the machine, the audit log."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from headway.clock import now_ms
from headway.errors import HeadwayError
from headway.home import health
from headway.people import audit, guard, tokens
from headway.people.guard import Person
from headway.people.pages import tabs_of
from headway.people.rules import OWN, SCOPE_HELP
from headway.projects import service as projects
from headway.web import paging
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.forms import Form as Posted
from headway.web.render import page, redirect

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]
LIVES = [("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("never", "Never ends")]
EVERY = "every"  # an empty value would not pass for a chosen one in a required list
_DAY_MS = 86_400_000


@router.get("/settings/tokens")
def tokens_page(request: Request, who: Person, db: ReadDb, host: HostDep) -> Response:
    return _tokens(request, who, db, host)


def _tokens(request: Request, who: Person, db: Any, host: HostDep, *, secret: str = "", status: int = 200,
            values: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> Response:  # fmt: skip
    mine = projects.visible(db, who)
    return page(
        request,
        "home/tokens.html",
        who=who,
        title="Tokens",
        status=status,
        tabs=tabs_of(who),
        tokens=tokens.listed(db, who),
        names={project.id: project.name for project in mine},
        projects=[(EVERY, "All of mine"), *((project.id, project.name) for project in mine)],
        scopes=[(scope, f"{scope}: {text}") for scope, text in SCOPE_HELP.items()],
        lives=LIVES,
        secret=secret,
        snippets=snippets(host.settings.url, secret) if secret else [],
        values=values or {"name": "", "scope": "run", "project": EVERY, "life": "90"},
        errors=errors or {},
        now=now_ms(),
    )


def snippets(url: str, secret: str) -> list[tuple[str, str, str]]:
    """How to use a token: for MLflow's client, the command line, curl."""
    python = (
        "import httpx\n\n"
        f'server = httpx.Client(base_url="{url}", headers={{"Authorization": "Bearer {secret}"}})\n'
        'print(server.get("/api/v1/me").json())'
    )
    return [
        ("MLflow", "bash", f"export MLFLOW_TRACKING_URI={url}\nexport MLFLOW_TRACKING_TOKEN={secret}"),
        ("CLI", "bash", f"export HEADWAY_URL={url}\nexport HEADWAY_TOKEN={secret}\nheadway status"),
        ("curl", "bash", f'curl -H "Authorization: Bearer {secret}" {url}/api/v1/me'),
        ("Python", "python", python),
    ]


@router.post("/settings/tokens")
def create_token(
    request: Request,
    who: Person,
    db: Db,
    host: HostDep,
    name: Text = "",
    scope: Text = "",
    project: Text = EVERY,
    life: Text = "90",
) -> Response:
    values = {"name": name[:120], "scope": scope, "project": project, "life": life}
    form = Posted({"life": life})
    chosen = form.choice("life", [value for value, _ in LIVES])
    try:
        form.check()
        chosen_project = None if project == EVERY else projects.by_id(db, who, project).id
        ends = None if chosen == "never" else now_ms() + int(chosen) * _DAY_MS
        _, secret = tokens.create(db, who, name, scope=scope, project_id=chosen_project, expires_at=ends)
    except HeadwayError as problem:
        if problem.status != 422:
            raise
        field = str(problem.details.get("field", "name"))
        return _tokens(request, who, db, host, status=422, values=values, errors={field: problem.message})
    return _tokens(request, who, db, host, secret=secret)


@router.post("/settings/tokens/{token_id}/revoke")
def revoke_token(who: Person, db: Db, token_id: str) -> Response:
    row = tokens.revoke(db, who, token_id)
    return redirect("/settings/tokens", f"'{row.name}' is revoked. Whoever used it is out.")


@router.get("/settings/machine")
def machine_page(request: Request, who: Person, db: ReadDb, host: HostDep) -> Response:
    checks = health.checks(host, db)
    owner = guard.may(db, who, OWN, None)
    return page(
        request,
        "home/machine.html",
        who=who,
        title="Machine",
        tabs=tabs_of(who),
        checks=checks,
        facts=health.facts(host),
        settings=_settings_in_force(host) if owner else [],
    )


def _settings_in_force(host: HostDep) -> list[tuple[str, str, str, bool]]:
    """(name, value, help, changed) of each setting; an address with a password in it is not shown."""
    rows = []
    for name, default, text in host.settings.table():
        value = getattr(host.settings, name)
        shown = "(set)" if name == "database_url" and value else str(value)
        rows.append((name, shown, text, name != "home" and value != default))
    return rows


@router.get("/settings/audit")
def audit_page(request: Request, who: Person, db: ReadDb, before: int | None = None) -> Response:
    lines = audit.page(db, projects=guard.owned(db, who), before=before, limit=paging.limit(None, 100))
    names = {project.id: project for project in projects.visible(db, who)}
    older = f"/settings/audit?before={lines[-1].seq}" if len(lines) == 100 else ""
    return page(request, "home/audit.html", who=who, title="Audit log", tabs=tabs_of(who), older=older,
                lines=[(line, json.loads(line.details), names.get(line.project_id or "")) for line in lines])  # fmt: skip
