"""Where in the user's code a call came from: file, position, the names it reads, the loops around it.

A frame of user code is told from a library's by its file. Each file is parsed once, at its first call; a call's node is
found by the exact position that the byte code has. The source text itself goes to the spool, once.
"""

from __future__ import annotations

import ast
import linecache
import os
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from headway.capture.redact import secret_name
from headway.capture.spool import Spool

__all__ = ["Site", "Sites"]

SOURCE_LIMIT = 2_000_000
MUTE = re.compile(r"#\s*headway\s*:\s*off\b")
_LIBRARIES = tuple(
    {
        os.path.realpath(p) + os.sep
        for k in ("stdlib", "platstdlib", "purelib", "platlib")
        if (p := sysconfig.get_path(k))
    }
    | {os.path.dirname(os.path.realpath(os.__file__)) + os.sep}
)
_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep


@dataclass(eq=False)
class Site:
    """One call in the user's code."""

    id: int
    file: str
    line: int
    function: str
    names: tuple[str, ...] = ()
    muted: bool = False
    secret: bool = False
    module_level: bool = True
    count: int = 0
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class _File:
    name: str
    muted: bool
    off_lines: frozenset[int]
    calls: dict[tuple[int, int, int, int], tuple[str, ...]]


class Sites:
    """The calls of user code seen so far; new ones, and new files, become facts."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._sites: dict[tuple[int, int], Site | None] = {}
        self._pinned: list[CodeType] = []  # ids of code objects are keys: they must not be reused
        self._files: dict[str, _File | None] = {}
        self._user: dict[str, bool] = {}
        self.cell: dict[str, Any] = {}

    def is_user(self, filename: str) -> bool:
        """Whether a code object's file is the user's: a script, a module of the work folder, a cell."""
        known = self._user.get(filename)
        if known is None:
            known = self._user[filename] = _is_user_file(filename)
        return known

    def caller(self, frame: FrameType | None, limit: int = 60) -> FrameType | None:
        """The nearest frame of user code at or above `frame`."""
        while frame is not None and limit:
            if self.is_user(frame.f_code.co_filename):
                return frame
            frame, limit = frame.f_back, limit - 1
        return None

    def at(self, frame: FrameType) -> Site | None:
        """The site of the call that `frame` is making now; None where it can't be told or is opted out."""
        code = frame.f_code
        key = (id(code), frame.f_lasti)
        if key in self._sites:
            site = self._sites[key]
        else:
            self._pinned.append(code)
            site = self._sites[key] = self._make(frame)
        if site is None or site.muted:
            return None
        site.count += 1
        return site

    def _make(self, frame: FrameType) -> Site | None:
        code = frame.f_code
        file = self.file(code.co_filename)
        if file is None:
            return None
        positions = list(code.co_positions())[frame.f_lasti // 2]
        line, end_line, column, end_column = (p if p is not None else 0 for p in positions)
        line = line or frame.f_lineno
        names = file.calls.get((line, column, end_line, end_column), ())
        muted = file.muted or any(n in file.off_lines for n in range(line, max(line, end_line) + 1))
        site = Site(len(self._sites), file.name, line, code.co_qualname, names, muted, code.co_name == "<module>")
        site.secret = any(secret_name(n) for n in names)
        if not site.muted:
            span = [line, column, end_line, end_column]
            self._spool.add(
                "site", s=site.id, file=file.name, at=span, fn=code.co_qualname, names=list(names), up=self._up(frame)
            )
        return site

    def _up(self, frame: FrameType) -> list[list[Any]]:
        """The user's functions that were running, innermost first: proof of what was executed."""
        found: list[list[Any]] = []
        above = frame.f_back
        for _ in range(40):
            if above is None or len(found) == 12:
                break
            if self.is_user(above.f_code.co_filename):
                found.append([above.f_code.co_filename, above.f_lineno, above.f_code.co_qualname])
            above = above.f_back
        return found

    def file(self, filename: str) -> _File | None:
        """A user's file, parsed and sent to the spool at its first use."""
        if filename in self._files:
            return self._files[filename]
        made = self._files[filename] = self._read(filename) if self.is_user(filename) else None
        return made

    def _read(self, filename: str) -> _File | None:
        lines = linecache.getlines(filename)
        source = "".join(lines)
        if not source or len(source) > SOURCE_LIMIT:
            return None
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return None
        off = frozenset(i for i, line in enumerate(lines, 1) if MUTE.search(line))
        cell = dict(self.cell) if is_cell(filename) else {}
        muted = bool(cell.pop("muted", False)) or _mutes_file(lines, off)
        if not muted:
            self._spool.add("source", file=filename, text=source, **cell)
        return _File(filename, muted, off, _calls(tree))


def is_cell(filename: str) -> bool:
    return filename.startswith("<ipython-input") or "ipykernel_" in filename


def _is_user_file(filename: str) -> bool:
    if filename.startswith("<"):
        return filename.startswith("<ipython-input")
    if "ipykernel_" in filename and not Path(filename).exists():
        return True
    path = os.path.realpath(filename)
    if os.path.basename(path) in ("sitecustomize.py", "usercustomize.py"):
        return False
    if path.startswith(_OURS) or path.startswith(_LIBRARIES):
        return False
    return not ("/site-packages/" in path or "/dist-packages/" in path)


def _mutes_file(lines: list[str], off: frozenset[int]) -> bool:
    """A mute comment alone on a line, before any code, mutes the whole file or cell."""
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if number in off and word.startswith("#"):
            return True
        if word and not word.startswith("#"):
            return False
    return False


def _calls(tree: ast.AST) -> dict[tuple[int, int, int, int], tuple[str, ...]]:
    """For each call: the names in it, then the variables of the loops around it."""
    found: dict[tuple[int, int, int, int], tuple[str, ...]] = {}

    def visit(node: ast.AST, loops: tuple[str, ...]) -> None:
        if isinstance(node, ast.Call):
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            key = (node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
            found[key] = tuple(dict.fromkeys([*names, *loops]))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            loops = ()
        if isinstance(node, (ast.For, ast.AsyncFor)):
            inner = loops + tuple(n.id for n in ast.walk(node.target) if isinstance(n, ast.Name))
            for child in node.body:
                visit(child, inner)
            for child in (node.iter, *node.orelse):
                visit(child, loops)
            return
        if isinstance(node, ast.While):
            counters = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
            counters |= {
                n.target.id for n in node.body if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
            }
            loops = loops + tuple(sorted(counters))
        for child in ast.iter_child_nodes(node):
            visit(child, loops)

    try:
        visit(tree, ())
    except RecursionError:
        sys.exc_info()
    return found
