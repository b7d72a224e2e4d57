"""optuna's studies, and statsmodels' fits: what each found, read from its result."""

from __future__ import annotations

import functools
import sys
import time
from types import FunctionType, ModuleType

from headway.capture.guard import wrap
from headway.capture.sources.fits import Call, direct, done
from headway.capture.values import describe, parameter, scalar, snapshot

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_OUTCOMES = ("rsquared", "rsquared_adj", "prsquared", "aic", "bic", "llf", "deviance")
TRIALS = 500
TABLES = 5  # of one line


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
        trials = owner.get_trials(deepcopy=False)
        single = len(owner.directions) == 1
        best = owner.best_trial if single and any(t.state.name == "COMPLETE" for t in trials) else None
        told: dict[str, Any] = {"best_params": {}}
        if best is not None:
            told = {
                "best_value": scalar(best.value),
                "best_params": {str(k): parameter(v) for k, v in best.params.items()},
            }
        if not trials:
            return
        session.fact(
            "study", s=site.id, n_trials=scalar(asked), direction="/".join(d.name.lower() for d in owner.directions),
            sampler=type(owner.sampler).__name__, pruner=type(owner.pruner).__name__,
            pruned=sum(t.state.name == "PRUNED" for t in trials), table=[_trial(t) for t in trials[:TRIALS]], **told,
        )  # fmt: skip

    study.optimize = wrap(study.optimize, source, enter, leave)


def _trial(trial: Any) -> dict[str, Any]:
    values = list(trial.values or ())
    told = {"value": scalar(values[0])} if len(values) == 1 else {f"value_{i}": scalar(v) for i, v in enumerate(values)}
    if trial.state.name == "PRUNED" and trial.intermediate_values:
        told = {"value": scalar(trial.intermediate_values[max(trial.intermediate_values)])}
    parameters = {k: parameter(v) for k, v in trial.params.items()}
    return {"number": trial.number, "state": trial.state.name.lower(), **told, **parameters}


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
    """Computed when first asked for, by the library. A GLM's `bic` warns of its own change, so it is not asked for."""
    found = {}
    glm = "genmod" in type(getattr(result, "model", result)).__module__
    for name in _OUTCOMES:
        if glm and name in ("bic", "prsquared"):
            continue
        try:
            value = scalar(getattr(result, name, None))
        except Exception:
            continue
        if type(value) in (int, float) and value == value:
            found[name] = value
    return found


def _coefficients(result: Any) -> dict[str, Any] | None:
    """The table of a result's parameters with their errors and p-values; no warning of numpy's comes of it."""
    errstate = sys.modules["numpy"].errstate
    columns: dict[str, list[Any]] = {}
    names: list[str] = []
    with errstate(all="ignore"):
        for title, attribute in (("coefficient", "params"), ("std_error", "bse"), ("p_value", "pvalues")):
            try:
                values: Any = getattr(result, attribute, None)
                if getattr(values, "ndim", 0) != 1:
                    break
                names = names or [str(n) for n in getattr(values, "index", result.model.exog_names)]
                columns[title] = [float(v) for v in values]
            except Exception:
                break
    if not columns or any(len(c) != len(names) for c in columns.values()) or len(names) > 200:
        return None
    return {"columns": ["name", *columns], "data": [list(row) for row in zip(names, *columns.values(), strict=True)]}


def _sample(session: Session, model: Any) -> Any:
    """The first rows that a result's `predict` takes: of a formula's model the frame, else the regressors."""
    if ".tsa." in type(model).__module__:
        return None
    data = getattr(model, "data", None)
    frame = getattr(data, "frame", None)
    if frame is not None and getattr(model, "formula", None):
        read = [c for c in frame.columns if str(c) in str(model.formula).partition("~")[2]]
        return session.models.sample(frame[read]) if read else None
    return session.models.sample(getattr(data, "orig_exog", None))


def _tell_model(session: Session, call: Call, result: Any, found: dict[str, Any]) -> None:
    model = call.args[0]
    params: dict[str, Any] = {}
    family = getattr(model, "__dict__", {}).get("family")
    if family is not None:
        params = {"family": type(family).__name__, "link": type(getattr(family, "link", None)).__name__}
    for name in ("formula", "order", "seasonal_order"):
        held = snapshot(getattr(model, "__dict__", {}).get(name))
        if isinstance(held, (str, list)) and any(held):
            params[name] = held
    options = {k: v for k, raw in call.kwargs.items() if (v := scalar(raw)) is not ... and v is not None}
    sample = _sample(session, model)
    kind = {"cls": type(model).__name__, "type": "predictor" if sample is not None else "results"}
    number = session.models.fitted(result, None, call.site, kind, "statsmodels", sample=sample)
    if call.site.count <= TABLES and (table := _coefficients(result)) is not None:
        session.fact("table", s=call.site.id, name=f"{type(model).__name__} coefficients", n={}, **table)
    session.fact(
        "fit", s=call.site.id, id=number, cls=type(model).__name__, module="statsmodels", type="predictor",
        params={**params, **options}, defaults={}, found=found, outcomes=found, x=describe(getattr(model, "exog", None)),
        seconds=round(time.perf_counter() - call.started, 4),
    )  # fmt: skip
    session.locals_at(call.frame, call.site)
