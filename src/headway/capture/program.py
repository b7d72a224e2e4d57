"""What the expressions of the user's program mean: a result, a prediction, a parameter, a counter. Pure."""

from __future__ import annotations

import ast

from headway.capture.lexicon import is_metric_name, is_noise_name, is_prediction_name, is_truth_name
from headway.capture.structure import CELLS, MODULE, Definition, Function, Place, Structure, call_name, is_constant

__all__ = [
    "CELLS", "COUNTER", "MODULE", "PARAMETER", "RESULT", "Definition", "Function", "Place", "Program", "call_name", "is_constant",
    "position_of",
]  # fmt: skip

# Meanings, by how much they say. An expression made of several has the strongest.
RESULT, PREDICTION, PARAMETER, COUNTER, UNKNOWN = "result", "prediction", "parameter", "counter", "unknown"

_PASSING = frozenset(
    [
        "item",
        "numpy",
        "float",
        "int",
        "round",
        "mean",
        "sum",
        "abs",
        "sqrt",
        "detach",
        "cpu",
        "data",
        "tolist",
        "str",
        "min",
        "max",
        "average",
        "median",
        "std",
        "var",
        "array",
        "asarray",
        "squeeze",
        "reshape",
        "copy",
        "values",
        "format",
        "getattr",
        "exp",
        "log",
    ]
)
_COUNTING = frozenset(
    [
        "len",
        "time",
        "perf_counter",
        "monotonic",
        "process_time",
        "now",
        "size",
        "numel",
        "dim",
        "ndim",
        "count",
        "nelement",
        "shape",
    ]
)


