"""catboost's classes and its `train` and `cv`: parameters, each iteration's evaluations, the best one, the model."""

from __future__ import annotations

import functools
import time

from headway.capture.guard import replace, wrap
from headway.capture.sources.estimators import evaluations
from headway.capture.sources.fits import Call, done, outermost
from headway.capture.values import describe, number_list, parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FunctionType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_CLASSES = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
_OPTIONS = (
    "early_stopping_rounds",
    "use_best_model",
    "iterations",
    "num_boost_round",
    "fold_count",
    "nfold",
    "stratified",
)
_QUIET = ("verbose", "logging_level", "silent", "verbose_eval", "train_dir", "allow_writing_files", "thread_count")


def install(session: Session) -> None:
    session.hooks["catboost.core"] = functools.partial(_hook, session)


def _hook(session: Session, module: Any) -> None:
    source = session.source("catboost")
    enter = functools.partial(outermost, session)
    for name in _CLASSES:
        kind = module.__dict__.get(name)
        for method, leave in (("fit", _fitted), ("score", _scored)):
            original: FunctionType | None = kind.__dict__.get(method) if kind is not None else None
            if kind is not None and original is not None:
                setattr(kind, method, wrap(original, source, enter, functools.partial(leave, session)))
    for name, leave in (("train", _trained), ("cv", _validated)):
        if name in module.__dict__:
            replace(module, name, wrap(module.__dict__[name], source, enter, functools.partial(leave, session)))


def _fitted(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    inputs = call.args[1] if len(call.args) > 1 else call.kwargs.get("X")
    _tell(session, call, call.args[0], inputs, error)


def _trained(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    inputs = call.args[0] if call.args else call.kwargs.get("pool") or call.kwargs.get("dtrain")
    if result is not None:
        _tell(session, call, result, inputs, error)


def _tell(session: Session, call: Call, model: Any, inputs: Any, error: BaseException | None) -> None:
    fact: dict[str, Any] = {"cls": type(model).__name__, "module": "catboost", "type": "predictor", "defaults": {}}
    params = {str(k): parameter(v) for k, v in model.get_params().items() if k not in _QUIET}
    params |= {k: parameter(v) for k, v in call.kwargs.items() if k in _OPTIONS and v is not None}
    if error is not None:
        session.fact("fit", s=call.site.id, failed=type(error).__name__, params=params, **fact)
        return
    found: dict[str, Any] = {}
    for name in ("best_iteration_", "tree_count_"):
        value = scalar(getattr(model, name, None))
        if type(value) is int:
            found[name] = value
    curves = evaluations(model.get_evals_result())
    if len(curves) > 1:  # beside an evaluation set, how it learned its own data tells little
        curves = {k: v for k, v in curves.items() if not k.startswith("learn-")} or curves
    sample = _rows(session, inputs)
    number = session.models.fitted(model, None, call.site, fact, "catboost", sample=sample)
    session.fact(
        "fit", s=call.site.id, id=number, c=call.site.count, params=params, found=found, curves=curves, x=describe(inputs),
        seconds=round(time.perf_counter() - call.started, 4), **fact,
    )  # fmt: skip
    session.locals_at(call.frame, call.site)


def _rows(session: Session, inputs: Any) -> Any:
    """The first rows of a frame or an array; of a Pool of numbers, its own."""
    if type(inputs).__name__ == "Pool":
        if inputs.num_row() > 100_000 or inputs.get_cat_feature_indices() or inputs.get_text_feature_indices():
            return None
        return session.models.sample(inputs.get_features())
    return session.models.sample(inputs)


def _scored(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    value = scalar(result)
    if error is None and type(value) in (int, float):
        model = call.args[0]
        meaning = "accuracy" if type(model).__name__ == "CatBoostClassifier" else "score"
        session.fact("score", s=call.site.id, fn="score", cls=type(model).__name__, of=session.models.id_of(model),
                     meaning=meaning, v=value, n={})  # fmt: skip


def _validated(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None:
        return
    given = call.kwargs.get("params") or (call.args[1] if len(call.args) > 1 else {})
    params = {str(k): parameter(v) for k, v in dict(given or {}).items() if k not in _QUIET}
    params |= {k: parameter(v) for k, v in call.kwargs.items() if k in _OPTIONS and v is not None}
    columns = result.to_dict("list") if hasattr(result, "to_dict") else result
    scores = {str(k): s for k, v in columns.items() if k != "iterations" and (s := number_list(list(v))) is not None}
    session.fact("validate", s=call.site.id, fn="cv", scores=scores, options={}, cls="CatBoost", module="catboost",
                 type="predictor", params=params, defaults={}, x=None)  # fmt: skip
