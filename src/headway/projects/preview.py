"""What a page shows of a file: text with its language, a picture, a table's first rows, or nothing but its size."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from headway.projects import files

TEXT_BYTES = 200_000
TABLE_ROWS, TABLE_COLUMNS, CELL = 50, 50, 200
_LANGUAGES = {"py": "python", "md": "markdown", "toml": "toml", "yaml": "yaml", "yml": "yaml", "json": "json", "sql": "sql",
              "sh": "bash", "r": "r", "js": "javascript", "html": "html", "css": "css", "ini": "ini", "cfg": "ini",
              "ipynb": "json"}  # fmt: skip
_PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}


@dataclass(frozen=True)
class Preview:
    """`kind` is text, table, picture or none. `cut`: there is more than is shown."""

    kind: str
    size: int
    modified_at: int
    text: str = ""
    language: str = "text"
    rows: list[list[str]] = field(default_factory=list)
    cut: bool = False


def picture_kind(name: str) -> str | None:
    """The media type of a picture that may be shown; None for everything else (an SVG can hold a script)."""
    return _PICTURES.get(_extension(name))


def of(root: Path, parts: tuple[str, ...]) -> Preview:
    """The preview of one file. Raises as `files.open_file` does."""
    with files.reading(root, parts) as file:
        info = os.fstat(file.fileno())
        head = b"" if picture_kind(parts[-1]) else file.read(TEXT_BYTES + 1)
    size, modified_at = info.st_size, info.st_mtime_ns // 1_000_000
    if picture_kind(parts[-1]):
        return Preview("picture", size, modified_at)
    text = _text(head)
    if text is None:
        return Preview("none", size, modified_at)
    cut = size > TEXT_BYTES
    extension = _extension(parts[-1])
    if extension in ("csv", "tsv"):
        rows, more = _table(text, "\t" if extension == "tsv" else ",", cut)
        return Preview("table", size, modified_at, rows=rows, cut=more)
    return Preview("text", size, modified_at, text=text, language=_LANGUAGES.get(extension, "text"), cut=cut)


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _text(head: bytes) -> str | None:
    """The beginning as text, or None if it is not: a character cut in two at the end is left out."""
    if b"\0" in head:
        return None
    for spare in range(4):
        try:
            return head[: min(len(head), TEXT_BYTES) - spare].decode("utf-8-sig")
        except UnicodeDecodeError:
            if len(head) <= TEXT_BYTES:
                return None
    return None


def _table(text: str, delimiter: str, cut: bool) -> tuple[list[list[str]], bool]:
    lines = text.splitlines(keepends=True)
    if cut and len(lines) > 1:
        lines = lines[:-1]
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO("".join(lines)), delimiter=delimiter):
            if len(rows) > TABLE_ROWS:
                return rows, True
            rows.append([cell[:CELL] for cell in row[:TABLE_COLUMNS]])
    except csv.Error:
        return rows, True
    return rows, cut
