"""Fitted models: remembered at their fit, saved once as a bundle when the cell or the program ends.

The object that one would deploy is saved: the pipeline, or a search's best estimator. Of many fits at one line, the last
one of each class is kept. Nothing is saved on the way: only at the end, within a budget of time and bytes.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from _weakref import ref

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["Fitted", "Models"]

ROWS = 5
TIME_LIMIT_S = 30.0
COUNT_LIMIT = 24
MEMORY_SHARE = 0.5


class Fitted:
    """A model that was fitted here. `keep` is a strong reference until it is saved: a function's model would be gone."""

    __slots__ = ("cls", "id", "keep", "library", "object", "sample", "saved", "site", "type")

    def __init__(
        self, number: int, cls: str, kind: str, site: int, library: str, model: Any, sample: Any, light: bool = True
    ) -> None:
        self.id, self.cls, self.type, self.site, self.library = number, cls, kind, site, library
        self.object = _reference(model)
        self.keep = None if not light or _memory_is_short() else model
        self.sample = sample
        self.saved = False

    def model(self) -> Any:
        """The model, while it lives."""
        return self.keep if self.keep is not None else self.object() if self.object is not None else None


class Models:
    """The models of this process, and their saving."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._all: dict[int, Fitted] = {}
        self._latest: dict[tuple[int, str], int] = {}
        self._spent = 0.0
        self.before_first: list[Callable[[], None]] = []
        self.before_save: list[Callable[[], None]] = []
        self.pending: dict[int, Callable[[], None]] = {}  # what is to be told of a line before the saving
        self._own: dict[tuple[str, str, str], Fitted] = {}  # of the user's own classes, by file, function and class
        self._count = 0

    @staticmethod
    def sample(inputs: Any) -> Any:
        """A copy of the first rows of a frame or an array; None for anything else."""
        return _head(inputs)

    def fitted(
        self, model: Any, inputs: Any, site: Site, fact: dict[str, Any], library: str = "sklearn", sample: Any = None,
        light: bool = True,
    ) -> int:  # fmt: skip
        """Remembers a model at its fit; its number. One that is not `light` is not kept alive for its saving."""
        if not self._all:
            # Libraries end in the order opposite to their start: what they need to save a model still stands then.
            atexit.register(self._at_exit)
        for step in self.before_first:
            step()
        self.before_first.clear()
        known = self.id_of(model)
        if known is None:
            self._count += 1
            known = self._count
        kept = self._all.get(known)
        if sample is None:
            sample = _head(inputs) if kept is None or kept.sample is None else kept.sample
        latest = self._latest.get((site.id, fact["cls"]))
        if latest is not None and latest != known and latest in self._all:
            self._all[latest].keep = self._all[latest].sample = None
        self._latest[(site.id, fact["cls"])] = known
        self._all[known] = Fitted(known, fact["cls"], fact["type"], site.id, library, model, sample, light)
        return known

    def own(self, model: Any, file: str, function: str) -> None:
        """Remembers an object of a class that the user wrote and no library knows; the last one of a function's.

        Nothing tells when it has learned: it is saved at the end of the program alone, as it is then.
        """
        kind = type(model)
        key = (file, function, kind.__name__)
        known = self._own.get(key)
        if (known is not None and known.model() is model) or len(self._own) >= COUNT_LIMIT or hasattr(kind, "__del__"):
            return
        self._count += known is None
        number = self._count if known is None else known.id
        self._own[key] = Fitted(number, kind.__name__, "predictor", -1, "user", model, None)

    def learned_more(self, number: int, sample: Any) -> None:
        """A model that goes on learning is to be saved (again), with these inputs as its examples."""
        fitted = self._all.get(number)
        if fitted is not None:
            fitted.saved = False
            fitted.sample = sample if sample is not None else fitted.sample

    def id_of(self, model: Any) -> int | None:
        for fitted in reversed(list(self._all.values())[-200:]):
            if fitted.keep is model or (fitted.object is not None and fitted.object() is model):
                return fitted.id
        return None

    def class_of(self, number: int) -> str:
        return self._all[number].cls

    def alive(self) -> list[tuple[int, Any]]:
        """The models that still live, with their numbers."""
        return [(f.id, m) for f in list(self._all.values())[-200:] if (m := f.model()) is not None]

    def _at_exit(self) -> None:
        session = self._session
        if not session.ended and session.spool.role == "main" and os.getpid() == session.spool.pid:
            self.save()

    def save(self, *, last: bool = False) -> None:
        """Saves what was fitted since the last time. Never raises; what could not be saved is a fact.

        The `last` time also objects of the user's own classes, but those that are built on a library and were seen so.
        """
        pending, self.pending = list(self.pending.values()), {}
        for step in (*pending, *self.before_save):
            try:
                step()
            except Exception as error:
                self._session.source("models").failed(error)
        newest = set(self._latest.values())
        waiting = [f for f in self._all.values() if not f.saved and f.id in newest and f.type == "predictor"]
        known = {f.cls for f in self._all.values()}
        own = [f for f in self._own.values() if not f.saved and f.cls not in known] if last else []
        for fitted in [*waiting[-COUNT_LIMIT:], *own]:
            if self._spent > TIME_LIMIT_S:
                self._session.fact("unsaved", id=fitted.id, cls=fitted.cls, why="saving the others took too long")
                continue
            started = time.perf_counter()
            try:
                from headway.capture import saving

                saving.save(self._session, fitted)
            except (Exception, SystemExit) as error:  # the user's own predict may do anything
                why = f"{type(error).__name__}: {str(error)[:200]}"
                self._session.fact("unsaved", id=fitted.id, cls=fitted.cls, why=why)
            fitted.saved, fitted.keep, fitted.sample = True, None, None
            self._spent += time.perf_counter() - started


def _reference(model: Any) -> ref[Any] | None:
    try:
        return ref(model)
    except TypeError:
        return None


def _head(inputs: Any) -> Any:
    """A copy of the first rows of a frame or an array; None for anything else."""
    module = type(inputs).__module__.split(".")[0]
    try:
        if module == "pandas" and hasattr(inputs, "iloc"):
            return inputs.iloc[:ROWS].copy()
        if module == "numpy" and getattr(inputs, "ndim", 0) >= 1:
            return inputs[:ROWS].copy()
        if isinstance(inputs, list) and inputs and "numpy" in sys.modules:
            found = sys.modules["numpy"].asarray(inputs[:ROWS])
            return found if found.dtype.kind in "iufbU" else None
    except (TypeError, ValueError, AttributeError):
        return None
    return None


def _memory_is_short() -> bool:
    """Whether this process already uses half of the machine's memory: then no model is held for us."""
    try:
        with open("/proc/self/statm") as stream:
            pages = int(stream.read().split()[1])
        return pages > MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return False
