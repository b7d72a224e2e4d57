"""What differs between runs in their packages, their code and their data, read from what capture and clients left."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import NotFound
from headway.tracking import artifacts
from headway.tracking.show import codeview, previews
from headway.tracking.show.codeview import FileDiff
from headway.tracking.show.loose import parsed
from headway.tracking.show.runtable import DiffRow, diff
from headway.tracking.store.readout import DataInput, RunFacts

ENVIRONMENT, CODE = "headway/environment.txt", "headway/code"
_FILES, _BYTES, _COLUMNS = 40, 200_000, 500


def pins(text: str) -> dict[str, str]:
    """Name and version of each `name==version` line."""
    found = (line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {name.strip().lower(): version.strip() for name, _, version in found}


def packages(db: Session, host: Host, runs: Sequence[RunFacts]) -> list[DiffRow]:
    """Packages in which the runs differ; nothing where a run left no list of its packages."""
    found: list[dict[str, str]] = []
    for run in runs:
        text = read(db, host, run.uuid, ENVIRONMENT)
        if not text:
            return []
        found.append(pins(text))
    return [row for row in diff(found) if row.differs]


def package_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """(name, added | removed | changed, version before, version now), by name."""
    found = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            state = "added" if name not in old else "removed" if name not in new else "changed"
            found.append((name, state, old.get(name, ""), new.get(name, "")))
    return found


def code(db: Session, host: Host, old: RunFacts, new: RunFacts) -> list[FileDiff]:
    """How the files of code differ between two runs."""
    before = {e.path: e.sha256 for e in artifacts.tree(db, old.uuid, CODE)}
    after = {e.path: e.sha256 for e in artifacts.tree(db, new.uuid, CODE)}
    found: list[FileDiff] = []
    for path in sorted({*before, *after}):
        if before.get(path) == after.get(path) or len(found) == _FILES:
            continue
        texts = [read(db, host, run.uuid, path) if path in its else None for run, its in ((old, before), (new, after))]
        if any("\0" in (text or "") for text in texts):
            continue
        language = previews.LANGUAGES.get(previews.ending(path), "text")
        one = codeview.file_diff(path.removeprefix(CODE + "/"), texts[0], texts[1], language)
        if one is not None:
            found.append(one)
    return found


def read(db: Session, host: Host, owner: str, path: str, most: int = _BYTES) -> str:
    """The beginning of a file as text; "" where there is none."""
    try:
        file = artifacts.find(db, owner, path)
        return b"".join(host.blobs.open(file.sha256, 0, min(file.size, most))).decode("utf-8", "replace")
    except NotFound:
        return ""


@dataclass
class Dataset:
    """Data that a run read under one name: what it was used for, its hash, its shape, its columns with their types."""

    name: str
    contexts: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    rows: int | None = None
    columns: list[tuple[str, str]] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)


def datasets(run: RunFacts) -> list[Dataset]:
    """The data of a run. Several witnesses of one name (the file that was opened, the frame that was made of it) are one."""
    found: dict[str, Dataset] = {}
    for item in run.inputs:
        _add(found.setdefault(item.name, Dataset(item.name)), item)
    return list(found.values())


def _add(one: Dataset, item: DataInput) -> None:
    context = item.tags.get("mlflow.data.context", "")
    if context and context not in one.contexts:
        one.contexts.append(context)
    if item.digest not in one.digests:
        one.digests.append(item.digest)
    source = parsed(item.source)
    where = source.get("uri") or source.get("url") or source.get("path") or source.get("call") or ""
    # a run works in a copy of the project's folder: what people know is the file in it
    pair = (item.source_type, re.sub(r"^.*/runs/[0-9a-f]{32}/a\d+/work/", "", str(where)) or item.source[:200])
    if pair not in one.sources:
        one.sources.append(pair)
    profile = parsed(item.profile)
    rows = profile.pop("num_rows", None)
    if isinstance(rows, int):
        one.rows = rows
    one.more |= {
        str(k): str(v)[:200] for k, v in profile.items() if isinstance(v, str | int | float) and k != "num_elements"
    }
    one.columns = one.columns or schema(item.schema)


def schema(text: str) -> list[tuple[str, str]]:
    """(column, type) of an MLflow schema; empty where it says something else."""
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return []
    columns = found.get("mlflow_colspec") if isinstance(found, dict) else found
    if not isinstance(columns, list):
        return []
    return [(str(c.get("name", "")), str(c.get("type", ""))) for c in columns[:_COLUMNS] if isinstance(c, dict)]


@dataclass(frozen=True)
class DataRow:
    """One name of data across runs: for each run the dataset, or None. `what` says in which way they differ."""

    name: str
    values: tuple[Dataset | None, ...]
    differs: bool
    columns: list[DiffRow]


def data(runs: Sequence[RunFacts]) -> list[DataRow]:
    """The data of several runs beside each other: hash, rows, and the columns in which their schemas differ."""
    found = [{one.name: one for one in datasets(run)} for run in runs]
    rows = []
    for name in dict.fromkeys(name for its in found for name in its):
        values = tuple(its.get(name) for its in found)
        marks = {(tuple(sorted(v.digests)), v.rows, tuple(v.columns)) if v else None for v in values}
        columns = [row for row in diff([dict(v.columns) if v else {} for v in values]) if row.differs]
        rows.append(DataRow(name, values, len(marks) > 1, columns if all(v and v.columns for v in values) else []))
    return sorted(rows, key=lambda row: (not row.differs, row.name.lower()))


def figures(db: Session, runs: Sequence[RunFacts], most: int = 40) -> list[tuple[str, list[str | None]]]:
    """Pictures of several runs, aligned: by their path, and those that capture numbered by their number."""
    names: dict[str, dict[str, str]] = {}
    for run in runs:
        for entry in artifacts.tree(db, run.uuid):
            if previews.ending(entry.path) in previews.IMAGES:
                names.setdefault(aligned(entry.path), {})[run.uuid] = entry.path
    return [(name, [its.get(run.uuid) for run in runs]) for name, its in sorted(names.items())][:most]


def aligned(path: str) -> str:
    """What a picture is called in every run: `headway/figures/01-4711-03.png` is named after a process."""
    head, _, name = path.rpartition("/")
    if head == "headway/figures":
        number, dash, rest = name.partition("-")
        parts = rest.split("-")
        return f"Figure {int(number)}" if dash and number.isdigit() and parts[0].isdigit() else name
    return path
