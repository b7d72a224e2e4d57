"""What a result is called: the word its expression turns on, the data it was taken on, the loop it stands in. Pure."""

from __future__ import annotations

import ast
import re
from typing import Any

from headway.capture.lexicon import is_metric_name, is_prediction_name, is_truth_name, words
from headway.capture.program import Program, call_name, is_constant

__all__ = [
    "as_name", "core_name", "data_set", "entry_of_loop", "is_setting", "is_spread", "mean_of", "metric_function", "names_a_set",
    "names_sets", "of_a_list", "one_of", "step_of", "told_name", "unconverted", "validated_name",
]  # fmt: skip

_AVERAGES = ("mean", "average", "nanmean", "fmean", "median", "max", "min")
_FILLERS = frozenset(
    ("the", "a", "an", "is", "are", "was", "of", "for", "on", "in", "at", "and", "with", "our", "this", "to", "by")
)


def core_name(node: ast.AST | None) -> str:
    """The word that an expression turns on: `loss.item()` -> loss, `np.mean(scores)` -> scores, `h["acc"][-1]` -> acc."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return core_name(node.value) if node.attr in ("data", "T", "values") else node.attr.strip("_")
        case ast.Subscript():
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                return node.slice.value
            return core_name(node.value)
        case ast.Call():
            name = call_name(node)
            if name.startswith("cross_val") and name != "cross_val_predict":
                return validated_name("score", _scoring(node))
            if name == "sqrt" and node.args and "mean_squared" in (inner := core_name(node.args[0])):
                return f"root_{inner.replace('neg_', '')}"
            if is_metric_name(name):
                return metric_function(name, "")
            if isinstance(node.func, ast.Attribute) and not node.args:
                return core_name(node.func.value)
            return core_name(node.args[0]) if node.args else name
        case ast.BinOp():
            left, right = core_name(node.left), core_name(node.right)
            return left if is_metric_name(left) or not is_metric_name(right) else right
        case ast.UnaryOp():
            return core_name(node.operand)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            sides = [
                n.id if isinstance(n, ast.Name) else n.attr
                for n in (left, right)
                if isinstance(n, (ast.Name, ast.Attribute))
            ]
            return "accuracy" if any(map(is_prediction_name, sides)) and any(map(is_truth_name, sides)) else ""
    return ""


def unconverted(node: ast.expr) -> ast.expr:
    """`loss` in `loss.item()`, `loss.data.cpu().numpy()`, `float(loss)`, `loss.data[0]`: the same number in another type."""
    for _ in range(8):
        match node:
            case ast.Call(
                func=ast.Attribute(value=inner, attr="item" | "numpy" | "detach" | "cpu" | "tolist"), args=[]
            ):
                node = inner
            case ast.Call(func=ast.Name(id="float" | "round"), args=[inner, *_]):
                node = inner
            case ast.Attribute(value=inner, attr="data"):
                node = inner
            case ast.Subscript(value=ast.Attribute(value=inner, attr="data"), slice=ast.Constant(value=0)):
                node = inner
            case _:
                break
    return node


def metric_function(name: str, meaning: str) -> str:
    if name == "score":
        return meaning or "score"
    return name.removesuffix("_score") if len(name) > 9 else name


def validated_name(name: str, scoring: str) -> str:
    return f"cv_{scoring or 'score'}" if name in ("score", "test_score") else f"cv_{name}"


def _scoring(call: ast.Call) -> str:
    told = next((k.value for k in call.keywords if k.arg == "scoring"), None)
    return told.value if isinstance(told, ast.Constant) and isinstance(told.value, str) else ""


def as_name(label: str) -> str:
    """The words of a label that name something, the last five: "The geometric mean is" -> geometric_mean."""
    found = words(label)
    while found and found[0] in _FILLERS:
        found = found[1:]
    while found and found[-1] in _FILLERS:
        found = found[:-1]
    return "_".join(found[-5:])


def is_spread(node: ast.AST | None) -> bool:
    """Whether an expression tells how much a result varies, or a bound made of that: `np.std(scores)`, `2 * acc_std`,
    `mean - std`. That explains a mean and is no metric of its own."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bool(set(words(name)) & {"std", "stdev", "stds", "stddev", "sd", "sem"}) or name.lower().endswith(
                "_dev"
            )
        case ast.Call():
            return call_name(node) in ("std", "stdev", "pstdev", "nanstd", "sem") or (
                call_name(node) in ("round", "float", "sqrt", "mean") and bool(node.args) and is_spread(node.args[0])
            )
        case ast.BinOp():
            return is_spread(node.left) or is_spread(node.right)
        case ast.Subscript() | ast.UnaryOp():
            return is_spread(node.value if isinstance(node, ast.Subscript) else node.operand)
    return False


