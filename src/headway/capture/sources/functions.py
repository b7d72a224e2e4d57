"""What functions of the user's hold when they return, and at the end of each turn of their loops: Python 3.12 or later.

`sys.monitoring` (PEP 669) is told of the code objects of the user's functions, before they run, by the audit event `exec`.
Only those that speak of results are watched, by two events: a return, and the jump back at a loop's end. No other code runs
slower, no code object is changed. Whoever returns or turns too often to be an epoch is left alone after CALLS or TURNS.
Before 3.12 nothing of the kind is free: see docs/decisions/0011-results-of-functions.md.
"""

from __future__ import annotations

import sys
import time

from headway.capture.guard import hide
from headway.capture.redact import secret_name
from headway.capture.values import held, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

CODES = 2_000  # functions that are watched
CALLS = 256  # returns of a function, and turns of a loop, before it must prove to be slow
TURNS = 256
SLOW_NS = 1_000_000  # a call or a turn that takes so long costs nothing to look at
ROWS = 20_000
ROW_NAMES = 12
FIRST = 8  # returns at which lists and dicts are looked at; then at each doubling
_TOOLS = (4, 3)  # those that no debugger, coverage, profiler or optimizer claims
# Names that may hold a result: a cheap sieve, the reducer knows better.
_MARKS = (
    "loss", "acc", "err", "score", "cost", "mse", "mae", "auc", "f1", "metric", "hist", "result", "reward", "perpl", "ppl",
    "likel", "r2", "precis", "recall", "curve", "nll", "elbo", "iou", "dice", "bleu", "correct", "fitness", "best", "inertia",
    "track", "stats", "log", "dev", "corr", "quality", "obj",
)  # fmt: skip
_FUNCTION = 1 | 2  # CO_OPTIMIZED, CO_NEWLOCALS


def install(session: Session) -> None:
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None:
        return
    tool = next((t for t in _TOOLS if monitoring.get_tool(t) is None), None)
    if tool is None:
        return
    watch = Watch(session, monitoring, tool)
    monitoring.use_tool_id(tool, "headway")
    monitoring.register_callback(tool, monitoring.events.PY_RETURN, hide(watch.returned))
    monitoring.register_callback(tool, monitoring.events.JUMP, hide(watch.jumped))
    session.on_audit["exec"] = watch.executed
    session.at_cell_end.append(watch.tell)


class Series:
    """The numbers of one loop, or of a function's returns: rows of the same names."""

    __slots__ = ("count", "counters", "cut", "file", "first_ns", "function", "kind", "line", "names", "rows", "told")

    def __init__(
        self, kind: str, code: CodeType, line: int, names: tuple[str, ...], counters: tuple[str, ...] = ()
    ) -> None:
        self.kind, self.file, self.function, self.line = kind, code.co_filename, code.co_qualname, line
        self.names, self.counters = names, counters
        self.rows: list[list[Any]] = []
        self.count = self.told = 0
        self.first_ns = time.perf_counter_ns()
        self.cut = False

    def too_fast(self) -> bool:
        """Whether so many came so quickly that a look at each would be felt."""
        return time.perf_counter_ns() - self.first_ns < self.count * SLOW_NS


