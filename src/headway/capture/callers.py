"""Words that tell what results are of: `for name in models:`, `judge("ridge", model)`. Each word has metrics of its own. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.program import Program
from headway.capture.structure import MODULE, Function, Place

__all__ = ["Callers"]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# More different words than this are texts that a function, or a loop, works on, and no names of things.
_MOST_WORDS, _MOST_TURNS = 24, 100
# What an argument is called that only labels what is told.
_LABELS = frozenset(("name", "label", "title", "tag", "desc", "description", "prefix", "caption", "header"))
_LONGEST = 40  # characters of a word


class Callers:
    """Knows which loops are over names of things, which arguments of the user's functions were different words from call to call,
    and what those last were."""

    def __init__(self, program: Program, facts: Iterable[dict[str, Any]], sites: dict[int, dict[str, Any]]) -> None:
        """`facts` of the whole run, `sites` by their number: a word that never changes tells nothing apart."""
        self._program = program
        self._arguments = _arguments(program)
        self._scopes: dict[int, tuple[str, str]] = {}
        self._latest: dict[tuple[str, str], dict[str, str]] = {}
        heard: dict[tuple[tuple[str, str], str], set[str]] = {}
        turns: dict[tuple[ast.Call, str], set[str]] = {}
        for fact in facts:
            names = fact.get("n")
            if isinstance(names, dict) and names and (site := sites.get(fact.get("s", -1))):
                scope = self._scope(fact["s"], site)
                for name in self._arguments.get(scope, ()):
                    if isinstance(word := names.get(name), str) and word:
                        heard.setdefault((scope, name), set()).add(word)
                call = program.call_at(site["file"], site["at"])
                for name in [] if call is None else program.loop_names(call):
                    if call is not None and isinstance(word := names.get(name), str):
                        turns.setdefault((call, name), set()).add(word)
        self._telling = {
            key for key, words in heard.items() if 1 < len(words) <= _MOST_WORDS and all(map(_names, words))
        }
        self._texts = {key for key, words in turns.items() if len(words) > _MOST_TURNS}

    def _scope(self, number: int, site: dict[str, Any]) -> tuple[str, str]:
        if number not in self._scopes:
            call = self._program.call_at(site["file"], site["at"])
            place = self._program.place(call) if call is not None else Place("", MODULE, (0, 0))
            self._scopes[number] = (place.module, place.function)
        return self._scopes[number]

    def turn(self, call: ast.Call, names: dict[str, Any]) -> str:
        """In a loop over named things, the name of this one."""
        for name in self._program.loop_names(call):
            word = names.get(name)
            if isinstance(word, str) and any(map(str.isalnum, word)) and len(word) <= _LONGEST:
                return "" if (call, name) in self._texts else word
        return ""

    def word(self, place: Place, names: dict[str, Any]) -> str:
        """What the function around a place was told in this call: by `names`, the values that came with a fact, else as last
        heard of. Empty where nothing tells its calls apart."""
        scope = (place.module, place.function)
        latest = self._latest.setdefault(scope, {})
        telling = [name for name in self._arguments.get(scope, ()) if (scope, name) in self._telling]
        for name in telling:
            if isinstance(word := names.get(name), str):
                latest[name] = word
        return " ".join(latest[name] for name in telling[:2] if name in latest)

    def tells(self, function: Function, argument: str) -> bool:
        """Whether an argument is only the name of what its function works on, and so no parameter: `judge("ridge", model)`, and
        not `train("relu")`, whose argument is called `activation`."""
        if not set(words(argument)) & _LABELS:
            return False
        inside = self._program.place(function.node.body[0])
        return ((inside.module, inside.function), argument) in self._telling


def _names(word: str) -> bool:
    """Whether a word can be the name of a thing: short, no path, and no name of a metric (`show("accuracy", value)`)."""
    return len(word) <= _LONGEST and not any(c in word for c in "/\\\n") and not is_metric_name(word)


def _arguments(program: Program) -> dict[tuple[str, str], list[str]]:
    """Of every function of the user's: the names of its arguments, in their order."""
    found: dict[tuple[str, str], list[str]] = {}
    for source in program.sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, FUNCTIONS):
                inside = program.place(node.body[0])
                found[inside.module, inside.function] = [
                    a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                ]
    return found
