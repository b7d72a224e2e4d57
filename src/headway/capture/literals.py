"""Parameters that the source fixes: constants that names hold, lengths of loops, literals in calls and dicts."""

from __future__ import annotations

import ast
import re
from typing import Any

from headway.capture.callers import Callers
from headway.capture.calls import CallLiterals, draws
from headway.capture.lexicon import is_metric_name, loop_parameter
from headway.capture.parameters import Parameters, value_of, worth
from headway.capture.program import CELLS, Definition, Place, Program, call_name, is_constant
from headway.capture.reach import Reach
from headway.capture.redact import secret_name

__all__ = ["Literals"]


class Literals:
    """Reads the source of what ran, and adds what it finds to the parameters."""

    def __init__(self, program: Program, parameters: Parameters, callers: Callers, reach: Reach) -> None:
        self.program, self.reach = program, reach
        self.add = parameters.add
        self.known = parameters.known
        self._calls = CallLiterals(program, parameters, callers)

    def from_source(self, names: dict[tuple[str, str], dict[str, Any]]) -> None:
        """Constants that names hold, loops' lengths, and literals in calls, of the code that ran.

        `names`: for each (module, function) what its names held at the end.
        """
        self._constants(names)
        for source in self.program.sources.values():
            for node in filter(self.reach.has, ast.walk(source.tree)):
                self._dictionary(source.file, node)
                self._update_rule(source.file, node)
                self._setting(source.file, node)
        for source, call in self.program.calls():
            if self.reach.has(call):
                self._calls.look(source.file, call, self.program.place(call))
        for (_, _, _), definitions in self.program.definitions.items():
            for definition in definitions:
                if definition.kind == "loop" and self.reach.has(definition.node):
                    self._loop(definition)

    def _dictionary(self, file: str, node: ast.AST) -> None:
        """`{"solver": "sgd", "momentum": 0.9}`: literals under keys that a fitted object takes, or in a dict called so."""
        if not isinstance(node, ast.Dict):
            return
        target, sections = self._owner(node)
        named = bool(re.search(r"param|config|cfg|setting|option|hyper|arg", target, re.I))
        drawn = re.search(r"plot|(?<!con)fig|colou?r|style", " ".join((target, *sections)), re.I)
        keys = [k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        if not (set(keys) & self.known or (named and not drawn)):
            return
        for key, value in zip(node.keys, node.values, strict=True):
            name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""
            if not name or not (named or name in self.known) or not is_constant(value) or secret_name(name):
                continue
            if worth(found := value_of(value)) and not isinstance(found, list):
                self.add(name, found, "source", file, node.lineno)

    def _owner(self, node: ast.Dict) -> tuple[str, list[str]]:
        """The name that a dict goes to, and the sections of it that it is: `config = {"training": {"lr": 0.1}}`."""
        sections: list[str] = []
        parent = self.program.parents.get(node)
        while isinstance(parent, ast.Dict):
            key = next((k for k, v in zip(parent.keys, parent.values, strict=True) if v is node), None)
            sections.append(str(key.value) if isinstance(key, ast.Constant) else "")
            node, parent = parent, self.program.parents.get(parent)
        target = parent.targets[0] if isinstance(parent, ast.Assign) else None
        return target.id if isinstance(target, ast.Name) else "", sections

    def _update_rule(self, file: str, node: ast.AST) -> None:
        """`w -= 0.01 * grad`: the number that a gradient is multiplied by is the learning rate."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
            return
        for number, other in ((node.left, node.right), (node.right, node.left)):
            words = " ".join(
                n.id if isinstance(n, ast.Name) else n.attr
                for n in ast.walk(other)
                if isinstance(n, (ast.Name, ast.Attribute))
            )
            if is_constant(number) and re.search(r"grad|delta|\bd[wb]\b|\bd_\w+", words):
                value = value_of(number)
                if isinstance(value, (int, float)) and 0 < abs(value) < 1 and self._steps(node):
                    self.add("learning_rate", abs(value), "source", file, node.lineno)

    def _steps(self, node: ast.AST) -> bool:
        """Whether an expression changes something in place in a loop: `w = w - ...`, `w -= ...`, `w.add_(...)`."""
        statement = self.program.statement(node)
        if isinstance(statement, ast.AugAssign):
            return isinstance(statement.op, (ast.Sub, ast.Add))
        if isinstance(statement, ast.Assign):
            names = {ast.unparse(t) for t in statement.targets}
            return any(
                ast.unparse(n) in names
                for n in ast.walk(statement.value)
                if isinstance(n, (ast.Name, ast.Attribute, ast.Subscript))
            )
        return (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and call_name(statement.value).endswith("_")
        )

    def _setting(self, file: str, node: ast.AST) -> None:
        """`config.learning_rate = 5e-4`: a literal set on an object that is called a configuration."""
        if (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(target := node.targets[0], ast.Attribute)
        ):
            owner = ast.unparse(target.value)
            if re.search(
                r"^(C|cfg|conf|hp|hps|opts?|args|FLAGS)(\.|$)|config|cfg|param|setting|option|hyper", owner
            ) and is_constant(node.value):
                value = value_of(node.value)
                if worth(value) and not isinstance(value, list):
                    self.add(target.attr, value, "source", file, node.lineno, owner=owner)

    def _constants(self, names: dict[tuple[str, str], dict[str, Any]]) -> None:
        reads = self._reads()
        for (module, function, name), definitions in self.program.definitions.items():
            bound = [d for d in definitions if d.kind == "assign"]
            if not bound or len(bound) > 6 or name.startswith("_") or not all(self._fixed(d) for d in bound):
                continue
            if any(d.kind in ("loop", "append", "augmented") for d in definitions) or name not in reads:
                continue
            if is_metric_name(name) and not re.search(
                r"fn|func|criterion|metric|type|name|weight|alpha|scale", name, re.I
            ):
                continue
            if not self.reach.has(bound[-1].node):
                continue
            told = names.get((module, function), {}).get(name, {})
            value = told.get("v", value_of(bound[-1].value))
            if worth(value):
                self.add(
                    name,
                    value,
                    "names" if told else "source",
                    self._file(bound[-1]),
                    bound[-1].place.order[1],
                    owner=function,
                )

    def _fixed(self, definition: Definition) -> bool:
        """A literal, or arithmetic of literals and other constants."""
        node = definition.value
        if is_constant(node):
            return True
        if isinstance(node, ast.BinOp):
            return all(self._fixed_part(p, definition.place) for p in (node.left, node.right))
        return False

    def _fixed_part(self, node: ast.expr, place: Place) -> bool:
        if isinstance(node, ast.Name):
            inner = self.program.definition(node.id, place)
            return inner is not None and inner.kind == "assign" and is_constant(inner.value)
        return is_constant(node)

    def _reads(self) -> set[str]:
        return {
            n.id
            for source in self.program.sources.values()
            for n in ast.walk(source.tree)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and self.reach.has(n) and not self._drawn(n)
        }

    def _drawn(self, node: ast.AST) -> bool:
        """Whether the call that reads a name only draws: `plt.plot(x, lw=lw)`, but not `plt.plot(train(rate))`."""
        parent = self.program.parents.get(node)
        while isinstance(parent, (ast.expr, ast.keyword)) and not isinstance(parent, (ast.Call, ast.Lambda)):
            parent = self.program.parents.get(parent)
        return isinstance(parent, ast.Call) and draws(parent)

    def _file(self, definition: Definition) -> str:
        module = definition.place.module
        if module != CELLS:
            return module
        return next((s.file for s in self.program.sources.values() if s.index == definition.place.order[0]), module)

    def _loop(self, definition: Definition) -> None:
        node = definition.value
        if isinstance(node, ast.Call) and call_name(node) in ("tqdm", "track", "enumerate", "trange") and node.args:
            inner = node.args[0]
            node = inner if isinstance(inner, ast.Call) else node
        if not (
            isinstance(node, ast.Call) and call_name(node) in ("range", "trange", "xrange", "arange") and node.args
        ):
            return
        loop = definition.node
        if not isinstance(loop, (ast.For, ast.AsyncFor)) or not _learns(loop):
            return
        end = node.args[1] if len(node.args) > 1 else node.args[0]
        value = value_of(end) if is_constant(end) else ...
        if isinstance(end, ast.BinOp) and isinstance(end.right, ast.Constant) and isinstance(end.op, ast.Add):
            value = value_of(end.left) if is_constant(end.left) else ...
            if len(node.args) > 1 and ast.dump(end.left) == ast.dump(node.args[0]):
                value = value_of(end.right)  # `range(start, start + 200)`
        if isinstance(value, int) and len(node.args) > 1 and is_constant(node.args[0]):
            start = value_of(node.args[0])
            value = value - start if isinstance(start, int) else value
        if isinstance(value, int) and value > 1:
            name = loop_parameter(definition.name)
            self.add(
                name,
                value,
                "source",
                self._file(definition),
                definition.place.order[1],
                owner=definition.place.function,
            )


def _learns(loop: ast.For | ast.AsyncFor) -> bool:
    """Whether a loop's body does more than draw or print: it updates, fits, or collects something."""
    for node in ast.walk(loop):
        if isinstance(node, (ast.AugAssign, ast.Assign)):
            return True
        if isinstance(node, (ast.Name, ast.Attribute)) and is_metric_name(
            node.id if isinstance(node, ast.Name) else node.attr
        ):
            return True
        if isinstance(node, ast.Call) and call_name(node) in (
            "fit",
            "step",
            "train",
            "backward",
            "partial_fit",
            "append",
            "update",
        ):
            return True
    return False
