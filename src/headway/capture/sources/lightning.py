"""Lightning's Trainer, under both of its names: what it logs while it fits, its settings, the module, the best checkpoint."""

from __future__ import annotations

import functools
import sys
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

_SETTINGS = {"max_epochs": None, "max_steps": -1, "gradient_clip_val": None, "accumulate_grad_batches": 1,
             "precision": "32-true", "num_devices": 1}  # fmt: skip
WAITING = 64  # values of a device that are read together


def install(session: Session) -> None:
    for root in ("lightning.pytorch", "pytorch_lightning"):
        watch = Watch(session, root)
        session.hooks[f"{root}.trainer.trainer"] = watch.hook_trainer
        session.hooks[f"{root}.trainer.connectors.logger_connector.logger_connector"] = watch.hook_log


class Watch:
    """The Trainer of one of the two packages."""

    def __init__(self, session: Session, root: str) -> None:
        self.session, self.root = session, root
        self.source = session.source("lightning")
        self._running: Call | None = None
        self._turn = 0  # which of the calls at its line that is
        self._waiting: list[tuple[int, str, Any]] = []
        self._trained: modules.Trained | None = None

    def hook_trainer(self, module: Any) -> None:
        trainer = module.Trainer
        trainer.fit = wrap(trainer.fit, self.source, self._begin, self._fitted)
        for name in ("test", "validate"):
            leave = functools.partial(self._tested, name)
            enter = functools.partial(outermost, self.session)
            setattr(trainer, name, wrap(getattr(trainer, name), self.source, enter, leave))

    def hook_log(self, module: Any) -> None:
        connector = module._LoggerConnector
        connector.log_metrics = wrap(connector.log_metrics, self.source, self._log, _nothing)

    def _begin(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        call = outermost(self.session, frame, args, kwargs)
        if call is not None:
            self._running, self._turn = call, call.site.count
            module = args[1] if len(args) > 1 else kwargs.get("model")
            if module is not None and "torch.nn.modules.module" in sys.modules:
                self._trained = modules.Trained(module)
                modules.watch_inputs(self._trained, self.source)
        return call

    def _log(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What is about to be logged, whether there is a logger or not. Never a token: nothing comes after."""
        metrics = args[1] if len(args) > 1 else kwargs.get("metrics")
        if self._running is None or not isinstance(metrics, dict):
            return
        trainer = args[0].trainer
        given = args[2] if len(args) > 2 else kwargs.get("step")
        step = given if type(given) is int else int(trainer.fit_loop.epoch_loop._batches_that_stepped)
        now: dict[str, Any] = {}
        for name, value in dict(metrics).items():
            if name in ("epoch", "step"):
                continue
            found = scalar(value)
            if type(found) in (int, float):
                now[str(name)] = found
            elif found is ... and hasattr(value, "detach") and value.numel() == 1:
                self._waiting.append((step, str(name), value.detach()))
        if now:
            self._tell(step, now)
        if len(self._waiting) >= WAITING:
            self._read()

    def _tell(self, step: int, values: dict[str, Any]) -> None:
        assert self._running is not None
        site = self._running.site
        self.session.fact("round", s=site.id, c=self._turn, i=step, w=values)

    def _read(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            for (step, name, _), value in zip(waiting, modules.read_together([w[2] for w in waiting]), strict=True):
                self._tell(step, {name: value})

    def _fitted(self, call: Call, result: Any, error: BaseException | None) -> None:
        done(call)
        self._read()
        self._running = None
        trainer, trained = call.args[0], self._trained
        self._trained = None
        module = getattr(trainer, "lightning_module", None)
        if module is None:
            return
        params = self._params(trainer, module)
        fact: dict[str, Any] = {
            "cls": type(module).__name__,
            "module": "lightning",
            "type": "predictor",
            "params": params,
        }
        if error is not None:
            self.session.fact("fit", s=call.site.id, failed=type(error).__name__, defaults={}, **fact)
            return
        if trained is None or trained.model is not module:
            trained = modules.Trained(module)
        params["model_parameters"] = trained.size
        if trained.device != "cpu":
            params["device"] = trained.device
        number = self.session.models.fitted(
            trained.model, None, call.site, fact, "torch", sample=trained.inputs, light=not trained.large
        )
        self.session.fact(
            "fit", s=call.site.id, id=number, c=self._turn, defaults={}, x=modules.describe_inputs(trained.inputs),
            found={"steps": int(trainer.global_step), **self._best(trainer)},
            seconds=round(time.perf_counter() - call.started, 4), **fact,
        )  # fmt: skip
        self.session.locals_at(call.frame, call.site)

    def _params(self, trainer: Any, module: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, usual in _SETTINGS.items():
            value = scalar(getattr(trainer, name, None))
            if value is not ... and value is not None and value != usual:
                found[name] = value
        for name, value in list(dict(getattr(module, "hparams", None) or {}).items())[:100]:
            if (told := parameter(value)) is not None:
                found[str(name)] = told
        for optimizer in list(getattr(trainer, "optimizers", ()))[:1]:
            found["optimizer"] = type(optimizer).__name__
            for name in ("lr", "momentum", "weight_decay"):
                value = scalar(optimizer.defaults.get(name))
                if type(value) in (int, float) and (value or name == "lr"):
                    found[name] = value
        return found

    def _best(self, trainer: Any) -> dict[str, Any]:
        checkpoint = getattr(trainer, "checkpoint_callback", None)
        score = scalar(getattr(checkpoint, "best_model_score", None))
        path = getattr(checkpoint, "best_model_path", "")
        found = {"best_model_score": score} if type(score) in (int, float) else {}
        return found | ({"best_checkpoint": path} if path else {})

    def _tested(self, name: str, call: Call, result: Any, error: BaseException | None) -> None:
        done(call)
        if error is not None or not isinstance(result, list):
            return
        for values in result[:20]:
            numbers = {str(k): v for k, raw in dict(values).items() if type(v := scalar(raw)) in (int, float)}
            self.session.fact("score", s=call.site.id, fn=name, v=numbers, plain=True, n={})


def _nothing(token: Any, result: Any, error: BaseException | None) -> None:
    """There is nothing to do after a log."""
