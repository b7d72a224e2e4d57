"""From what was registered to what a replica can read: the manifest as JSON, and the pins that its environment needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from headway import bundle
from headway.bundle import BundleError, Manifest

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "pytorch": "torch"}
_VERSIONS = {"sklearn": "sklearn_version", "xgboost": "xgb_version", "lightgbm": "lgb_version",
             "catboost": "catboost_version", "statsmodels": "statsmodels_version",
             "pytorch": "pytorch_version", "keras": "keras_version"}  # fmt: skip
_ONLY_FOR_MLFLOW = re.compile(r"(mlflow|mlflow-skinny|mlflow-tracing)(?![\w-])", re.IGNORECASE)
_MANIFEST_BYTES = 4 << 20


def prepare(folder: Path) -> Manifest:
    """Makes a registered bundle's folder readable for a replica; gives its manifest. Raises BundleError."""
    path = folder / bundle.MANIFEST
    if not path.is_file():
        raise BundleError(
            f"This model has no {bundle.MANIFEST}.", hint="Log it with an MLflow client, or let capture save it."
        )
    if path.stat().st_size > _MANIFEST_BYTES:
        raise BundleError(f"{bundle.MANIFEST} is larger than 4 MiB.")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        value = _yaml(text)
    manifest = bundle.from_mapping(value)
    bundle.write_manifest(folder, manifest)
    bundle.check(folder, manifest)
    return manifest


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise BundleError(f"{bundle.MANIFEST} is neither JSON nor YAML{where}.", hint="Log the model again.") from None


def requirements(folder: Path, manifest: Manifest) -> list[str]:
    """What the replica's environment must hold: the bundle's pins, without MLflow where the replica does not need it.

    A bundle without pins gets the library that saved it, in its version.
    """
    lines = [line for line in bundle.read_requirements(folder) if not line.startswith(("--hash", "-i ", "--index-url"))]
    if manifest.library != "python_function":
        lines = [line for line in lines if not _ONLY_FOR_MLFLOW.match(line)]
    return lines or list(_fallback(manifest))


def _fallback(manifest: Manifest) -> Iterable[str]:
    library = manifest.library
    version = manifest.flavors[library].get(_VERSIONS.get(library, ""))
    if version in (None, "0"):
        raise BundleError("The model has no requirements.txt, and its flavour does not tell what it needs.",
                          hint="Log it again with pip_requirements.")  # fmt: skip
    yield f"{_DISTRIBUTIONS.get(library, library)}=={version}"
    yield from ("pandas", "cloudpickle")


def summary(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """What pages tell of a revision without a replica: library, class, signature, the recorded example."""
    signature = manifest.signature
    examples = bundle.read_examples(folder)
    return {
        "library": manifest.library,
        "class": str(manifest.headway.get("class") or ""),
        "python": manifest.python,
        "inputs": [] if signature is None else [field.to_mlflow() for field in signature.inputs],
        "example": _mlflow_example(folder) if examples is None else examples.payload(),
        "pure": manifest.library != "python_function",
    }


def _mlflow_example(folder: Path) -> Any:
    path = folder / "serving_input_example.json"
    try:
        return (
            json.loads(path.read_text(encoding="utf-8")) if path.is_file() and path.stat().st_size < 1 << 20 else None
        )
    except ValueError:
        return None
