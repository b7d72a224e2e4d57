"""Fitted models: remembered at their fit, saved once as a bundle when the cell or the program ends.

The object that one would deploy is saved: the pipeline, or a search's best estimator. Of many fits at one line, the last
one of each class is kept. Nothing is saved on the way: only at the end, within a budget of time and bytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from headway.capture import environment
from headway.capture.guard import Source
from headway.capture.namespace import user_class
from headway.capture.sources.estimators import deployable

if TYPE_CHECKING:
    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["Models"]

ROWS = 5
SIZE_LIMIT = 1024 * 1024 * 1024
TIME_LIMIT_S = 30.0
COUNT_LIMIT = 24
MEMORY_SHARE = 0.5


@dataclass
class Fitted:
    """A model that was fitted here."""

    id: int
    cls: str
    type: str
    site: int
    library: str
    object: weakref.ref[Any] | None
    keep: Any  # a strong reference until it is saved: a function's model would be gone
    sample: Any
    saved: bool = False


class TooLarge(Exception):
    pass


class Models:
    """The models of this process, and their saving."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._source: Source = session.source("models")
        self._all: dict[int, Fitted] = {}
        self._latest: dict[tuple[int, str], int] = {}
        self._spent = 0.0
        self.before_first: list[Callable[[], None]] = []
        self._count = 0

    @staticmethod
    def sample(inputs: Any) -> Any:
        """A copy of the first rows of a frame or an array; None for anything else."""
        return _head(inputs)

    def fitted(
        self, model: Any, inputs: Any, site: Site, fact: dict[str, Any], library: str = "sklearn", sample: Any = None
    ) -> int:
        """Remembers a model at its fit; its number."""
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
        keep = None if _memory_is_short() else model
        self._all[known] = Fitted(known, fact["cls"], fact["type"], site.id, library, _reference(model), keep, sample)
        return known

    def id_of(self, model: Any) -> int | None:
        for fitted in reversed(list(self._all.values())[-200:]):
            if fitted.keep is model or (fitted.object is not None and fitted.object() is model):
                return fitted.id
        return None

    def save(self) -> None:
        """Saves what was fitted since the last time. Never raises; what could not be saved is a fact."""
        newest = set(self._latest.values())
        waiting = [f for f in self._all.values() if not f.saved and f.id in newest and f.type == "predictor"]
        for fitted in waiting[-COUNT_LIMIT:]:
            if self._spent > TIME_LIMIT_S:
                self._session.fact("unsaved", id=fitted.id, cls=fitted.cls, why="saving the others took too long")
                continue
            started = time.perf_counter()
            try:
                self._save(fitted)
            except TooLarge:
                self._session.fact("unsaved", id=fitted.id, cls=fitted.cls, why="it is larger than 1 GB")
            except (Exception, SystemExit) as error:  # the user's own predict may do anything
                why = f"{type(error).__name__}: {str(error)[:200]}"
                self._session.fact("unsaved", id=fitted.id, cls=fitted.cls, why=why)
            fitted.saved, fitted.keep, fitted.sample = True, None, None
            self._spent += time.perf_counter() - started

    def _save(self, fitted: Fitted) -> None:
        model = fitted.keep if fitted.keep is not None else fitted.object() if fitted.object is not None else None
        if model is None:
            return
        with _random_state_kept():
            folder, inner = self._write(fitted, deployable(model))
        self._session.fact("model", id=fitted.id, s=fitted.site, cls=fitted.cls, inner=inner, folder=str(folder))

    def _write(self, fitted: Fitted, model: Any) -> tuple[Path, str]:
        from headway import bundle

        method = "predict"
        if not callable(getattr(model, "predict", None)):
            raise TypeError(f"{type(model).__name__} has no predict")
        examples = signature = None
        if fitted.sample is not None:
            predictions = _predict(model, fitted, self._session)
            with contextlib.suppress(bundle.BundleError, ValueError, TypeError):
                signature = bundle.infer(fitted.sample, predictions)
            examples = bundle.record(fitted.sample, predictions, method=method, limit=ROWS)
        name = f"{fitted.id:03d}-{type(model).__name__}"
        folder = self._session.spool.folder / "models" / f"{os.getpid()}-{name}"
        saver = _saver(fitted.library, model, self._session)
        # A base class counts: xgboost's scikit-learn models can't be imported without scikit-learn, which it does not require.
        modules = saver.modules | {base.__module__ for base in type(model).__mro__}
        packages = environment.needed(modules | ({"pandas"} if hasattr(fitted.sample, "columns") else set()))
        flavors = bundle.flavors(
            saver.library, saver.file, version=saver.version, python=sys.version.split()[0], **saver.options
        )
        if saver.code:
            for flavor in flavors.values():
                flavor["code"] = "code"
        manifest = bundle.Manifest(
            flavors=flavors,
            signature=signature,
            run_id=os.environ.get("HEADWAY_RUN"),
            headway={"class": _dotted(model), "versions": {p.split("==")[0]: p.split("==")[1] for p in packages}},
        )
        bundle.write(folder, manifest, saver.save, requirements=packages, examples=examples)
        return folder, type(model).__name__


