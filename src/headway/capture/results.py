"""Metrics and series out of facts: candidates from each source, named by their code, merged where they mean the same."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.callers import Callers
from headway.capture.lexicon import is_metric_name, is_noise_name, words
from headway.capture.merging import Candidate, value_key
from headway.capture.naming import (
    as_name,
    core_name,
    data_set,
    entry_of_loop,
    is_setting,
    is_spread,
    mean_of,
    metric_function,
    names_a_set,
    names_sets,
    of_a_list,
    one_of,
    step_of,
    told_name,
    unconverted,
)
from headway.capture.program import COUNTER, PARAMETER, RESULT, Definition, Place, Program, call_name
from headway.capture.templates import Slot, clause, slots

__all__ = ["Results", "definition_key"]


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

    # -- library calls

    def score(self, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
        """`accuracy_score(...)`, `model.score(...)`."""
        name, value = str(fact["fn"]), fact.get("v")
        call = self.program.call_at(site["file"], site["at"])
        values = value if isinstance(value, dict) else {"": value}
        loop = self.thing(call, fact.get("n") or {})
        for part, number in values.items():
            if isinstance(number, (dict, list, str)) or number is None:
                continue
            key = ("score", *_spot(site), name, part, loop, self.classes.get(training))
            found = self.candidate(key, "score", site, ast.unparse(call) if call is not None else name)
            found.again(fact["s"])
            found.training = training
            found.qualifier = loop
            step = step_of(self.program, call, fact.get("n") or {})
            found.add(step, number, fact["t"])
            if len(found.points) == 1:
                base = metric_function(name, str(fact.get("meaning", "")))
                if fact.get("plain"):  # the library's own names
                    which = data_set(call) if call is not None else ""
                    found.name(12, part if names_a_set(part) else f"{which or 'eval'}_{part.removeprefix('eval_')}")
                    continue
                if fact.get("own"):
                    found.name(28, part)
                    continue
                self._name_score(found, base if not part else f"{base}_{part}", call)
                others = any(k[:3] == ("score", *_spot(site)) and k[3] != name for k in self.found)
                if not others:  # `[m(y, p) for m in metrics]`: one call, several metrics
                    found.keys.add(("call", site["file"], tuple(site["at"]), part, loop))

    def _name_score(self, found: Candidate, base: str, call: ast.Call | None) -> None:
        found.name(40, base)
        if call is None:
            return
        goes = self.program.assigned_to(call)
        if goes is not None:
            variable, how = goes
            if is_metric_name(variable):
                informative = len(words(variable)) > 1 or len(variable) > 4
                found.name(20 if informative else 35, variable)
            elif len(variable) > 2 and how != "entry":
                found.name(30, f"{base}_{variable}" if not set(words(variable)) & set(words(base)) else variable)
            if how == "assign":
                self.tie(found, variable, self.program.place(call))
        which = data_set(call)
        if which:
            found.name(25, f"{which}_{base}")

    def tie(self, found: Candidate, variable: str, place: Place) -> None:
        """Ties a candidate to a variable as it is bound at a place; in a loop over named things, to this one's."""
        definition = self.program.definition(variable, place)
        if definition is not None:
            found.keys.add((*definition_key(definition), found.qualifier))

    def rounds(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        for name, value in (fact.get("w") or {}).items():
            found = self.candidate(("round", fact["s"], fact.get("c"), name), "round", site, name)
            found.add(fact.get("i"), value, fact["t"])
            found.series, found.site = True, fact["s"]
            if len(found.points) == 1:
                found.name(10, name)

    def logged(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        """What the code logs by its own calls: those names are the user's."""
        for name, value in (fact.get("w") or {}).items():
            found = self.candidate(("own", fact["tool"], name), "own", site, name)
            found.add(fact.get("i"), value, fact["t"])
            found.series = len(found.points) > 1
            if len(found.points) == 1:
                found.name(0, name)

    def curves(self, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
        """What a fitted object says of itself: outcomes, and series over its iterations."""
        loop = self.thing(self.program.call_at(site["file"], site["at"]), fact.get("n") or {})
        series = {**(fact.get("series") or {}), **(fact.get("curves") or {})}
        for name, values in series.items():
            if name in _OWN_COURSES and not self.program.reads(name):
                continue
            found = self.candidate(("curve", fact.get("id"), fact["s"], name), "fit", site, f"{fact['cls']}.{name}")
            found.points, found.series, found.training, found.qualifier = [], True, training, loop
            for step, value in enumerate(values):
                found.add(step, value, fact["t"])
            found.name(15, "loss" if name == "loss_curve_" else name.strip("_"))
        call = self.program.call_at(site["file"], site["at"])
        for name, value in (fact.get("outcomes") or {}).items():
            if name == "oob_score_" and "oob_score" not in str(fact.get("params")) and not self.program.reads(name):
                continue
            found = self.candidate(("outcome", fact["s"], name, loop), "fit", site, f"{fact['cls']}.{name}")
            if fact.get("parts"):
                found.points = []
            found.training, found.qualifier = training, loop
            found.add(step_of(self.program, call, fact.get("n") or {}), value, fact["t"])
            found.name(18, name.strip("_"))
        for name in ("best_score", "best_mean_test_score"):
            best = (fact.get("search") or {}).get(name)
            if best is not None:
                found = self.candidate((name, fact["s"], loop), "fit", site, f"{fact['cls']}.{name}_")
                found.training, found.qualifier = training, loop
                found.add(None, best, fact["t"])
                found.name(22, name)
                found.keys.add(value_key(best))

    def courses(self, fact: dict[str, Any]) -> list[tuple[str, list[float]]]:
        """What an estimator keeps of its own course, and the program does not look at."""
        series = (fact.get("series") or {}).items()
        return [(k, v) for k, v in series if k in _OWN_COURSES and not self.program.reads(k)]

    def study(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        """A study's best value, and the best so far after each trial is its table's business."""
        found = self.candidate(("study", fact["s"]), "fit", site, "study.best_value")
        found.points = []
        found.add(None, fact.get("best_value"), fact["t"])
        found.name(20, "best_value")

    # -- printed, logged, shown

    def printed(self, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
        call = self.program.call_at(site["file"], site["at"])
        if call is None:
            return
        names = fact.get("n") or {}
        values = fact.get("v") or []
        if fact["k"] == "bar":
            self._bar(fact, site, call, names)
        target = call
        if fact["k"] == "log":
            target, values = _as_print(call, values)
        found = slots(target, values, names)
        loop = self.thing(call, names) or told_name(self.program, call, [(s.node, s.text) for s in found])
        for position, slot in enumerate(found):
            self._slot(fact, site, call, position, slot, names, training, loop)

    def _bar(self, fact: dict[str, Any], site: dict[str, Any], call: ast.Call, names: dict[str, Any]) -> None:
        for name, value in (fact.get("w") or {}).items():
            if is_metric_name(name):
                found = self.candidate(("bar", fact["s"], name), "bar", site, name)
                found.name(15, name)
                found.add(step_of(self.program, call, names), value, fact["t"])

    def _slot(
        self, fact: dict[str, Any], site: dict[str, Any], call: ast.Call, position: int, slot: Slot,
        names: dict[str, Any], training: int | None, loop: str,
    ) -> None:  # fmt: skip
        parts = slot.value if isinstance(slot.value, dict) else {"": slot.value}
        for part, value in parts.items():
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            entry = entry_of_loop(self.program, call, slot.node, names)
            name = [(20, entry)] if entry else self._slot_name(call, slot, part, value)
            if name is None:
                continue
            key = (fact["k"], *_spot(site), position, part, loop)
            found = self.candidate(key, fact["k"], site, ast.unparse(slot.node))
            found.again(fact["s"])
            found.add(step_of(self.program, call, names), value, fact["t"])
            if len(found.points) == 1:
                found.training, found.qualifier = training, loop if loop != entry else ""
                found.exact = isinstance(slot.node, ast.Name) and slot.node.id in names
                found.part_of = one_of(slot.node)
                for rank, text in name:
                    found.name(rank, text)
                if not entry:
                    self.tie_expression(found, slot.node, site, part, loop)

    def _slot_name(self, call: ast.Call, slot: Slot, part: str, value: float) -> list[tuple[int, str]] | None:
        """What a printed value is called, by rank; None when it is no result."""
        place = self.program.place(call)
        label = clause(slot.before, last=True) or (clause(slot.after, last=False) if not slot.before.strip() else "")
        if part and not is_metric_name(part):
            return None
        core = part or core_name(slot.node)
        meaning = self.program.meaning(slot.node, place)
        labelled = is_metric_name(label) and len(words(label)) <= 7 and not names_sets(label)
        outcome = self._counter_after_loop(slot.node, call)
        if isinstance(slot.node, ast.Constant) or is_spread(slot.node) or is_setting(self.program, slot.node, call):
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

    def _counter_after_loop(self, node: ast.expr, call: ast.Call) -> bool:
        """Whether a loop's counter is told after its loop: how long something took is a result."""
        if not isinstance(node, ast.Name) or node.id in self.program.loop_names(call):
            return False
        definition = self.program.definition(node.id, self.program.place(call))
        return (
            definition is not None
            and definition.kind == "loop"
            and isinstance(definition.node, (ast.For, ast.AsyncFor))
        )

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

    # -- names

    def name(self, name: str, told: dict[str, Any], file: str, place: Place, when: int, training: int | None) -> None:
        """A variable at the end of a cell, of a function, or of the program."""
        definitions = self.program.all_definitions(name, place)
        definition = self.program.definition(name, place)
        if definition is None:
            return
        line = definition.place.order[1]
        expression = ast.unparse(definition.value) if definition.value is not None else name
        site = {"file": file, "at": [line]}
        if "l" in told and (told.get("c") != "tuple"):
            self._grown(name, told["l"], definitions, place, site, when, training)
            return
        for part, values in (told.get("h") or {}).items():
            if is_metric_name(part) or is_metric_name(name):
                found = self.candidate(("names", place.module, place.function, name, part), "names", site, expression)
                found.points, found.series, found.training = (
                    [(i, float(v), when) for i, v in enumerate(values)],
                    True,
                    training,
                )
                found.name(20, f"{name}_{part}" if is_metric_name(name) else part)
        value = told.get("v")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if self.program.meaning(ast.Name(id=name), place) != RESULT or not _is_outcome(definition, name):
            return
        if is_spread(ast.Name(id=name)) or is_spread(definition.value):
            return
        if isinstance(value, int) and not is_metric_name(name):
            return  # how many, of what is counted for a result
        key = definition_key(definition)
        tied = [c for c in self.found.values() for k in c.keys if k[:-1] == key and k[-1]]
        if any(c.points and c.points[-1][1] == value for c in tied):
            return  # the last of a loop over named things, which has a metric of its own
        word = self.callers.word(place, {})
        found = self.candidate(("names", *key, word), "names", site, expression)
        found.points, found.training, found.qualifier = [(None, float(value), when)], training, word
        found.name(20 if is_metric_name(name) and len(name) > 2 else 55, name)
        found.keys.add((*key, word))
        if mean := mean_of(definition.value):
            self.tie_mean(found, mean, definition.place)

    def _grown(
        self, name: str, values: list[Any], definitions: list[Definition], place: Place, site: dict[str, Any], when: int,
        training: int | None,
    ) -> None:  # fmt: skip
        """A list that grew in a loop, of results."""
        appended = [d for d in definitions if d.kind == "append"]
        if not appended:
            return
        source = appended[-1]
        meaning = self.program.meaning(source.value, source.place)
        if meaning != RESULT and not (is_metric_name(name) and meaning not in (COUNTER, PARAMETER)):
            return
        site = {**site, "at": [source.place.order[1]]}
        expression = ast.unparse(source.value) if source.value is not None else name
        found = self.candidate(("names", place.module, place.function, name), "names", site, expression)
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
            self.tie(found, source.value.id, source.place)

    def attribute(self, owner: str, cls: str, name: str, told: dict[str, Any], file: str, when: int) -> None:
        """A series that a user's model keeps on itself: `self.losses`."""
        values = told.get("l")
        if values and is_metric_name(name):
            found = self.candidate(("attribute", owner, name), "names", {"file": file, "at": [0]}, f"{owner}.{name}")
            found.points, found.series = [(i, float(v), when) for i, v in enumerate(values) if v is not None], True
            found.name(21, name)
            if self.program.call_sites(cls) == 1:  # its only instance, as `self` and by other names
                found.keys.add(("attribute", cls, name))

    def shown(self, value: Any, file: str, when: int, training: int | None) -> None:
        """The value of a cell's last expression."""
        source = self.program.sources.get(file)
        if source is None or not source.tree.body or not isinstance(source.tree.body[-1], ast.Expr):
            return
        node = source.tree.body[-1].value
        place = self.program.place(node)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if self.program.meaning(node, place) != RESULT:
            return
        site = {"file": file, "at": [node.lineno]}
        if is_spread(node):
            return
        found = self.candidate(("cell", file, self.classes.get(None)), "cell", site, ast.unparse(node))
        found.training = training
        found.add(None, value, when)
        core = core_name(node)
        found.name(22 if is_metric_name(core) else 50, core or "value")
        if isinstance(node, ast.Call) and is_metric_name(core) and (which := data_set(node)):
            found.name(21, f"{which}_{core}")
        if told := of_a_list(node, core):
            found.name(21, told)
        self.tie_expression(found, node, {"file": file})


# What an estimator keeps of its own course, and few look at: a metric where the program does.
_OWN_COURSES = frozenset(("train_score_", "oob_scores_", "oob_improvement_", "objective_", "scores_"))


def definition_key(definition: Definition) -> tuple[Any, ...]:
    return ("definition", definition.place.module, definition.place.function, definition.name, definition.place.order)


def _spot(site: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Where a call stands; the same for a cell that is run again."""
    return str(site["file"]), tuple(site["at"])


def _is_quotient(node: ast.expr) -> bool:
    """`total / len(loader)`, `100 * correct / n`: the text says what it is, its parts do not."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant)


def _is_outcome(definition: Definition, name: str) -> bool:
    """Not every name that sounds like a result holds one: literals, counts and data do not."""
    if definition.kind in ("loop", "argument", "append"):
        return False
    if definition.kind == "augmented":
        return is_metric_name(name)
    return not isinstance(definition.value, (ast.Constant, ast.Lambda))


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
