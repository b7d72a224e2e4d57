"""From a bundle to an object that predicts, natively where it can, by MLflow's loader where only that knows how."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway import bundle
from headway.bundle import BundleError, Manifest

# Libraries whose predictions of a row do not depend on the other rows of the call.
ROW_WISE = {"sklearn", "xgboost", "lightgbm", "catboost", "imblearn"}
# scikit-learn parts that read columns by name, or run code of unknown habits.
BY_NAME = {"ColumnTransformer", "FunctionTransformer", "make_column_selector"}


@dataclass
class Loaded:
    """A model in memory. `methods` take a frame or an array and give something like an array.

    `row_wise`: each row's prediction depends on that row alone, as far as its classes tell. `takes_arrays`: a plain
    matrix in the signature's order gives the same as a frame, as far as its classes tell. `pure`: asking twice is safe.
    """

    manifest: Manifest
    model: Any
    methods: dict[str, Callable[[Any], Any]]
    native: bool
    row_wise: bool = False
    takes_arrays: bool = False
    pure: bool = True
    classes: list[Any] | None = field(default=None)


def load(folder: Path) -> Loaded:
    """Loads a bundle. Raises BundleError saying which module, class or file is at fault; whatever unpickling raises, else."""
    manifest = bundle.read(folder)
    bundle.check(folder, manifest)
    _add_code(folder, manifest)
    loader = _NATIVE.get(manifest.library)
    if loader is None:
        return _generic(folder, manifest)
    return loader(folder, manifest, dict(manifest.flavors[manifest.library]))


def _add_code(folder: Path, manifest: Manifest) -> None:
    """Local modules that the model was pickled with become importable."""
    for options in manifest.flavors.values():
        code = options.get("code")
        if code and (folder / str(code)).is_dir():
            path = str((folder / str(code)).resolve())
            if path not in sys.path:
                sys.path.insert(0, path)


def _file(folder: Path, options: dict[str, Any], *keys: str) -> Path:
    for key in keys:
        if options.get(key):
            path = (folder / str(options[key])).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.exists():
                raise BundleError(f"The bundle lacks its file {options[key]!r}.", hint="Log the model again.")
            return path
    raise BundleError(f"The manifest names no model file ({' or '.join(keys)}).", hint="Log the model again.")


def _unpickle(path: Path, serialization: str = "pickle") -> Any:
    """The object of a pickle. This is the replica: it runs the model's own code anyway, in the model's own process."""
    if serialization == "skops" or path.suffix == ".skops":
        io = importlib.import_module("skops.io")
        return io.load(path, trusted=io.get_untrusted_types(file=path))
    with path.open("rb") as stream:
        return pickle.load(stream)  # noqa: S301


def _sklearn(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    path = _file(folder, options, "pickled_model", "data", "model_path")
    model = _unpickle(path, str(options.get("serialization_format") or "pickle"))
    default = str(manifest.flavors.get("python_function", {}).get("predict_fn") or "predict")
    return _estimator(manifest, model, default)


def _estimator(manifest: Manifest, model: Any, default: str = "predict") -> Loaded:
    """Anything with `predict`, told apart by where its classes come from."""
    if not callable(getattr(model, default, None)):
        raise BundleError(
            f"The model, a {type(model).__name__}, has no {default}().", hint="Save an object that predicts."
        )
    methods = {"predict": getattr(model, default)}
    if callable(_attribute(model, "predict_proba")):
        methods["predict_proba"] = model.predict_proba
    known, by_name = _parts(model)
    classes = _attribute(model, "classes_")
    return Loaded(
        manifest, model, methods, native=True, row_wise=known, takes_arrays=known and not by_name,
        classes=None if classes is None else bundle.plain(classes) or None,
    )  # fmt: skip


def _attribute(model: Any, name: str) -> Any:
    """An attribute that may not apply: scikit-learn's conditional methods raise AttributeError, some libraries others."""
    try:
        return getattr(model, name, None)
    except Exception:  # a property of a user's class may raise anything
        return None


def _parts(model: Any) -> tuple[bool, bool]:
    """(all parts are of known libraries, some part reads columns by name) of an estimator and all it is made of."""
    parts, known, by_name = [model], True, False
    seen: set[int] = set()
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        cls = type(part)
        if cls.__module__ == "builtins" or cls.__module__.startswith("numpy"):
            if isinstance(part, list | tuple):
                parts.extend(part)
            elif callable(part):
                known = False
            continue
        if callable(part) and not hasattr(part, "get_params"):
            known = False
        known &= cls.__module__.split(".")[0] in ROW_WISE and cls.__name__ != "FunctionTransformer"
        by_name |= cls.__name__ in BY_NAME
        if hasattr(part, "get_params"):
            parts.extend(
                v
                for v in part.get_params(deep=False).values()
                if v is not None and not isinstance(v, str | float | int)
            )
    return known, by_name


def _class_of(name: Any) -> Any:
    module, _, cls = str(name).rpartition(".")
    return getattr(importlib.import_module(module), cls)


