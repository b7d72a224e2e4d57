"""The user's program as source: who defines a name, where a call stands, what functions there are.

Pure, and run off the user's thread. All cells of a notebook are one module, in the order in which they ran.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["CELLS", "MODULE", "Definition", "Function", "Place", "Structure", "call_name", "is_constant"]

CELLS = "<cells>"
MODULE = "<module>"


@dataclass(frozen=True)
class Place:
    """A point in the program: the module (all cells are one), the function around it, and the order there."""

    module: str
    function: str
    order: tuple[int, int]


@dataclass(eq=False)
class Definition:
    """One binding of a name."""

    name: str
    place: Place
    kind: str  # assign, loop, append, argument, unpack, augmented
    value: ast.expr | None
    node: ast.AST


@dataclass(eq=False)
class Function:
    """A function or class constructor of the user's, with the defaults in its signature."""

    name: str
    module: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    owner: str | None

    def parameters(self) -> list[str]:
        names = [a.arg for a in (*self.node.args.posonlyargs, *self.node.args.args)]
        return names[1:] if self.owner is not None and names[:1] in (["self"], ["cls"]) else names

    def defaults(self) -> dict[str, ast.expr]:
        arguments = self.node.args
        named = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        found = dict(zip(named[len(named) - len(arguments.defaults) :], arguments.defaults, strict=True))
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if value is not None:
                found[argument.arg] = value
        return found


@dataclass(eq=False)
class Source:
    file: str
    module: str
    index: int
    text: str
    tree: ast.Module
    calls: dict[tuple[int, int, int, int], ast.Call] = field(default_factory=dict)


