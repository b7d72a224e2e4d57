"""A model's folder in the MLmodel format: what a run leaves, the registry keeps, and a replica answers from.

    bundle/
      MLmodel                  the manifest, as JSON (which is YAML, so any MLflow client reads it)
      model.pkl ...            the model itself, as its flavour saves it
      requirements.txt         the lock of the process that trained it: exact pins
      python_env.yaml          the same for MLflow's own tools
      headway_examples.json    a few recorded inputs with their predictions: the proof before traffic

Standard library only: it is imported in users' processes, in replicas, and in the server. Nothing here unpickles.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headway.signature import BundleError, Column, Signature, Tensor, infer, plain

__all__ = [
    "BundleError",
    "Column",
    "Examples",
    "Manifest",
    "Signature",
    "Tensor",
    "check",
    "flavors",
    "from_mapping",
    "infer",
    "plain",
    "read",
    "read_examples",
    "read_requirements",
    "record",
    "write",
    "write_manifest",
]

MANIFEST = "MLmodel"
EXAMPLES = "headway_examples.json"
REQUIREMENTS = "requirements.txt"

# What the server side calls a library, what MLflow calls its loader, and the key of its version.
FLAVORS = {
    "sklearn": "mlflow.sklearn",
    "xgboost": "mlflow.xgboost",
    "lightgbm": "mlflow.lightgbm",
    "statsmodels": "mlflow.statsmodels",
    "catboost": "mlflow.catboost",
    "pytorch": "mlflow.pytorch",
    "keras": "mlflow.keras",
    "onnx": "mlflow.onnx",
}


@dataclass(frozen=True)
class Examples:
    """Recorded calls. `columns` is None where the input was an array of `dtype`; JSON has null for NaN and None.

    `tensors`: the names of several arrays, whose first entries make the first of `data`, and so on.
    """

    data: list[Any]
    predictions: list[Any]
    columns: list[str] | None = None
    dtype: str | None = None
    method: str = "predict"
    tensors: list[str] | None = None

    def _named(self) -> dict[str, list[Any]]:
        return {name: [row[i] for row in self.data] for i, name in enumerate(self.tensors or ())}

    def to_json(self) -> dict[str, Any]:
        inputs: dict[str, Any]
        if self.tensors is not None:
            inputs = {"tensors": self._named()}
        elif self.columns is None:
            inputs = {"array": self.data, "dtype": self.dtype or "float64"}
        else:
            inputs = {"columns": self.columns, "data": self.data}
        return {"inputs": inputs, "predictions": self.predictions, "method": self.method}

    @staticmethod
    def from_json(value: Any) -> Examples:
        try:
            inputs, predictions = value["inputs"], list(value["predictions"])
            method = str(value.get("method", "predict"))
            if "tensors" in inputs:
                named = dict(inputs["tensors"])
                rows = [list(row) for row in zip(*named.values(), strict=True)]
                found = Examples(rows, predictions, None, None, method, [str(n) for n in named])
            elif "columns" in inputs:
                columns = [str(c) for c in inputs["columns"]]
                found = Examples(list(inputs["data"]), predictions, columns, None, method)
            else:
                found = Examples(list(inputs["array"]), predictions, None, str(inputs.get("dtype", "float64")), method)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError(f"{EXAMPLES} lacks {error}.", hint="Log the model again.") from error
        if len(found.data) != len(found.predictions):
            raise BundleError(f"{EXAMPLES} has {len(found.data)} inputs and {len(found.predictions)} predictions.")
        return found

    def payload(self) -> dict[str, Any]:
        """The example as a request body of `invocations`."""
        if self.tensors is not None:
            return {"inputs": self._named()}
        if self.columns is None:
            return {"inputs": self.data}
        return {"dataframe_split": {"columns": self.columns, "data": self.data}}


@dataclass(frozen=True)
class Manifest:
    """An MLmodel. `flavors` as MLflow writes them; `headway` is our part of its metadata (class, versions, run...)."""

    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature | None = None
    headway: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def library(self) -> str:
        """The native flavour ("sklearn", "xgboost"...), or "python_function"."""
        return next((f for f in FLAVORS if f in self.flavors), "python_function")

    @property
    def python(self) -> str | None:
        """The Python version it was trained with, such as "3.11.7"."""
        version = self.flavors.get("python_function", {}).get("python_version")
        return None if version is None else str(version)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = dict(self.extra)
        value["flavors"] = {name: dict(options) for name, options in self.flavors.items()}
        value["signature"] = None if self.signature is None else self.signature.to_mlflow()
        value["metadata"] = {**(value.get("metadata") or {}), "headway": dict(self.headway)}
        if self.signature is None:
            del value["signature"]
        if self.run_id is not None:
            value["run_id"] = self.run_id
        return value


def from_mapping(value: Any) -> Manifest:
    """The manifest of a parsed MLmodel, whoever wrote it. Raises BundleError."""
    if not isinstance(value, Mapping) or not isinstance(value.get("flavors"), Mapping) or not value["flavors"]:
        raise BundleError(
            f"{MANIFEST} names no flavor.", hint="Log the model with a current MLflow client, or let capture save it."
        )
    flavors = {str(n): dict(o) for n, o in value["flavors"].items() if isinstance(o, Mapping)}
    signature = value.get("signature")
    metadata = value.get("metadata")
    headway = metadata.get("headway") if isinstance(metadata, Mapping) else None
    run_id = value.get("run_id")
    return Manifest(
        flavors=flavors,
        signature=Signature.from_mlflow(signature) if isinstance(signature, Mapping) else None,
        headway=dict(headway) if isinstance(headway, Mapping) else {},
        run_id=None if run_id is None else str(run_id),
        extra={str(k): v for k, v in value.items() if k not in ("flavors", "signature", "run_id")},
    )


def read(folder: Path) -> Manifest:
    """The manifest of a bundle whose MLmodel is JSON. Raises BundleError (missing, YAML, broken)."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BundleError(f"No {MANIFEST} in the model's folder.", hint="Log the model again.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{MANIFEST} can't be read: {error}.") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{MANIFEST} is not JSON: {error}.", hint="Prepare the bundle with the server first."
        ) from error
    return from_mapping(value)