def mean_of(node: ast.AST | None) -> str:
    """The name whose mean an expression takes: `scores.mean()`, `np.average(scores)`."""
    if not isinstance(node, ast.Call) or call_name(node) not in ("mean", "average", "fmean"):
        return ""
    if len(node.args) == 1 and isinstance(node.args[0], ast.Name):
        return node.args[0].id
    if not node.args and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return node.func.value.id
    return ""


def of_a_list(node: ast.AST, core: str) -> str:
    """`np.mean(scores)` -> mean_scores; nothing for what takes no average of many."""
    if not isinstance(node, ast.Call) or call_name(node) not in _AVERAGES or not is_metric_name(core):
        return ""
    name = "mean" if call_name(node) in ("average", "fmean", "nanmean") else call_name(node)
    many = core.endswith("s") and not core.endswith(("ss", "loss"))
    return f"{name}_{core}" if many and name not in words(core) else ""


def one_of(node: ast.AST) -> str:
    """The name of the list that `costs[0]` or `costs[-1]` is one value of."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, (ast.Name, ast.Attribute, ast.Subscript)):
        place = node.slice.operand if isinstance(node.slice, ast.UnaryOp) else node.slice
        if isinstance(place, ast.Constant) and isinstance(place.value, int):
            return core_name(node.value)
    return ""


def data_set(call: ast.Call) -> str:
    """ "train" or "test" when the arguments of a metric say so."""
    names = {w for a in call.args for n in ast.walk(a) if isinstance(n, ast.Name) for w in words(n.id)}
    for which, marks in (
        ("train", {"train", "tr", "training"}),
        ("test", {"test", "te", "testing"}),
        ("val", {"val", "valid", "validation", "dev"}),
    ):
        if names & marks:
            return which
    return ""


def names_a_set(name: str) -> bool:
    """Whether a name says on which data: `test loss`."""
    return bool(
        set(words(name))
        & {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "holdout", "oob"}
    )


def names_sets(label: str) -> bool:
    """Whether a label speaks of several sets at once: "train/test accuracy"."""
    found = set(words(label))
    return (
        sum(
            bool(found & marks)
            for marks in ({"train", "training"}, {"test", "testing"}, {"val", "valid", "validation", "dev"})
        )
        > 1
    )


def told_name(program: Program, call: ast.Call, shown: list[tuple[ast.expr, str]]) -> str:
    """In a loop over models, the name that is printed before the number: `print(type(m).__name__, score)`."""
    if not program.loops(call):
        return ""
    for node, text in shown:
        if text:
            names = any(isinstance(n, ast.Attribute) and n.attr in ("__name__", "__qualname__") for n in ast.walk(node))
            return text if names and re.fullmatch(r"[A-Za-z_]\w{1,39}", text) else ""
    return ""


def is_setting(program: Program, node: ast.expr, call: ast.Call) -> bool:
    """Whether a printed value is what the loop around goes over: settings that are tried, or a model's weights."""
    if not isinstance(node, ast.Name) or node.id not in program.loop_names(call):
        return False
    place = program.place(call)
    loop = program.definition(node.id, place)
    over = loop.value if loop is not None and loop.kind == "loop" else None
    if isinstance(over, ast.Name):
        source = program.definition(over.id, place)
        over = source.value if source is not None and source.kind == "assign" else over
    return over is not None and (is_constant(over) or bool(re.search(r"importances?_|\bcoef_", ast.unparse(over))))


def entry_of_loop(program: Program, call: ast.Call, node: ast.expr, names: dict[str, Any]) -> str:
    """In `for name, value in log.items()`: what this `value` is called, where that is the name of a result."""
    if not isinstance(node, ast.Name):
        return ""
    for loop in program.loops(call):
        target = loop.target if isinstance(loop, (ast.For, ast.AsyncFor)) else None
        if isinstance(target, ast.Tuple) and len(target.elts) == 2 and isinstance(target.elts[0], ast.Name):
            name, value = target.elts[0].id, target.elts[1]
            if isinstance(value, ast.Name) and value.id == node.id and isinstance(told := names.get(name), str):
                return told if is_metric_name(told) and len(told) <= 40 else ""
    return ""


def step_of(program: Program, call: ast.Call | None, names: dict[str, Any]) -> int | None:
    if call is None:
        return None
    for name in program.loop_names(call):
        value = names.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
