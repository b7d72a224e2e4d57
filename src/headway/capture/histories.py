"""Series and results that functions hold: turns of loops, calls, lists and dicts of numbers, attributes, files. Pure."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from typing import Any

from headway.capture import bindings
from headway.capture.callers import are_texts, is_thing
from headway.capture.lexicon import is_metric_name, is_noise_name, words
from headway.capture.merging import Candidate
from headway.capture.program import RESULT, Definition, Place, call_name, is_constant, position_of
from headway.capture.results import Results, definition_key

__all__ = ["attribute", "name", "returns", "turns", "written"]

# Words of running values: the best so far, a sum so far. Their last value is a result, their course is not.
_RUNNING = frozenset(
    ("best", "min", "max", "prev", "previous", "last", "old", "new", "total", "running", "sum", "tmp", "temp", "correct",
     "lowest", "highest", "curr", "current", "cum", "epoch", "n", "num")
)  # fmt: skip


def turns(results: Results, fact: dict[str, Any], place: Place) -> None:
    """What a loop's own body bound to names of results, turn by turn."""
    counters = 2 + len(fact["names"])
    texts = are_texts({held for row in fact["rows"] for held in row[counters:] if is_thing(held)})
    for name, position in _numbered(fact["names"], 2):
        definition = _bound_in_loop(results, name, place, int(fact["line"]))
        if definition is None or not _worth_a_series(results, name, definition):
            continue
        for row in fact["rows"]:
            value = row[position]
            if value is None:
                continue
            held = row[counters : counters + len(fact.get("counters") or ())]
            loop = "" if texts else next((h for h in held if is_thing(h)), "")
            found = _candidate(results, ("turns", fact["file"], fact["fn"], fact["line"], name, loop), definition, fact)
            found.qualifier = loop
            found.add(next((h for h in held if type(h) is int), None), value, row[0])
            found.series = not loop
        _finish(results, ("turns", fact["file"], fact["fn"], fact["line"], name), fact, definition, name)


def returns(results: Results, fact: dict[str, Any], place: Place) -> None:
    """What a function's names held at each return, where one call makes them all."""
    if results.program.call_sites(place.function.rsplit(".", 1)[-1]) > 1:
        return
    if fact["calls"] == 1:
        for position, one in enumerate(fact["names"], 2):
            bindings.name(results, one, {"v": fact["rows"][-1][position]}, fact["file"], place, fact["t"], None)
        return
    for name, position in _numbered(fact["names"], 2):
        definition = results.program.definition(name, place)
        if (
            definition is None
            or results.program.loops(definition.node)
            or not _worth_a_series(results, name, definition)
        ):
            continue
        key = ("returns", fact["file"], fact["fn"], name)
        for row in fact["rows"]:
            if row[position] is not None:
                _candidate(results, (*key, ""), definition, fact).add(None, row[position], row[0])
        _finish(results, key, fact, definition, name)


def _numbered(names: list[str], start: int) -> Iterator[tuple[str, int]]:
    for position, name in enumerate(names, start):
        if is_metric_name(name) and len(name) > 2:
            yield name, position


def _bound_in_loop(results: Results, name: str, place: Place, line: int) -> Definition | None:
    """The binding of a name in the body of the loop at a line, and in no loop within it."""
    for definition in results.program.definitions.get((place.module, place.function, name), ()):
        around = results.program.loops(definition.node)
        if around and around[0].lineno <= line <= around[0].body[0].lineno:
            return definition
    return None


def _worth_a_series(results: Results, name: str, definition: Definition) -> bool:
    if definition.kind not in ("assign", "unpack") or set(words(name)) & _RUNNING or is_constant(definition.value):
        return False
    return results.program.meaning(ast.Name(id=name), definition.place) == RESULT


def _candidate(results: Results, key: Any, definition: Definition, fact: dict[str, Any]) -> Candidate:
    expression = ast.unparse(definition.value) if definition.value is not None else definition.name
    return results.candidate(key, "names", {"file": fact["file"], "at": [definition.place.order[1]]}, expression)


def _finish(results: Results, key: tuple[Any, ...], fact: dict[str, Any], definition: Definition, name: str) -> None:
    """Names what was found, or drops it: what came too often to be kept whole is no series."""
    for known in [k for k in results.found if isinstance(k, tuple) and k[:-1] == key]:
        found = results.found[known]
        if fact.get("cut") or not found.points:
            del results.found[known]
        elif not found.names:
            found.name(23, name)
            results.tie(found, name, definition.place)
            found.keys |= source_of(results, definition)
            found.series = found.series or key[0] == "returns"