def read_examples(folder: Path) -> Examples | None:
    """The recorded examples, or None where the bundle has none. Raises BundleError if they are broken."""
    path = folder / EXAMPLES
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{EXAMPLES} can't be read: {error}.", hint="Log the model again.") from error
    return Examples.from_json(value)


def read_requirements(folder: Path) -> list[str]:
    """The lines of requirements.txt without comments and blanks."""
    path = folder / REQUIREMENTS
    if not path.is_file():
        return []
    lines = (line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def check(folder: Path, manifest: Manifest) -> None:
    """Raises BundleError unless each file that the manifest recorded is there, unchanged, and inside the folder."""
    root = folder.resolve()
    for name, digest in dict(manifest.headway.get("files") or {}).items():
        path = (folder / name).resolve()
        if not path.is_relative_to(root):
            raise BundleError(f"{MANIFEST} names a file outside its folder: {name!r}.")
        if not path.is_file():
            raise BundleError(
                f"The bundle lacks its file {name!r}.", hint="Its upload was not finished: log the model again."
            )
        if digest_of(path) != digest:
            raise BundleError(f"The file {name!r} is not the one that was saved.", hint="Log the model again.")


def digest_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flavors(
    library: str, file: str, *, version: str, python: str, predict_fn: str = "predict", **options: Any
) -> dict[str, dict[str, Any]]:
    """The flavors of a model saved as `file`: its own, and `python_function`, so that plain MLflow loads it.

    `library` is a key of FLAVORS. sklearn also stands for any pickled object with `predict`; `options` go into the
    native flavor (`serialization_format="cloudpickle"|"pickle"`, `model_class="xgboost.sklearn.XGBClassifier"`,
    `model_format="ubj"`...). Raises KeyError for a library that has no flavor.
    """
    loader = FLAVORS[library]
    generic = {"loader_module": loader, "python_version": python, "env": {"virtualenv": "python_env.yaml"}}
    match library:
        case "sklearn":
            native = {"pickled_model": file, "sklearn_version": version, "serialization_format": "pickle", "code": None}
            generic |= {"model_path": file, "predict_fn": predict_fn}
        case "xgboost" | "lightgbm":
            native = {"data": file, f"{'xgb' if library == 'xgboost' else 'lgb'}_version": version, "code": None}
            generic |= {"data": file}
        case "pytorch":
            native = {"model_data": file, "pytorch_version": version, "code": None}
            generic |= {"data": file}
        case "keras":  # its loader looks for the native flavor's `data` itself
            native = {"data": file, "keras_version": version, "code": None}
        case _:
            native = {"data": file, f"{library}_version": version, "code": None}
            generic |= {"data": file}
    return {library: native | options, "python_function": generic}


def write(
    folder: Path,
    manifest: Manifest,
    save: Callable[[Path], object],
    *,
    requirements: Sequence[str] = (),
    examples: Examples | None = None,
    told: Callable[[Path], tuple[Signature | None, Examples | None]] | None = None,
) -> Manifest:
    """Writes a bundle into `folder`, which appears whole or not at all; gives the manifest with its files' hashes.

    `save(folder)` writes the model's own files there; then `told(folder)`, where given, tells the signature and the
    examples, for which it may load them. An existing folder is replaced only after all is written.
    Raises whatever `save` raises, after removing what it left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    work.mkdir()
    try:
        save(work)
        if told is not None:
            signature, examples = told(work)
            manifest = replace(manifest, signature=signature)
        (work / REQUIREMENTS).write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        env = {"python": manifest.python, "dependencies": [f"-r {REQUIREMENTS}"]}
        (work / "python_env.yaml").write_text(json.dumps(env), encoding="utf-8")
        if examples is not None:
            (work / EXAMPLES).write_text(json.dumps(examples.to_json(), allow_nan=False), encoding="utf-8")
        files = {str(p.relative_to(work)): digest_of(p) for p in sorted(work.rglob("*")) if p.is_file()}
        created = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        extra = {"model_uuid": uuid.uuid4().hex, "utc_time_created": created, **manifest.extra}
        done = replace(manifest, headway={**manifest.headway, "files": files}, extra=extra)
        write_manifest(work, done)
        if folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return done


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes MLmodel as JSON, atomically: the server also uses it to turn a client's YAML into what replicas read."""
    part = folder / f".{MANIFEST}.tmp"
    part.write_text(json.dumps(manifest.to_json(), indent=1, default=str), encoding="utf-8")
    part.replace(folder / MANIFEST)


def record(inputs: Any, predictions: Any, *, method: str = "predict", limit: int = 5) -> Examples | None:
    """The first `limit` rows and their predictions as Examples; None where they can't be told in JSON.

    `inputs`: a frame, an array, or a dict of arrays by name. `predictions`: an array, or a dict of arrays by name.
    """
    if isinstance(predictions, Mapping):
        predictions = _rows_of(predictions)
    if isinstance(inputs, Mapping):
        return _record_named(inputs, predictions, method, limit)
    head = inputs.iloc[:limit] if hasattr(inputs, "iloc") else inputs[:limit]
    columns = [str(c) for c in head.columns] if hasattr(head, "columns") else None
    try:
        if columns is None:
            data = plain(head)
        else:  # column by column: the rows of a mixed frame would lose their types
            data = [list(row) for row in zip(*(plain(head.iloc[:, i]) for i in range(len(columns))), strict=True)]
        found = plain(getattr(predictions, "values", predictions)[:limit])
        json.dumps([data, found], allow_nan=False)
    except (TypeError, ValueError, AttributeError):
        return None
    if not isinstance(data, list) or not isinstance(found, list) or len(data) != len(found):
        return None
    return Examples(data, found, columns, None if columns is not None else str(head.dtype), method)


def _rows_of(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Outputs by name as one dict a row, as a replica answers them."""
    return [dict(zip(outputs, row, strict=True)) for row in zip(*(plain(o) for o in outputs.values()), strict=True)]


def _record_named(inputs: Mapping[str, Any], predictions: Any, method: str, limit: int) -> Examples | None:
    try:
        rows = [list(row) for row in zip(*(plain(v[:limit]) for v in inputs.values()), strict=True)]
        found = plain(predictions[:limit])
        json.dumps([rows, found], allow_nan=False)
    except (TypeError, ValueError):
        return None
    return Examples(rows, found, None, None, method, list(inputs)) if len(rows) == len(found) else None
