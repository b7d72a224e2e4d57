"""The Trainer of transformers: what it logs, the arguments that were set, the model, its evaluations."""

from __future__ import annotations

import functools
import time

from headway.capture.guard import wrap
from headway.capture.sources import modules
from headway.capture.sources.fits import Call, done, outermost
from headway.capture.values import parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

# Arguments that say where and how often something is written, not how the model is trained.
_HOUSEKEEPING = ("output_dir", "logging_", "log_", "save_", "push_", "hub_", "report_to", "run_name", "overwrite_",
                 "disable_tqdm", "dataloader_", "do_", "accelerator_",
                 "use_cpu", "no_cuda", "local_rank", "ddp_", "_", "project", "trackio")  # fmt: skip
_QUIET = ("runtime", "_per_second", "flos", "epoch", "memory", "step_time")


def install(session: Session) -> None:
    session.hooks["transformers.trainer"] = functools.partial(_hook_trainer, session)


def _hook_trainer(session: Session, module: Any) -> None:
    watch, trainer, source = Watch(session), module.Trainer, session.source("transformers")
    trainer.train = wrap(trainer.train, source, watch.begin, watch.trained)
    trainer.log = wrap(trainer.log, source, watch.log, _nothing)
    enter = functools.partial(outermost, session)
    trainer.evaluate = wrap(trainer.evaluate, source, enter, watch.evaluated)


class Watch:
    """The Trainer that runs."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._running: Call | None = None
        self._module: modules.Trained | None = None

    def begin(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        call = outermost(self.session, frame, args, kwargs)
        if call is not None:
            self._running = call
            model = getattr(args[0], "model", None)
            if model is not None:
                self._module = modules.Trained(model)
                modules.watch_inputs(self._module, self.session.source("transformers"))
        return call

    def log(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Each log of a training, before it is made. Never a token: nothing comes after."""
        logs = args[1] if len(args) > 1 else kwargs.get("logs")
        if self._running is not None and isinstance(logs, dict):
            site = self._running.site
            values = _numbers(logs)
            if values:
                self.session.fact("round", s=site.id, c=site.count, i=int(args[0].state.global_step), w=values)

    def trained(self, call: Call, result: Any, error: BaseException | None) -> None:
        done(call)
        self._running = None
        trainer, trained, self._module = call.args[0], self._module, None
        fact: dict[str, Any] = {
            "cls": trained.cls if trained else "Trainer",
            "module": "transformers",
            "type": "predictor",
        }
        params, defaults = _arguments(trainer.args)
        if error is not None or trained is None:
            self.session.fact("fit", s=call.site.id, failed=type(error).__name__, params=params, defaults={}, **fact)
            return
        params["model_parameters"] = trained.size
        if getattr(trainer, "optimizer", None) is not None:
            params["optimizer"] = type(getattr(trainer.optimizer, "optimizer", trainer.optimizer)).__name__
        number = self.session.models.fitted(
            trained.model, None, call.site, fact, "torch", sample=trained.inputs, light=not trained.large
        )
        state = trainer.state
        found = {"steps": scalar(state.global_step), "best_metric": scalar(state.best_metric)}
        self.session.fact(
            "fit", s=call.site.id, id=number, c=call.site.count, params=params, defaults=defaults,
            x=modules.describe_inputs(trained.inputs), found={k: v for k, v in found.items() if v not in (None, ...)},
            seconds=round(time.perf_counter() - call.started, 4), **fact,
        )  # fmt: skip
        self.session.locals_at(call.frame, call.site)

    def evaluated(self, call: Call, result: Any, error: BaseException | None) -> None:
        done(call)
        if error is None and isinstance(result, dict) and (values := _numbers(result)):
            self.session.fact("score", s=call.site.id, fn="evaluate", v=values, plain=True, n={})


def _numbers(logs: dict[Any, Any]) -> dict[str, Any]:
    return {
        str(k): v
        for k, raw in logs.items()
        if not any(w in str(k) for w in _QUIET) and type(v := scalar(raw)) in (int, float)
    }


def _arguments(arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(set by the user, defaults that matter) of a TrainingArguments, which is a dataclass."""
    given: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, field in getattr(type(arguments), "__dataclass_fields__", {}).items():
        value = parameter(getattr(arguments, name, None))
        if value is None or name.startswith(_HOUSEKEEPING) or not field.init:
            continue
        usual = value == parameter(field.default) or type(field.default).__name__ == "_MISSING_TYPE"
        if usual and name not in ("learning_rate", "num_train_epochs"):
            if type(value) in (int, float, str, bool):
                rest[name] = value
        elif type(value) in (int, float, str, bool):
            given[name] = value
    return given, rest


def _nothing(token: Any, result: Any, error: BaseException | None) -> None:
    """There is nothing to do after a log."""