class Program(Structure):
    """All the source that ran, and what its expressions mean."""

    def meaning(self, node: ast.AST | None, place: Place, depth: int = 6) -> str:
        """What the value of an expression is: a result, a prediction, a parameter, a counter, or unknown."""
        if node is None or depth <= 0:
            return UNKNOWN
        match node:
            case ast.Constant():
                return PARAMETER
            case ast.Name():
                return self._meaning_of_name(node.id, place, depth)
            case ast.Attribute():
                return self._meaning_of_attribute(node, place, depth)
            case ast.Call():
                return self._meaning_of_call(node, place, depth)
            case ast.FormattedValue() | ast.Starred():
                return self.meaning(node.value, place, depth)
            case ast.Subscript():
                inner = self.meaning(node.value, place, depth - 1)
                key = node.slice.value if isinstance(node.slice, ast.Constant) else None
                return RESULT if isinstance(key, str) and is_metric_name(key) else inner
            case ast.BinOp():
                parts = [self.meaning(s, place, depth - 1) for s in (node.left, node.right)]
                found = strongest(parts)
                return UNKNOWN if found == COUNTER or (found == PARAMETER and not is_constant(node)) else found
            case ast.UnaryOp():
                return self.meaning(node.operand, place, depth)
            case ast.Compare():
                return strongest([self.meaning(s, place, depth - 1) for s in (node.left, *node.comparators)])
            case ast.IfExp():
                return strongest([self.meaning(s, place, depth - 1) for s in (node.body, node.orelse)])
            case ast.ListComp() | ast.GeneratorExp():
                return self.meaning(node.elt, place, depth - 1)
            case ast.Tuple() | ast.List():
                return strongest([self.meaning(e, place, depth - 1) for e in node.elts])
        return UNKNOWN

    def _meaning_of_name(self, name: str, place: Place, depth: int) -> str:
        if is_prediction_name(name):
            return PREDICTION
        definitions = self.all_definitions(name, place)
        if is_metric_name(name):
            constant = definitions and all(is_constant(d.value) for d in definitions if d.kind == "assign")
            computed = any(d.kind not in ("assign",) or not is_constant(d.value) for d in definitions)
            return PARAMETER if constant and not computed else RESULT
        if is_noise_name(name) and any(d.kind in ("loop", "augmented") for d in definitions):
            grown = [d for d in definitions if d.kind == "augmented"]  # `total += loss.item()` counts nothing
            return RESULT if strongest(self._meanings(grown, depth)) == RESULT else COUNTER
        found = self.definition(name, place)
        if found is None:
            return UNKNOWN
        if found.kind == "loop":
            return COUNTER if _counts(found.value) else UNKNOWN
        if found.kind == "argument":
            return UNKNOWN
        if any(d.kind == "augmented" for d in definitions):
            counted = all(
                isinstance(d.value, ast.Constant) and d.value.value == 1 for d in definitions if d.kind == "augmented"
            )
            return COUNTER if counted else strongest([UNKNOWN, *self._meanings(definitions, depth)])
        return strongest(self._meanings(definitions, depth))

    def _meanings(self, definitions: list[Definition], depth: int) -> list[str]:
        return [self._meaning_of_definition(d, depth - 1) for d in definitions[-4:] if d.value is not None]

    def _meaning_of_definition(self, definition: Definition, depth: int) -> str:
        """Of `w, costs = train()` each name means what stands at its place in the tuple that the function returns."""
        call, position = definition.value, position_of(definition)
        function = self.functions.get(call_name(call)) if isinstance(call, ast.Call) else None
        if position is not None and function is not None:
            tuples = [
                n.value for n in ast.walk(function.node) if isinstance(n, ast.Return) and isinstance(n.value, ast.Tuple)
            ]
            parts = [t.elts[position] for t in tuples if position < len(t.elts)]
            where = Place(function.module, function.name, (1 << 30, 0))
            if parts:
                return strongest([self.meaning(p, where, depth - 1) for p in parts])
        return self.meaning(call, definition.place, depth)

    def _meaning_of_attribute(self, node: ast.Attribute, place: Place, depth: int) -> str:
        if node.attr in _COUNTING or is_noise_name(node.attr):
            return COUNTER
        if is_metric_name(node.attr):
            return RESULT
        if node.attr.endswith("params_") or node.attr in ("params", "coef_", "intercept_"):
            return UNKNOWN
        if node.attr.endswith("_") and not node.attr.startswith("_"):
            return RESULT
        return self.meaning(node.value, place, depth - 1) if node.attr in _PASSING else UNKNOWN

    def _meaning_of_call(self, node: ast.Call, place: Place, depth: int) -> str:
        name = call_name(node)
        if name in _COUNTING:
            return COUNTER
        if name.startswith("predict") or name in ("decision_function", "forward"):
            return PREDICTION
        if is_metric_name(name) or name in ("criterion", "evaluate", "cross_val_score"):
            return RESULT
        if len(node.args) > 1 and self._judges(node, place, depth):
            return RESULT
        function = self.functions.get(name)
        if function is not None and isinstance(node.func, ast.Name):
            returns = [n.value for n in ast.walk(function.node) if isinstance(n, ast.Return) and n.value is not None]
            where = Place(function.module, function.name, (place.order[0], function.node.end_lineno or 0))
            return strongest([self.meaning(r, where, depth - 2) for r in returns[:4]])
        if name in _PASSING:
            inner = list(node.args)
            if isinstance(node.func, ast.Attribute) and not (
                isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("np", "numpy", "torch", "math", "F", "K", "tf", "jnp")
            ):
                inner.append(node.func.value)
            found = strongest([self.meaning(a, place, depth - 1) for a in inner])
            return RESULT if found == PREDICTION and name in ("mean", "sum", "average", "sqrt") else found
        return UNKNOWN

    def _judges(self, node: ast.Call, place: Place, depth: int) -> bool:
        """Whether a call compares a prediction with the truth: `geo_mean(y_test, y_pred)`."""
        first = node.args[:2]
        if not all(isinstance(a, ast.Name) for a in first):
            return False
        truth = any(isinstance(a, ast.Name) and is_truth_name(a.id) for a in first)
        return truth and any(self.meaning(a, place, depth - 1) == PREDICTION for a in first)


def position_of(definition: Definition) -> int | None:
    """At which place of a tuple a name is bound: 1 for `b` in `a, b = f()`."""
    target = definition.node.targets[0] if isinstance(definition.node, ast.Assign) else None
    if definition.kind != "unpack" or not isinstance(target, (ast.Tuple, ast.List)):
        return None
    return next((i for i, e in enumerate(target.elts) if isinstance(e, ast.Name) and e.id == definition.name), None)


def strongest(meanings: list[str]) -> str:
    for found in (RESULT, PREDICTION, UNKNOWN, COUNTER, PARAMETER):
        if found in meanings:
            if found == PREDICTION:
                return PREDICTION
            return found
    return UNKNOWN


def _counts(node: ast.AST | None) -> bool:
    """Whether a loop goes over numbers that only count: `range`, `enumerate`, `count`, a progress bar around them."""
    if isinstance(node, ast.Call):
        name = call_name(node)
        return name in ("range", "enumerate", "count", "arange", "xrange", "trange") or (
            bool(node.args) and name in ("tqdm", "track", "progress_bar", "iter", "reversed") and _counts(node.args[0])
        )
    return False
