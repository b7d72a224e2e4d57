"""Notebooks for reading: every cell and output as something that is safe to show on headway's own pages. Pure.

HTML is cut down to what tables and text need (nh3), scripts and styles are left out, pictures are data URLs in `<img>`, where
even an SVG can't run anything. What can't be shown that way is named, with where to see it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import markdown_it
import nh3
from markupsafe import Markup, escape

from headway.transcript.terminal import Screen

TEXT_CHARS = 200_000
HTML_CHARS = 500_000
PICTURE_BYTES = 8 << 20
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl", "dt", "em",
    "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "s", "samp", "small",
    "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "img": {"src", "alt", "title", "width", "height"}, "td": {"colspan", "rowspan"},
               "th": {"colspan", "rowspan", "scope"}}  # fmt: skip
_SGR = re.compile(r"\x1b\[([0-9;:]*)m")


@cache
def _markdown() -> markdown_it.MarkdownIt:
    return markdown_it.MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])


@dataclass(frozen=True)
class Output:
    """One output: `kind` is text, error, html, picture or note; `html` is safe markup, `text` is plain."""

    kind: str
    text: str = ""
    html: Markup = field(default_factory=Markup)
    source: str = ""


@dataclass(frozen=True)
class Cell:
    """`kind` is code, markdown or raw. `language` is what the code is highlighted as."""

    kind: str
    source: str
    html: Markup = field(default_factory=Markup)
    count: int | None = None
    outputs: tuple[Output, ...] = ()
    language: str = "python"


def cells(notebook: Mapping[str, Any]) -> list[Cell]:
    """The cells of a notebook that was read and checked (format 4)."""
    info = notebook.get("metadata", {}).get("language_info", {})
    language = str(info.get("name", "python")) if isinstance(info, Mapping) else "python"
    return [_cell(cell, language) for cell in notebook["cells"]]


def _cell(cell: Mapping[str, Any], language: str) -> Cell:
    source = _joined(cell.get("source", ""))
    if cell["cell_type"] == "markdown":
        return Cell("markdown", source, html=clean(_markdown().render(source[:TEXT_CHARS])))
    if cell["cell_type"] != "code":
        return Cell("raw", source)
    outputs = tuple(shown(one) for one in cell.get("outputs", []) if isinstance(one, Mapping))
    count = cell.get("execution_count")
    return Cell("code", source, count=count if isinstance(count, int) else None, outputs=outputs, language=language)


def shown(output: Mapping[str, Any]) -> Output:
    """One output of a code cell."""
    kind = output.get("output_type")
    if kind == "stream":
        return coloured("text", _joined(output.get("text", "")))
    if kind == "error":
        trace = "\n".join(str(line) for line in output.get("traceback") or [])
        return coloured("error", trace or f"{output.get('ename')}: {output.get('evalue')}")
    data = output.get("data")
    return _rich(data if isinstance(data, Mapping) else {})


def _rich(data: Mapping[str, Any]) -> Output:
    for kind in _PICTURES:
        if kind in data and (source := _picture(kind, _joined(data[kind]))):
            return Output("picture", source=source, text=_joined(data.get("text/plain", "")))
    if "image/svg+xml" in data:
        encoded = base64.b64encode(_joined(data["image/svg+xml"]).encode()[:PICTURE_BYTES]).decode()
        return Output("picture", source=f"data:image/svg+xml;base64,{encoded}")
    markup = _joined(data.get("text/html", ""))
    if markup and len(markup) <= HTML_CHARS and (html := clean(markup)).strip():
        return Output("html", html=html)
    if "text/markdown" in data:
        return Output("html", html=clean(_markdown().render(_joined(data["text/markdown"])[:TEXT_CHARS])))
    for kind in ("text/latex", "text/plain"):
        if kind in data:
            return Output("text", plain(_joined(data[kind])))
    names = ", ".join(sorted(str(name) for name in data)) or "nothing"
    return Output("note", f"An output of kind {names}: open the notebook to see it.")


def markdown(text: str) -> Markup:
    """Markdown as people write it in notes and files, safe to show."""
    return clean(_markdown().render(text[:TEXT_CHARS]))


def clean(html: str) -> Markup:
    """HTML cut down to text, tables and pictures that are in it; links open elsewhere and lead to the web alone."""
    found = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style", "iframe", "object", "template", "noscript"},
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(found)  # noqa: S704  cut down to the allow-list just now


def _attribute(_tag: str, name: str, value: str) -> str | None:
    """Pictures are only shown if they are in the notebook: another host's would tell it who reads this."""
    if name == "src":
        return (
            value if value.startswith(tuple(f"data:{kind};base64," for kind in (*_PICTURES, "image/svg+xml"))) else None
        )
    if name == "href" and value.strip().lower().startswith("data:"):
        return None
    return value


