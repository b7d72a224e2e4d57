"""Results that names hold at the end of a cell, of a function, or of the program. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import is_metric_name
from headway.capture.naming import core_name, is_spread, mean_of
from headway.capture.program import COUNTER, PARAMETER, RESULT, Definition, Place
from headway.capture.results import Results, definition_key

__all__ = ["attribute", "name"]


def name(
    results: Results, name: str, told: dict[str, Any], file: str, place: Place, when: int, training: int | None
) -> None:
    """A variable at the end of a cell, of a function, or of the program."""
    definitions = results.program.all_definitions(name, place)
    definition = results.program.definition(name, place)
    if definition is None:
        return
    line = definition.place.order[1]
    expression = ast.unparse(definition.value) if definition.value is not None else name
    site = {"file": file, "at": [line]}
    if "l" in told and (told.get("c") != "tuple"):
        _grown(results, name, told["l"], definitions, place, site, when, training)
        return
    for part, values in (told.get("h") or {}).items():
        if is_metric_name(part) or is_metric_name(name):
            found = results.candidate(("names", place.module, place.function, name, part), "names", site, expression)
            found.points, found.series, found.training = (
                [(i, float(v), when) for i, v in enumerate(values)],
                True,
                training,
            )
            found.name(20, f"{name}_{part}" if is_metric_name(name) else part)
    value = told.get("v")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if results.program.meaning(ast.Name(id=name), place) != RESULT or not _is_outcome(definition, name):
        return
    if is_spread(ast.Name(id=name)) or is_spread(definition.value):
        return
    if isinstance(value, int) and not is_metric_name(name):
        return  # how many, of what is counted for a result
    key = definition_key(definition)
    tied = [c for c in results.found.values() for k in c.keys if k[:-1] == key and k[-1]]
    if any(c.points and c.points[-1][1] == value for c in tied):
        return  # the last of a loop over named things, which has a metric of its own
    word = results.callers.word(place, {})
    found = results.candidate(("names", *key, word), "names", site, expression)
    found.points, found.training, found.qualifier = [(None, float(value), when)], training, word
    found.name(20 if is_metric_name(name) and len(name) > 2 else 55, name)
    found.keys.add((*key, word))
    if mean := mean_of(definition.value):
        results.tie_mean(found, mean, definition.place)


def _grown(
    results: Results, name: str, values: list[Any], definitions: list[Definition], place: Place, site: dict[str, Any],
    when: int, training: int | None,
) -> None:  # fmt: skip
    """A list that grew in a loop, of results."""
    appended = [d for d in definitions if d.kind == "append"]
    if not appended:
        return
    source = appended[-1]
    meaning = results.program.meaning(source.value, source.place)
    if meaning != RESULT and not (is_metric_name(name) and meaning not in (COUNTER, PARAMETER)):
        return
    site = {**site, "at": [source.place.order[1]]}
    expression = ast.unparse(source.value) if source.value is not None else name
    found = results.candidate(("names", place.module, place.function, name), "names", site, expression)
    found.points, found.series, found.training = (
        [(i, float(v), when) for i, v in enumerate(values) if v is not None],
        True,
        training,
    )
    inner = core_name(source.value) if source.value is not None else ""
    found.name(21 if is_metric_name(name) else 45, name)
    found.name(23 if is_metric_name(inner) and len(inner) > 2 else 52, inner)
    if isinstance(source.value, ast.Call):
        node = source.value
        found.keys.add(
            ("call", site["file"], (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset), "", "")
        )
    if isinstance(source.value, ast.Name):
        results.tie(found, source.value.id, source.place)


def attribute(results: Results, owner: str, cls: str, name: str, told: dict[str, Any], file: str, when: int) -> None:
    """A series that a user's model keeps on itself: `results.losses`."""
    values = told.get("l")
    if values and is_metric_name(name):
        found = results.candidate(("attribute", owner, name), "names", {"file": file, "at": [0]}, f"{owner}.{name}")
        found.points, found.series = [(i, float(v), when) for i, v in enumerate(values) if v is not None], True
        found.name(21, name)
        if results.program.call_sites(cls) == 1:  # its only instance, as `self` and by other names
            found.keys.add(("attribute", cls, name))


def _is_outcome(definition: Definition, name: str) -> bool:
    """Not every name that sounds like a result holds one: literals, counts and data do not."""
    if definition.kind in ("loop", "argument", "append"):
        return False
    if definition.kind == "augmented":
        return is_metric_name(name)
    return not isinstance(definition.value, (ast.Constant, ast.Lambda))
