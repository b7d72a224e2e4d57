"""A look into a stored file, as much of it as fits on a page. Nothing is executed, rendered or unpickled."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field

from headway.engines.host import Host
from headway.tracking.tables import Artifact

READ = 256 << 10
ROWS, COLUMNS = 100, 40
LANGUAGES = {
    "py": "python", "json": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml", "md": "markdown", "sh": "bash",
    "sql": "sql", "xml": "xml", "ini": "ini", "cfg": "ini", "r": "r", "js": "javascript", "css": "css",
}  # fmt: skip
IMAGES = frozenset({"png", "jpg", "jpeg", "gif", "webp"})
TEXTS = frozenset({"txt", "log", "ipynb", "svg", "patch", "diff"}) | frozenset(LANGUAGES)


@dataclass(frozen=True)
class Preview:
    """`kind`: image, html, table, text or none. `cut`: there is more than is shown."""

    kind: str
    text: str = ""
    language: str = "text"
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    cut: bool = False


def ending(path: str) -> str:
    """The file's ending in lower case; names that are known whole count as text."""
    name = path.rpartition("/")[2]
    if name in ("MLmodel", "requirements.txt", "Dockerfile", "Makefile"):
        return "yaml" if name == "MLmodel" else "txt"
    return name.rpartition(".")[2].lower() if "." in name else ""


def look(host: Host, file: Artifact) -> Preview:
    """The preview of a file. Raises `NotFound` if its bytes are gone."""
    end = ending(file.path)
    if end in IMAGES:
        return Preview("image")
    if end in ("html", "htm"):
        return Preview("html")
    if end not in TEXTS and end not in ("csv", "tsv"):
        return Preview("none")
    data = b"".join(host.blobs.open(file.sha256, 0, min(file.size, READ)))
    cut = file.size > READ
    text = data.decode("utf-8", "replace")
    if "\0" in text:
        return Preview("none")
    if end in ("csv", "tsv"):
        return _table(text, "\t" if end == "tsv" else ",", cut)
    if end == "json" and not cut:
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return Preview("text", text, "text")
    return Preview("text", text, LANGUAGES.get(end, "text"), cut=cut)


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
        return Preview("text", "")
    width = max(len(row) for row in rows)
    filled = [row + [""] * (width - len(row)) for row in rows]
    return Preview("table", head=filled[0], rows=filled[1 : ROWS + 1], cut=cut or len(rows) > ROWS)
