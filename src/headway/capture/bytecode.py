"""What a call reads, told from its byte code: the names in it, and the variables of the loops around it.

Parsing a file takes tens of milliseconds on the user's thread; one code object's instructions take less than one. They are read
without the module `dis`, whose import takes longer than the whole start of capture.
"""

from __future__ import annotations

from opcode import EXTENDED_ARG, HAVE_ARGUMENT, hasfree, haslocal, hasname, opname

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType
    from typing import Any

__all__ = ["Calls", "Loops", "instructions"]

Span = tuple[int, int, int, int]  # line, column, end line, end column

_VARIABLES = frozenset((*haslocal, *hasfree))
_PAIRS = frozenset(
    n for n in haslocal if opname[n].count("_FAST") == 2
)  # of Python 3.13: two variables in one instruction
_GLOBALS = frozenset(n for n in hasname if not opname[n].endswith(("ATTR", "METHOD")) or opname[n] == "STORE_ATTR")
_FLAGGED = opname.index("LOAD_GLOBAL")  # the lowest bit of its argument is no part of the name's number
_ADD_IN_PLACE = 13  # the argument of BINARY_OP


def instructions(code: CodeType) -> Iterator[tuple[int, str, Any, Span | None]]:
    """(offset, name, value, span) of each instruction, as `dis` tells them.

    The value is a variable's name, a tuple of two, the offset that a loop's jump goes to, else the argument; None without one.
    """
    data, spans = code.co_code, list(code.co_positions())
    variable, names = code._varname_from_oparg, code.co_names  # type: ignore[attr-defined]
    end, at, high = len(data), 0, 0
    while at < end:
        offset, number = at, data[at]
        argument = data[at + 1] | high
        high = argument << 8 if number == EXTENDED_ARG else 0
        at += 2
        while at < end and not data[at]:  # its caches
            at += 2
        name = opname[number]
        value: Any = argument if number >= HAVE_ARGUMENT else None
        if number in _PAIRS:
            value = (variable(argument >> 4), variable(argument & 15))
        elif number in _VARIABLES:
            value = variable(argument)
        elif number in _GLOBALS:
            value = names[argument >> 1 if number == _FLAGGED else argument]
        elif name == "FOR_ITER":
            value = at + 2 * argument
        elif name.startswith("JUMP_BACKWARD"):
            value = at - 2 * argument
        line, end_line, column, end_column = spans[offset // 2]
        yield offset, name, value, None if line is None else (line, column or 0, end_line or 0, end_column or 0)


class Calls:
    """The instructions of one code object, as far as calls need them."""

    def __init__(self, code: CodeType) -> None:
        self._loads: list[tuple[int, Span, str]] = []
        self._loops: list[tuple[int, int, tuple[str, ...]]] = []
        self._counters: set[str] = set()
        self._spans: dict[int, Span] = {}
        loop: list[str] | None = None
        wanted = 0
        inplace = False
        for at, name, value, span in instructions(code):
            if span is not None:
                self._spans[at] = span
                if name.startswith("LOAD_") and name != "LOAD_CONST":
                    for read in value if isinstance(value, tuple) else (value,):
                        if isinstance(read, str):
                            self._loads.append((at, span, read))
            if name == "FOR_ITER":
                loop, wanted = [], 1
                self._loops.append((at, int(value), ()))
            elif loop is not None and name == "UNPACK_SEQUENCE":
                wanted += int(value) - 1
            elif loop is not None and name.startswith("STORE_"):
                stored = value if isinstance(value, tuple) else (value,)
                loop += [s for s in stored if isinstance(s, str)]
                wanted -= len(stored)
                if wanted <= 0:
                    start, end, _ = self._loops[-1]
                    self._loops[-1] = (start, end, tuple(loop))
                    loop = None
            elif inplace and name.startswith("STORE_") and isinstance(value, str):
                self._counters.add(value)
            inplace = name == "BINARY_OP" and value == _ADD_IN_PLACE

    def span(self, offset: int) -> Span | None:
        """The position in the source of the instruction at an offset."""
        return self._spans.get(self._start(offset))

    def _start(self, offset: int) -> int:
        """The instruction that an offset lies in: while it calls a Python function, its inline caches are counted in."""
        while offset > 0 and offset not in self._spans:
            offset -= 2
        return offset

    def names(self, offset: int) -> tuple[str, ...]:
        """The names read in the call at an offset, then the loops' variables, innermost first, then counters."""
        call = self.span(offset)
        found: list[str] = []
        if call is not None:
            found = [name for _, span, name in self._loads if _within(span, call)]
        around = sorted((end - start, names) for start, end, names in self._loops if start < offset < end)
        for _, names in around:
            found += names
        if not around:
            found += sorted(self._counters)[:8]
        return tuple(dict.fromkeys(found))


class Loops:
    """Where a code object's loops are, and which names their own bodies bind."""

    def __init__(self, code: CodeType) -> None:
        self.stored: dict[str, None] = {}
        self._stores: list[tuple[int, str]] = []
        self._ranges: list[tuple[int, int]] = []
        self._lines: dict[int, int] = {}
        self._counters: dict[int, tuple[str, ...]] = {}
        head: int | None = None
        for at, name, value, span in instructions(code):
            if span is not None:
                self._lines[at] = span[0]
            if name.startswith("STORE_") and name not in ("STORE_SUBSCR", "STORE_ATTR", "STORE_SLICE"):
                for stored in value if isinstance(value, tuple) else (value,):
                    if isinstance(stored, str) and not (name == "STORE_FAST_LOAD_FAST" and stored is not value[0]):
                        self.stored[stored] = None
                        self._stores.append((at, stored))
                        if head is not None:
                            self._counters[head] = (*self._counters.get(head, ()), stored)
            elif name == "FOR_ITER":
                head = at
            if not name.startswith(("STORE_", "UNPACK_", "FOR_ITER", "CACHE", "NOP")):
                head = None
            if name.startswith("JUMP_BACKWARD") and isinstance(value, int):
                self._ranges.append((value, at))

    def line(self, offset: int) -> int:
        """The source line of the instruction at an offset."""
        return self._lines.get(offset, 0)

    def counters(self, start: int) -> tuple[str, ...]:
        """The variables of the `for` loop whose head is at an offset."""
        return self._counters.get(start, ())

    def bound_in(self, start: int, end: int) -> list[str]:
        """The names that a loop's body binds, and no loop within it."""
        end = max([e for s, e in self._ranges if s == start], default=end)
        inner = [(s, e) for s, e in self._ranges if start < s and e < end]
        found = {n: None for at, n in self._stores if start < at <= end and not any(s <= at <= e for s, e in inner)}
        return [n for n in found if n not in self.counters(start)]


def _within(inner: Span, outer: Span) -> bool:
    return (outer[0], outer[1]) <= (inner[0], inner[1]) and (inner[2], inner[3]) <= (outer[2], outer[3])
