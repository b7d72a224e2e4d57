"""What the code logs by its own calls (MLflow, W&B, TensorBoard, ClearML): their names win, and nothing is recorded twice."""

from __future__ import annotations

import os

from headway.capture.guard import wrap
from headway.capture.values import scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

POINTS = 50_000


def install(session: Session) -> None:
    own = _Own(session)
    session.hooks["mlflow.tracking.fluent"] = own.hook_mlflow
    session.hooks["wandb.sdk.wandb_run"] = own.hook_wandb
    session.hooks["clearml.logger"] = own.hook_clearml
    session.hooks["clearml.task"] = own.hook_clearml_task
    session.hooks["torch.utils.tensorboard.writer"] = session.hooks["tensorboardX.writer"] = own.hook_tensorboard


class _Own:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.source = session.source("trackers")
        self._told = 0

    def hook_mlflow(self, module: Any) -> None:
        """`log_metric`, `log_metrics`, `log_param`, `log_params`. With our run in the environment they reach it by themselves."""

        def metric(key: Any, value: Any, step: Any = None, **_: Any) -> None:
            self.tell("mlflow", {key: value}, step)

        def metrics(metrics: Any, step: Any = None, **_: Any) -> None:
            self.tell("mlflow", metrics, step)

        def parameter(key: Any, value: Any, **_: Any) -> None:
            self.parameters({key: value})

        def parameters(params: Any, **_: Any) -> None:
            self.parameters(params)

        for name, told in (
            ("log_metric", metric),
            ("log_metrics", metrics),
            ("log_param", parameter),
            ("log_params", parameters),
        ):
            setattr(module, name, wrap(getattr(module, name), self.source, self._called(told), _nothing))

    def hook_wandb(self, module: Any) -> None:
        def log(run: Any, data: Any, step: Any = None, *_: Any, **__: Any) -> None:
            self.tell("wandb", data, step)

        module.Run.log = wrap(module.Run.log, self.source, self._called(log), _nothing)

    def hook_tensorboard(self, module: Any) -> None:
        def scalar(writer: Any, tag: Any, scalar_value: Any, global_step: Any = None, *_: Any, **__: Any) -> None:
            self.tell("tensorboard", {tag: scalar_value}, global_step)

        writer = module.SummaryWriter
        writer.add_scalar = wrap(writer.add_scalar, self.source, self._called(scalar), _nothing)

    def hook_clearml(self, module: Any) -> None:
        """`report_scalar(title, series, ...)` is called `title/series`, as ClearML's page shows it."""

        def scalar(logger: Any, title: Any, series: Any, value: Any, iteration: Any = None, *_: Any, **__: Any) -> None:
            self.tell("clearml", {f"{title}/{series}": value}, iteration)

        def single(logger: Any, name: Any, value: Any, *_: Any, **__: Any) -> None:
            self.tell("clearml", {name: value}, None)

        for name, told in (("report_scalar", scalar), ("report_single_value", single)):
            setattr(module.Logger, name, wrap(getattr(module.Logger, name), self.source, self._called(told), _nothing))

    def hook_clearml_task(self, module: Any) -> None:
        """`task.connect({...})`: what it is given are parameters."""

        def connected(task: Any, mutable: Any, *_: Any, **__: Any) -> None:
            if type(mutable) is dict:
                self.parameters(mutable)

        module.Task.connect = wrap(module.Task.connect, self.source, self._called(connected), _nothing)

    def _called(self, told: Callable[..., None]) -> Callable[[FrameType, tuple[Any, ...], dict[str, Any]], Any]:
        def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self.session.sites.is_user(frame.f_code.co_filename):
                site = self.session.sites.at(frame)
                if site is not None:
                    self._site = site.id
                    told(*args, **kwargs)

        return enter

    def tell(self, tool: str, values: Any, step: Any) -> None:
        """The scalars of one call, as a fact."""
        numbers = {str(k): v for k, raw in list(values.items())[:200] if type(v := scalar(raw)) in (int, float)}
        self._told += len(numbers)
        if numbers and self._told < POINTS:
            at = scalar(step)
            ours = tool == "mlflow" and _is_ours()
            self.session.fact("own", s=self._site, tool=tool, w=numbers, i=at if type(at) is int else None, ours=ours)

    def parameters(self, values: Any) -> None:
        found = {str(k): v for k, raw in list(values.items())[:300] if (v := scalar(raw)) is not ... and v is not None}
        if found:
            self.session.fact("args", s=self._site, values=found)


def _is_ours() -> bool:
    """Whether MLflow's own calls land in this very run."""
    run = os.environ.get("HEADWAY_RUN")
    return bool(run) and os.environ.get("MLFLOW_RUN_ID") == run


def _nothing(token: Any, result: Any, error: BaseException | None) -> None:
    """Nothing is left to do."""
