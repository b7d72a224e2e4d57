"""What a fitted estimator says of itself: parameters, what fitting found, its search, its learning curve."""

from __future__ import annotations

from headway.capture.values import number_list, parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

__all__ = ["columns_of", "deployable", "describe_fit", "weights"]

# What fitting found, by attribute: numbers worth a metric, and lists that are series over the iterations.
_OUTCOMES = (
    "best_score_",
    "inertia_",
    "loss_",
    "best_loss_",
    "oob_score_",
    "lower_bound_",
    "log_marginal_likelihood_value_",
    "kl_divergence_",
    "reconstruction_err_",
    "stress_",
    "alpha_",
    "lambda_",
    "best_validation_score_",
    "best_iteration_",
    "best_iteration",
    "best_score",
    "n_iter_",
    "n_features_",
)
_SERIES = (
    "loss_curve_",
    "validation_scores_",
    "train_score_",
    "validation_score_",
    "oob_improvement_",
    "scores_",
    "objective_",
)
# Of these a careful person keeps the number itself: nothing else says how well an unsupervised model fits.
_METRICS = ("inertia_", "lower_bound_", "kl_divergence_", "reconstruction_err_", "stress_", "oob_score_", "best_iteration",
            "best_iteration_", "log_marginal_likelihood_value_")  # fmt: skip
_UNSET = 1.7e308  # what an outcome holds that was never computed: the largest float, infinity
_ROWS_LIMIT = 200


def describe_fit(estimator: Any) -> dict[str, Any]:
    """`cls`, `module`, `params` (set by the user), `defaults`, `found`, `series`, `search` of an estimator after its fit."""
    given, defaults = split_params(estimator)
    fact: dict[str, Any] = {
        "cls": type(estimator).__name__,
        "module": type(estimator).__module__,
        "type": _kind(estimator),
        "params": given,
        "defaults": defaults,
    }
    inner = inner_estimator(estimator)
    if inner is not None:
        fact["inner"] = type(inner).__name__
    attributes = getattr(estimator, "__dict__", {})
    found = {k: v for k in _OUTCOMES if k in attributes and (v := scalar(attributes[k])) is not ...}
    series = {k: v for k in _SERIES if k in attributes and (v := number_list(attributes[k])) is not None}
    outcomes = {k: v for k, v in found.items() if k in _METRICS and type(v) in (int, float) and abs(v) < _UNSET}
    for key, value in (("found", found), ("series", series), ("search", search(attributes)), ("outcomes", outcomes)):
        if value:
            fact[key] = value
    curves = evaluations(attributes.get("evals_result_") or attributes.get("_evals_result")) or history(attributes)
    if curves:
        fact["curves"] = curves
    return fact


def columns_of(inputs: Any, count: int) -> list[str]:
    """The names of a frame's columns, else numbers."""
    columns = getattr(inputs, "columns", None)
    return (
        [str(c) for c in columns] if columns is not None and len(columns) == count else [f"x{i}" for i in range(count)]
    )


def weights(model: Any, inputs: Any) -> dict[str, Any] | None:
    """The table of a fitted model's importances or coefficients, under the names of what its last step was given."""
    from headway.capture import tables

    last = final_step(deployable(model))
    values: Any = getattr(last, "feature_importances_", None)
    title = "importance"
    if values is None:
        values, title = getattr(last, "__dict__", {}).get("coef_"), "coefficient"
    if getattr(values, "ndim", 0) == 2 and 1 <= values.shape[0] <= 20:
        columns = {title if len(values) == 1 else f"{title} {i}": v.tolist() for i, v in enumerate(values)}
    elif getattr(values, "ndim", 0) == 1:
        columns = {title: values.tolist()}
    else:
        return None
    count = len(next(iter(columns.values())))
    names = columns_of(inputs, count)
    if last is not deployable(model):
        try:
            names = [str(n) for n in deployable(model)[:-1].get_feature_names_out()]
        except Exception:
            names = columns_of(None, count)
    return tables.importances(names, columns)


def _kind(estimator: Any) -> str:
    """ "predictor", "transformer" or "helper": whether one would deploy it."""
    module = type(estimator).__module__
    if any(callable(getattr(type(estimator), m, None)) for m in ("predict", "fit_predict")):
        return "predictor"
    last = final_step(estimator)
    if last is not estimator and last is not None and hasattr(type(last), "predict"):
        return "predictor"
    helpers = ("preprocessing", "impute", "feature_extraction", "feature_selection", "compose", "kernel_approximation")
    if module.startswith("sklearn.") and module.split(".")[1] in helpers:
        return "helper"
    return "transformer"


def final_step(estimator: Any) -> Any:
    """The last step of a pipeline (of pipelines), else the estimator."""
    for _ in range(10):
        steps = getattr(estimator, "__dict__", {}).get("steps")
        if not steps:
            break
        estimator = steps[-1][1]
    return estimator


def inner_estimator(estimator: Any) -> Any:
    """What a search, or a pipeline, is really about: the best estimator's or last step's model; None for a plain one."""
    attributes = getattr(estimator, "__dict__", {})
    best = attributes.get("best_estimator_") or attributes.get("estimator") if "cv_results_" in attributes else None
    found = final_step(best if best is not None else estimator)
    return found if found is not estimator and not isinstance(found, str) else None


