"""What each tab of a run's page shows. Reads only; the routes are in `run_pages`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines.host import Host
from headway.errors import NotFound
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.tracking import artifacts, limits, logged_models, service, states
from headway.tracking.artifacts import Entry
from headway.tracking.show import codeview, comparing, lineage, previews, runtable, sparks, standing, told
from headway.tracking.show import resources as machine
from headway.tracking.show.loose import mapping, parsed
from headway.tracking.show.standing import Standing
from headway.tracking.show.told import Told
from headway.tracking.store.readout import RunFacts
from headway.tracking.wire.logged_models import registrations
from headway.web import cells

NOTE = "mlflow.note.content"
CHARTS = 6  # on the overview
ROWS = 24  # metrics in its table
PAGE = 24  # charts of a page of metrics
NUMBERS = 500  # rows of a page of metrics; a run may have 12,000
FIGURES = 120
SOURCES = 40
RECORD = 8 << 20


@dataclass
class Shown:
    """A run on one of its pages."""

    who: Who
    project: Project
    run: RunFacts
    base: str
    models: list[Any]


# Further tabs, of slices above this one: (db, shown) -> (name, address, count) or None where a run has nothing of it.
MORE: list[Callable[[Session, Shown], tuple[str, str, int | None] | None]] = []


@dataclass(frozen=True)
class Asked:
    """What the address asks of a tab."""

    file: str = ""
    query: str = ""
    page: int = 1
    line: int = 0
    rows: int = 1


def overview(db: Session, host: Host, shown: Shown, _asked: Asked) -> dict[str, Any]:
    """The run in short: how it stands, its numbers, models, trainings, pictures, and what it hangs together with."""
    run = shown.run
    names = standing.ordered([k for k in run.metrics if not limits.of_machine(k)], run.metrics)
    curves = [k for k in names if run.metrics[k].is_curve]
    around = facts(db, host, shown, names)
    stands: Standing = around["stands"]
    uuids = [m.uuid for m in shown.models]
    registered = registrations(db, uuids) if uuids else {}
    versions = [(name, number) for its in registered.values() for name, number in its]
    served = lineage.serving(db, run.project_id, versions)
    kids = service.children(db, run.uuid)
    pictures = _pictures(artifacts.tree(db, run.uuid), around["told"])
    return {
        **around,
        "percent": stands.percent(now_ms(), run.start_time) if run.status == "RUNNING" else None,
        "curves": curves[:CHARTS],
        "more_curves": max(0, len(curves) - CHARTS),
        "children": kids,
        "child_columns": [c for c in runtable.columns(kids) if not c.hidden],
        "child_state": states.state,
        "parent": _parent(db, run),
        "registered": registered,
        "served": served,
        "drawing": lineage.drawn(shown.project.slug, run, shown.models, registered, served),
        "tags": {k: v for k, v in sorted(run.tags.items()) if not k.startswith(("mlflow.", "headway."))},
        "note_html": cells.markdown(run.tags.get(NOTE, "")),
        "classes": {m.row.uuid: m.tags.get("headway.class", "") for m in logged_models.facts(db, shown.models)},
        "pictures": pictures[:12],
        "picture_count": len(pictures),
    }


def facts(db: Session, host: Host, shown: Shown, names: list[str]) -> dict[str, Any]:
    """The tables of metrics (the first of `names`) and parameters, and how the run stands."""
    run = shown.run
    stands = standing.standing(db, shown.who, run)
    return {
        "stands": stands,
        "told": record(db, host, run),
        "metric_keys": names[:ROWS],
        "metric_count": len(names),
        "sparks": sparks.sparks(db, run, names[:ROWS]),
        "changed": standing.changed_params(run, stands.previous),
    }


def _parent(db: Session, run: RunFacts) -> Any:
    row = service.by_uuid(db, run.parent_uuid) if run.parent_uuid else None
    return row if row is not None and row.project_id == run.project_id else None


def record(db: Session, host: Host, run: RunFacts) -> Told | None:
    """What capture told of the run; None where it wasn't there."""
    try:
        file = artifacts.find(db, run.uuid, "headway/capture.json")
    except NotFound:
        return None
    if file.size > RECORD:
        return None
    return told.read(host.blobs.read(file.sha256).decode("utf-8", "replace"))


def metrics(db: Session, host: Host, shown: Shown, asked: Asked) -> dict[str, Any]:
    """All metrics, those of a search, and a page of their charts."""
    run = shown.run
    words = asked.query.lower().split()
    names = standing.ordered([k for k in run.metrics if not limits.of_machine(k)], run.metrics)
    found = [k for k in names if all(word in k.lower() for word in words)]
    curves = [k for k in found if run.metrics[k].is_curve]
    pages = max(1, math.ceil(len(curves) / PAGE))
    page = min(max(1, asked.page), pages)
    sheets = max(1, math.ceil(len(found) / NUMBERS))
    sheet = min(max(1, asked.rows), sheets)
    shown_keys = found[(sheet - 1) * NUMBERS : sheet * NUMBERS]
    return {
        "told": record(db, host, run),
        "keys": shown_keys,
        "found": len(found),
        "sheet": sheet,
        "sheets": sheets,
        "of": len(names),
        "query": asked.query,
        "curves": curves[(page - 1) * PAGE : page * PAGE],
        "curve_count": len(curves),
        "page": page,
        "pages": pages,
        "sparks": sparks.sparks(db, run, shown_keys),
        "towards": standing.towards,
    }


