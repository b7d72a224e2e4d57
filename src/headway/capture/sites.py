"""Where in the user's code a call came from: file, position, the names it reads, the loops around it.

A frame of user code is told from a library's by its file. A call's position and names come from its byte code; the source
text goes to the spool, once, and is parsed by whoever reduces the facts.
"""

from __future__ import annotations

import os

from headway.capture.values import held

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

    from headway.capture.bytecode import Calls
    from headway.capture.spool import Spool

__all__ = ["Site", "Sites", "is_library", "mutes"]

SOURCE_LIMIT = 2_000_000
_LIBRARIES = (os.path.dirname(os.path.realpath(os.__file__)) + os.sep,)
_NO_VALUES = (type(os), type, type(os.path.join), type(len))
_CALLED = frozenset(
    ("print", "len", "round", "float", "int", "str", "sum", "min", "max", "abs", "range", "enumerate", "zip")
)
_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep
_KNOWN = (
    *_LIBRARIES,
    os.path.dirname(os.__file__) + os.sep,
    _OURS,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
)


class Site:
    """One call in the user's code."""

    __slots__ = ("count", "file", "function", "id", "line", "module_level", "muted", "names", "plain", "secret")

    def __init__(self, number: int, file: str, line: int, function: str, names: tuple[str, ...], muted: bool) -> None:
        self.id, self.file, self.line, self.function = number, file, line, function
        self.names = names
        self.muted = muted
        self.secret = self.plain = False
        self.module_level = function == "<module>"
        self.count = 0


class _File:
    __slots__ = ("muted", "name", "off_lines")

    def __init__(self, name: str, muted: bool, off_lines: frozenset[int]) -> None:
        self.name, self.muted, self.off_lines = name, muted, off_lines


class Sites:
    """The calls of user code seen so far; new ones, and new files, become facts."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.known: dict[tuple[int, int], Site | None] = {}
        self._pinned: list[CodeType] = []  # ids of code objects are keys: they must not be reused
        self._calls: dict[int, Calls] = {}
        self._files: dict[str, _File | None] = {}
        self.users: dict[str, bool] = {}
        self.cell: dict[str, Any] = {}
        self.on_first: Callable[[], None] | None = None  # called before the first call of user code is noted

    def is_user(self, filename: str) -> bool:
        """Whether a code object's file is the user's: a script, a module of the work folder, a cell."""
        known = self.users.get(filename)
        if known is None:
            known = self.users[filename] = _is_user_file(filename)
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
        if key in self.known:
            site = self.known[key]
        else:
            self._pinned.append(code)
            site = self.known[key] = self._make(frame)
        if site is None or site.muted:
            return None
        site.count += 1
        return site

    def _make(self, frame: FrameType) -> Site | None:
        code = frame.f_code
        file = self.file(code.co_filename)
        if file is None:
            return None
        if self.on_first is not None:
            self.on_first()
        from headway.capture.bytecode import Calls
        from headway.capture.redact import secret_held

        calls = self._calls.get(id(code))
        if calls is None:
            calls = self._calls[id(code)] = Calls(code)
        line, column, end_line, end_column = calls.span(frame.f_lasti) or (frame.f_lineno, 0, frame.f_lineno, 0)
        names = _of_values(calls.names(frame.f_lasti), frame)
        muted = file.muted or any(n in file.off_lines for n in range(line, max(line, end_line) + 1))
        site = Site(len(self.known), file.name, line, code.co_qualname, names, muted)
        holds = frame.f_globals if site.module_level else held(frame) if "key" in names else {}
        site.secret = any(secret_held(n, holds.get(n)) for n in names)
        site.plain = site.module_level and not site.secret and not muted
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
        lines = _lines(filename)
        source = "".join(lines)
        if not source or len(source) > SOURCE_LIMIT:
            return None
        off = frozenset(i for i, line in enumerate(lines, 1) if mutes(line))
        cell = dict(self.cell) if is_cell(filename) else {}
        muted = bool(cell.pop("muted", False)) or _mutes_file(lines, off)
        if not muted:
            self._spool.add("source", file=filename, text=source, **cell)
        return _File(filename, muted, off)


def _lines(filename: str) -> list[str]:
    """The text of a file, or of a cell. Most files are read as they are: `linecache` costs more imports than our start."""
    if not is_cell(filename):
        try:
            file = os.open(filename, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(file).st_size
                data = os.read(file, size) if size <= SOURCE_LIMIT else b""
            finally:
                os.close(file)
            if b"coding" not in data[:400] and not data.startswith(b"\xef\xbb\xbf"):
                text = data.decode("utf-8", "replace").replace("\r\n", "\n")
                return text.removesuffix("\n").replace("\n", "\n\0").split("\0") if "\0" not in text else []
        except OSError:
            pass
    import linecache

    return linecache.getlines(filename)


def _of_values(names: tuple[str, ...], frame: FrameType) -> tuple[str, ...]:
    """Without the names of modules, functions and classes: they hold no value to be told."""
    known = frame.f_globals if frame.f_code.co_name == "<module>" else held(frame)
    return tuple(n for n in names if n not in _CALLED and type(known.get(n, frame.f_globals.get(n))) not in _NO_VALUES)


def mutes(line: str) -> bool:
    """Whether a line has the comment `# headway: off`."""
    comment = line.partition("#")[2]
    return "headway" in comment and comment.replace(" ", "").startswith("headway:off")


def is_cell(filename: str) -> bool:
    return filename.startswith("<ipython-input") or "ipykernel_" in filename


def _is_user_file(filename: str) -> bool:
    if filename.startswith("<"):
        return filename.startswith("<ipython-input")
    if "ipykernel_" in filename and not os.path.exists(filename):
        return True
    if is_library(filename):
        return False
    path = os.path.realpath(filename)
    if os.path.basename(path) in ("sitecustomize.py", "usercustomize.py"):
        return False
    if path.startswith(_OURS) or path.startswith(_LIBRARIES) or path.endswith("/headway/runner/kernelside.py"):
        return False
    return not ("/site-packages/" in path or "/dist-packages/" in path)


def is_library(filename: str) -> bool:
    """Whether a file is a library's by its path alone, without a look at the disk: most are."""
    return "/site-packages/" in filename or filename.startswith(_KNOWN)


def _mutes_file(lines: list[str], off: frozenset[int]) -> bool:
    """A mute comment alone on a line, before any code, mutes the whole file or cell."""
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if number in off and word.startswith("#"):
            return True
        if word and not word.startswith("#"):
            return False
    return False
