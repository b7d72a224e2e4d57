"""How one model gets into its folder: the native format of its library where there is one, pickle last.

Each saver says which files it writes, what they need to be read, and what the model answers to recorded inputs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.capture import custom, environment
from headway.capture.pickling import Pickled, pickled

if TYPE_CHECKING:
    from collections.abc import Callable

    from headway.capture.session import Session

__all__ = ["Saver", "asked", "native", "predictable", "saver"]


@dataclass
class Saver:
    """`write(folder)` saves the model's own files. `file` and `options` go into the flavor, `modules` tell its packages.

    `predict(folder, sample)` gives the model's answers where a plain `model.predict(sample)` does not.
    """

    library: str
    file: str
    version: str
    write: Callable[[Path], object]
    options: dict[str, Any] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    code: tuple[tuple[str, Path], ...] = ()
    predict: Callable[[Path, Any], Any] | None = None

    def save(self, folder: Path) -> None:
        self.write(folder)
        for name, path in self.code:
            target = folder / "code" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def native(model: Any) -> str:
    """The library whose own format a model is saved in, told from its class; "sklearn" stands for pickle."""
    for kind in type(model).__mro__:
        root, name = kind.__module__.split(".")[0], kind.__name__
        if (root, name) in _NATIVE:
            return _NATIVE[root, name]
    return "sklearn"


_NATIVE = {
    ("xgboost", "Booster"): "xgboost",
    ("lightgbm", "Booster"): "lightgbm",
    ("catboost", "CatBoost"): "catboost",
    ("torch", "Module"): "torch",
    ("keras", "Layer"): "keras",
    ("statsmodels", "Results"): "statsmodels",
    ("statsmodels", "ResultsWrapper"): "statsmodels",
}  # fmt: skip


def predictable(model: Any, library: str) -> bool:
    """Whether there is something to deploy; a clustering without `predict` has nothing."""
    return native(model) == "torch" or asked(model, library) is not None


def asked(model: Any, library: str) -> str | None:
    """The method that predicts: `predict`, and of a class that the user wrote (`library` is "user") what stands for it."""
    names = ("predict", "forward", "__call__") if library == "user" else ("predict",)
    return next((n for n in names if callable(getattr(model, n, None))), None)


def saver(model: Any, session: Session, library: str) -> Saver:
    if library == "user":
        return _own(model, session)
    library = native(model)
    made = _SAVERS.get(library)
    return made(model, session) if made is not None else _any(model, session)


def _xgboost(model: Any, session: Session) -> Saver:
    return Saver(
        "xgboost", "model.ubj", environment.version("xgboost"), lambda f: model.save_model(f / "model.ubj"),
        {"model_class": "xgboost.core.Booster", "model_format": "ubj"}, {"xgboost", "numpy"},
        predict=lambda _, sample: model.predict(sys.modules["xgboost"].DMatrix(sample)),
    )  # fmt: skip


def _lightgbm(model: Any, session: Session) -> Saver:
    return Saver(
        "lightgbm", "model.lgb", environment.version("lightgbm"), lambda f: model.save_model(str(f / "model.lgb")),
        {"model_class": "lightgbm.basic.Booster"}, {"lightgbm"},
    )  # fmt: skip


def _catboost(model: Any, session: Session) -> Saver:
    kind = next(c.__name__ for c in type(model).__mro__ if c.__module__.split(".")[0] == "catboost")
    return Saver(
        "catboost", "model.cb", environment.version("catboost"), lambda f: model.save_model(str(f / "model.cb")),
        {"model_type": kind, "save_format": "cbm"}, {"catboost", "numpy"},
    )  # fmt: skip


def _statsmodels(model: Any, session: Session) -> Saver:
    found = pickled(model, session)
    return Saver(
        "statsmodels", "model.statsmodels", environment.version("statsmodels"),
        lambda f: found.dump(f / "model.statsmodels"), {}, found.modules | {"statsmodels"}, found.code,
    )  # fmt: skip


def _torch(model: Any, session: Session) -> Saver:
    found = pickled(model, session, arrays_apart=_is_storage)

    def write(folder: Path) -> None:
        data = folder / "data"
        data.mkdir()
        with (data / "model.pth").open("wb") as stream:
            sys.modules["torch"].save(model, found.limited(stream), pickle_module=found.library())
        # Whatever wrote it, plain pickle reads it, given the packages that it names.
        (data / "pickle_module_info.txt").write_text("pickle", encoding="utf-8")

    def predict(folder: Path, sample: dict[str, Any]) -> Any:
        """Answers of the saved copy: the user's own module is not called, nor its hooks, nor its counters."""
        return _answers(sys.modules["torch"].load(folder / "data" / "model.pth", weights_only=False), sample)

    device = next((str(p.device) for p in model.parameters()), "cpu")
    return Saver(
        "pytorch", "data", environment.version("torch"), write, {"device": device},
        found.modules | {"torch", "numpy"}, found.code, predict,
    )  # fmt: skip


