"""A fitted model into a bundle that plain MLflow loads: its native format or pickle, signature, examples, exact pins."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from headway import bundle
from headway.capture import environment
from headway.capture.models import ROWS, Fitted
from headway.capture.namespace import user_class
from headway.capture.sources.estimators import deployable

if TYPE_CHECKING:
    from headway.capture.session import Session

__all__ = ["save"]

SIZE_LIMIT = 1024 * 1024 * 1024


class TooLarge(Exception):
    """Raised while pickling more than SIZE_LIMIT bytes."""

    def __str__(self) -> str:
        return "it is larger than 1 GB"


def save(session: Session, fitted: Fitted) -> None:
    """Saves one model that still lives, and says where. Raises whatever the model's own code raises."""
    model = fitted.model()
    if model is None or not callable(getattr(deployable(model), "predict", None)):
        return  # a clustering without predict has nothing to deploy
    with _random_state_kept():
        folder, inner = _write(session, fitted, deployable(model))
    session.fact("model", id=fitted.id, s=fitted.site, cls=fitted.cls, inner=inner, folder=str(folder))


def _write(session: Session, fitted: Fitted, model: Any) -> tuple[Path, str]:
    method = "predict"
    examples = signature = None
    if fitted.sample is not None:
        predictions = _predict(model, fitted, session)
        with contextlib.suppress(bundle.BundleError, ValueError, TypeError):
            signature = bundle.infer(fitted.sample, predictions)
        examples = bundle.record(fitted.sample, predictions, method=method, limit=ROWS)
    name = f"{fitted.id:03d}-{type(model).__name__}"
    folder = Path(session.spool.folder) / "models" / f"{os.getpid()}-{name}"
    saver = _saver(fitted.library, model, session)
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
        headway=_frame_types(fitted.sample)
        | {"class": _dotted(model), "versions": {p.split("==")[0]: p.split("==")[1] for p in packages}},
    )
    bundle.write(folder, manifest, saver.save, requirements=packages, examples=examples)
    return folder, type(model).__name__


def _frame_types(sample: Any) -> dict[str, Any]:
    """The dtypes of a training frame's columns, and the categories of categorical ones, for whoever builds such frames."""
    if not hasattr(sample, "columns"):
        return {}
    dtypes = {str(c): str(t) for c, t in zip(sample.columns, sample.dtypes, strict=True)}
    categories = {
        str(c): bundle.plain(sample[c].cat.categories.to_numpy())
        for c, t in zip(sample.columns, sample.dtypes, strict=True)
        if str(t) == "category"
    }
    return {"dtypes": {c: t for c, t in dtypes.items() if t != "category"}, "categories": categories}


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
            import cloudpickle  # type: ignore[import-untyped]
        except ImportError:
            from joblib.externals import cloudpickle  # type: ignore[import-untyped]
        cloudpickle.dump(model, target, protocol=5)


def _dotted(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


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
