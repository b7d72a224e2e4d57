"""Metrics of validations over folds, and numbers that were drawn under the name of a result. Pure."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from headway.capture.lexicon import is_metric_name, words
from headway.capture.merging import Candidate, series_key
from headway.capture.naming import core_name, step_of, validated_name
from headway.capture.program import Program, call_name
from headway.capture.results import Results

__all__ = ["plotted", "validation"]


def validation(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    """Cross-validation: the mean over the folds; the columns of a booster's `cv` as series over rounds."""
    call = results.program.call_at(site["file"], site["at"])
    expression = ast.unparse(call) if call is not None else str(fact["fn"])
    loop = results.thing(call, fact.get("n") or {})
    scoring = str((fact.get("options") or {}).get("scoring") or "")
    for name, values in (fact.get("scores") or {}).items():
        if not isinstance(values, list) or not values or name.endswith(("time", "size")):
            continue
        found = results.candidate(("validate", fact["s"], name, loop), "validate", site, expression)
        found.training, found.qualifier = training, loop
        if fact["fn"] in ("cv", "learning_curve", "validation_curve"):
            found.points, found.series = [], True
            sizes = (fact["scores"].get("train_size") or []) if fact["fn"] == "learning_curve" else []
            for step, value in enumerate(values):
                found.add(int(sizes[step]) if len(sizes) == len(values) else step, value, fact["t"])
            found.name(12, name)
            continue
        found.add(step_of(results.program, call, fact.get("n") or {}), math.fsum(values) / len(values), fact["t"])
        found.name(18, validated_name(name, scoring))
        _spread(found, values)
        if call is not None and fact["fn"] == "cross_val_score":
            _tie(results, found, call)


def _tie(results: Results, found: Candidate, call: ast.Call) -> None:
    """To the name that holds the folds' scores, or their mean."""
    place = results.program.place(call)
    if (goes := results.program.assigned_to(call)) is not None:
        results.tie_mean(found, goes[0], place)
    mean = _mean_around(results.program, call)
    if mean is not None:
        at = (mean.lineno, mean.col_offset, mean.end_lineno or 0, mean.end_col_offset or 0)
        found.keys.add(("call", found.file, at, "", found.qualifier))
        goes = results.program.assigned_to(mean)
        if goes is not None and goes[1] == "assign":
            results.tie(found, goes[0], place)


def _mean_around(program: Program, call: ast.Call) -> ast.Call | None:
    """The call that takes the mean of what a call gives: `cross_val_score(...).mean()`, `np.mean(cross_val_score(...))`."""
    around = program.parents.get(call)
    if isinstance(around, ast.Attribute) and around.attr == "mean":
        around = program.parents.get(around)
        return around if isinstance(around, ast.Call) and not around.args else None
    mean = isinstance(around, ast.Call) and call_name(around) in ("mean", "average") and around.args == [call]
    return around if mean and isinstance(around, ast.Call) else None


def _spread(mean: Candidate, values: list[float]) -> None:
    """The standard deviation is no metric of its own: it explains the mean."""
    if len(values) > 1:
        center = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((v - center) ** 2 for v in values) / len(values))
        mean.expression = f"{mean.expression}  [mean of {len(values)}, std {deviation:.4g}]"


def plotted(results: Results, fact: dict[str, Any], site: dict[str, Any], training: int | None) -> None:
    """Numbers that were drawn under a name that speaks of a result."""
    call = results.program.call_at(site["file"], site["at"])
    if call is None:
        return
    drawn = [(n, v) for n, v in zip(call.args, fact.get("v") or [], strict=False) if v]
    if not drawn:
        return
    node, values = drawn[-1]
    label = str(fact.get("label") or "")
    core = core_name(node)
    if not (is_metric_name(core) or (is_metric_name(label) and not re.search(r"\d", label))):
        return  # "KNN (AUC 0.93)" is a curve's legend
    found = results.candidate(("plot", fact["s"], label), "plot", site, ast.unparse(node))
    found.points = [(i, float(v), fact["t"]) for i, v in enumerate(values)]
    found.series, found.training = True, training
    found.name(26, core if is_metric_name(core) else "_".join(words(label)))
    found.keys.add(series_key(values))