def _is_storage(value: Any) -> bool:
    return type(value).__module__.startswith("torch") and type(value).__name__.endswith("Storage")


def _answers(model: Any, sample: dict[str, Any]) -> Any:
    torch: Any = sys.modules["torch"]
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    given = {n: v.to(device) for n, v in sample.items()}
    with torch.no_grad():
        found = model(*given.values()) if len(given) == 1 else model(**given)
    return found.cpu().numpy() if type(found) is torch.Tensor else _parts(found)


def _parts(found: Any) -> Any:
    """Several outputs: those that are tensors, by name; a language model's or classifier's `logits` alone."""
    if hasattr(found, "logits") and hasattr(found.logits, "numpy"):
        return found.logits.cpu().numpy()
    items = found.items() if hasattr(found, "items") else enumerate(found) if isinstance(found, (list, tuple)) else ()
    return {str(k): v.cpu().numpy() for k, v in items if hasattr(v, "cpu")} or None


def _keras(model: Any, session: Session) -> Saver:
    """Keras' own file. Classes and functions of the user's that it names go along beside it (`custom.py`)."""
    keras: Any = sys.modules["keras"]
    own = custom.objects(model, session)
    found = pickled(own, session, by_value=any(v.__module__ == "__main__" for v in own.values())) if own else None

    def write(folder: Path) -> None:
        data = folder / "data"
        data.mkdir()
        model.save(data / "model.keras")
        (data / "keras_module.txt").write_text("keras", encoding="utf-8")
        (data / "save_format.txt").write_text("keras", encoding="utf-8")
        if found is not None:
            found.dump(data / "custom_objects.pkl")

    backend = str(keras.backend.backend())
    modules = {"keras", "numpy", {"torch": "torch", "jax": "jax"}.get(backend, "tensorflow")}
    return Saver(
        "keras", "data", environment.version("keras"), write, {"keras_backend": backend, "save_exported_model": False},
        modules | (found.modules if found else set()), found.code if found else (),
        lambda _, sample: custom.answers(model, sample),
    )  # fmt: skip


def _any(model: Any, session: Session) -> Saver:
    found: Pickled = pickled(model, session)
    version = environment.version("sklearn") if "sklearn" in sys.modules else "0"
    return Saver(
        "sklearn", "model.pkl", version, lambda f: found.dump(f / "model.pkl"),
        {"serialization_format": "cloudpickle" if found.by_value else "pickle"}, found.modules, found.code,
    )  # fmt: skip


def _own(model: Any, session: Session) -> Saver:
    """A pickle, which is all there is: its class by value, or with the local modules that it needs."""
    saver = _any(model, session)
    saver.options["predict_fn"] = asked(model, "user")
    return saver


_SAVERS = {
    "xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost, "statsmodels": _statsmodels, "torch": _torch,
    "keras": _keras,
}  # fmt: skip
