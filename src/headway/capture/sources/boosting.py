"""xgboost and lightgbm as called natively: `train` and `cv`, with each round's evaluations through their own callbacks."""

from __future__ import annotations

import functools
import time
import weakref

from headway.capture.guard import replace, wrap
from headway.capture.sources.fits import Call, done, outermost
from headway.capture.values import describe, parameter, scalar, snapshot

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_OPTIONS = ("num_boost_round", "early_stopping_rounds", "nfold", "stratified", "maximize", "metrics", "seed")


class Samples:
    """The data behind a DMatrix or Dataset, which does not give its rows back: a few rows, as long as it lives."""

    def __init__(self, session: Session) -> None:
        self._models = session.models
        self._kept: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def keep(self, token: Any, result: Any, error: BaseException | None) -> None:
        holder, data = token
        if error is None and data is not None:
            self._kept[holder] = self._models.sample(data), describe(data)

    def of(self, holder: Any) -> tuple[Any, dict[str, Any] | None]:
        try:
            sample, shape = self._kept.get(holder, (None, None))
        except TypeError:
            return None, None
        return sample, shape

    def enter(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args[0], args[1] if len(args) > 1 else kwargs.get("data")


def install(session: Session) -> None:
    samples = Samples(session)
    session.hooks["xgboost.core"] = functools.partial(_hook_holder, session, samples, "DMatrix")
    session.hooks["lightgbm.basic"] = functools.partial(_hook_holder, session, samples, "Dataset")
    session.hooks["xgboost.training"] = functools.partial(_hook_library, session, samples, "xgboost")
    session.hooks["lightgbm.engine"] = functools.partial(_hook_library, session, samples, "lightgbm")


def _hook_holder(session: Session, samples: Samples, name: str, module: ModuleType) -> None:
    holder = getattr(module, name)
    holder.__init__ = wrap(holder.__init__, session.source("boosting"), samples.enter, samples.keep)


def _hook_library(session: Session, samples: Samples, library: str, module: Any) -> None:
    source = session.source(library)
    for name in ("train", "cv"):
        enter = functools.partial(_enter, session, library, name)
        leave = functools.partial(_leave, session, samples, library, name)
        replace(module, name, wrap(getattr(module, name), source, enter, leave))


def _enter(
    session: Session, library: str, name: str, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Call | None:
    call = outermost(session, frame, args, kwargs)
    if call is not None and name == "train":
        watch = _xgboost_callback if library == "xgboost" else _lightgbm_callback
        ours = watch(session, call.site.id, call.site.count)
        theirs = kwargs.get("callbacks")
        kwargs["callbacks"] = [*(theirs or ()), ours]
    return call


def _xgboost_callback(session: Session, site: int, number: int) -> Any:
    import sys

    base: Any = sys.modules["xgboost.callback"].TrainingCallback

    class Watch(base):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            try:
                values = {
                    f"{data}-{metric}": scalar(series[-1])
                    for data, metrics in evals_log.items()
                    for metric, series in metrics.items()
                    if series and not isinstance(series[-1], tuple)
                }
                if values:
                    session.fact("round", s=site, c=number, i=epoch, w=values)
            except Exception as error:
                session.source("xgboost").failed(error)
            return False

    return Watch()


def _lightgbm_callback(session: Session, site: int, number: int) -> Any:
    def watch(env: Any) -> None:
        try:
            values = {f"{entry[0]}-{entry[1]}": scalar(entry[2]) for entry in env.evaluation_result_list or ()}
            if values:
                session.fact("round", s=site, c=number, i=env.iteration, w=values)
        except Exception as error:
            session.source("lightgbm").failed(error)

    watch.order = 5  # type: ignore[attr-defined]
    return watch


def _leave(
    session: Session, samples: Samples, library: str, name: str, call: Call, result: Any, error: BaseException | None
) -> None:
    done(call)
    kwargs = dict(call.kwargs)
    for position, key in enumerate(("params", "data", "num_boost_round")):
        if len(call.args) > position:
            kwargs[key] = call.args[position]
    data = next((kwargs[k] for k in ("data", "dtrain", "train_set") if k in kwargs), None)
    sample, shape = samples.of(data)
    params = _params(kwargs)
    fact: dict[str, Any] = {"cls": "Booster", "module": library, "type": "predictor", "params": params, "defaults": {}}
    if error is not None:
        session.fact("fit", s=call.site.id, failed=type(error).__name__, **fact)
        return
    common = {
        "s": call.site.id,
        "x": shape,
        "c": call.site.count,
        "seconds": round(time.perf_counter() - call.started, 4),
    }
    if name == "cv":
        session.fact("validate", fn="cv", scores=_cv_series(result), options={}, **fact, **common)
    else:
        found = {k: v for k in ("best_iteration", "best_score") if _number(v := scalar(_attribute(result, k)))}
        found = {k: v for k, v in found.items() if not (k == "best_iteration" and v in (0, -1))}
        number = session.models.fitted(result, None, call.site, fact, library, sample=sample)
        session.fact("fit", id=number, found=found, **fact, **common)
    session.locals_at(call.frame, call.site)


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _attribute(result: Any, name: str) -> Any:
    try:
        return getattr(result, name, None)
    except Exception:
        return None


def _params(kwargs: dict[str, Any]) -> dict[str, Any]:
    given = kwargs.get("params")
    if isinstance(given, (list, tuple)):
        given = dict(given)
    found = {str(k): parameter(v) for k, v in given.items()} if isinstance(given, dict) else {}
    for name in _OPTIONS:
        if name in kwargs and kwargs[name] is not None:
            found[name] = parameter(kwargs[name])
    return found


def _cv_series(result: Any) -> dict[str, Any]:
    """The columns of a cross-validation's result: a frame, or a dict of lists."""
    columns = result.to_dict("list") if hasattr(result, "to_dict") else result
    found: dict[str, Any] = {}
    if isinstance(columns, dict):
        for name, values in columns.items():
            series = [scalar(v) for v in list(values)[:20_000]]
            if series and all(_number(v) for v in series):
                found[str(name)] = series
    return found if found else {"result": snapshot(columns)} if isinstance(columns, dict) else {}