def source_of(results: Results, definition: Definition) -> set[Any]:
    """The key of the name that a function returned to a binding, where that is its only call."""
    call = definition.value
    if not isinstance(call, ast.Call) or results.program.call_sites(call_name(call)) != 1:
        return set()
    inner = results.program.returned(call, position_of(definition))
    found = results.program.definition(*inner) if inner is not None else None
    return set() if found is None else {(*definition_key(found), "")}


def name(results: Results, name: str, told: dict[str, Any], fact: dict[str, Any], place: Place, file: str) -> None:
    """What a name holds at the end of a cell, of the program, or in a function.

    Numbers at a return (`calls`) are told by `returns`.
    """
    when, value = fact["t"], told.get("v")
    if "r" in told:
        columns(
            results, ("names", place.module, place.function, name), told["r"], file, _line(results, name, place), when
        )
    elif isinstance(value, dict) and "h" not in told:
        entries(results, name, value, place, file, when)
    elif "l" in told and told.get("c") in ("list", "ndarray") and _from_call(results, name, told, place, file, when):
        return
    elif "h" in told and "v" in told:
        if _made_as_history(results, name, place):
            bindings.name(results, name, told, file, place, when, None)
    elif "v" not in told or "h" in told or not fact.get("calls"):
        bindings.name(results, name, told, file, place, when, None)


def _made_as_history(results: Results, name: str, place: Place) -> bool:
    """Whether a small dict of lists is written out, or made by a call: not one that was picked from a library's results."""
    found = results.program.definition(name, place)
    return found is not None and (found.kind == "append" or isinstance(found.value, (ast.Dict, ast.Call)))


def _line(results: Results, name: str, place: Place) -> int:
    found = results.program.all_definitions(name, place)
    return found[-1].place.order[1] if found else 0


def _from_call(results: Results, name: str, told: dict[str, Any], place: Place, file: str, when: int) -> bool:
    """A list that a function of the user's has filled and returned: it is that function's list, under either's name."""
    definitions = results.program.all_definitions(name, place)
    definition = results.program.definition(name, place)
    if definition is None or any(d.kind == "append" for d in definitions):
        return False
    inner = results.program.returned(definition.value, position_of(definition))
    if inner is None:
        return False
    grown = [d for d in results.program.all_definitions(*inner) if d.kind == "append"]
    if not grown or (results.program.meaning(grown[-1].value, grown[-1].place) != RESULT and not is_metric_name(name)):
        return False
    call = definition.value
    if isinstance(call, ast.Call) and results.program.call_sites(call_name(call)) == 1:
        bindings.name(results, inner[0], told, inner[1].module, inner[1], when, None)
        found = results.found.get(("names", inner[1].module, inner[1].function, inner[0]))
    else:
        key = ("names", place.module, place.function, name)
        found = _candidate(results, key, definition, {"file": file})
        found.points, found.series = [(i, float(v), when) for i, v in enumerate(told["l"]) if v is not None], True
        found.name(52, inner[0])
    if found is not None:
        found.name(21 if is_metric_name(name) else 46, name)
    return True


# -- dicts and lists of dicts


def entries(results: Results, name: str, value: dict[str, Any], place: Place, file: str, when: int) -> None:
    """`{"accuracy": a, "f1": b}`: numbers under names of results that are no literals."""
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not is_metric_name(key):
            continue
        node = _value_under(results, name, key, place)
        if node is None or is_constant(node) or (isinstance(node, ast.Name) and _fixed(results, node, place)):
            continue
        site = {"file": file, "at": [node.lineno]}
        found = results.candidate(("entry", place.module, place.function, name, key), "names", site, ast.unparse(node))
        found.points = [(None, float(number), when)]
        found.name(21, key)
        results.tie_expression(found, node, site)


def _fixed(results: Results, node: ast.Name, place: Place) -> bool:
    found = results.program.all_definitions(node.id, place)
    return bool(found) and all(d.kind in ("assign", "argument") and is_constant(d.value) for d in found)


