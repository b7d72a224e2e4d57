"""Pages of runs: start one, see what it prints, end it, run it again; schedules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, available_timezones

from anyio import to_thread
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines.host import Host
from headway.environments import service as environments
from headway.errors import HeadwayError, NotFound
from headway.people.guard import Signed
from headway.people.rules import RUN, Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import follow, forms, launch, notebooks, output, schedules, service, timetable
from headway.runs.tables import Execution, Schedule
from headway.web import cells, live
from headway.web import forms as posted_forms
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.nav import NavItem
from headway.web.render import environment as templates
from headway.web.render import fragment, page, redirect

router = APIRouter(include_in_schema=False)

NAV = [NavItem("Schedules", "calendar-clock", "schedules", 35)]

Text = Annotated[str, Form()]
TAIL = 2 << 20
"""So much of a script's output a page begins with; the whole can be downloaded."""
_ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))


# ------------------------------------------------------------------ a new one


@router.get("/p/{slug}/new-run")
def new_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, path: str = "", when: str = "now", like: str = ""
) -> Response:  # fmt: skip
    """The form; `?path=` chooses the file, `?like=` a run whose parameters and limits it begins with."""
    project = projects.by_slug(db, who, slug, RUN)
    if not like:
        return _form(request, db, host, project, path, {"when": when})
    row = service.get(db, who, project, like)
    try:
        file = service.look(host, project, path or row.path)
    except HeadwayError:  # it is gone, or broken by now; the form says so
        return _form(request, db, host, project, path or row.path, {"when": when})
    before = forms.again(file.found, row.given, launch.limits_of(row))
    return _form(request, db, host, project, file.path, {"when": when, **before}, {})


@router.get("/p/{slug}/new-run/fields")
def new_fields(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, path: str = "") -> Response:
    """The parameters of another file, when it is chosen."""
    project = projects.by_slug(db, who, slug, RUN)
    return fragment(
        request, "runs/_fields.html", project=project, errors={}, values={}, **_about(host, project, path, None)
    )


@router.post("/p/{slug}/new-run")
async def new(request: Request, who: Signed, db: Db, host: HostDep, slug: str) -> Response:
    """Run it now, or at its times."""
    posted = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    return await to_thread.run_sync(_new, request, who, db, host, slug, posted)


def _new(request: Request, who: Who, db: Session, host: Host, slug: str, posted: dict[str, str]) -> Response:
    project = projects.by_slug(db, who, slug, RUN)
    form = posted_forms.Form(posted)
    path = form.text("path", required=True, limit=1024)
    limits = forms.limits(form)
    when = form.choice("when", ("now", "schedule"), default="now")
    try:
        file = service.look(host, project, path) if path else None
        given = forms.values(file.found, posted, form) if file else {}
        if not form.ok:
            return _form(request, db, host, project, path, posted, form.errors)
        with db.begin_nested():
            if when == "schedule":
                cron = posted.get("cron", "").strip() or posted.get("preset", "")
                row = schedules.add(db, host, who, project, path, cron, posted.get("zone", "") or "UTC", params=given,
                                    limits=limits, name=posted.get("name", ""))  # fmt: skip
                return redirect(f"/p/{slug}/schedules", f"{row.name} runs by itself from now on.")
            chosen = posted.get("environment", "")
            environment = environments.get(db, who, project, chosen) if chosen else None
            run = service.submit(db, host, who, project, path, given, limits=limits, environment=environment)
    except HeadwayError as problem:
        if problem.status not in (400, 404, 422):
            raise
        return _form(request, db, host, project, path, posted, _errors(problem))
    return redirect(f"/p/{slug}/runs/{run.run_id}")


def _errors(problem: HeadwayError) -> dict[str, str]:
    several = problem.details.get("fields")
    if isinstance(several, Mapping):
        return {forms.PREFIX + str(name): f"This {why}." for name, why in several.items()}
    name = str(problem.details.get("field", "path"))
    name = {"timeout_s": "timeout_min", "cell_timeout_s": "cell_timeout_min"}.get(name, name)
    return {name: f"{problem.message} {problem.hint}".strip()}