class Structure:
    """All the source that ran: its calls, names, loops and functions."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.definitions: dict[tuple[str, str, str], list[Definition]] = {}
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, Function | None] = {}
        self.methods: dict[tuple[str, str], Function] = {}  # of a class, by name
        self._where: dict[ast.AST, tuple[str, str, int]] = {}
        self._call_counts: Counter[str] | None = None
        self._attributes: set[str] | None = None

    def add(self, file: str, text: str, cell: int | None = None) -> None:
        """Adds a file, or a cell; source that does not parse is left out."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return
        module = file if cell is None else CELLS
        source = Source(file, module, cell or 0, text, tree)
        self.sources[file] = source
        try:
            self._index(source, tree, MODULE)
        except RecursionError:
            return

    def _index(self, source: Source, node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            self.parents[child] = node
            self._where[child] = (source.module, scope, source.index)
            inner = scope
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = child.name if scope == MODULE else f"{scope}.{child.name}"
                self._function(source, child, node, inner)
            elif isinstance(child, ast.ClassDef):
                inner = child.name if scope == MODULE else f"{scope}.{child.name}"
                self.classes.setdefault(child.name, None)
            elif isinstance(child, ast.Call):
                key = (child.lineno, child.col_offset, child.end_lineno or 0, child.end_col_offset or 0)
                source.calls[key] = child
            self._define(child, source, scope)
            self._index(source, child, inner)

    def _function(
        self, source: Source, node: ast.FunctionDef | ast.AsyncFunctionDef, parent: ast.AST, scope: str
    ) -> None:
        owner = parent.name if isinstance(parent, ast.ClassDef) else None
        function = Function(node.name, source.module, node, owner)
        if owner is None:
            self.functions[node.name] = function
        else:
            self.methods[owner, node.name] = function
            if node.name == "__init__":
                self.classes[owner] = function
        place = Place(source.module, scope, (source.index, node.lineno))
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            self._bind(argument.arg, place, "argument", None, node)

    def _define(self, node: ast.AST, source: Source, scope: str) -> None:
        place = Place(source.module, scope, (source.index, getattr(node, "lineno", 0)))
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._target(target, node.value, place, node)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and isinstance(node.target, ast.Name) and node.value:
            self._bind(node.target.id, place, "assign", node.value, node)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self._bind(node.target.id, place, "augmented", node.value, node)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    self._bind(name.id, place, "loop", node.iter, node)
        elif (grown := _appended_to(node)) is not None and isinstance(node, ast.Call) and node.args:
            self._bind(grown, place, "append", node.args[0], node)

    def _target(self, target: ast.expr, value: ast.expr, place: Place, node: ast.AST) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, place, "assign", value, node)
        elif isinstance(target, (ast.Tuple, ast.List)):
            same = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for position, part in enumerate(target.elts):
                if isinstance(value, (ast.Tuple, ast.List)) and same:
                    self._target(part, value.elts[position], place, node)
                elif isinstance(part, ast.Name):
                    self._bind(part.id, place, "unpack", value, node)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self._bind(target.value.id, place, "append", value, node)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            self._bind(
                f"self.{target.attr}",
                Place(place.module, place.function.rpartition(".")[0], place.order),
                "assign",
                value,
                node,
            )

    def _bind(self, name: str, place: Place, kind: str, value: ast.expr | None, node: ast.AST) -> None:
        key = (place.module, place.function, name)
        self.definitions.setdefault(key, []).append(Definition(name, place, kind, value, node))

    # -- questions

    def call_at(self, file: str, at: list[int]) -> ast.Call | None:
        """The call at exactly this position (line, column, end line, end column)."""
        source = self.sources.get(file)
        if source is None:
            return None
        line, column, end_line, end_column = at
        found = source.calls.get((line, column, end_line, end_column))
        if found is None:
            near = [
                c for k, c in source.calls.items() if k[0] <= line <= k[2] and k[2] == end_line and k[3] == end_column
            ]
            found = near[0] if near else None
        return found

    def place(self, node: ast.AST) -> Place:
        module, scope, index = self._where.get(node, ("", MODULE, 0))
        return Place(module, scope, (index, getattr(node, "lineno", 0)))

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that a node is in."""
        found: ast.AST | None = node
        while found is not None and not isinstance(found, ast.stmt):
            found = self.parents.get(found)
        return found

    def loops(self, node: ast.AST) -> list[ast.For | ast.AsyncFor | ast.While]:
        """The loops around a node within its function, innermost first."""
        found: list[ast.For | ast.AsyncFor | ast.While] = []
        child, parent = node, self.parents.get(node)
        while parent is not None and not isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            if isinstance(parent, (ast.For, ast.AsyncFor, ast.While)) and child in parent.body:
                found.append(parent)
            child, parent = parent, self.parents.get(parent)
        return found

    def loop_names(self, node: ast.AST) -> list[str]:
        """The counters of the loops around a node, innermost first."""
        found: list[str] = []
        for loop in self.loops(node):
            if isinstance(loop, ast.While):
                found += [
                    s.target.id for s in loop.body if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name)
                ]
            else:
                found += [n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)]
        return found

    def definition(self, name: str, place: Place) -> Definition | None:
        """What a name is bound by at a place: the last binding above it, else (in a loop) the last below; then the module's."""
        for scope in (place.function, MODULE):
            known = self.definitions.get((place.module, scope, name))
            if known:
                above = [d for d in known if d.place.order <= place.order] if scope == place.function else known
                return max(above or known, key=lambda d: d.place.order)
        return None

    def all_definitions(self, name: str, place: Place) -> list[Definition]:
        known = self.definitions.get((place.module, place.function, name))
        return known or self.definitions.get((place.module, MODULE, name)) or []

    def assigned_to(self, node: ast.AST) -> tuple[str, str] | None:
        """The variable that a call's value goes to, and how ("assign", "append"), through conversions."""
        parent = self.parents.get(node)
        while isinstance(parent, ast.Call) and node in parent.args and call_name(parent) in ("float", "round", "int"):
            node, parent = parent, self.parents.get(parent)
        if isinstance(parent, ast.Assign) and parent.value is node and len(parent.targets) == 1:
            target = parent.targets[0]
            if isinstance(target, ast.Name):
                return target.id, "assign"
            if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                return target.value.id, "append"
            if isinstance(target, ast.Attribute):
                return target.attr, "assign"
        if isinstance(parent, ast.AnnAssign) and isinstance(parent.target, ast.Name):
            return parent.target.id, "assign"
        if (grown := _appended_to(parent)) is not None:
            return grown, "append"
        if isinstance(parent, ast.Dict):
            position = parent.values.index(node) if node in parent.values else -1
            key = parent.keys[position] if position >= 0 else None
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                return key.value, "entry"
        return None

    def call_sites(self, name: str) -> int:
        """How many calls in the program are of something by this name."""
        if self._call_counts is None:
            self._call_counts = Counter(call_name(c) for _, c in self.calls())
        return self._call_counts[name]

    def returned(self, call: ast.AST | None, position: int | None = None) -> tuple[str, Place] | None:
        """The name that a function of the user's returns to a call (of a tuple, at a position), and the end of that function."""
        if not isinstance(call, ast.Call) or (function := self.functions.get(call_name(call))) is None:
            return None
        scope = self._where.get(function.node, ("", MODULE, 0))[1]
        inside = function.name if scope == MODULE else f"{scope}.{function.name}"
        for node in reversed([n for n in ast.walk(function.node) if isinstance(n, ast.Return)]):
            value = node.value
            if position is not None:
                value = value.elts[position] if isinstance(value, ast.Tuple) and position < len(value.elts) else None
            if isinstance(value, ast.Name):
                return value.id, Place(function.module, inside, (1 << 30, 0))
        return None

    def reads(self, attribute: str) -> bool:
        """Whether the program asks anything for an attribute of this name."""
        if self._attributes is None:
            trees = [source.tree for source in self.sources.values()]
            self._attributes = {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        return attribute in self._attributes

    def constructor(self, node: ast.Call) -> Function | None:
        """The user's function, constructor, or method of what a constructor made, that a call calls."""
        name = call_name(node)
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            made = self.definition(node.func.value.id, self.place(node))
            kind = call_name(made.value) if made is not None and isinstance(made.value, ast.Call) else ""
            if (method := self.methods.get((kind, name))) is not None:
                return method
        return self.classes.get(name) or self.functions.get(name)

    def calls(self) -> Iterator[tuple[Source, ast.Call]]:
        for source in self.sources.values():
            for call in source.calls.values():
                yield source, call


def _appended_to(node: ast.AST | None) -> str | None:
    """The name of the list that `name.append(...)` grows."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
        return node.func.value.id if isinstance(node.func.value, ast.Name) else None
    return None


def call_name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def is_constant(node: ast.AST | None) -> bool:
    """Whether an expression is made of literals only."""
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp():
            return is_constant(node.operand)
        case ast.BinOp():
            return is_constant(node.left) and is_constant(node.right)
        case ast.Tuple() | ast.List() | ast.Set():
            return all(is_constant(e) for e in node.elts)
        case ast.Dict():
            return all(is_constant(v) for v in node.values)
    return False
