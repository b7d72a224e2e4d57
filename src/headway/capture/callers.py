"""Words that tell what results are of: `for name in models:`, `judge("ridge", model)`. Each word has metrics of its own. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.program import Program
from headway.capture.structure import Function, Place

__all__ = ["Callers", "are_texts", "is_thing"]

Scope = tuple[str, str]  # module, function

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
        self._latest: dict[Scope, dict[str, str]] = {}
        heard: dict[tuple[Scope, str], set[str]] = {}
        turns: dict[tuple[ast.Call, str], set[str]] = {}
        for number, told in _words(facts).items():
            site = sites.get(number)
            call = program.call_at(site["file"], site["at"]) if site else None
            if call is None:
                continue
            scope = _scope(program.place(call))
            for name in self._arguments.get(scope, ()):
                heard.setdefault((scope, name), set()).update(told.get(name, ()))
            for name in program.loop_names(call):
                turns.setdefault((call, name), set()).update(told.get(name, ()))
        self._telling = {
            key for key, found in heard.items() if 1 < len(found) <= _MOST_WORDS and all(map(_names, found))
        }
        self._texts = {key for key, found in turns.items() if are_texts(found)}

    def turn(self, call: ast.Call, names: dict[str, Any]) -> str:
        """In a loop over named things, the name of this one."""
        for name in self._program.loop_names(call):
            if is_thing(word := names.get(name)):
                return "" if (call, name) in self._texts else str(word)
        return ""

    def word(self, place: Place, names: dict[str, Any]) -> str:
        """What the function around a place was told in this call: by `names`, the values that came with a fact, else as last
        heard of. Empty where nothing tells its calls apart."""
        scope = _scope(place)
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
        return (_scope(self._program.place(function.node.body[0])), argument) in self._telling


def is_thing(word: Any) -> bool:
    """Whether what a loop goes over can be the name of a thing: a short text with letters or digits in it."""
    return isinstance(word, str) and len(word) <= _LONGEST and any(map(str.isalnum, word))


def are_texts(words: set[str]) -> bool:
    """Whether a loop's words are too many to be names of things: lines of a file, say."""
    return len(words) > _MOST_TURNS


def _names(word: str) -> bool:
    """Whether a word can be the name of a thing: short, no path, and no name of a metric (`show("accuracy", value)`)."""
    return len(word) <= _LONGEST and not any(c in word for c in "/\\\n") and not is_metric_name(word)


def _scope(place: Place) -> Scope:
    return place.module, place.function


def _words(facts: Iterable[dict[str, Any]]) -> dict[int, dict[str, set[str]]]:
    """Of each site: the words that its names held, from all its facts."""
    found: dict[int, dict[str, set[str]]] = {}
    for fact in facts:
        names = fact.get("n")
        for name, word in names.items() if isinstance(names, dict) else ():
            if isinstance(word, str) and word:
                found.setdefault(fact.get("s", -1), {}).setdefault(name, set()).add(word)
    return found


def _arguments(program: Program) -> dict[Scope, list[str]]:
    """Of every function of the user's: the names of its arguments, in their order."""
    found: dict[Scope, list[str]] = {}
    for source in program.sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[_scope(program.place(node.body[0]))] = [
                    a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                ]
    return found