@dataclass
class Saver:
    """How one model gets into its folder."""

    library: str
    file: str
    version: str
    options: dict[str, Any]
    modules: set[str]
    code: tuple[tuple[str, Path], ...]
    write: Any

    def save(self, folder: Path) -> None:
        self.write(folder / self.file)
        for name, path in self.code:
            target = folder / "code" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def _saver(library: str, model: Any, session: Session) -> Saver:
    if library == "xgboost":
        options = {"model_class": "xgboost.core.Booster", "model_format": "ubj"}
        version = environment.version("xgboost")
        return Saver("xgboost", "model.ubj", version, options, {"xgboost", "numpy"}, (), lambda p: model.save_model(p))
    if library == "lightgbm":
        options = {"model_class": "lightgbm.basic.Booster"}
        version = environment.version("lightgbm")
        return Saver("lightgbm", "model.lgb", version, options, {"lightgbm"}, (), lambda p: model.save_model(str(p)))
    modules, by_value, code = _pickle_needs(model, session)
    options = {"serialization_format": "cloudpickle" if by_value else "pickle"}
    version = environment.version("sklearn") if "sklearn" in sys.modules else "0"
    return Saver("sklearn", "model.pkl", version, options, modules, code, lambda p: _pickle_to(model, p, by_value))


class _Limited:
    """A file that refuses more than SIZE_LIMIT bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, SIZE_LIMIT

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise TooLarge
        return self._stream.write(data)


class _Globals:
    """Takes the stream of a pickler, and keeps nothing of it but where the classes come from."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._size = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size
        if self._size > SIZE_LIMIT:
            raise TooLarge
        if size < 100_000:  # arrays come in large pieces of their own; names do not
            self.data += bytes(data)
        return size


def _modules_of(model: Any) -> set[str]:
    """The modules whose classes and functions a pickle of `model` refers to."""
    found: set[str] = set()
    seen: set[type] = set()

    def note(kind: type) -> None:
        """A class is no use without those it is made of: xgboost's estimators are scikit-learn's."""
        if kind not in seen:
            seen.add(kind)
            found.update(m for base in kind.__mro__ if isinstance(m := base.__module__, str) and m != "builtins")

    class Spy(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type):
                note(value)
            elif callable(value) and isinstance(module := getattr(value, "__module__", None), str):
                found.add(module)
            else:
                note(type(value))
            return NotImplemented

        def persistent_id(self, value: Any) -> None:
            note(type(value))

    Spy(_Globals(), protocol=5).dump(model)
    return found


def _pickle_needs(model: Any, session: Session) -> tuple[set[str], bool, tuple[tuple[str, Path], ...]]:
    """The modules a pickle needs; whether it needs classes by value; the user's own modules, as files to bring."""
    by_value = type(model).__module__ == "__main__"
    try:
        modules = _modules_of(model)
    except TooLarge:
        raise
    except Exception:  # a lambda or a local function: only by value
        modules, by_value = {type(model).__module__, "numpy"}, True
    by_value = by_value or "__main__" in modules
    code: list[tuple[str, Path]] = []
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if name != "__main__" and isinstance(file, str) and session.sites.is_user(file):
            code += _with_packages(name, Path(file))
    roots = {m.split(".")[0] for m in modules if m not in ("__main__", "builtins")}
    if by_value:
        roots.add("cloudpickle")
    return roots - {n.split("/")[0].removesuffix(".py") for n, _ in code}, by_value, tuple(dict(code).items())


def _with_packages(name: str, file: Path) -> list[tuple[str, Path]]:
    """A module's file, and the `__init__.py` of the packages around it, at their places."""
    parts = name.split(".")
    relative = "/".join(parts) + ("/__init__.py" if file.name == "__init__.py" else ".py")
    found = [(relative, file)]
    for depth in range(1, len(parts)):
        init = getattr(sys.modules.get(".".join(parts[:depth])), "__file__", None)
        if isinstance(init, str):
            found.append(("/".join(parts[:depth]) + "/__init__.py", Path(init)))
    return found


def _pickle_to(model: Any, path: Path, by_value: bool) -> None:
    with path.open("wb") as stream:
        target: Any = _Limited(stream)
        if not by_value:
            pickle.dump(model, target, protocol=5)
            return
        try:
            import cloudpickle
        except ImportError:
            from joblib.externals import cloudpickle
        cloudpickle.dump(model, target, protocol=5)


def _dotted(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _reference(model: Any) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(model)
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


def _predict(model: Any, fitted: Fitted, session: Session) -> Any:
    """The model's own answers to the sample; quiet, whatever the user's classes print."""
    if fitted.library == "xgboost":
        return model.predict(sys.modules["xgboost"].DMatrix(fitted.sample))
    noisy = user_class(type(model), session.sites) or bool(getattr(model, "verbose", False))
    with _silence() if noisy else contextlib.nullcontext():
        return model.predict(fitted.sample.copy())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """A prediction may draw random numbers: the user's streams go on as if it had not."""
    plain = sys.modules.get("random")
    numpy = sys.modules.get("numpy.random")
    torch = sys.modules.get("torch")
    states = (plain and plain.getstate(), numpy and numpy.get_state(), torch and torch.get_rng_state())
    try:
        yield
    finally:
        if plain is not None:
            plain.setstate(states[0])
        if numpy is not None:
            numpy.set_state(states[1])
        if torch is not None:
            torch.set_rng_state(states[2])


def _memory_is_short() -> bool:
    """Whether this process already uses half of the machine's memory: then no model is held for us."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages > MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return False