def _xgboost(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    path = _file(folder, options, "data")
    if path.suffix in (".pkl", ".skops"):
        model = _unpickle(path)
    else:
        model = _class_of(options.get("model_class") or "xgboost.core.Booster")()
        model.load_model(str(path))
    if type(model).__name__ != "Booster":
        return _estimator(manifest, model)
    xgboost = importlib.import_module("xgboost")

    def predict(data: Any) -> Any:
        names = None if hasattr(data, "columns") else model.feature_names
        return model.predict(xgboost.DMatrix(data, feature_names=names, enable_categorical=True))

    return Loaded(manifest, model, {"predict": predict}, native=True, row_wise=True, takes_arrays=True)


def _lightgbm(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    path = _file(folder, options, "data")
    if path.suffix in (".pkl", ".skops"):
        return _estimator(manifest, _unpickle(path))
    model = importlib.import_module("lightgbm").Booster(model_file=str(path))
    return Loaded(manifest, model, {"predict": model.predict}, native=True, row_wise=True, takes_arrays=True)


def _catboost(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    path = _file(folder, options, "data")
    model = getattr(importlib.import_module("catboost"), str(options.get("model_type") or "CatBoost"))()
    model.load_model(str(path), format=str(options.get("save_format") or "cbm"))
    return _estimator(manifest, model)


def _statsmodels(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    model = _unpickle(_file(folder, options, "data"))
    if ".tsa." in type(model).__module__:
        return _generic(folder, manifest)
    return Loaded(manifest, model, {"predict": model.predict}, native=True, row_wise=False)


def _torch(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    """A module, as a whole or exported. It runs where it was trained, if this machine has such a device."""
    torch = importlib.import_module("torch")
    data = _file(folder, options, "model_data")
    exported = data / "model.pt2"
    trained_on = str(options.get("device") or "cpu")
    device = trained_on if trained_on != "cpu" and torch.cuda.is_available() and not exported.exists() else "cpu"
    if exported.exists():
        model = torch.export.load(exported).module()
    else:
        path = data / "model.pth" if data.is_dir() else data
        model = torch.load(path, map_location=device, weights_only=False)
        model.eval()

    def predict(given: Any) -> Any:
        if hasattr(given, "to_numpy"):
            given = given.to_numpy(dtype="float32")
        named = given if isinstance(given, dict) else {"": given}
        tensors = {n: torch.as_tensor(v).to(device) for n, v in named.items()}
        with torch.no_grad():
            found = model(*tensors.values()) if len(tensors) == 1 else model(**tensors)
        return _tensors(found)

    return Loaded(manifest, model, {"predict": predict}, native=True, row_wise=False)


def _tensors(found: Any) -> Any:
    """A module's answer as arrays: one, or a dict of those that are tensors; of a classifier's parts its `logits`."""
    if hasattr(found, "logits") and hasattr(found.logits, "numpy"):
        found = found.logits
    if hasattr(found, "detach"):
        return found.detach().cpu().numpy()
    items = found.items() if hasattr(found, "items") else enumerate(found)
    return {str(k): v.detach().cpu().numpy() for k, v in items if hasattr(v, "detach")}


def _keras(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    """Keras 3's own format, with the backend it was trained on where that is installed."""
    data = _file(folder, options, "data")
    path = data / "model.keras" if data.is_dir() else data.with_suffix(".keras")
    if not path.exists():
        return _generic(folder, manifest)
    backend = str(options.get("keras_backend") or "")
    if backend and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", backend)
    keras = importlib.import_module("keras")
    custom = data / "custom_objects.pkl"
    own = _unpickle(custom) if custom.exists() else None
    # It is asked, not trained further: a loss of the user's own need not be found, either.
    model = keras.saving.load_model(path, custom_objects=own, compile=False)

    def predict(given: Any) -> Any:
        return model.predict_on_batch(given.to_numpy(dtype="float32") if hasattr(given, "to_numpy") else given)

    return Loaded(manifest, model, {"predict": predict}, native=True, row_wise=False)


def _onnx(folder: Path, manifest: Manifest, options: dict[str, Any]) -> Loaded:
    """A graph, by onnxruntime."""
    path = _file(folder, options, "data")
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]

    def predict(given: Any) -> Any:
        if hasattr(given, "to_numpy"):
            given = given.to_numpy(dtype="float32") if len(names) == 1 else {n: given[[n]].to_numpy() for n in names}
        found = session.run(None, given if isinstance(given, dict) else {names[0]: given})
        return found[0] if len(found) == 1 else dict(zip(outputs, found, strict=True))

    return Loaded(manifest, session, {"predict": predict}, native=True, row_wise=False)


def _generic(folder: Path, manifest: Manifest) -> Loaded:
    """By MLflow's own loader: for flavours and pyfuncs that only it knows."""
    try:
        pyfunc = importlib.import_module("mlflow.pyfunc")
    except ModuleNotFoundError as error:
        flavor = ", ".join(f for f in manifest.flavors if f != "python_function") or "python_function"
        package = (error.name or "mlflow").split(".")[0]
        raise BundleError(
            f"A model of the flavour {flavor} needs the package '{package}', which the bundle's lock lacks.",
            hint="Add it to the model's requirements and log the model again.",
        ) from None
    model = pyfunc.load_model(str(folder), suppress_warnings=True)
    return Loaded(manifest, model, {"predict": model.predict}, native=False, pure=False)


_NATIVE: dict[str, Callable[[Path, Manifest, dict[str, Any]], Loaded]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "statsmodels": _statsmodels,
    "pytorch": _torch,
    "keras": _keras,
    "onnx": _onnx,
}
