"""Which figures of a statistical fit are results: what the program reads or shows of it, and a headline or two. Pure.

Such a fit tells a handful of figures of equal rank (R-squared, AIC, BIC, log-likelihood, deviance), of which a program mostly
looks at one. The others stay with the training.
"""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.program import Program
from headway.capture.results import Results

__all__ = ["headlines"]

_MAIN = ("rsquared", "deviance", "prsquared", "aic")  # what a fit is judged by, the first that it has
_SOME = 6  # fits: of more, each tells what is read of it, and its headline where a summary is shown


def headlines(results: Results) -> None:
    """Drops the outcomes of statistical fits that are no headline, and that nobody looks at."""
    fits: dict[Any, set[str]] = {}
    for key in results.found:
        if key[0] == "outcome":
            fits.setdefault(key[1], set()).add(key[2])
    fits = {site: names for site, names in fits.items() if {"aic", "llf"} <= names}
    if not fits:
        return
    looks = _Looks(results.program)
    for site, names in fits.items():
        found = next(c for k, c in results.found.items() if k[:2] == ("outcome", site))
        kept = _kept(names, looks, found.file, found.line, len(fits))
        for key in [k for k in results.found if k[:2] == ("outcome", site) and k[2] not in kept]:
            del results.found[key]


def _kept(names: set[str], looks: _Looks, file: str, line: int, fits: int) -> set[str]:
    asked = looks.asked(file, line)
    main = next(name for name in (*_MAIN, "llf") if name in names)
    read = names & (looks.all if asked is None else asked)
    shown = "summary" in (looks.all if asked is None else asked) and not (asked is None and read)
    if fits > _SOME and not shown:
        return read
    if fits <= _SOME and shown:  # what its summary has at its head
        return read | ({main, "llf"} if main == "deviance" else {main, "aic", "bic", "llf"})
    return read | {main} if read or fits > _SOME else {main, "aic"}


class _Looks:
    """What the program asks the results of its fits for; a summary of which it takes a part is no summary."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.all: set[str] = set()
        self._by_binding: dict[ast.AST, set[str]] = {}
        for source in program.sources.values():
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Attribute) and (name := self._name(node)):
                    self.all.add(name)
                    if isinstance(node.value, ast.Name):
                        made = program.definition(node.value.id, program.place(node))
                        if made is not None:
                            self._by_binding.setdefault(made.node, set()).add(name)

    def asked(self, file: str, line: int) -> set[str] | None:
        """What the result of the fit at a line is asked for; None where it has no name of its own."""
        source = self._program.sources.get(file)
        for call in source.calls.values() if source is not None else ():
            fits = isinstance(call.func, ast.Attribute) and call.func.attr.startswith("fit")
            goes = self._program.assigned_to(call) if fits and call.lineno <= line <= (call.end_lineno or 0) else None
            statement = self._program.statement(call) if goes is not None and goes[1] == "assign" else None
            if statement is not None:
                return self._by_binding.get(statement, set())
        return None

    def _name(self, node: ast.Attribute) -> str:
        """The attribute; `summary` for a summary that is shown whole."""
        if not node.attr.startswith("summary"):
            return node.attr
        around = self._program.parents.get(self._program.parents.get(node, node))
        return "" if isinstance(around, ast.Attribute) and around.attr == "tables" else "summary"
