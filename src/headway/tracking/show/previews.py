"""A look into a stored file, as much of it as fits on a page. Nothing is executed or unpickled, and HTML stays in its frame."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from headway.engines.host import Host
from headway.tracking.show import parquet
from headway.tracking.tables import Artifact
from headway.web import cells

READ = 256 << 10
NOTEBOOK = 16 << 20
ROWS, COLUMNS = 100, 40
LANGUAGES = {
    "py": "python", "json": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml", "md": "markdown", "sh": "bash",
    "sql": "sql", "xml": "xml", "ini": "ini", "cfg": "ini", "r": "r", "js": "javascript", "css": "css", "diff": "diff",
    "patch": "diff", "ts": "typescript", "java": "java", "c": "c", "cpp": "cpp", "rs": "rust", "go": "go",
}  # fmt: skip
IMAGES = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg"})
AUDIO = frozenset({"wav", "mp3", "ogg", "oga", "flac", "m4a"})
VIDEO = frozenset({"mp4", "webm", "ogv"})
TEXTS = frozenset({"txt", "log", "jsonl", "tex", "rst"}) | frozenset(LANGUAGES)
_WHOLE = {"MLmodel": "yaml", "requirements.txt": "txt", "Dockerfile": "txt", "Makefile": "txt", "LICENSE": "txt"}


@dataclass(frozen=True)
class Preview:
    """`kind`: image, html, table, text, prose, notebook, schema, audio, video or none. `cut`: there is more than is shown.

    `note` says why there is nothing to see, or what the file says of itself.
    """

    kind: str
    text: str = ""
    language: str = "text"
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    cut: bool = False
    note: str = ""
    html: Markup = field(default_factory=Markup)
    cells: list[cells.Cell] = field(default_factory=list)


def ending(path: str) -> str:
    """The file's ending in lower case; names that are known whole count as text."""
    name = path.rpartition("/")[2]
    if name in _WHOLE:
        return _WHOLE[name]
    return name.rpartition(".")[2].lower() if "." in name else ""


def look(host: Host, file: Artifact) -> Preview:
    """The preview of a file. Raises `NotFound` if its bytes are gone."""
    end = ending(file.path)
    for kind, ends in (("image", IMAGES), ("audio", AUDIO), ("video", VIDEO), ("html", ("html", "htm"))):
        if end in ends:
            return Preview(kind)
    if end in ("parquet", "pq"):
        return _parquet(host, file)
    if end == "ipynb":
        return _notebook(host, file)
    if end not in TEXTS and end not in ("csv", "tsv"):
        return Preview("none", note="There is no preview of such files.")
    data = b"".join(host.blobs.open(file.sha256, 0, min(file.size, READ)))
    return shown(end, data.decode("utf-8", "replace"), file.size > READ)


def shown(end: str, text: str, cut: bool) -> Preview:
    """Text by its file's ending: a table, prose, JSON set out, or as it is."""
    if "\0" in text:
        return Preview("none", note="It holds bytes that are no text.")
    if end in ("csv", "tsv"):
        return _table(text, "\t" if end == "tsv" else ",", cut)
    if end == "md" and not cut:
        return Preview("prose", text, "markdown", html=cells.markdown(text))
    if end == "json" and not cut:
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return Preview("text", text, "text", note="It is not valid JSON.")
    return Preview("text", text, LANGUAGES.get(end, "text"), cut=cut)


def _parquet(host: Host, file: Artifact) -> Preview:
    try:
        found = parquet.footer(lambda start, end: b"".join(host.blobs.open(file.sha256, start, end)), file.size)
    except parquet.NotParquet as problem:
        return Preview("none", note=f"It is no Parquet file: {problem}.")
    rows = [[name, kind] for name, kind in found.columns]
    note = f"{found.rows:,} rows, {len(found.columns):,} columns, {found.groups:,} row groups"
    return Preview("schema", head=["Column", "Type"], rows=rows[:500], cut=len(rows) > 500, note=note)


def _notebook(host: Host, file: Artifact) -> Preview:
    if file.size > NOTEBOOK:
        return Preview("none", note="This notebook is too large to show.")
    try:
        found = json.loads(b"".join(host.blobs.open(file.sha256)))
    except (ValueError, RecursionError):
        return Preview("none", note="It is no notebook: its JSON can't be read.")
    listed = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(listed, list) or found.get("nbformat") != 4 or not isinstance(found.get("metadata", {}), dict):
        return Preview("none", note="It is no notebook of format 4.")
    found["cells"] = [c for c in listed if isinstance(c, Mapping) and isinstance(c.get("cell_type"), str)][:500]
    try:
        return Preview("notebook", cells=cells.cells(found), cut=len(listed) > 500)
    except (TypeError, ValueError, AttributeError, KeyError):
        return Preview("none", note="This notebook is broken.")


def _table(text: str, delimiter: str, cut: bool) -> Preview:
    if cut:
        text = text[: text.rfind("\n") + 1] or text
    try:
        rows = []
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            rows.append(row[:COLUMNS])
            if len(rows) > ROWS:
                break
    except csv.Error:
        return Preview("text", text, cut=cut)
    if not rows:
        return Preview("none", note="The file is empty.")
    width = max(len(row) for row in rows)
    filled = [row + [""] * (width - len(row)) for row in rows]
    return Preview("table", head=filled[0], rows=filled[1 : ROWS + 1], cut=cut or len(rows) > ROWS)
