"""scikit-learn and whatever is built on its base class: fits, scores, cross-validation, searches, metric functions.

One hook on `BaseEstimator.__init_subclass__` wraps the methods that a class itself defines, so it covers scikit-learn,
the scikit-learn API of xgboost and lightgbm, and estimators that the user writes. Only the outermost call counts.
"""

from __future__ import annotations

import contextvars
import functools
import time
from types import FrameType, FunctionType, ModuleType

from headway.capture import tables
from headway.capture.guard import Method, replace, wrap
from headway.capture.sources import estimators
from headway.capture.values import describe, held, number_list, parameter, scalar, snapshot

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["Call", "direct", "done", "install", "nested", "outermost"]

_METHODS = ("fit", "fit_predict", "fit_transform", "partial_fit")
TABLES = 20  # of one line
_VALIDATION = (
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "validation_curve",
    "permutation_test_score",
    "cross_val_predict",
)

# How deep this context is in hooked calls: a call below another one is its detail. A new thread starts empty, but then
# has no user frame above it either.
_depth: contextvars.ContextVar[int] = contextvars.ContextVar("headway_depth", default=0)


class Call:
    """A hooked call that runs."""

    __slots__ = ("args", "depth", "frame", "kwargs", "site", "started")

    def __init__(self, depth: Any, frame: FrameType, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.depth, self.frame, self.site, self.args, self.kwargs = depth, frame, site, args, kwargs
        self.started = time.perf_counter()


def outermost(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """A token for a call from the user's code that is below no other hooked call; inner ones only count the depth."""
    depth = _depth.get()
    if depth:
        return None
    caller = session.sites.caller(frame)
    site = session.sites.at(caller) if caller is not None else None
    if caller is None or site is None:
        return None
    return Call(_depth.set(depth + 1), caller, site, args, kwargs)


def direct(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Like `outermost`, for functions that libraries call on their own account, too: only the user's calls count."""
    return outermost(session, frame, args, kwargs) if session.sites.is_user(frame.f_code.co_filename) else None


def done(call: Call) -> None:
    _depth.reset(call.depth)


def nested() -> bool:
    """Whether a hooked call runs around this one."""
    return _depth.get() > 0


def install(session: Session) -> None:
    session.hooks["sklearn.base"] = functools.partial(_hook_base, session)
    session.hooks["sklearn.metrics"] = functools.partial(_hook_metrics, session)
    session.hooks["sklearn.model_selection"] = functools.partial(_hook_validation, session)
    session.hooks["sklearn.inspection"] = functools.partial(_hook_inspection, session)


def _hook_base(session: Session, module: ModuleType) -> None:
    base: Any = module.BaseEstimator
    source = session.source("scikit-learn")

    def wrap_methods(cls: Any) -> None:
        for name in (*_METHODS, "score"):
            method = cls.__dict__.get(name)
            if isinstance(method, FunctionType) and not hasattr(method, "__headway__"):
                leave = _leaves.get(name, _leave_fit)
                # a library that scores on its own account has another result in mind, as `model.aic(X)` has
                enter = functools.partial(direct if name == "score" else outermost, session)
                wrapped = wrap(method, source, enter, functools.partial(leave, session))
                wrapped.__headway__ = True  # type: ignore[attr-defined]
                setattr(cls, name, Method(method, wrapped) if cls.__module__ == "__main__" else wrapped)

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        try:
            wrap_methods(cls)
        except Exception as error:
            source.failed(error)

    base.__init_subclass__ = classmethod(__init_subclass__)
    for name in ("ClassifierMixin", "RegressorMixin"):
        mixin = getattr(module, name, None)
        if mixin is not None:
            wrap_methods(mixin)


def _leave_partial_fit(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    """Of many parts the first, the second, the fourth... are told; what the last left is told before it is saved."""
    if error is not None or not call.site.count & (call.site.count - 1):
        _leave_fit(session, call, result, error)
        return
    done(call)
    estimator, site = call.args[0], call.site

    def tell() -> None:
        fact = estimators.describe_fit(estimator)
        number = session.models.fitted(estimator, None, site, fact)
        session.fact("fit", s=site.id, id=number, **fact, x=None, seconds=0, n={}, options={}, parts=site.count)

    session.models.pending[site.id] = tell


def _leave_fit(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    estimator = call.args[0]
    if error is not None:
        session.fact("fit", s=call.site.id, cls=type(estimator).__name__, failed=type(error).__name__)
        return
    inputs = _argument(call, 1, ("X", "x", "raw_documents"))
    fact = estimators.describe_fit(estimator)
    training = session.models.fitted(estimator, inputs, call.site, fact)
    session.fact(
        "fit",
        s=call.site.id,
        id=training,
        **fact,
        x=describe(inputs),
        seconds=round(time.perf_counter() - call.started, 4),
        n=_loop_names(call),
        options=_fit_options(call),
        **({"parts": call.site.count} if hasattr(estimator, "partial_fit") and call.site.count > 1 else {}),
    )
    session.locals_at(call.frame, call.site)


def _fit_options(call: Call) -> dict[str, Any]:
    return {k: v for k, raw in call.kwargs.items() if (v := scalar(raw)) is not ... and v is not None}


def _loop_names(call: Call) -> dict[str, Any]:
    """The scalars that the call's names and the loops around it hold."""
    scope = call.frame.f_globals if call.site.module_level else held(call.frame)
    found = {name: scalar(scope[name]) for name in call.site.names if name in scope}
    code = call.frame.f_code
    for name in code.co_varnames[
        : code.co_argcount
    ]:  # a function that is told what it works on: `evaluate(model, "moons")`
        if isinstance(scope.get(name), str):
            found.setdefault(name, scalar(scope[name]))
    return {k: v for k, v in found.items() if v is not ...}


def _argument(call: Call, position: int, names: tuple[str, ...]) -> Any:
    if len(call.args) > position:
        return call.args[position]
    for name in names:
        if name in call.kwargs:
            return call.kwargs[name]
    return None


def _leave_score(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    value = scalar(result)
    if error is not None or value is ...:
        return
    estimator = call.args[0]
    kind = "accuracy" if getattr(estimator, "_estimator_type", "") == "classifier" else "score"
    session.fact("score", s=call.site.id, fn="score", cls=type(estimator).__name__, of=session.models.id_of(estimator),
                 meaning=kind, v=value, n=_loop_names(call))  # fmt: skip


_leaves = {"score": _leave_score, "partial_fit": _leave_partial_fit}


def _hook_metrics(session: Session, module: ModuleType) -> None:
    """Every public function of `sklearn.metrics` that gives a number, or a few."""
    for name in list(getattr(module, "__all__", ())):
        function = getattr(module, name, None)
        if isinstance(function, FunctionType) and _takes_truth(function):
            _replace(session, module, name, function, _leave_metric)


def _takes_truth(function: FunctionType) -> bool:
    import inspect

    names = list(inspect.signature(function).parameters)[:2]
    return len(names) == 2 and not function.__name__.startswith(("pairwise", "plot", "get_", "make_", "check"))


def _hook_validation(session: Session, module: ModuleType) -> None:
    for name in _VALIDATION:
        function = getattr(module, name, None)
        if isinstance(function, FunctionType):
            _replace(session, module, name, function, _leave_validation)
    split = getattr(module, "train_test_split", None)
    if isinstance(split, FunctionType):
        _replace(session, module, "train_test_split", split, _leave_split)


def _replace(session: Session, module: Any, name: str, function: FunctionType, leave: Any) -> None:
    source = session.source("scikit-learn")
    enter = functools.partial(direct, session)
    replace(module, name, wrap(function, source, enter, functools.partial(leave, session, name)))


def _leave_metric(session: Session, name: str, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None:
        return
    if name in ("classification_report", "confusion_matrix"):
        _tell_table(session, name, call, result)
        return
    value = scalar(result)
    if value is ...:
        value = snapshot(result)
    if value is ... or isinstance(value, str):
        return
    options = {k: v for k, raw in call.kwargs.items() if (v := scalar(raw)) is not ...}
    session.fact("score", s=call.site.id, fn=name, v=value, options=options, n=_loop_names(call))
    session.locals_at(call.frame, call.site)


def _tell_table(session: Session, name: str, call: Call, result: Any) -> None:
    """A report's averages are metrics; it, and a confusion matrix, are tables."""
    if name == "confusion_matrix":
        table = tables.confusion(result, call.kwargs.get("labels"))
    else:
        rows = tables.report(result)
        table = tables.report_table(rows) if rows else None
        if rows and (value := tables.summary(rows)):
            session.fact("score", s=call.site.id, fn=name, v=value, own=True, options={}, n=_loop_names(call))
    if table is not None and call.site.count <= TABLES:
        session.fact("table", s=call.site.id, name=name, n=_loop_names(call), **table)


def _hook_inspection(session: Session, module: ModuleType) -> None:
    function = getattr(module, "permutation_importance", None)
    if isinstance(function, FunctionType):
        _replace(session, module, "permutation_importance", function, _leave_importance)


def _leave_importance(session: Session, name: str, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None or call.site.count > TABLES:
        return
    inputs = _argument(call, 1, ("X",))
    for key, one in result.items() if "importances_mean" not in result else (("", result),):
        columns = {
            k: [float(v) for v in number_list(one[f"importances_{k}"]) or () if v is not None] for k in ("mean", "std")
        }
        names = estimators.columns_of(inputs, len(columns["mean"]))
        table = tables.importances(names, columns)
        if table is not None:
            session.fact("table", s=call.site.id, name=f"{name} {key}".strip(), n=_loop_names(call), **table)


def _leave_split(session: Session, name: str, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None:
        return
    found = {k: parameter(v) for k, v in call.kwargs.items() if k not in ("stratify",) and scalar(v) is not ...}
    session.fact("call", s=call.site.id, fn=name, params=found)


def _leave_validation(session: Session, name: str, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None:
        return
    estimator = _argument(call, 0, ("estimator",))
    inputs = _argument(call, 1, ("X",))
    fact = estimators.describe_fit(estimator)
    options = {k: parameter(v) for k, v in call.kwargs.items() if k not in ("X", "y", "estimator", "groups")}
    for index, key in ((3, "cv"),) if len(call.args) > 3 and name.startswith("cross") else ():
        options.setdefault(key, parameter(call.args[index]))
    session.fact(
        "validate",
        s=call.site.id,
        fn=name,
        **fact,
        x=describe(inputs),
        options=options,
        scores=_scores(name, result),
        n=_loop_names(call),
    )
    session.locals_at(call.frame, call.site)


def _scores(name: str, result: Any) -> dict[str, Any]:
    """The arrays of a validation, by name; those of a curve are means over the folds."""
    if name == "cross_val_score":
        return {"score": number_list(result)}
    if isinstance(result, dict):
        return {str(k): numbers for k, v in result.items() if (numbers := number_list(v)) is not None}
    if name in ("learning_curve", "validation_curve") and isinstance(result, tuple):
        parts = result[-2:] if name == "validation_curve" else result[1:3]
        found = {k: v.mean(axis=-1).tolist() for k, v in zip(("train_score", "test_score"), parts, strict=False)}
        if name == "learning_curve":
            found["train_size"] = number_list(result[0])
        return found
    if name == "permutation_test_score" and isinstance(result, tuple):
        return {"score": [scalar(result[0])], "pvalue": [scalar(result[2])]}
    return {}
