"""Results that were printed, logged, or shown by a cell, named by the text around them and the code behind them. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import is_metric_name, is_noise_name, words
from headway.capture.naming import (
    as_name,
    core_name,
    data_set,
    entry_of_loop,
    is_setting,
    is_spread,
    names_a_set,
    names_sets,
    of_a_list,
    one_of,
    step_of,
    told_name,
)
from headway.capture.program import COUNTER, PARAMETER, RESULT
from headway.capture.results import Results, spot
from headway.capture.templates import Slot, clause, slots

__all__ = ["printed", "shown"]


def printed(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    call = results.program.call_at(site["file"], site["at"])
    if call is None:
        return
    names = fact.get("n") or {}
    values = fact.get("v") or []
    if fact["k"] == "bar":
        _bar(results, fact, site, call, names)
    target = call
    if fact["k"] == "log":
        target, values = _as_print(call, values)
    found = slots(target, values, names)
    loop = results.thing(call, names) or told_name(results.program, call, [(s.node, s.text) for s in found])
    for position, slot in enumerate(found):
        _slot(results, fact, site, call, position, slot, names, training, loop)


def _bar(results: Results, fact: dict[str, Any], site: dict[str, Any], call: ast.Call, names: dict[str, Any]) -> None:
    for name, value in (fact.get("w") or {}).items():
        if is_metric_name(name):
            found = results.candidate(("bar", fact["s"], name), "bar", site, name)
            found.name(15, name)
            found.add(step_of(results.program, call, names), value, fact["t"])


def _slot(
    results: Results, fact: dict[str, Any], site: dict[str, Any], call: ast.Call, position: int, slot: Slot,
    names: dict[str, Any], training: int | None, loop: str,
) -> None:  # fmt: skip
    parts = slot.value if isinstance(slot.value, dict) else {"": slot.value}
    for part, value in parts.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        entry = entry_of_loop(results.program, call, slot.node, names)
        name = [(20, entry)] if entry else _slot_name(results, call, slot, part, value)
        if name is None:
            continue
        key = (fact["k"], *spot(site), position, part, loop)
        found = results.candidate(key, fact["k"], site, ast.unparse(slot.node))
        found.again(fact["s"])
        found.add(step_of(results.program, call, names), value, fact["t"])
        if len(found.points) == 1:
            found.training, found.qualifier = training, loop if loop != entry else ""
            found.exact = isinstance(slot.node, ast.Name) and slot.node.id in names
            found.part_of = one_of(slot.node)
            for rank, text in name:
                found.name(rank, text)
            if not entry:
                results.tie_expression(found, slot.node, site, part, loop)


def _slot_name(results: Results, call: ast.Call, slot: Slot, part: str, value: float) -> list[tuple[int, str]] | None:
    """What a printed value is called, by rank; None when it is no result."""
    place = results.program.place(call)
    label = clause(slot.before, last=True) or (clause(slot.after, last=False) if not slot.before.strip() else "")
    if part and not is_metric_name(part):
        return None
    core = part or core_name(slot.node)
    meaning = results.program.meaning(slot.node, place)
    labelled = is_metric_name(label) and len(words(label)) <= 7 and not names_sets(label)
    outcome = _counter_after_loop(results, slot.node, call)
    if isinstance(slot.node, ast.Constant) or is_spread(slot.node) or is_setting(results.program, slot.node, call):
        return None
    if not part and not outcome:
        if meaning in (COUNTER, PARAMETER) or (is_noise_name(core) and not (labelled and meaning == RESULT)):
            return None
        if meaning != RESULT and not labelled:
            return None
        if isinstance(value, int) and not labelled and not is_metric_name(core) and meaning != RESULT:
            return None
    found: list[tuple[int, str]] = []
    text = as_name(label)
    if labelled or (text and meaning == RESULT and not is_noise_name(label) and not is_metric_name(core)):
        told = names_a_set(label) and not names_a_set(core)
        rank = 19 if told else 21 if _is_quotient(slot.node) else 24
        found.append((rank if labelled else 45, text if not part else f"{text}_{part}"))
    if core:
        found.append((22 if is_metric_name(core) and len(core) > 2 else 50, core))
    if average := of_a_list(slot.node, core):
        found.append((21, average))
    return found or [(60, "value")]


def _counter_after_loop(results: Results, node: ast.expr, call: ast.Call) -> bool:
    """Whether a loop's counter is told after its loop: how long something took is a result."""
    if not isinstance(node, ast.Name) or node.id in results.program.loop_names(call):
        return False
    definition = results.program.definition(node.id, results.program.place(call))
    return definition is not None and definition.kind == "loop" and isinstance(definition.node, (ast.For, ast.AsyncFor))


def shown(results: Results, value: Any, file: str, when: int, training: int | None) -> None:
    """The value of a cell's last expression."""
    source = results.program.sources.get(file)
    if source is None or not source.tree.body or not isinstance(source.tree.body[-1], ast.Expr):
        return
    node = source.tree.body[-1].value
    place = results.program.place(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if results.program.meaning(node, place) != RESULT:
        return
    site = {"file": file, "at": [node.lineno]}
    if is_spread(node):
        return
    found = results.candidate(("cell", file, results.classes.get(None)), "cell", site, ast.unparse(node))
    found.training = training
    found.add(None, value, when)
    core = core_name(node)
    found.name(22 if is_metric_name(core) else 50, core or "value")
    if isinstance(node, ast.Call) and is_metric_name(core) and (which := data_set(node)):
        found.name(21, f"{which}_{core}")
    if told := of_a_list(node, core):
        found.name(21, told)
    results.tie_expression(found, node, {"file": file})


def _is_quotient(node: ast.expr) -> bool:
    """`total / len(loader)`, `100 * correct / n`: the text says what it is, its parts do not."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant)


def _as_print(call: ast.Call, values: list[Any]) -> tuple[ast.Call, list[Any]]:
    """`logging.info("loss %f", loss)` as `print("loss %f" % loss)`."""
    if not call.args or len(values) < 2 or not isinstance(call.args[0], ast.Constant):
        return call, values
    text, rest = values[0], tuple(values[1:])
    try:
        shown = str(text) % rest
    except (TypeError, ValueError):
        return call, values
    right: ast.expr = ast.Tuple(elts=call.args[1:], ctx=ast.Load()) if len(call.args) > 2 else call.args[1]
    line = ast.BinOp(left=call.args[0], op=ast.Mod(), right=right)
    return ast.Call(func=call.func, args=[line], keywords=[]), [shown]