def _value_under(results: Results, name: str, key: str, place: Place) -> ast.expr | None:
    """The expression that a dict has under a key: in its display, or in `name[key] = ...`."""
    found: ast.expr | None = None
    for definition in results.program.all_definitions(name, place):
        value = definition.value
        if isinstance(value, ast.Dict):
            found = _in_display(value, key) or found
        elif definition.kind == "append" and isinstance(definition.node, ast.Assign):
            for target in definition.node.targets:
                if (
                    isinstance(target, ast.Subscript)
                    and isinstance(target.slice, ast.Constant)
                    and target.slice.value == key
                ):
                    found = value
    return found


def _in_display(display: ast.Dict, key: str) -> ast.expr | None:
    return next(
        (
            v
            for k, v in zip(display.keys, display.values, strict=True)
            if isinstance(k, ast.Constant) and k.value == key
        ),
        None,
    )


def columns(
    results: Results,
    key: tuple[Any, ...],
    table: dict[str, list[Any]],
    file: str,
    line: int,
    when: int,
    source: str = "names",
) -> None:
    """A history kept row by row: each column of a result is a series, or a number for each thing that a column of words names."""
    told = [
        k
        for k, v in table.items()
        if v and all(type(x) is str and 0 < len(x) <= 40 for x in v) and len(set(v)) == len(v)
    ]
    steps = next((v for k, v in table.items() if is_noise_name(k) and _grows(v)), None)
    for column, values in table.items():
        if not is_metric_name(column) or any(type(v) is str for v in values) or len(set(values)) < 2:
            continue
        site = {"file": file, "at": [line]}
        for position, value in enumerate(values):
            named = str(table[told[0]][position]) if told else ""
            found = results.candidate((*key, column, named), source, site, column)
            if position == 0 or told:
                found.points, found.names = [], []
                found.qualifier, found.series = named, not told
                found.name(22, column)
            found.add(steps[position] if steps and not told else None, value, when)


def _grows(values: list[Any]) -> bool:
    return all(type(v) is int for v in values) and all(a < b for a, b in itertools.pairwise(values))


# -- instances and files


def attribute(results: Results, owner: str, cls: str, name: str, told: dict[str, Any], file: str, when: int) -> None:
    """What an object of the user's keeps on itself: `self.losses`, `self.history`, `self.best_score`."""
    known = results.program.definitions.get((file, cls, f"self.{name}")) or next(
        (d for (_, scope, n), d in results.program.definitions.items() if scope == cls and n == f"self.{name}"), []
    )
    line = known[-1].place.order[1] if known else 0
    owner = cls if results.program.call_sites(cls) == 1 else owner
    if told.get("r"):
        columns(results, ("attribute", owner, name), told["r"], file, line, when)
    for part, values in (told.get("h") or {}).items():
        if is_metric_name(part) or is_metric_name(name):
            found = results.candidate(
                ("attribute", owner, name, part), "names", {"file": file, "at": [line]}, f"{owner}.{name}[{part!r}]"
            )
            found.points, found.series = [(i, float(v), when) for i, v in enumerate(values) if v is not None], True
            found.name(21, part)
    value = told.get("v")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_metric_name(name):
        return
    computed = [d for d in known if not is_constant(d.value) and not isinstance(d.value, ast.Name)]
    if computed and results.program.call_sites(cls) == 1:
        site = {"file": file, "at": [computed[-1].place.order[1]]}
        found = results.candidate(("attribute", cls, name, ""), "names", site, f"self.{name}")
        found.points = [(None, float(value), when)]
        found.name(23, name)


def written(results: Results, fact: dict[str, Any]) -> None:
    """Results that the program wrote into a file: columns, lists and numbers under names of results."""
    path = str(fact["path"])
    if fact.get("r"):
        columns(results, ("file", path), fact["r"], path, 0, fact["t"], "file")
    for part, values in (fact.get("h") or {}).items():
        found = results.candidate(("file", path, part), "file", {"file": path, "at": [0]}, part)
        found.points, found.series, found.names = [(i, float(v), fact["t"]) for i, v in enumerate(values)], True, []
        found.name(24, part.rsplit(".", 1)[-1])
    for name, value in (fact.get("v") or {}).items():
        last = name.rsplit(".", 1)[-1]
        found = results.candidate(("file", path, name, ""), "file", {"file": path, "at": [0]}, name)
        found.points, found.names = [(None, float(value), fact["t"])], []
        found.qualifier = name.rpartition(".")[0] if is_metric_name(last) else ""
        found.name(26, last if is_metric_name(last) else name.replace(".", "_"))