def deployable(estimator: Any) -> Any:
    """What one would deploy: a search's best estimator (where it refitted one), else the object itself."""
    attributes = getattr(estimator, "__dict__", {})
    best = attributes.get("best_estimator_") if "cv_results_" in attributes else None
    return estimator if best is None else best


def split_params(estimator: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters that differ from the defaults of their own class, and the rest; of pipelines, by `step__name`."""
    try:
        found = {k: v for k, v in estimator.get_params(deep=False).items() if not str(k).startswith("_")}
    except (Exception, SystemExit):
        return {}, {}
    usual = _defaults_of(type(estimator))
    given: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    nested: list[tuple[str, Any]] = []
    for name, value in found.items():
        if hasattr(value, "get_params") and not isinstance(value, type):
            nested.append((name, value))
        if "n_splits" in getattr(value, "__dict__", {}):  # a splitter stands for its own settings
            given.update(
                {
                    f"{name}__{k}": v
                    for k in ("n_splits", "shuffle", "random_state")
                    if (v := scalar(vars(value).get(k))) is not ... and v is not None
                }
            )
        if name in usual and _same(usual[name], value):
            defaults[name] = parameter(value)
        elif name in ("steps", "transformers", "estimators", "transformer_list") and isinstance(value, list):
            nested += [(str(s[0]), s[1]) for s in value if len(s) > 1 and hasattr(s[1], "get_params")]
            given[name] = [str(s[0]) for s in value]
        elif name not in ("memory", "verbose", "n_jobs") or value:
            if not (name == "estimator" and not isinstance(value, str)):
                given[name] = parameter(value)
            else:
                given[name] = type(value).__name__
    for name, inner in nested[:20]:
        own, rest = split_params(inner)
        given.update({f"{name}__{k}": v for k, v in own.items()})
        defaults.update({f"{name}__{k}": v for k, v in rest.items()})
    return given, {k: v for k, v in defaults.items() if v is not None}


_cache: dict[type, dict[str, Any]] = {}


def _defaults_of(kind: type) -> dict[str, Any]:
    """The defaults in a class's constructor signature; of boosting classes, all that is None at first."""
    import inspect

    known = _cache.get(kind)
    if known is None:
        known = {}
        for parent in reversed(kind.__mro__):
            init = parent.__dict__.get("__init__")
            if init is None or parent is object:
                continue
            try:
                parameters = inspect.signature(init).parameters.values()
            except (TypeError, ValueError):
                continue
            known.update({p.name: p.default for p in parameters if p.default is not p.empty})
        _cache[kind] = known
    return known


def _same(usual: Any, value: Any) -> bool:
    if usual is value:
        return True
    return (type(usual) is type(value) and isinstance(value, (int, float, str, bool)) and usual == value) or (
        isinstance(value, float) and value != value and isinstance(usual, float) and usual != usual
    )


def search(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """A search's best parameters and score, and its trials as one table."""
    results = attributes.get("cv_results_")
    if not isinstance(results, dict):
        return None
    found: dict[str, Any] = {}
    best = attributes.get("best_params_")
    if isinstance(best, dict):
        found["best_params"] = {str(k): parameter(v) for k, v in best.items()}
    for key in ("best_score_", "best_index_"):
        if (value := scalar(attributes.get(key))) is not ... and value is not None:
            found[key.rstrip("_")] = value
    means = results.get("mean_test_score")
    if means is not None and "best_score" not in found and len(means):
        found["best_mean_test_score"] = scalar(max(means))
    table: dict[str, list[Any]] = {}
    for name, column in results.items():
        if name.startswith(("split", "std_")) or name == "params":
            continue
        cells = list(column)[:_ROWS_LIMIT]
        table[name] = [parameter(c) for c in cells]
    found["table"] = table
    found["trials"] = len(next(iter(results.values()), ()))
    return found


def history(attributes: dict[str, Any]) -> dict[str, list[float]]:
    """What a skorch net notes of its epochs: a list of dicts. Its bookkeeping and its clock are left out."""
    rows = attributes.get("history_")
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        return {}
    found: dict[str, list[float]] = {}
    for name in rows[0]:
        if name in ("epoch", "dur", "batches", "event_lr") or str(name).endswith(("_best", "_batch_count")):
            continue
        values = [scalar(row.get(name)) for row in list(rows)]
        if all(type(v) in (int, float) for v in values):
            found[str(name)] = values
    return found


def evaluations(results: Any) -> dict[str, list[float]]:
    """`{"validation_0-logloss": [...]}` of a booster's `{"validation_0": {"logloss": [...]}}`."""
    found: dict[str, list[float]] = {}
    if isinstance(results, dict):
        for data, metrics in list(results.items())[:20]:
            if not isinstance(metrics, dict):
                continue
            for metric, values in list(metrics.items())[:20]:
                numbers = [float(values[0])] if len(values) == 1 else number_list(list(values))
                if numbers is not None:
                    found[f"{data}-{metric}"] = [float(n) for n in numbers if n is not None]
    return found