def output(_db: Session, _host: Host, _shown: Shown, _asked: Asked) -> dict[str, Any]:
    """What it printed: the runs' slice brings it."""
    return {}


def files(db: Session, host: Host, shown: Shown, asked: Asked) -> dict[str, Any]:
    """The tree of its files, one of them opened; without one, its pictures."""
    entries = artifacts.tree(db, shown.run.uuid)
    pictures = _pictures(entries, record(db, host, shown.run))
    found = artifacts.find(db, shown.run.uuid, artifacts.check_path(asked.file)) if asked.file else None
    if found is None and not pictures and entries:
        found = artifacts.find(db, shown.run.uuid, _first(entries).path)
    return {
        "entries": entries,
        "tree": tree(entries),
        "size": sum(e.size or 0 for e in entries),
        "pictures": pictures[:FIGURES] if found is None else [],
        "file": found,
        "preview": previews.look(host, found) if found is not None else None,
    }


@dataclass(frozen=True)
class Picture:
    """A picture among the files; `where` in the code it was made, if that is known."""

    path: str
    name: str
    where: str


def _pictures(entries: list[Entry], known: Told | None) -> list[Picture]:
    origins = known.figures if known else {}
    found = [e.path for e in entries if previews.ending(e.path) in previews.IMAGES]
    return [Picture(path, comparing.aligned(path).rpartition("/")[2], origins.get(path, "")) for path in found]


def _first(entries: list[Entry]) -> Entry:
    """What a person put there before what was kept by itself."""
    return min(entries, key=lambda e: (e.path.startswith("headway/"), e.path))


@dataclass(frozen=True)
class Folder:
    """A folder of the tree: its whole path, the folders in it, its files, and what lies below it altogether."""

    path: str
    name: str
    folders: list[Folder]
    files: list[Entry]
    count: int
    size: int


def tree(entries: list[Entry], path: str = "") -> Folder:
    """Files as folders in folders, by name."""
    depth = len(path) + 1 if path else 0
    inside: dict[str, list[Entry]] = {}
    own: list[Entry] = []
    for entry in entries:
        head, slash, _ = entry.path[depth:].partition("/")
        if slash:
            inside.setdefault(head, []).append(entry)
        else:
            own.append(entry)
    folders = [tree(inside[name], f"{path}/{name}" if path else name) for name in sorted(inside)]
    return Folder(path, path.rpartition("/")[2], folders, own, len(entries), sum(e.size or 0 for e in entries))


def code(db: Session, host: Host, shown: Shown, asked: Asked) -> dict[str, Any]:
    """The sources as they ran, with git's state; a notebook's executed cells in their order."""
    entries = artifacts.tree(db, shown.run.uuid, comparing.CODE)
    sources = []
    for entry in entries[:SOURCES]:
        text = comparing.read(db, host, shown.run.uuid, entry.path)
        name = entry.path.removeprefix(comparing.CODE + "/")
        if "\0" not in text:
            language = previews.LANGUAGES.get(previews.ending(entry.path), "text")
            sources.append(codeview.source(name, entry.path, text, language))
    git = {
        k.rpartition(".")[2]: v for k, v in shown.run.tags.items() if k.startswith(("mlflow.source.git", "headway.git"))
    }
    return {
        "sources": sources,
        "git": git,
        "marked": (asked.file, asked.line),
        "left_out": max(0, len(entries) - SOURCES),
    }


def environment(db: Session, host: Host, shown: Shown, _asked: Asked) -> dict[str, Any]:
    """Its packages, and what is different in them since the previous run of the experiment."""
    text = comparing.read(db, host, shown.run.uuid, comparing.ENVIRONMENT)
    stands = standing.standing(db, shown.who, shown.run)
    previous = stands.previous
    before = comparing.read(db, host, previous.uuid, comparing.ENVIRONMENT) if previous else ""
    return {
        "packages": comparing.pins(text),
        "extra": [line for line in text.splitlines() if line.strip() and "==" not in line],
        "previous": previous if before else None,
        "package_changes": comparing.package_changes(comparing.pins(before), comparing.pins(text)) if before else [],
        "machine": machine.told(db, host, shown.run.uuid)["machine"],
        "python": _python(db, host, shown.run),
    }


def _python(db: Session, host: Host, run: RunFacts) -> str:
    found = parsed(comparing.read(db, host, run.uuid, "headway/capture.json", RECORD))
    return str(mapping(found.get("environment")).get("python") or "")


def data(_db: Session, _host: Host, shown: Shown, _asked: Asked) -> dict[str, Any]:
    """The data it read: one card for each name, with what each witness of it said."""
    return {"inputs": comparing.datasets(shown.run)}


def resources(db: Session, host: Host, shown: Shown, _asked: Asked) -> dict[str, Any]:
    """What the run took of its machine."""
    run = shown.run
    return {
        **machine.told(db, host, run.uuid),
        "names": sorted(k for k in run.metrics if limits.of_machine(k)),
        "labels": machine.label,
    }


def why(db: Session, host: Host, shown: Shown, _asked: Asked) -> dict[str, Any]:
    """Where each fact comes from."""
    return {"told": record(db, host, shown.run)}


TABS = {
    "overview": overview, "metrics": metrics, "output": output, "files": files, "code": code, "environment": environment,
    "data": data, "resources": resources, "why": why,
}  # fmt: skip
