"""PyTorch loops written by hand: the optimizer and its settings, the losses, the module that is trained.

Steps are told by the public global step hook, losses by `Tensor.backward`. A loss on a CPU is read at once; on another
device its detached tensor is kept, and many are read together, so that no step waits for the device.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref

from headway.capture.guard import hide, wrap
from headway.capture.sources import modules
from headway.capture.sources.fits import nested
from headway.capture.values import held, parameter, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["install"]

FLUSH_S = 1.0
DEVICE_FLUSH_S = 15.0
BATCH = 256  # values of one fact, and tensors of a device that are read together
THIN_AFTER = 20_000


def install(session: Session) -> None:
    watch = Watch(session)
    session.hooks["torch.optim.optimizer"] = watch.hook_optimizer
    session.hooks["torch._tensor"] = watch.hook_tensor
    session.hooks["torch.utils.data.dataloader"] = watch.hook_loader
    session.hooks["torch.optim.lr_scheduler"] = watch.hook_scheduler
    session.models.before_save.append(watch.tell)


class Optimized:
    """One optimizer, from its making on."""

    __slots__ = ("fact", "lr", "lrs", "models", "owner", "round", "site", "started", "steps", "told")

    def __init__(self, optimizer: Any) -> None:
        self.owner = weakref.ref(optimizer)
        self.fact: dict[str, Any] = _settings(optimizer)
        self.models: list[modules.Trained] = []
        self.site: Site | None = None
        self.steps = self.told = self.round = 0
        self.started = 0.0
        self.lr: Any = None
        self.lrs: list[list[float]] = []


class Losses:
    """The losses of one `backward` line, between two makings of an optimizer."""

    __slots__ = (
        "cost",
        "count",
        "device",
        "every",
        "first",
        "kept",
        "last",
        "round",
        "since",
        "site",
        "values",
        "when",
    )

    def __init__(self, site: Site, number: int) -> None:
        self.site, self.round = site, number
        self.kept = 0
        self.count = 0  # backward calls so far
        self.every = 1
        self.first = 0  # the step of values[0]
        self.values: list[Any] = []
        self.device = False
        self.when = self.last = time.time()


class Watch:
    """What this process trains with torch."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.source = session.source("torch")
        self._by_id: dict[int, Optimized] = {}
        self._fast: dict[tuple[int, int], Losses] = {}
        self._all: list[Optimized] = []
        self._losses: dict[tuple[int, int], Losses] = {}
        self._rounds = 0  # how often something new began to be trained
        self._trained: weakref.WeakKeyDictionary[Any, modules.Trained] = weakref.WeakKeyDictionary()

    # -- hooks

    def hook_optimizer(self, module: Any) -> None:
        torch, source = module.torch, self.source

        known_by_id = self._by_id

        def after_step(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if torch.compiler.is_compiling() or source.off:
                return
            known = known_by_id.get(id(optimizer))
            if known is None or id(known.owner()) != id(optimizer):
                return
            try:
                known.steps += 1
                if known.steps == 1 or optimizer.param_groups[0].get("lr") is not known.lr:
                    self._stepped(known, optimizer, sys._getframe(1))
            except Exception as error:
                source.failed(error)

        module.register_optimizer_step_post_hook(hide(after_step))
        made = module.Optimizer.__init__
        module.Optimizer.__init__ = wrap(made, source, self._begin_making, self._made)

    def hook_tensor(self, module: Any) -> None:
        tensor, source = module.Tensor, self.source
        original = tensor.backward

        @functools.wraps(original)
        def backward(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            if type(self) is tensor and not source.off:
                try:
                    frame = sys._getframe(1)
                    losses = fast.get((id(frame.f_code), frame.f_lasti))
                    if losses is None or losses.round != watch._rounds:
                        losses = watch._losses_at(frame)
                    if losses is not None:
                        step = losses.count
                        losses.count = step + 1
                        if not step % losses.every:
                            watch._backward(losses, step, self, frame)
                except Exception as error:
                    source.failed(error)
            return result

        watch, fast = self, self._fast
        tensor.backward = hide(backward)

    def hook_loader(self, module: Any) -> None:
        loader = module.DataLoader
        loader.__init__ = wrap(loader.__init__, self.source, self._called, self._loader)

    def hook_scheduler(self, module: Any) -> None:
        base = getattr(module, "LRScheduler", None) or module._LRScheduler
        base.__init__ = wrap(base.__init__, self.source, self._called, self._scheduler)

    # -- what the hooks tell

    def _called(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call from the user's code; inside a framework's fit only one that a method of the user's makes itself."""
        if nested() and not self.session.sites.is_user(frame.f_code.co_filename):
            return None
        caller = self.session.sites.caller(frame, limit=6)
        site = self.session.sites.at(caller) if caller is not None else None
        return None if site is None else (site, args[0])

    def _loader(self, token: Any, result: Any, error: BaseException | None) -> None:
        site, loader = token
        if error is not None or site.count > 1:
            return
        found: dict[str, Any] = {}
        if type(size := loader.batch_size) is int and size > 1:
            found["batch_size"] = size
        if type(getattr(loader, "sampler", None)).__name__ == "RandomSampler":
            found["shuffle"] = True
        if found:
            self.session.fact("call", s=site.id, fn="DataLoader", params=found)
        data = modules.describe_dataset(loader.dataset)
        if data is not None:
            self.session.fact("data", s=site.id, fn=type(loader.dataset).__name__, x=data, params={})

    def _scheduler(self, token: Any, result: Any, error: BaseException | None) -> None:
        site, scheduler = token
        if error is None and site.count == 1:
            self.session.fact("call", s=site.id, fn="scheduler", params={"scheduler": type(scheduler).__name__})

    def _begin_making(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if nested():
            return None
        caller = self.session.sites.caller(frame, limit=12)
        return None if caller is None else (args[0], caller)

    def _made(self, token: Any, result: Any, error: BaseException | None) -> None:
        """An optimizer was made: whose parameters are they? Its module's next inputs are the examples."""
        optimizer, frame = token
        if error is not None:
            return
        known = Optimized(optimizer)
        self._by_id[id(optimizer)] = known
        self._all.append(known)
        self._find(known, optimizer, frame)

    def _find(self, known: Optimized, optimizer: Any, frame: FrameType, *, again: bool = False) -> None:
        found = modules.owners(optimizer, frame)
        fresh = not found and not again
        for trained in found:
            model = trained.model
            if model not in self._trained:
                fresh = True
                self._trained[model] = trained
                modules.watch_inputs(trained, self.source)
            known.models.append(self._trained[model])
        self._rounds += fresh
        known.round = self._rounds

    def _stepped(self, known: Optimized, optimizer: Any, frame: FrameType) -> None:
        """The first step, and each that was made with another learning rate."""
        if known.site is None:
            caller = self.session.sites.caller(frame)
            known.site = self.session.sites.at(caller) if caller is not None else None
            if caller is None or known.site is None:
                del self._by_id[id(optimizer)]
                return
            self._first_step(known, optimizer, caller)
        known.lr = optimizer.param_groups[0].get("lr")
        value = scalar(known.lr)
        new = type(value) in (int, float) and (not known.lrs or known.lrs[-1][1] != value)
        if new and len(known.lrs) < THIN_AFTER:
            known.lrs.append([known.steps - 1, value])

    def _first_step(self, known: Optimized, optimizer: Any, frame: FrameType) -> None:
        session, site = self.session, known.site
        assert site is not None
        known.started = time.perf_counter()
        if not known.models:
            self._find(known, optimizer, frame, again=True)
        self._trained_at(known, site)
        session.fact("optimizer", s=site.id, cls=known.models[0].cls if known.models else "", **known.fact)
        session.locals_at(frame, site)

    def _trained_at(self, known: Optimized, site: Site) -> None:
        for trained in known.models:
            fact = {"cls": trained.cls, "type": "predictor"}
            trained.number = self.session.models.fitted(
                trained.model, None, site, fact, "torch", sample=trained.inputs, light=not trained.large
            )
            known.fact["params"]["model_parameters"] = trained.size
            if trained.device != "cpu":
                known.fact["params"]["device"] = trained.device

    def _losses_at(self, frame: FrameType) -> Losses | None:
        """The losses of the line that `frame` is at; a new training at it begins anew."""
        session, place = self.session, (id(frame.f_code), frame.f_lasti)
        direct = session.sites.is_user(frame.f_code.co_filename)
        if not direct:
            caller = None if nested() else session.sites.caller(frame)
            if caller is None:
                return None
            frame = caller
        site = session.sites.at(frame)
        if site is None:
            return None
        key = (site.id, self._rounds)
        losses = self._losses.get(key)
        if losses is None:
            self._flush_others(key)
            losses = self._losses[key] = Losses(site, self._rounds)
            if site.count == 1:
                self._criterion(frame, site)
        if direct:
            self._fast[place] = losses  # the site has pinned the code, so its id is its own
        return losses

    def _backward(self, losses: Losses, step: int, loss: Any, frame: FrameType) -> None:
        """Keeps one loss; of more than THIN_AFTER at one line every second one, then every fourth..."""
        started = time.perf_counter_ns()
        loss = modules.unscaled(loss, frame, losses.site)
        if loss.numel() != 1:
            return
        if not losses.values:
            losses.first, losses.when = step, time.time()
        if loss.device.type == "cpu":
            losses.values.append(loss.item())
        else:
            losses.values.append(loss.detach())
            losses.device = True
        key = (losses.site.id, losses.round)
        if len(losses.values) >= BATCH or time.time() - losses.last > (DEVICE_FLUSH_S if losses.device else FLUSH_S):
            self._flush(key, losses)
        losses.kept += 1
        if losses.kept >= THIN_AFTER:
            self._flush(key, losses)
            losses.every *= 2
            losses.kept //= 2
        self.source.spent_ns += time.perf_counter_ns() - started

    def _criterion(self, frame: FrameType, site: Site) -> None:
        """The class of a loss that the scope of the `backward` holds: `criterion = nn.CrossEntropyLoss()`."""
        for scope in (held(frame), frame.f_globals) if not site.module_level else (frame.f_globals,):
            kinds = [type(v) for v in list(scope.values()) if type(v).__module__ == "torch.nn.modules.loss"]
            if len(kinds) == 1:
                self.session.fact("call", s=site.id, fn="backward", params={"loss_function": kinds[0].__name__})
                return

    # -- telling it

    def _flush_others(self, current: tuple[int, int]) -> None:
        for key, losses in list(self._losses.items()):
            if key != current and key[1] != current[1]:
                self._flush(key, losses)

    def _flush(self, key: tuple[int, int], losses: Losses) -> None:
        if not losses.values:
            return
        values, losses.values = losses.values, []
        losses.last = time.time()
        if losses.device:
            values = modules.read_together(values)
        self.session.fact(
            "loss", s=key[0], r=key[1], i=losses.first, e=losses.every, v=values, t0=int(losses.when * 1000)
        )

    def tell(self) -> None:
        """At the end of a cell, and of the program: all that was not told yet."""
        for key, losses in list(self._losses.items()):
            self._flush(key, losses)
        for known in self._all:
            if known.site is None and (optimizer := known.owner()) is not None and known.models:
                self._compiled(known, optimizer)
            if known.site is not None and known.steps > known.told:
                self._tell(known)
        self._all = [k for k in self._all if k.owner() is not None]

    def _compiled(self, known: Optimized, optimizer: Any) -> None:
        """An optimizer whose steps were compiled calls no hook: its losses tell where, and how often."""
        found = [losses for key, losses in self._losses.items() if key[1] == known.round and losses.count]
        if found:
            known.site, known.steps = found[-1].site, found[-1].count
            self._trained_at(known, known.site)

    def _tell(self, known: Optimized) -> None:
        site = known.site
        assert site is not None
        known.told = known.steps
        seconds = round(time.perf_counter() - known.started, 3)
        series = {"lr": known.lrs} if len(known.lrs) > 1 else {}
        common: dict[str, Any] = {"s": site.id, "seconds": seconds, "n": {}, "found": {"steps": known.steps}}
        for trained in known.models:
            shape = modules.describe_inputs(trained.inputs)
            self.session.models.learned_more(trained.number, trained.inputs)
            self.session.fact(
                "fit", id=trained.number, cls=trained.cls, module="torch", type="predictor", x=shape,
                points=series, params=known.fact["params"], defaults=known.fact["defaults"], **common,
            )  # fmt: skip
            series = {}
        if not known.models:
            self.session.fact("fit", cls=known.fact["params"]["optimizer"], module="torch", type="loop", x=None,
                              points=series, params=known.fact["params"], defaults=known.fact["defaults"], **common)  # fmt: skip


def _settings(optimizer: Any) -> dict[str, Any]:
    """`params`: the class, its learning rate and what differs from its signature; `defaults`: the rest."""
    import inspect

    usual: dict[str, Any] = {}
    try:
        signature = inspect.signature(type(optimizer).__init__)
        usual = {p.name: p.default for p in signature.parameters.values()}
    except (TypeError, ValueError):
        pass
    given: dict[str, Any] = {"optimizer": type(optimizer).__name__}
    rest: dict[str, Any] = {}
    for name, value in dict(optimizer.defaults).items():
        if not isinstance(name, str) or (told := parameter(value)) is None:
            continue
        plain = name in usual and type(usual[name]) in (bool, int, float, str, tuple)
        same = usual[name] == value if plain else name not in usual
        (rest if same and name != "lr" else given)[name] = told
    return {"params": given, "defaults": rest}
