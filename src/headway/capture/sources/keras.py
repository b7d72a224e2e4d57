"""Keras 3, on any backend: each epoch's logs by its own callback, what `fit` and `compile` were given, evaluations."""

from __future__ import annotations

import functools
import sys
import time

from headway.capture.guard import wrap
from headway.capture.sources.fits import Call, done, outermost
from headway.capture.values import describe, parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_FIT = ("batch_size", "epochs", "validation_split", "shuffle", "steps_per_epoch", "initial_epoch", "validation_freq")


def install(session: Session) -> None:
    session.hooks["keras.src.models.model"] = functools.partial(_hook_model, session)


def _hook_model(session: Session, module: Any) -> None:
    model, source = module.Model, session.source("keras")
    model.fit = wrap(model.fit, source, functools.partial(_begin, session), functools.partial(_fitted, session))
    enter, leave = functools.partial(outermost, session), functools.partial(_evaluated, session)
    model.evaluate = wrap(model.evaluate, source, enter, leave)


def _begin(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    call = outermost(session, frame, args, kwargs)
    if call is not None and len(args) < 7:  # `callbacks` is the seventh
        theirs = kwargs.get("callbacks")
        if theirs is None or isinstance(theirs, (list, tuple)):
            kwargs["callbacks"] = [*(theirs or ()), _callback(session, call)]
        elif type(theirs).__name__ != "CallbackList":
            kwargs["callbacks"] = [theirs, _callback(session, call)]
    return call


def _callback(session: Session, call: Call) -> Any:
    base: Any = sys.modules["keras.src.callbacks.callback"].Callback
    site = call.site

    class Watch(base):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            try:
                values = {str(k): v for k, raw in (logs or {}).items() if type(v := scalar(raw)) in (int, float)}
                if values:
                    session.fact("round", s=site.id, c=site.count, i=epoch, w=values)
            except Exception as error:
                session.source("keras").failed(error)

    return Watch()


def _fitted(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    model = call.args[0]
    fact: dict[str, Any] = {"cls": type(model).__name__, "module": "keras", "type": "predictor"}
    if error is not None:
        session.fact("fit", s=call.site.id, failed=type(error).__name__, params={}, defaults={}, **fact)
        return
    inputs = call.args[1] if len(call.args) > 1 else call.kwargs.get("x")
    params, defaults = _params(model, call)
    number = session.models.fitted(model, inputs, call.site, fact, "keras", sample=_sample(session, inputs))
    session.fact(
        "fit", s=call.site.id, id=number, c=call.site.count, params=params, defaults=defaults, x=describe(inputs),
        found={"epochs": len(getattr(result, "epoch", ()))}, seconds=round(time.perf_counter() - call.started, 4), **fact,
    )  # fmt: skip
    session.locals_at(call.frame, call.site)


def _sample(session: Session, inputs: Any) -> Any:
    if isinstance(inputs, dict):
        found = {str(k): session.models.sample(v) for k, v in inputs.items()}
        return found if found and all(v is not None for v in found.values()) else None
    return session.models.sample(inputs) if type(inputs).__module__.split(".")[0] in ("numpy", "pandas") else None


def _params(model: Any, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `fit` was given, and the optimizer, loss and metrics that the model was compiled with."""
    given: dict[str, Any] = {}
    for position, name in enumerate(("x", "y", "batch_size", "epochs")):
        if len(call.args) > position + 1 and name in _FIT:
            given[name] = parameter(call.args[position + 1])
    given |= {k: parameter(v) for k, v in call.kwargs.items() if k in _FIT and v is not None}
    rest: dict[str, Any] = {}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        given["optimizer"] = type(optimizer).__name__
        for name, value in dict(optimizer.get_config()).items():
            told = scalar(value)
            if told is ... and isinstance(value, dict):  # a schedule
                told = str(value.get("class_name", "")) or ...
            if told is ... or told is None or name == "name":
                continue
            if type(told) is float:  # it was kept in 32 bits
                told = float(f"{told:.7g}")
            (given if name == "learning_rate" else rest)[name] = told
    loss = getattr(model, "loss", None)
    if loss is not None:
        given["loss"] = loss if isinstance(loss, str) else parameter(loss)
    given["model_parameters"] = int(model.count_params()) if model.built else None
    return {k: v for k, v in given.items() if v is not None}, rest


def _evaluated(session: Session, call: Call, result: Any, error: BaseException | None) -> None:
    done(call)
    if error is not None:
        return
    model = call.args[0]
    if isinstance(result, dict):
        named = result
    elif isinstance(result, (list, tuple)):
        named = dict(zip(_names(model, len(result)), result, strict=False))
    else:
        named = {"loss": result}
    values = {str(k): v for k, raw in named.items() if type(v := scalar(raw)) in (int, float)}
    if values:
        session.fact("score", s=call.site.id, fn="evaluate", v=values, plain=True, of=session.models.id_of(model), n={})


def _names(model: Any, count: int) -> list[str]:
    """The names of what `evaluate` gives as a list: the loss, then each metric."""
    found = [str(m.name) for m in getattr(model, "metrics", ())]
    flat: list[str] = []
    for metric in getattr(model, "metrics", ()):
        inner = getattr(metric, "metrics", None)
        flat += [str(m.name) for m in inner] if isinstance(inner, (list, tuple)) else [str(metric.name)]
    return flat if len(flat) == count else found if len(found) == count else [f"metric_{i}" for i in range(count)]
