"""The proof before traffic: in this environment, does the bundle load, and does it still say what it said?"""

from __future__ import annotations

import json
import re
import time
import warnings
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from headway import bundle, frames
from headway.bundle import BundleError, Manifest
from headway.errors import HeadwayError
from headway.modelserver.loading import Loaded, load
from headway.modelserver.predictor import Predictor, close

TOLERANCE = 1e-4
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "pytorch": "torch"}
_VERSION_KEYS = {"sklearn": "sklearn_version", "xgboost": "xgb_version", "lightgbm": "lgb_version",
                 "catboost": "catboost_version", "statsmodels": "statsmodels_version",
                 "pytorch": "pytorch_version", "keras": "keras_version"}  # fmt: skip


@dataclass
class Verdict:
    """What the proof found. `stage`: manifest, versions, load, examples, done. `at` names the module, package or column."""

    ok: bool
    stage: str
    reason: str = ""
    hint: str = ""
    at: str = ""
    examples: int = 0
    methods: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Failed(Exception):
    """A step of the proof did not hold."""

    def __init__(self, stage: str, reason: str, hint: str = "", at: str = "") -> None:
        super().__init__(reason)
        self.verdict = Verdict(False, stage, reason, hint, at)


def prove(folder: Path) -> Verdict:
    """Loads the bundle here and replays its examples. Raises nothing that the bundle can cause."""
    started = time.perf_counter()
    try:
        replayed, methods = _prove(folder)
        verdict = Verdict(True, "done", examples=replayed, methods=methods)
    except Failed as failed:
        verdict = failed.verdict
    verdict.seconds = round(time.perf_counter() - started, 3)
    return verdict


def _prove(folder: Path) -> tuple[int, list[str]]:
    """(examples replayed, methods of the model). Raises Failed."""
    try:
        manifest = bundle.read(folder)
        bundle.check(folder, manifest)
        examples = bundle.read_examples(folder)
    except BundleError as error:
        raise Failed("manifest", error.message, error.hint) from error
    _check_versions(manifest)
    loaded = _load(folder)
    predictor = Predictor(loaded, examples)
    if examples is None:
        return _replay_mlflow_example(folder, predictor), list(loaded.methods)
    found = _ask(predictor, examples.payload(), examples.method)
    key = "probabilities" if examples.method == "predict_proba" else "predictions"
    for row, (expected, got) in enumerate(zip(examples.predictions, found[key], strict=False)):
        if not close(expected, got, TOLERANCE):
            told = f"recorded {_short(expected)}, here {_short(got)}"
            raise Failed("examples", f"Example {row} is answered otherwise than when it was trained: {told}.",
                         "Its environment is not the training's: check the versions in its lock, log it again.")  # fmt: skip
    return len(examples.predictions), list(loaded.methods)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_versions(manifest: Manifest) -> None:
    """A library of another release than the one that saved the model: its pickles may load and answer wrongly."""
    library = manifest.library
    expected = manifest.flavors.get(library, {}).get(_VERSION_KEYS.get(library, ""))
    if not expected or expected == "0":  # "0": pickled by a process without scikit-learn
        return
    name = _DISTRIBUTIONS.get(library, library)
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        raise Failed("versions", f"The package {name} is not installed; {name} {expected} saved this model.",
                     f"Add {name}=={expected} to the model's requirements.", name) from None  # fmt: skip
    if _release(installed) != _release(str(expected)):
        raise Failed("versions", f"{name} {expected} saved this model, {installed} is installed.",
                     f"Pin {name}=={expected} in the model's requirements.", name)  # fmt: skip


def _release(version: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", version)[:2])


def _load(folder: Path) -> Loaded:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load(folder)
    except BundleError as error:
        raise Failed("load", error.message, error.hint) from error
    except ModuleNotFoundError as error:
        module = error.name or str(error)
        raise Failed("load", f"The model needs the module '{module}', which is not in its environment.",
                     f"Add the package that has '{module}' to the requirements, or, if it is a file of yours, keep it "
                     "beside the notebook so that it is saved with the model.", module) from error  # fmt: skip
    except AttributeError as error:
        if found := re.search(r"Can't get attribute '([^']+)' on <module '([^']+)'", str(error)):
            name, module = found.groups()
            if module.endswith("__main__"):
                module = "__main__"
                hint = f"Move {name} to a module of its own, or save the model with cloudpickle."
            else:
                hint = f"Check the version of the package that has '{module}'."
            raise Failed(
                "load", f"The model's class '{name}' is not in the module '{module}' here.", hint, module
            ) from error
        raise Failed(
            "load", f"The model can't be loaded: AttributeError: {error}", "Check the versions in its lock."
        ) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        told = " ".join(str(error).split())[:500]
        raise Failed(
            "load", f"The model can't be loaded: {type(error).__name__}: {told}", "Log the model again."
        ) from error


def _ask(predictor: Predictor, payload: dict[str, Any], method: str) -> dict[str, Any]:
    body = {**payload, "params": {"method": method}} if method != "predict" else payload
    try:
        ready = predictor.parse(json.dumps(body).encode(), frames.JSON)
    except HeadwayError as error:
        at = str(error.details.get("column", ""))
        raise Failed(
            "examples", f"The recorded example does not fit the signature: {error.message}", error.hint, at
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return predictor.predict(ready.data, ready.method, ready.count)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        told = " ".join(str(error).split())[:500]
        raise Failed("examples", f"The model fails on its own example: {type(error).__name__}: {told}",
                     "Check the versions in its lock, and that the model is fitted.") from error  # fmt: skip


def _replay_mlflow_example(folder: Path, predictor: Predictor) -> int:
    """A model logged by MLflow's client may hold an input without its predictions: it must be answered at least."""
    path = folder / "serving_input_example.json"
    if not path.is_file():
        return 0
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(
            "examples", f"serving_input_example.json can't be read: {error}.", "Log the model again."
        ) from error
    if not isinstance(payload, dict):
        return 0
    return len(_ask(predictor, payload, "predict")["predictions"])
