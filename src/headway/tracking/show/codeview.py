"""Code as pages show it: coloured line by line, so that a line can be linked to; and differences beside each other. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from headway.web import show

CONTEXT = 3
LINES = 3000


@dataclass(frozen=True)
class Source:
    """A file's lines, coloured. `name` as its run knew it, `path` the artifact's."""

    name: str
    path: str
    language: str
    lines: list[Markup]
    cut: bool

    @property
    def title(self) -> str:
        return title(self.name)


def title(name: str) -> str:
    """What people call a file of code: `cells/0004.py` is the notebook's fourth cell that ran."""
    cell = re.fullmatch(r"cells/(\d+)\.py", name)
    return f"Cell {int(cell[1])}" if cell else name


def coloured(text: str, language: str) -> list[Markup]:
    """The lines of a text; each closes what it opens."""
    lines = str(show.highlight(text, language)).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [Markup(line) for line in lines]  # noqa: S704  lines of markup that `highlight` has escaped


def source(name: str, path: str, text: str, language: str) -> Source:
    """A file to be read on a page."""
    lines = coloured(text.rstrip("\n"), language)
    return Source(name, path, language, lines[:LINES], len(lines) > LINES)


Kind = Literal["same", "changed", "added", "removed", "gap"]


@dataclass(frozen=True)
class Line:
    """One row of a difference: (number, line) left and right, None where there is none. A gap stands for `hidden` equal lines."""

    kind: Kind
    left: tuple[int, Markup] | None = None
    right: tuple[int, Markup] | None = None
    hidden: int = 0
    folded: tuple[Line, ...] = ()


@dataclass(frozen=True)
class FileDiff:
    """How a file differs: `state` is changed, added or removed; how many lines came and went."""

    name: str
    state: str
    added: int
    removed: int
    lines: list[Line]
    cut: bool = False

    @property
    def title(self) -> str:
        return title(self.name)


def file_diff(name: str, old: str | None, new: str | None, language: str) -> FileDiff | None:
    """The difference of two texts (None: there is no such file); None where there is none."""
    if old == new:
        return None
    before, after = (old or "").splitlines(), (new or "").splitlines()
    left, right = coloured(old or "", language), coloured(new or "", language)
    left, right = _filled(left, before), _filled(right, after)
    rows: list[Line] = []
    added = removed = 0
    for tag, a1, a2, b1, b2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            rows += [Line("same", (i + 1, left[i]), (b1 + i - a1 + 1, right[b1 + i - a1])) for i in range(a1, a2)]
            continue
        added, removed = added + b2 - b1, removed + a2 - a1
        rows += _pairs(left[a1:a2], right[b1:b2], a1, b1)
    if not added and not removed:
        return None
    state = "added" if old is None else "removed" if new is None else "changed"
    return FileDiff(name, state, added, removed, _folded(rows[:LINES]), len(rows) > LINES)


def _filled(lines: list[Markup], plain: Sequence[str]) -> list[Markup]:
    """As many coloured lines as there are plain ones, whatever the lexer dropped at the ends."""
    if len(lines) == len(plain):
        return lines
    return [Markup.escape(line) for line in plain]


def _pairs(left: Sequence[Markup], right: Sequence[Markup], a: int, b: int) -> Iterable[Line]:
    for i in range(max(len(left), len(right))):
        one = (a + i + 1, left[i]) if i < len(left) else None
        other = (b + i + 1, right[i]) if i < len(right) else None
        yield Line("changed" if one and other else "removed" if one else "added", one, other)


def _folded(rows: list[Line]) -> list[Line]:
    """Long stretches of equal lines become one that can be opened."""
    found: list[Line] = []
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and rows[end].kind == "same":
            end += 1
        run = rows[at:end]
        head = CONTEXT if at else 0
        foot = CONTEXT if end < len(rows) else 0
        if len(run) > head + foot + 1:
            middle = run[head : len(run) - foot]
            found += [*run[:head], Line("gap", hidden=len(middle), folded=tuple(middle)), *run[len(run) - foot :]]
        else:
            found += run
        if end < len(rows):
            found.append(rows[end])
        at = end + 1
    return found