def plain(text: str) -> str:
    """Text as a terminal would show it, without colours, cut at a length that a page can bear."""
    return _without_colours(_screened(text))


def coloured(kind: str, text: str) -> Output:
    """Text as a terminal would show it: `text` without its colours, `html` with them."""
    seen = _screened(text)
    return Output(kind, _without_colours(seen), html=ansi(seen))


def ansi(text: str) -> Markup:
    """Escaped text whose colour codes are classes `ansi-31`, `ansi-1`...: of the colours, the sixteen that have names."""
    parts = _SGR.split(text)
    found = [str(escape(parts[0]))]
    styles: list[str] = []
    for codes, piece in zip(parts[1::2], parts[2::2], strict=True):
        styles = _styles(styles, [int(code) if code.isdigit() else 0 for code in codes.replace(":", ";").split(";")])
        if piece:
            safe = str(escape(piece))
            found.append(f'<span class="{" ".join(styles)}">{safe}</span>' if styles else safe)
    return Markup("".join(found))  # noqa: S704  every piece was escaped just now


def _styles(styles: list[str], codes: list[int]) -> list[str]:
    now = list(styles)
    queue = list(codes)
    while queue:
        code = queue.pop(0)
        if code == 0:
            now = []
        elif code in (38, 48):  # a colour of 256, or of all: its foreground becomes the nearest of sixteen
            colour = _nearest(queue)
            if code == 38 and colour:
                now = [*(name for name in now if not _is_colour(name)), f"ansi-{colour}"]
        elif code in (1, 2, 3, 4):
            now = [*(name for name in now if name != f"ansi-{code}"), f"ansi-{code}"]
        elif code == 22:
            now = [name for name in now if name not in ("ansi-1", "ansi-2")]
        elif code in (23, 24):
            now = [name for name in now if name != f"ansi-{code - 20}"]
        elif 30 <= code <= 37 or 90 <= code <= 97:
            now = [*(name for name in now if not _is_colour(name)), f"ansi-{code}"]
        elif code == 39:
            now = [name for name in now if not _is_colour(name)]
    return now


def _is_colour(name: str) -> bool:
    return int(name[5:]) >= 30


def _nearest(queue: list[int]) -> int:
    kind = queue.pop(0) if queue else 0
    if kind == 5 and queue:
        number = queue.pop(0)
        if number < 16:
            return 30 + number if number < 8 else 82 + number
        if number >= 232:
            return 90 if number < 244 else 37
        number -= 16
        red, green, blue = number // 36 * 51, number // 6 % 6 * 51, number % 6 * 51
    elif kind == 2 and len(queue) >= 3:
        red, green, blue = (queue.pop(0) for _ in range(3))
    else:
        return 0
    most = max(red, green, blue, 1)
    return 30 + (red * 2 > most) + 2 * (green * 2 > most) + 4 * (blue * 2 > most)


def _screened(text: str) -> str:
    screen = Screen(head=TEXT_CHARS, tail=TEXT_CHARS // 4)
    screen.write(text)
    return screen.text()


def _without_colours(text: str) -> str:
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])


def _picture(kind: str, data: str) -> str:
    compact = "".join(data.split())
    if len(compact) > PICTURE_BYTES * 4 // 3:
        return ""
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f"data:{kind};base64,{compact}"


def _joined(value: object) -> str:
    if isinstance(value, list):
        return "".join(str(part) for part in value)
    return value if isinstance(value, str) else str(value)
