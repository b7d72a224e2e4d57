"""What a result is called: the word its expression turns on, the data it was taken on, the loop it stands in. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.program import Program, call_name

__all__ = [
    "core_name",
    "data_set",
    "entry_of_loop",
    "metric_function",
    "names_a_set",
    "step_of",
    "string_of_loop",
    "validated_name",
]


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
    return ""


def metric_function(name: str, meaning: str) -> str:
    if name == "score":
        return meaning or "score"
    return name.removesuffix("_score") if len(name) > 9 else name


def validated_name(name: str, scoring: str) -> str:
    if name in ("score", "test_score"):
        return f"cv_{scoring.removeprefix('neg_') or 'score'}"
    return f"cv_{name}"


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


def string_of_loop(program: Program, call: ast.Call | None, names: dict[str, Any]) -> str:
    """In a loop over named things, the name of this one: each has metrics of its own."""
    if call is None:
        return ""
    for name in program.loop_names(call):
        value = names.get(name)
        if isinstance(value, str) and 0 < len(value) <= 40:
            return value
    return ""


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