class Watch:
    """The functions of this process that are watched."""

    def __init__(self, session: Session, monitoring: Any, tool: int) -> None:
        self._session = session
        self._source = session.source("functions")
        self._monitoring, self._tool = monitoring, tool
        self._disable = monitoring.DISABLE
        self._codes: dict[int, CodeType] = {}  # by id, so that two equal functions are two, and none is compared
        self._returns: dict[int, Series] = {}
        self._loops: dict[tuple[int, int], Series | None] = {}
        self._structure: dict[int, Any] = {}
        self._muted: dict[str, bool] = {}

    # -- which code

    def executed(self, code: Any, *rest: Any) -> None:
        """The audit event `exec`: a script, a module, a cell is about to run."""
        if self._source.off or not hasattr(code, "co_consts") or not self._session.sites.is_user(code.co_filename):
            return
        if code.co_name == "<module>" and id(code) not in self._codes:
            self._watch(code, 0)

    def _watch(self, code: CodeType, depth: int) -> None:
        events = self._monitoring.events
        if len(self._codes) >= CODES or depth > 6:
            return
        if code.co_name[:1] != "<" and code.co_flags & _FUNCTION == _FUNCTION and _speaks(code):
            self._codes[id(code)] = code
            self._monitoring.set_local_events(self._tool, code, events.PY_RETURN | events.JUMP)
        elif not depth and _speaks(code):
            self._codes[id(code)] = code
            self._monitoring.set_local_events(self._tool, code, events.JUMP)
        for inner in code.co_consts:
            if type(inner) is type(code):
                self._watch(inner, depth + 1)

    # -- what it does

    def returned(self, code: CodeType, offset: int, value: Any) -> Any:
        if self._source.off:
            return self._disable
        started = time.thread_time_ns()
        try:
            return self._returned(code, sys._getframe(1))
        except Exception as error:
            self._source.failed(error)
            return self._disable
        finally:
            self._source.spend(time.thread_time_ns() - started)

    def _returned(self, code: CodeType, frame: FrameType) -> Any:
        series = self._returns.get(id(code))
        if series is None:
            if self._off(code):
                return self._disable
            stored = self._of(code).stored
            names = tuple(
                n for n in code.co_varnames + code.co_cellvars if n in stored and _marked(n) and not secret_name(n)
            )
            series = self._returns[id(code)] = Series("returns", code, code.co_firstlineno, names[:ROW_NAMES])
        series.count = count = series.count + 1
        if count > CALLS and series.too_fast():
            series.cut = True
            return self._disable
        whole = count <= FIRST or not count & (count - 1)
        if not whole and not series.names:
            return None
        holds = held(frame)
        self._row(series, holds)
        if whole:
            self._session.tell_locals(holds, code.co_filename, code.co_qualname, frame.f_lineno, calls=count)
        return None

    def jumped(self, code: CodeType, offset: int, to: int) -> Any:
        if to > offset or self._source.off:
            return self._disable
        started = time.thread_time_ns()
        try:
            key = (id(code), to)
            series = self._loops.get(key, ...)
            if series is ...:
                series = self._loops[key] = self._loop(code, offset, to)
            if series is None:
                return self._disable
            series.count = count = series.count + 1
            if count > TURNS and series.too_fast():
                series.cut = True
                return self._disable
            frame = sys._getframe(1)
            self._row(series, frame.f_globals if code.co_name == "<module>" else held(frame))
        except Exception as error:
            self._source.failed(error)
            return self._disable
        finally:
            self._source.spend(time.thread_time_ns() - started)

    def _loop(self, code: CodeType, offset: int, to: int) -> Series | None:
        """The loop from `to` to `offset`, if its own body binds a name that may hold a result."""
        if self._off(code):
            return None
        structure = self._of(code)
        names = tuple(n for n in structure.bound_in(to, offset) if _marked(n) and not secret_name(n))
        if not names:
            return None
        counters = tuple(n for n in structure.counters(to)[:2] if not secret_name(n))
        return Series("turns", code, structure.line(to), names[:ROW_NAMES], counters)

    def _off(self, code: CodeType) -> bool:
        """Whether the file, or a line of the function, is opted out."""
        file = self._session.sites.file(code.co_filename)
        return file is None or file.muted or any(
            line in file.off_lines for *_, line in code.co_lines() if line is not None and file.off_lines
        )  # fmt: skip

    def _of(self, code: CodeType) -> Any:
        found = self._structure.get(id(code))
        if found is None:
            from headway.capture.bytecode import Loops

            found = self._structure[id(code)] = Loops(code)
        return found

    def _row(self, series: Series, names: dict[str, Any]) -> None:
        if len(series.rows) + series.told >= ROWS:
            return
        row: list[Any] = [time.time_ns() // 1_000_000, series.count]
        for name in series.names:
            value = scalar(names.get(name))
            row.append(value if type(value) in (int, float) else None)
        if any(v is not None for v in row[2:]):
            for name in series.counters:
                value = scalar(names.get(name))
                row.append(value if type(value) is int or (type(value) is str and len(value) <= 40) else None)
            series.rows.append(row)
            if len(series.rows) >= 500:
                self._tell(series)

    # -- telling it

    def tell(self) -> None:
        """At the end of a cell, and of the program."""
        for series in [*self._returns.values(), *self._loops.values()]:
            if series is not None and series.rows:
                self._tell(series)

    def _tell(self, series: Series) -> None:
        rows, series.rows = series.rows, []
        series.told += len(rows)
        self._session.fact(series.kind, file=series.file, fn=series.function, line=series.line, names=list(series.names),
                           counters=list(series.counters), rows=rows, calls=series.count, cut=series.cut)  # fmt: skip


def _marked(name: str) -> bool:
    small = name.lower()
    return any(mark in small for mark in _MARKS)


def _speaks(code: CodeType) -> bool:
    """Whether a name that a function binds, or a word in it, may be that of a result."""
    if code.co_name in code.co_names:
        return False  # it calls itself: near the limit of recursion a look at its return would be one call too many
    names = (*code.co_varnames, *code.co_cellvars, *code.co_names)
    if any(_marked(n) for n in names):
        return True
    return any(type(c) is str and len(c) < 40 and _marked(c) for c in code.co_consts)
