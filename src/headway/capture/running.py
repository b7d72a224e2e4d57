"""Running sums are no results: what a loop adds up to divide it by a count later is dropped where the quotient is known. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import words
from headway.capture.merging import Candidate
from headway.capture.program import Program

__all__ = ["without_sums"]

_COUNTS = frozenset(("correct", "corrects", "hits", "misclassified"))  # raw counts: a share is made of them


def without_sums(found: dict[Any, Candidate], program: Program) -> list[Candidate]:
    """The candidates, less those that only hold what a name came to: a sum (`total += loss.item()`), a count (`correct`).

    A sum goes when another result is computed from it (`total / len(loader)`), or when nothing reads it.
    """
    readers = [(c.file, n, c) for c in found.values() for n in _inner_names(c.expression)]
    loads = _loads(program)
    kept = []
    for item in found.values():
        name = _summed(item, program)
        if name is not None and (
            name not in loads or any(f == item.file and n == name and c is not item for f, n, c in readers)
        ):
            continue
        kept.append(item)
    return kept


def _summed(item: Candidate, program: Program) -> str | None:
    """The name of the sum or count that a candidate is the last value of; None for any other candidate."""
    if item.source != "names" or len(item.points) != 1 or item.series:
        return None
    for key in item.keys:
        if key[0] == "definition":
            module, function, name = key[1:4]
            definitions = program.definitions.get((module, function, name), ())
            if set(words(name)) & _COUNTS or any(d.kind == "augmented" for d in definitions):
                return str(name)
    return None


def _inner_names(expression: str) -> set[str]:
    """The names that an expression computes something from; a name alone, or one that is only converted, is that name itself."""
    try:
        node = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    if not any(isinstance(n, (ast.BinOp, ast.Call)) for n in ast.walk(node)):
        return set()
    if isinstance(node, ast.Call) and not any(isinstance(n, ast.BinOp) for n in ast.walk(node)):
        return set()
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _loads(program: Program) -> set[str]:
    return {
        n.id
        for source in program.sources.values()
        for n in ast.walk(source.tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
