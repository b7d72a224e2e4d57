"""Runs beside each other, as a page and as a table to take away. The address holds all."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import BadInput
from headway.people.guard import Signed
from headway.people.rules import Who
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.tracking import limits, service, states
from headway.tracking.show import comparing, runtable, standing
from headway.tracking.show.run_tabs import NOTE
from headway.tracking.show.runtable import DiffRow
from headway.tracking.store import readout, record
from headway.tracking.store.readout import RunFacts
from headway.web import cells
from headway.web.edge import HostDep, ReadDb
from headway.web.render import page

router = APIRouter(include_in_schema=False)

MOST, CHARTS = 20, 12
ROWS = 500  # of a table; a run may have 12,000 metrics


def chosen(db: Session, who: Who, project: Project, ids: str) -> list[RunFacts]:
    """The runs of an address, in its order, at most `MOST`. Raises `BadInput`, `NotFound`."""
    wanted = list(dict.fromkeys(one for one in ids.split(",") if one))
    if len(wanted) > MOST:
        raise BadInput(f"{len(wanted)} runs are too many to compare.", hint=f"Choose at most {MOST}.")
    rows = [service.get_run(db, who, one) for one in wanted]
    for row in rows:
        if row.project_id != project.id:
            raise record.no_run(row.uuid)
    return readout.facts(db, rows)


@router.get("/p/{slug}/compare")
def compare_page(
    request: Request, who: Signed, db: ReadDb, host: HostDep, slug: str, runs: str = "", base: str = "", all: bool = False,
    code: str = "split", q: str = "",
) -> Response:  # fmt: skip
    """Runs beside each other: what differs in parameters, metrics, packages, code, data and pictures. `base` is the run that the
    others are measured by (the first one), `all` shows what is equal too, `code` is split or unified, `q` seeks names."""
    project = projects.by_slug(db, who, slug)
    found = chosen(db, who, project, runs)
    baseline = next((run for run in found if run.uuid == base), found[0] if found else None)
    metrics, params = _metrics(found), _params(found)
    words = q.lower().split()
    shown = [[row for row in rows if _shown(row, len(found), all, words)] for rows in (metrics, params)]
    return page(
        request, "tracking/compare.html", who=who, project=project, title="Compare",
        runs=found,
        baseline=baseline,
        at=found.index(baseline) if baseline else 0,
        state=states.state,
        metrics=shown[0][:ROWS],
        params=shown[1][:ROWS],
        more=[max(0, len(rows) - ROWS) for rows in shown],
        hidden=0 if all else sum(1 for row in [*params, *metrics] if not row.differs and len(found) > 1),
        all=all, q=q, code_view=code if code in ("split", "unified") else "split",
        ids=",".join(run.uuid for run in found),
        notes=[cells.markdown(run.tags.get(NOTE, "")) for run in found],
        going=[run for run in found if run.status == "RUNNING"],
        towards=standing.towards, best=best_of,
        **(_more(db, host, found, baseline, words) if baseline else _NOTHING),
    )  # fmt: skip


_NOTHING: dict[str, Any] = {
    "curves": [],
    "more_curves": 0,
    "packages": [],
    "patches": [],
    "datasets": [],
    "figures": [],
}


def _more(db: Session, host: Host, found: list[RunFacts], baseline: RunFacts, words: list[str]) -> dict[str, Any]:
    names = {key for run in found for key, m in run.metrics.items() if m.is_curve and not limits.of_machine(key)}
    every = {key: m for run in found for key, m in run.metrics.items()}
    curves = [k for k in standing.ordered(list(names), every) if all(word in k.lower() for word in words)]
    others = [run for run in found if run is not baseline]
    several = len(found) > 1
    return {
        "curves": curves[:CHARTS],
        "more_curves": max(0, len(curves) - CHARTS),
        "packages": comparing.packages(db, host, found) if several else [],
        "patches": [(run, comparing.code(db, host, baseline, run)) for run in others[:4]],
        "datasets": comparing.data(found) if several else [],
        "figures": comparing.figures(db, found),
    }


def _metrics(runs: list[RunFacts]) -> list[DiffRow]:
    rows = runtable.diff([{key: m.last for key, m in run.metrics.items()} for run in runs])
    found = [row for row in rows if not limits.of_machine(row.key)]
    return sorted(found, key=lambda row: (not row.differs, sum(v is None for v in row.values)))


def _params(runs: list[RunFacts]) -> list[DiffRow]:
    """What most of them have comes first."""
    rows = runtable.diff([run.params for run in runs])
    return sorted(rows, key=lambda row: (not row.differs, sum(v is None for v in row.values)))


def _shown(row: DiffRow, runs: int, all_: bool, words: list[str]) -> bool:
    return (all_ or row.differs or runs == 1) and all(word in row.key.lower() for word in words)


def best_of(row: DiffRow) -> float | None:
    """The best of a metric's values, where there are several different ones."""
    values = [v for v in row.values if isinstance(v, float) and math.isfinite(v)]
    if len(set(values)) < 2:
        return None
    return min(values) if standing.towards(row.key, values[0]) == "min" else max(values)


@router.get("/p/{slug}/compare/table")
def compare_table(who: Signed, db: ReadDb, slug: str, runs: str, format: str = "csv", all: bool = False) -> Response:
    """Parameters and metrics of the runs as CSV or markdown: `all`, or only those in which they differ."""
    project = projects.by_slug(db, who, slug)
    found = chosen(db, who, project, runs)
    if format not in ("csv", "md"):
        raise BadInput("The format is 'csv' or 'md'.", field="format")
    rows = table(found, all)
    text = _csv(rows) if format == "csv" else _markdown(rows)
    kind = "text/csv" if format == "csv" else "text/markdown"
    headers = {"Content-Disposition": f'attachment; filename="compare.{format}"'}
    return Response(text, media_type=f"{kind}; charset=utf-8", headers=headers)


def table(runs: list[RunFacts], all_: bool) -> list[list[str]]:
    """Rows of text: a head with the runs' names, then what there is to compare."""
    rows = [["", "", *(run.name or run.uuid[:8] for run in runs)], ["run", "id", *(run.uuid for run in runs)],
            ["run", "status", *(states.state(run) for run in runs)],
            ["run", "duration_ms", *("" if run.duration is None else str(run.duration) for run in runs)]]  # fmt: skip
    for kind, found in (("metric", _metrics(runs)), ("param", _params(runs))):
        for row in found:
            if _shown(row, len(runs), all_, []):
                values = ("" if v is None else repr(v) if isinstance(v, float) else v for v in row.values)
                rows.append([kind, row.key, *values])
    return rows


def _csv(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_plain(cell) for cell in row] for row in rows)
    return out.getvalue()


def _plain(text: str) -> str:
    """A leading = + - @ would run as a formula in a spreadsheet; a number may keep its sign."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def _markdown(rows: list[list[str]]) -> str:
    safe = [[cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in safe]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"
