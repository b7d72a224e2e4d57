"""What library calls gave: scores, rounds, curves of fitted objects, and what the code logs by its own calls. Pure."""

from __future__ import annotations

import ast
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.merging import Candidate, value_key
from headway.capture.naming import data_set, metric_function, names_a_set, step_of
from headway.capture.results import Results, spot

__all__ = ["courses", "curves", "logged", "rounds", "score", "study"]


# What an estimator keeps of its own course, and few look at: a metric where the program does.
_OWN_COURSES = frozenset(("train_score_", "oob_scores_", "oob_improvement_", "objective_", "scores_"))


def score(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    """`accuracy_score(...)`, `model.score(...)`."""
    name, value = str(fact["fn"]), fact.get("v")
    call = results.program.call_at(site["file"], site["at"])
    values = value if isinstance(value, dict) else {"": value}
    loop = results.thing(call, fact.get("n") or {})
    for part, number in values.items():
        if isinstance(number, (dict, list, str)) or number is None:
            continue
        key = ("score", *spot(site), name, part, loop, results.classes.get(training))
        found = results.candidate(key, "score", site, ast.unparse(call) if call is not None else name)
        found.again(fact["s"])
        found.training = training
        found.qualifier = loop
        step = step_of(results.program, call, fact.get("n") or {})
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
            _name_score(results, found, base if not part else f"{base}_{part}", call)
            others = any(k[:3] == ("score", *spot(site)) and k[3] != name for k in results.found)
            if not others:  # `[m(y, p) for m in metrics]`: one call, several metrics
                found.keys.add(("call", site["file"], tuple(site["at"]), part, loop))


def _name_score(results: Results, found: Candidate, base: str, call: ast.Call | None) -> None:
    found.name(40, base)
    if call is None:
        return
    goes = results.program.assigned_to(call)
    if goes is not None:
        variable, how = goes
        if is_metric_name(variable):
            informative = len(words(variable)) > 1 or len(variable) > 4
            found.name(20 if informative else 35, variable)
        elif len(variable) > 2 and how != "entry":
            found.name(30, f"{base}_{variable}" if not set(words(variable)) & set(words(base)) else variable)
        if how == "assign":
            results.tie(found, variable, results.program.place(call))
    which = data_set(call)
    if which:
        found.name(25, f"{which}_{base}")


def rounds(results: Results, fact: dict[str, Any], site: dict[str, Any]) -> None:
    for name, value in (fact.get("w") or {}).items():
        found = results.candidate(("round", fact["s"], fact.get("c"), name), "round", site, name)
        found.add(fact.get("i"), value, fact["t"])
        found.series, found.site = True, fact["s"]
        if len(found.points) == 1:
            found.name(10, name)


def logged(results: Results, fact: dict[str, Any], site: dict[str, Any]) -> None:
    """What the code logs by its own calls: those names are the user's."""
    for name, value in (fact.get("w") or {}).items():
        found = results.candidate(("own", fact["tool"], name), "own", site, name)
        found.add(fact.get("i"), value, fact["t"])
        found.series = len(found.points) > 1
        if len(found.points) == 1:
            found.name(0, name)


def curves(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    """What a fitted object says of itself: outcomes, and series over its iterations."""
    loop = results.thing(results.program.call_at(site["file"], site["at"]), fact.get("n") or {})
    series = {**(fact.get("series") or {}), **(fact.get("curves") or {})}
    for name, values in series.items():
        if name in _OWN_COURSES and not results.program.reads(name):
            continue
        found = results.candidate(("curve", fact.get("id"), fact["s"], name), "fit", site, f"{fact['cls']}.{name}")
        found.points, found.series, found.training, found.qualifier = [], True, training, loop
        for step, value in enumerate(values):
            found.add(step, value, fact["t"])
        found.name(15, "loss" if name == "loss_curve_" else name.strip("_"))
    call = results.program.call_at(site["file"], site["at"])
    for name, value in (fact.get("outcomes") or {}).items():
        if name == "oob_score_" and "oob_score" not in str(fact.get("params")) and not results.program.reads(name):
            continue
        found = results.candidate(("outcome", fact["s"], name, loop), "fit", site, f"{fact['cls']}.{name}")
        if fact.get("parts"):
            found.points = []
        found.training, found.qualifier = training, loop
        found.add(step_of(results.program, call, fact.get("n") or {}), value, fact["t"])
        found.name(18, name.strip("_"))
    for name in ("best_score", "best_mean_test_score"):
        best = (fact.get("search") or {}).get(name)
        if best is not None:
            found = results.candidate((name, fact["s"], loop), "fit", site, f"{fact['cls']}.{name}_")
            found.training, found.qualifier = training, loop
            found.add(None, best, fact["t"])
            found.name(22, name)
            found.keys.add(value_key(best))


def courses(results: Results, fact: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """What an estimator keeps of its own course, and the program does not look at."""
    series = (fact.get("series") or {}).items()
    return [(k, v) for k, v in series if k in _OWN_COURSES and not results.program.reads(k)]


def study(results: Results, fact: dict[str, Any], site: dict[str, Any]) -> None:
    """A study's best value, and the best so far after each trial is its table's business."""
    found = results.candidate(("study", fact["s"]), "fit", site, "study.best_value")
    found.points = []
    found.add(None, fact.get("best_value"), fact["t"])
    found.name(20, "best_value")
