"""optuna's studies, and statsmodels' fits: what each found, read from its result."""

from __future__ import annotations

import functools
import time
from types import FunctionType, ModuleType

from headway.capture.guard import wrap
from headway.capture.sources.fits import Call, direct, done
from headway.capture.values import describe, parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_OUTCOMES = ("rsquared", "rsquared_adj", "aic", "llf", "deviance")
TRIALS = 500


def install(session: Session) -> None:
    session.hooks["optuna.study.study"] = functools.partial(_hook_optuna, session)
    session.hooks["statsmodels.base.model"] = functools.partial(_hook_statsmodels, session)


def _hook_optuna(session: Session, module: Any) -> None:
    study = module.Study
    source = session.source("optuna")

    def enter(frame: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        site = session.sites.at(frame) if session.sites.is_user(frame.f_code.co_filename) else None
        return None if site is None else (site, args[0], kwargs.get("n_trials", args[2] if len(args) > 2 else None))

    def leave(token: Any, result: Any, error: BaseException | None) -> None:
        site, owner, asked = token
        trials = (
            [t for t in owner.get_trials(deepcopy=False) if t.value is not None] if len(owner.directions) == 1 else []
        )
        if not trials:
            return
        best = owner.best_trial
        session.fact(
            "study", s=site.id, n_trials=scalar(asked), best_value=scalar(best.value),
            best_params={str(k): parameter(v) for k, v in best.params.items()},
            table=[_trial(t) for t in trials[:TRIALS]],
        )  # fmt: skip

    study.optimize = wrap(study.optimize, source, enter, leave)


def _trial(trial: Any) -> dict[str, Any]:
    return {"number": trial.number, "value": scalar(trial.value), **{k: parameter(v) for k, v in trial.params.items()}}


def _hook_statsmodels(session: Session, module: ModuleType) -> None:
    base: Any = module.Model
    source = session.source("statsmodels")
    enter = functools.partial(direct, session)  # a result fits its null model when asked for a likelihood
    leave = functools.partial(_leave_model, session)

    def wrap_fit(cls: Any) -> None:
        for name in ("fit", "fit_regularized", "fit_constrained"):
            method = cls.__dict__.get(name)
            if isinstance(method, FunctionType) and not hasattr(method, "__headway__"):
                wrapped = wrap(method, source, enter, leave)
                wrapped.__headway__ = True  # type: ignore[attr-defined]
                setattr(cls, name, wrapped)

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        try:
            wrap_fit(cls)
        except Exception as error:
            source.failed(error)

    base.__init_subclass__ = classmethod(__init_subclass__)
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base:
            wrap_fit(cls)


def _leave_model(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    found = {} if error is not None else _outcomes(result)
    done(call)
    if error is None:
        _tell_model(session, call, result, found)


def _outcomes(result: Any) -> dict[str, Any]:
    found = {}
    for name in _OUTCOMES:
        try:  # computed when first asked for, by the library
            value = scalar(getattr(result, name, None))
        except Exception:
            continue
        if type(value) in (int, float):
            found[name] = value
    return found


def _tell_model(session: Session, call: Call, result: Any, found: dict[str, Any]) -> None:
    model = call.args[0]
    params: dict[str, Any] = {}
    family = getattr(model, "__dict__", {}).get("family")
    if family is not None:
        params = {"family": type(family).__name__, "link": type(getattr(family, "link", None)).__name__}
    options = {k: v for k, raw in call.kwargs.items() if (v := scalar(raw)) is not ... and v is not None}
    number = session.models.fitted(
        result, None, call.site, {"cls": type(model).__name__, "type": "results"}, "statsmodels"
    )
    session.fact(
        "fit", s=call.site.id, id=number, cls=type(model).__name__, module="statsmodels", type="predictor",
        params={**params, **options}, defaults={}, found=found, outcomes=found, x=describe(getattr(model, "exog", None)),
        seconds=round(time.perf_counter() - call.started, 4),
    )  # fmt: skip
    session.locals_at(call.frame, call.site)