def _form(
    request: Request, db: Session, host: Host, project: Project, path: str, values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    files = service.runnable(host, project)
    path = path or (files[0] if files else "")
    about = _about(host, project, path, values if errors is not None else None)
    errors = dict(errors or {}) | ({"path": about["broken"]} if about["broken"] else {})
    known = {field.name for field in about["fields"]}
    stray = [f"{name.removeprefix(forms.PREFIX)}: {text}" for name, text in errors.items()
             if name.startswith(forms.PREFIX) and name not in known]  # fmt: skip
    if stray:
        errors.setdefault("more", " ".join(stray))
    ready = [row for row in environments.listed(db, request.state.who, project) if row.ready]
    current = environments.for_project(db, project)
    status = 422 if errors and values.get("path") else 200
    return page(
        request, "runs/new.html", project=project, title="New run", status=status, files=files,
        values=values, errors=errors, environments=ready, current=current, crons=forms.CRONS, zones=["UTC", *_ZONES], **about,
    )  # fmt: skip


def _about(host: Host, project: Project, path: str, posted: Mapping[str, Any] | None) -> dict[str, Any]:
    if not path:
        return {"path": "", "fields": [], "complete": True, "kind": "", "broken": ""}
    try:
        file = service.look(host, project, path)
    except HeadwayError as problem:
        return {
            "path": path,
            "fields": [],
            "complete": True,
            "kind": "",
            "broken": f"{problem.message} {problem.hint}".strip(),
        }
    return {"path": file.path, "fields": forms.fields(file.found, posted), "complete": file.found.complete, "kind": file.kind,
            "broken": ""}  # fmt: skip


# ------------------------------------------------------------------ what it prints


@router.get("/p/{slug}/runs/{run_id}/output")
def output_part(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str) -> Response:
    """What a run printed and showed so far, as a part of its page; it goes on by itself."""
    project = projects.by_slug(db, who, slug)
    row = service.find(db, run_id)
    if row is None or row.project_id != project.id:
        return fragment(request, "runs/_output.html", project=project, run=None)
    place = launch.folder(host, row)
    context: dict[str, Any] = {
        "project": project,
        "run": row,
        "start": 0,
        "cells": [],
        "linked": json.loads(row.linked),
    }
    if row.kind == "script":
        path = output.log_path(place, row.kind)
        size = path.stat().st_size if path.exists() else 0
        context["start"] = max(0, size - TAIL)
    else:
        context |= _cells(host, row)
    context["has_log"] = output.log_path(place, row.kind).exists()
    context["has_notebook"] = (place / "out.ipynb").exists()
    return fragment(request, "runs/_output.html", **context)


def _cells(host: Host, row: Execution) -> dict[str, Any]:
    place = launch.folder(host, row)
    done = output.executed(place) if row.over else None
    if done is not None:
        return {"cells": cells.cells(done), "live": False}
    try:
        source = (place / "in.ipynb").read_bytes()
        return {"cells": cells.cells(notebooks.read(source, row.path)), "live": True}
    except (OSError, HeadwayError):
        return {"cells": [], "live": not row.over}


@router.get("/p/{slug}/runs/{run_id}/output/live")
def output_live(request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str) -> Response:
    """Server-sent events: `output` for a script, `cell` for a notebook, `end`."""
    row = service.get(db, who, projects.by_slug(db, who, slug), run_id)
    offset = live.resume_offset(request)
    if row.kind == "script":
        return live.sse(follow.text(request, host, who, row, offset))
    return live.sse(follow.cells(request, host, who, row, offset, _drawn))


def _drawn(cell: output.ShownCell) -> dict[str, Any]:
    html = templates().get_template("runs/_outputs.html").render(outputs=cell.outputs, number=cell.number)
    return {"cell": cell.number, "state": cell.state, "count": cell.count, "html": html}


@router.get("/p/{slug}/runs/{run_id}/output/log")
def output_log(who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str) -> Response:
    """All that it printed, as a file."""
    row = service.get(db, who, projects.by_slug(db, who, slug), run_id)
    place = launch.folder(host, row)
    if not output.log_path(place, row.kind).exists():
        raise NotFound("This run has printed nothing yet.")
    name = quote(f"{row.path.rsplit('/', 1)[-1].rsplit('.', 1)[0]}-{run_id[:8]}.log")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(output.whole(place, row.kind), media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/p/{slug}/runs/{run_id}/output/notebook")
def output_notebook(who: Signed, db: ReadDb, host: HostDep, slug: str, run_id: str) -> Response:
    """The executed notebook, as a file."""
    row = service.get(db, who, projects.by_slug(db, who, slug), run_id)
    path = launch.folder(host, row) / "out.ipynb"
    if not path.exists():
        raise NotFound("There is no executed notebook of this run.", hint="It is made when the run ends.")
    name = f"{row.path.rsplit('/', 1)[-1].rsplit('.', 1)[0]}-{run_id[:8]}.ipynb"
    return FileResponse(path, media_type="application/x-ipynb+json", filename=name)


@router.post("/p/{slug}/runs/{run_id}/cancel")
def cancel(who: Signed, db: Db, slug: str, run_id: str) -> Response:
    """End it."""
    project = projects.by_slug(db, who, slug)
    row = service.cancel(db, who, service.get(db, who, project, run_id))
    said = "Cancelled." if row.over else "It is being interrupted; what it has shown stays."
    return redirect(f"/p/{slug}/runs/{run_id}", said)


@router.post("/p/{slug}/runs/{run_id}/rerun")
def rerun(who: Signed, db: Db, host: HostDep, slug: str, run_id: str) -> Response:
    """The same once more."""
    project = projects.by_slug(db, who, slug)
    row = service.rerun(db, host, who, project, service.get(db, who, project, run_id))
    return redirect(f"/p/{slug}/runs/{row.run_id}", "Queued once more, with the file as it is now.")


# ------------------------------------------------------------------ schedules


@router.get("/p/{slug}/schedules")
def schedules_page(request: Request, who: Signed, db: ReadDb, slug: str) -> Response:
    """All schedules of the project, with their next times."""
    project = projects.by_slug(db, who, slug)
    rows = [_row(db, row) for row in schedules.listed(db, who, project)]
    return page(request, "runs/schedules.html", who=who, project=project, title="Schedules", rows=rows)


def _row(db: Session, row: Schedule) -> dict[str, Any]:
    words = {cron: text for cron, text in forms.CRONS if cron}.get(row.cron, "")
    times = [_local(moment, row.zone) for moment in schedules.coming(row)]
    return {"schedule": row, "words": words, "times": times, "fires": schedules.fires(db, row, 5), "params": row.given}


def _local(moment: int, zone: str) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).astimezone(ZoneInfo(zone)).strftime("%a %d %b, %H:%M")


@router.get("/p/{slug}/schedules/preview")
def schedule_preview(
    request: Request, who: Signed, db: ReadDb, slug: str, cron: str = "", preset: str = "", zone: str = "UTC"
) -> Response:
    """The next five times of what is being written."""
    projects.by_slug(db, who, slug)
    try:
        place = timetable.clean_zone(zone)
        times = timetable.upcoming(timetable.clean_cron(cron.strip() or preset), place, now_ms())
        return fragment(
            request, "runs/_times.html", times=[_local(moment, zone) for moment in times], zone=zone, problem=""
        )
    except HeadwayError as problem:
        return fragment(
            request, "runs/_times.html", times=[], zone=zone, problem=f"{problem.message} {problem.hint}".strip()
        )


@router.post("/p/{slug}/schedules/{schedule_id}/pause")
def pause(who: Signed, db: Db, slug: str, schedule_id: str) -> Response:
    """Let it rest."""
    project = projects.by_slug(db, who, slug)
    row = schedules.pause(db, who, schedules.get(db, who, project, schedule_id))
    return redirect(f"/p/{slug}/schedules", f"{row.name} rests until you resume it.")


@router.post("/p/{slug}/schedules/{schedule_id}/resume")
def resume(who: Signed, db: Db, slug: str, schedule_id: str) -> Response:
    """Let it fire again."""
    project = projects.by_slug(db, who, slug)
    row = schedules.resume(db, who, schedules.get(db, who, project, schedule_id))
    return redirect(f"/p/{slug}/schedules", f"{row.name} runs by itself again.")


@router.post("/p/{slug}/schedules/{schedule_id}/remove")
def remove(who: Signed, db: Db, slug: str, schedule_id: str) -> Response:
    """Delete it."""
    project = projects.by_slug(db, who, slug)
    row = schedules.get(db, who, project, schedule_id)
    schedules.remove(db, who, row)
    return redirect(f"/p/{slug}/schedules", f"{row.name} was deleted; its runs stay.")


@router.post("/p/{slug}/schedules/{schedule_id}/run")
def run_now(who: Signed, db: Db, host: HostDep, slug: str, schedule_id: str) -> Response:
    """Run it once now, beside its times."""
    project = projects.by_slug(db, who, slug)
    row = schedules.get(db, who, project, schedule_id)
    limits = launch.RunLimits(**json.loads(row.limits))
    run = service.submit(db, host, who, project, row.path, row.given, limits=limits)
    return redirect(f"/p/{slug}/runs/{run.run_id}")
