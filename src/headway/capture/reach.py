"""Which of the source ran, or can be reached from what ran: the other files of a package tell nothing of a run. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from headway.capture.structure import CELLS, MODULE, Source, Structure, call_name

__all__ = ["Reach"]

Scope = tuple[str, str]  # module, qualified name of a function or class in it

# What finds functions by names that only the run knows: then everything may have run.
_DYNAMIC = frozenset(("globals", "eval", "exec", "import_module", "__import__"))


class Reach:
    """Follows names from the code of modules, and from functions that are known to have run, to the functions and classes that
    they can mean. It errs on the side of reaching: any mention of a name counts, not only a call."""

    def __init__(self, program: Structure, ran: set[Scope], main: str = "") -> None:
        """`ran`: functions that were seen running; `main`: the file that was started, empty for cells."""
        self._program = program
        self._named: dict[str, list[Scope]] = {}  # by their last name: the functions and classes of the source
        self._classes: set[Scope] = set()
        self._said: dict[Scope, set[str]] = {}  # the names that a scope mentions
        self._asleep = {node for tree in self._others(main) for node in _guarded(tree)}
        for source in program.sources.values():
            self._read(source.tree)
        self._found: set[Scope] = set()
        self._follow(ran)
        self._everything = any(map(self._looks_up, program.sources.values()))

    def has(self, node: ast.AST) -> bool:
        """Whether an expression or statement is of code that ran, or can have run."""
        if node in self._asleep:
            return False
        place = self._program.place(node)
        return self.runs(place.module, place.function)

    def runs(self, module: str, function: str) -> bool:
        return function == MODULE or (module, function) in self._found or self._everything

    def _others(self, main: str) -> Iterator[ast.Module]:
        """The files that were imported."""
        known = main in self._program.sources
        for file, source in self._program.sources.items():
            if source.module != CELLS and file != main and (known or not main):
                yield source.tree

    def _read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            place = self._program.place(node)
            here = (place.module, place.function)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = node.name if place.function == MODULE else f"{place.function}.{node.name}"
                self._named.setdefault(node.name, []).append((place.module, name))
                if isinstance(node, ast.ClassDef):
                    self._classes.add((place.module, name))
                elif node.decorator_list:  # registered somewhere, called from there
                    self._said.setdefault(here, set()).add(node.name)
            elif node not in self._asleep:
                said = self._said.setdefault(here, set())
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    said.add(node.id)
                elif isinstance(node, ast.Attribute):
                    said.add(node.attr)
                elif isinstance(node, ast.alias) and node.asname:
                    said.add(node.name.rsplit(".", 1)[-1])

    def _follow(self, ran: set[Scope]) -> None:
        scopes = [scope for found in self._named.values() for scope in found]
        waiting = [(source.module, MODULE) for source in self._program.sources.values()]
        waiting += [scope for scope in scopes if scope in ran]
        members: dict[Scope, list[Scope]] = {}
        for module, name in scopes:
            members.setdefault((module, name.rpartition(".")[0]), []).append((module, name))
        while waiting:
            here = waiting.pop()
            if here in self._found:
                continue
            self._found.add(here)
            for name in self._said.get(here, ()):
                waiting += self._meant(name, here[0])
            if here in self._classes:
                waiting += members.get(here, ())
            owner = (here[0], here[1].rpartition(".")[0])
            if owner in self._classes:  # a method that ran: there is an instance
                waiting.append(owner)

    def _meant(self, name: str, module: str) -> list[Scope]:
        """What a name can mean in a module: its own functions and classes, else those of all others."""
        known = self._named.get(name, [])
        own = [scope for scope in known if scope[0] == module]
        return own or [scope for scope in known if scope[1] == name]

    def _looks_up(self, source: Source) -> bool:
        """Whether code of a file that ran finds functions by names that it computes: `getattr(models, options.arch)`."""
        for call in source.calls.values():
            name = call_name(call)
            found = name in _DYNAMIC and (isinstance(call.func, ast.Name) or name == "import_module")
            if name == "getattr" and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
                found = isinstance(call.args[0], ast.Name) and self._may_be_module(call.args[0].id, call)
            place = self._program.place(call)
            if found and call not in self._asleep and (place.module, place.function) in self._found:
                return True
        return False

    def _may_be_module(self, name: str, node: ast.AST) -> bool:
        known = {part for file in self._program.sources for part in file.removesuffix(".py").split("/")[-3:]}
        definition = self._program.definition(name, self._program.place(node))
        return name in known if definition is None else definition.kind == "argument" and name != "self"


def _guarded(tree: ast.Module) -> Iterator[ast.AST]:
    """What a file does only when it is started itself: `if __name__ == "__main__":`."""
    for node in tree.body:
        names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)} if isinstance(node, ast.If) else set()
        if isinstance(node, ast.If) and "__name__" in names:
            for inner in node.body:
                yield from ast.walk(inner)
