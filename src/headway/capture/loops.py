"""Series of training loops: the losses of each `backward` line, the points that a framework's own log gives. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.merging import Candidate
from headway.capture.naming import core_name
from headway.capture.parameters import Parameters
from headway.capture.program import call_name
from headway.capture.results import Results

__all__ = ["losses", "optimizer", "points"]

ROUNDS = 8  # of trainings at one line, whose losses are series of their own


def losses(results: Results, fact: dict[str, Any], site: dict[str, Any], rounds: list[int]) -> Candidate | None:
    """A batch of losses of one line. `rounds`: the trainings that this line had so far, in their order."""
    number = rounds.index(fact["r"]) + 1
    if number > ROUNDS:
        return None
    call = results.program.call_at(site["file"], site["at"])
    node = _loss_of(call)
    found = results.candidate(("loss", fact["s"], fact["r"]), "loss", site, ast.unparse(node) if node else "loss")
    if not found.points:
        core = core_name(node)
        found.series, found.exact = True, True
        speaks = is_metric_name(core) and len(core) > 2
        found.name(16 if speaks and number == 1 else 30, core if speaks else "loss")
        if number == 1 and node is not None:
            results.tie_expression(found, node, site)
            _tie_copies(results, found, node)
    values, start, end = fact["v"], fact.get("t0", fact["t"]), fact["t"]
    for position, value in enumerate(values):
        when = start + (end - start) * position // max(1, len(values) - 1)
        found.add(fact["i"] + position * fact["e"], value, when)
    return found


def _tie_copies(results: Results, found: Candidate, node: ast.expr) -> None:
    """`loss = output.item()` beside `output.backward()`: the number is the same, and its name may say more."""
    place = results.program.place(node)
    if not isinstance(node, ast.Name):
        return
    for (module, function, name), definitions in results.program.definitions.items():
        for definition in definitions if (module, function) == (place.module, place.function) else ():
            value = definition.value
            item = isinstance(value, ast.Call) and call_name(value) in ("item", "float") and definition.kind == "assign"
            if item and core_name(value) == node.id:
                results.tie(found, name, definition.place)
                if is_metric_name(name):
                    found.name(17, name)


def _loss_of(call: ast.Call | None) -> ast.expr | None:
    """`loss` in `loss.backward()`, `scaler.scale(loss).backward()`, `(loss / 4).backward()`, `accelerator.backward(loss)`."""
    if call is None or not call_name(call).endswith("backward"):
        return None
    node = call.args[0] if call.args else call.func.value if isinstance(call.func, ast.Attribute) else None
    while node is not None:
        if isinstance(node, ast.Call) and call_name(node) in ("scale", "mean", "sum") and node.args:
            node = node.args[0]
        elif isinstance(node, ast.Call) and call_name(node) in ("mean", "sum") and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Mult)):
            node = node.left if not isinstance(node.left, ast.Constant) else node.right
        else:
            break
    return node


def optimizer(parameters: Parameters, fact: dict[str, Any], site: dict[str, Any]) -> None:
    """What an optimizer was made with."""
    parameters.fit({**fact, "k": "fit", "cls": fact.get("cls") or "optimizer"}, site)


def points(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    """Series with steps of their own: `{name: [[step, value], ...]}`."""
    for name, pairs in (fact.get("points") or {}).items():
        found = results.candidate(("points", fact.get("id"), fact["s"], name), "fit", site, f"{fact['cls']}.{name}")
        found.points, found.series, found.training = [], True, training
        for step, value in pairs:
            found.add(step, value, fact["t"])
        found.name(14, "_".join(words(name)) if " " in name else name)
