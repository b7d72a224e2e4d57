"""The candidates for metrics and series that a run's facts tell, and how they are tied to the code. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.callers import Callers
from headway.capture.merging import Candidate
from headway.capture.naming import mean_of, unconverted
from headway.capture.program import Definition, Place, Program, call_name

__all__ = ["Results", "definition_key", "spot"]


class Results:
    """Collects candidates, fact by fact, in the order in which they happened."""

    def __init__(self, program: Program, callers: Callers | None = None) -> None:
        self.program = program
        self.callers = callers or Callers(program, (), {})
        self.found: dict[Any, Candidate] = {}
        self.classes: dict[int | None, str] = {}  # of the trainings so far, and of the latest under None

    def candidate(self, key: Any, source: str, site: dict[str, Any], expression: str) -> Candidate:
        if key not in self.found:
            at = site.get("at") or [0]
            self.found[key] = Candidate(source, str(site.get("file", "")), int(at[0]), expression)
        return self.found[key]

    def thing(self, call: ast.Call | None, names: dict[str, Any]) -> str:
        """The name of what a call works on: of the loop over named things around it, else what its function was told."""
        if call is None:
            return ""
        return self.callers.turn(call, names) or self.callers.word(self.program.place(call), names)

    def tie(self, found: Candidate, variable: str, place: Place) -> None:
        """Ties a candidate to a variable as it is bound at a place; in a loop over named things, to this one's."""
        definition = self.program.definition(variable, place)
        if definition is not None:
            found.keys.add((*definition_key(definition), found.qualifier))

    def tie_expression(
        self, found: Candidate, node: ast.expr, site: dict[str, Any], part: str = "", loop: str = ""
    ) -> None:  # fmt: skip
        """Ties a candidate to the variable, or the call, that its expression is."""
        inner = node
        while (
            isinstance(inner, ast.Call)
            and inner.args
            and call_name(inner) in ("round", "float", "str")
            and isinstance(inner.func, ast.Name)
        ):
            inner = inner.args[0]
        if isinstance(inner, ast.Name):
            self.tie(found, inner.id, self.program.place(inner))
        if isinstance(inner, ast.Call):
            at = (inner.lineno, inner.col_offset, inner.end_lineno or 0, inner.end_col_offset or 0)
            found.keys.add(("call", site["file"], at, part, loop))
            if mean := mean_of(inner):
                self.tie_mean(found, mean, self.program.place(inner))
            if isinstance(bare := unconverted(inner), ast.Name):
                self.tie(found, bare.id, self.program.place(inner))

    def tie_mean(self, found: Candidate, variable: str, place: Place) -> None:
        """Ties a candidate to the mean of what a variable holds at a place."""
        definition = self.program.definition(variable, place)
        if definition is not None:
            found.keys.add(("mean of", *definition_key(definition), found.qualifier))


def definition_key(definition: Definition) -> tuple[Any, ...]:
    return ("definition", definition.place.module, definition.place.function, definition.name, definition.place.order)


def spot(site: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Where a call stands; the same for a cell that is run again."""
    return str(site["file"]), tuple(site["at"])
