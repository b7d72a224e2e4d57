"""Model files that a program writes itself: checkpoints, weights, exported graphs; and whose they are.

The library's own functions are wrapped, since most of them write past Python's `open`. What is noted is the path, the size and
the model; the file is brought along by the shipper. An ONNX graph becomes a model of the run, as it is.
"""

from __future__ import annotations

import functools
import os
import sys

from headway.capture.guard import replace, wrap
from headway.capture.values import scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

FILES = 2_000
GRAPHS = 8
# Where a library has its saving: function -> places (or names) of what is saved, and of where to.
_FUNCTIONS = {
    "torch.serialization": {"save": (0, "obj", 1, "f")},
    "torch.onnx": {"export": (0, "model", 2, "f")},
    "onnx": {"save_model": (0, "proto", 1, "f"), "save": (0, "proto", 1, "f")},
    "safetensors.torch": {"save_file": (0, "tensors", 1, "filename"), "save_model": (0, "model", 1, "filename")},
    "keras.src.saving.saving_lib": {"save_model": (0, "model", 1, "filepath"), "save_weights_only": (0, "model", 1, "filepath")},
    "joblib.numpy_pickle": {"dump": (0, "value", 1, "filename")},
}  # fmt: skip


def install(session: Session) -> None:
    watch = Watch(session)
    for name, functions in _FUNCTIONS.items():
        session.hooks[name] = functools.partial(watch.hook, functions)
    session.at_end.append(watch.keep_graphs)


class Watch:
    """The model files that this process writes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._source = session.source("saved")
        self._graphs: dict[str, tuple[int | None, str]] = {}
        self._count = 0

    def hook(self, functions: dict[str, tuple[int, str, int, str]], module: Any) -> None:
        for name, places in functions.items():
            if callable(original := getattr(module, name, None)):
                enter = functools.partial(self._begin, module.__name__.split(".")[0], places)
                replace(module, name, wrap(original, self._source, enter, self._done))

    def _begin(
        self, library: str, places: tuple[int, str, int, str], frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # fmt: skip
        if self._count >= FILES or self._session.ended:
            return None
        value, given = (args[p] if len(args) > p else kwargs.get(n) for p, n in (places[:2], places[2:]))
        path = given if isinstance(given, str) else getattr(given, "name", None)
        if hasattr(given, "__fspath__"):  # whose `name` would be its last part alone
            path = os.fspath(given)  # type: ignore[arg-type]
        if not isinstance(path, str) or path.startswith(self._session.spool.folder):
            return None
        caller = self._session.sites.caller(frame, limit=60)
        site = self._session.sites.at(caller) if caller is not None else None
        return None if site is None else (site, value, os.path.abspath(path), library)

    def _done(self, token: Any, result: Any, error: BaseException | None) -> None:
        site, value, path, library = token
        if error is not None or not os.path.isfile(path):
            return
        self._count += 1
        number, cls, told = self._whose(value)
        if path.endswith(".onnx") and len(self._graphs) < GRAPHS:
            self._graphs[path] = (number, cls)
        name = os.path.relpath(path)
        name = os.path.basename(path) if name.startswith("..") else name
        self._session.fact(
            "saved",
            s=site.id,
            path=path,
            name=name,
            size=os.path.getsize(path),
            how=library,
            id=number,
            cls=cls,
            n=told,
        )

    def _whose(self, value: Any) -> tuple[int | None, str, dict[str, Any]]:
        """(number, class, numbers that lie beside it) of the model whose weights these are."""
        models, told = self._session.models, {}
        parts = [value]
        if isinstance(value, dict):
            parts += [v for v in list(value.values())[:50] if isinstance(v, dict) or hasattr(v, "state_dict")]
            numbers = {str(k): scalar(v) for k, v in list(value.items())[:50] if not hasattr(v, "data_ptr")}
            told = {k: v for k, v in numbers.items() if type(v) in (int, float)}
        for part in parts:
            number = models.id_of(part)
            if number is None:
                number = (
                    models.id_of(getattr(part, "module", None)) if hasattr(part, "module") else self._of_weights(part)
                )
            if number is not None:
                return number, models.class_of(number), told
        cls = type(value).__name__ if not isinstance(value, (dict, list, tuple)) else ""
        return None, cls, told

    def _of_weights(self, weights: Any) -> int | None:
        """The torch module that has these names of weights; of several, the one whose storage they share."""
        if not isinstance(weights, dict) or "torch.nn.modules.module" not in sys.modules:
            return None
        tensors = {str(k).removeprefix("module."): v for k, v in weights.items() if hasattr(v, "data_ptr")}
        if not tensors:
            return None
        base: Any = sys.modules["torch.nn.modules.module"].Module
        found: list[int] = []
        for number, model in self._session.models.alive():
            if isinstance(model, base):
                own = dict(base.named_parameters(model))
                if own and own.keys() <= tensors.keys():
                    if all(v.data_ptr() == tensors[k].data_ptr() for k, v in list(own.items())[:3]):
                        return number
                    found.append(number)
        return found[-1] if found else None

    def keep_graphs(self) -> None:
        """At the end: exported graphs as they are, as models that can be deployed."""
        from headway.capture import saving

        for path, (number, cls) in self._graphs.items():
            if os.path.isfile(path):
                folder = saving.keep_graph(self._session, path, cls)
                self._session.fact("graph", path=path, id=number, cls=cls, folder=str(folder))
