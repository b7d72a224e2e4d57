"""What differs between runs in their packages and their code, read from the files that capture left."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import NotFound
from headway.tracking import artifacts
from headway.tracking.readout import RunFacts
from headway.tracking.runtable import DiffRow, diff

ENVIRONMENT, CODE = "headway/environment.txt", "headway/code"
_FILES, _BYTES, _LINES = 20, 200_000, 400


def packages(db: Session, host: Host, runs: Sequence[RunFacts]) -> list[DiffRow]:
    """Packages in which the runs differ; nothing where a run left no list of its packages."""
    found: list[dict[str, str]] = []
    for run in runs:
        text = read(db, host, run.uuid, ENVIRONMENT)
        if not text:
            return []
        pins = (line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
        found.append({name.strip().lower(): version.strip() for name, _, version in pins})
    return [row for row in diff(found) if row.differs]


def code(db: Session, host: Host, old: RunFacts, new: RunFacts) -> list[tuple[str, str]]:
    """(path, unified diff) of the files of code in which two runs differ."""
    before = {e.path: e.sha256 for e in artifacts.tree(db, old.uuid, CODE)}
    after = {e.path: e.sha256 for e in artifacts.tree(db, new.uuid, CODE)}
    found: list[tuple[str, str]] = []
    for path in sorted({*before, *after}):
        if before.get(path) == after.get(path) or len(found) == _FILES:
            continue
        texts = [read(db, host, run.uuid, path).splitlines() for run in (old, new)]
        lines = list(difflib.unified_diff(texts[0], texts[1], old.name, new.name, lineterm="", n=3))
        if lines:
            found.append((path.removeprefix(CODE + "/"), "\n".join(lines[:_LINES])))
    return found


def read(db: Session, host: Host, owner: str, path: str) -> str:
    """The beginning of a file as text; "" where there is none."""
    try:
        file = artifacts.find(db, owner, path)
        return b"".join(host.blobs.open(file.sha256, 0, min(file.size, _BYTES))).decode("utf-8", "replace")
    except NotFound:
        return ""
