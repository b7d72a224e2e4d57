"""What a loop works with on the way to a result is none itself: sums, counts, lists that it empties again, their parts. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import words
from headway.capture.merging import Candidate
from headway.capture.naming import unconverted
from headway.capture.program import CELLS, Definition, Program, call_name

__all__ = ["without_sums"]

_LOOKED_AT = frozenset(("print", "log", "bar", "plot", "cell", "own"))
_COUNTS = frozenset(("correct", "corrects", "hits", "misclassified"))  # raw counts: a share is made of them


def without_sums(found: dict[Any, Candidate], program: Program) -> list[Candidate]:
    """The candidates, less those that only hold what a name came to on the way to another result.

    A sum (`total += loss.item()`), a count (`correct`) and a list that a loop empties again go when another result is
    computed from them, or when nothing reads them; the last part of a loss or a sum goes with it. So do the single turns
    of a loop that nobody looks at, beside a series of the averages that the program takes of them: both mean the same.
    """
    on_the_way = _OnTheWay(found, program)
    return [
        c
        for key, c in found.items()
        if not on_the_way.is_one(c) and not on_the_way.is_averaged(key, c) and not _counted(key, c, found)
    ]


def _counted(key: Any, item: Candidate, found: dict[Any, Candidate]) -> bool:
    """Whether a raw count is shown beside its share: `accuracy 93 % (93/100)`."""
    if item.source not in ("print", "log") or not set(words(item.expression)) & _COUNTS:
        return False
    names = _names_computed(item.expression) or {item.expression}
    beside = [c for k, c in found.items() if k[:2] == key[:2] and c is not item]
    return not _divides(item) and any(_divides(c) and names & _names_computed(c.expression) for c in beside)


def _divides(item: Candidate) -> bool:
    return "/" in item.expression


class _OnTheWay:
    def __init__(self, found: dict[Any, Candidate], program: Program) -> None:
        self.program = program
        self.readers = [(c.file, _names_computed(c.expression), c) for c in found.values()]
        losses = {k for c in found.values() if c.source == "loss" for k in c.keys}
        self.losses = {id(c) for c in found.values() if c.keys & losses}
        self.loads = _loads(program)
        self.names = {n for c in found.values() if (n := self._name(c))}
        self.feeds = self._feeds()
        self._made: dict[int, set[str]] = {}  # by a candidate's identity: every item asks for all readers

    def is_one(self, item: Candidate) -> bool:
        name = self._name(item)
        if name is None:
            return False
        definitions = self._definitions(item)
        if self._is_emptied(definitions):
            return self._is_read(item, name)
        if len(item.points) != 1 or item.series:
            return False
        if set(words(name)) & _COUNTS or any(d.kind == "augmented" for d in definitions):
            return name not in self.loads or self._is_read(item, name)
        in_loop = any(d.kind in ("assign", "unpack") and self.program.loops(d.node) for d in definitions)
        return in_loop and (self._is_read(item, name, self.losses) or bool(self.feeds.get(name, set()) & self._told()))

    def is_averaged(self, key: Any, item: Candidate) -> bool:
        """Whether a candidate is what each step of a loop came to, and the program tells averages of many steps instead."""
        if key[0] != "turns" or len(item.points) < 4:
            return False  # losses of `backward` lines stay: they are told live, long before the first average
        names = {k[3] for k in item.keys if k[0] == "definition"}
        sums = {into for name in names for into in self.feeds.get(name, ())} - names
        if not sums or any(c is not item and c.keys & item.keys and c.source in _LOOKED_AT for _, _, c in self.readers):
            return False
        return any(
            1 < len(c.points) <= len(item.points) // 2 and c.file == item.file and self._made_of(c) & sums
            for _, _, c in self.readers
        )

    def _made_of(self, item: Candidate) -> set[str]:
        """The names that a candidate's expression reads, and those that stand behind them."""
        if (known := self._made.get(id(item))) is not None:
            return known
        read = _names(_parsed(item.expression))
        behind = [d for name in read for d in self._bound(name, item) if d.kind in ("assign", "unpack")]
        made = self._made[id(item)] = read.union(*map(self._behind, behind))
        return made

    def _behind(self, definition: Definition) -> set[str]:
        value = definition.value
        function = self.program.functions.get(call_name(value)) if isinstance(value, ast.Call) else None
        if function is None:
            return _names(value)
        return set().union(*(_names(n.value) for n in ast.walk(function.node) if isinstance(n, ast.Return)))

    def _name(self, item: Candidate) -> str | None:
        """The name whose last value a candidate is."""
        if item.source != "names":
            return None
        key = next((k for k in item.keys if k[0] == "definition"), None)
        return str(key[3]) if key is not None else self._listed(item)

    def _listed(self, item: Candidate) -> str | None:
        names = [n for _, n in item.names]
        return (
            next((n for n in names if any(k[2] == n for k in self.program.definitions)), None) if item.series else None
        )

    def _definitions(self, item: Candidate) -> list[Definition]:
        name = self._name(item)
        key = next((k for k in item.keys if k[0] == "definition" and k[3] == name), None)
        if key is not None and not item.series:
            return self.program.definitions.get((key[1], key[2], key[3]), [])
        return self._bound(name, item)

    def _bound(self, name: str | None, item: Candidate) -> list[Definition]:
        """All that a name is bound by in the file of a candidate, or in cells."""
        files = (item.file, CELLS)
        return [d for k, found in self.program.definitions.items() if k[2] == name and k[0] in files for d in found]

    def _is_emptied(self, definitions: list[Definition]) -> bool:
        """Whether a list starts anew in a loop: `losses = []` there."""
        return any(
            d.kind == "assign" and isinstance(d.value, ast.List) and not d.value.elts and self.program.loops(d.node)
            for d in definitions
        ) and any(d.kind == "append" for d in definitions)

    def _is_read(self, item: Candidate, name: str, by: set[int] | None = None) -> bool:
        return any(
            file == item.file and name in names and c is not item and (by is None or id(c) in by)
            for file, names, c in self.readers
        )

    def _told(self) -> set[str]:
        return self.names | {n for _, names, _ in self.readers for n in names}

    def _feeds(self) -> dict[str, set[str]]:
        """`{"loss": {"total", "losses"}}`: the sums and lists that a name goes into."""
        found: dict[str, set[str]] = {}
        for definitions in self.program.definitions.values():
            for definition in definitions:
                if definition.kind in ("augmented", "append") and definition.value is not None:
                    for name in _names(definition.value):
                        found.setdefault(name, set()).add(definition.name)
        for _, call in self.program.calls():  # `losses.update(loss.item(), n)`: a meter
            meter = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "update" else None
            if isinstance(meter, ast.Name) and call.args:
                for name in _names(call.args[0]):
                    found.setdefault(name, set()).add(meter.id)
        return found


def _parsed(expression: str) -> ast.expr | None:
    try:
        return ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(node: ast.AST | None) -> set[str]:
    """The names in an expression."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} if node is not None else set()


def _names_computed(expression: str) -> set[str]:
    """The names that an expression computes something from; one that is only converted is that name itself."""
    parsed = _parsed(expression)
    node = unconverted(parsed) if parsed is not None else None
    return set() if isinstance(node, (ast.Name, ast.Attribute)) else _names(node)


def _loads(program: Program) -> set[str]:
    return {
        n.id
        for source in program.sources.values()
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
