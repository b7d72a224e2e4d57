"""A version's bundle as people look at it: manifest, signature, recorded examples, packages. Read as text, never loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml
from sqlalchemy.orm import Session

from headway import bundle
from headway.bundle import BundleError, Manifest
from headway.engines.host import Host
from headway.tracking import artifacts
from headway.tracking.artifacts import Entry

_MANIFEST_BYTES, _TEXT_BYTES = 4 << 20, 1 << 20
SHOWN_ROWS = 10


@dataclass
class Look:
    """What the page of a version shows; `problem` says why the bundle can't be deployed as it is."""

    files: list[Entry]
    manifest: Manifest | None = None
    flavors: list[str] = field(default_factory=list)
    inputs: list[tuple[str, str, bool]] = field(default_factory=list)
    outputs: list[tuple[str, str, bool]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    payload: dict[str, Any] | None = None
    requirements: str = ""
    problem: str = ""

    @property
    def size(self) -> int:
        return sum(entry.size or 0 for entry in self.files)


def look(db: Session, host: Host, version_id: str) -> Look:
    """Everything there is to see; broken parts are told in `problem`, never raised."""
    found = Look(artifacts.tree(db, version_id))
    by_path = {entry.path: entry for entry in found.files}
    if bundle.MANIFEST not in by_path:
        found.problem = "This version has no files." if not found.files else "There is no MLmodel file in it."
        return found
    found.requirements = _text(host, by_path.get(bundle.REQUIREMENTS), _TEXT_BYTES)
    try:
        found.manifest = read_manifest(_text(host, by_path[bundle.MANIFEST], _MANIFEST_BYTES))
        found.flavors = [name for name in found.manifest.flavors if name != "python_function"] or ["python_function"]
        if found.manifest.signature is not None:
            found.inputs = [_field(f) for f in found.manifest.signature.inputs]
            found.outputs = [_field(f) for f in found.manifest.signature.outputs]
        _examples(host, by_path, found)
    except BundleError as error:
        found.problem = f"{error.message} {error.hint}".strip()
    return found


def read_manifest(text: str) -> Manifest:
    """The manifest of an MLmodel in YAML or JSON. Raises BundleError."""
    try:
        return bundle.from_mapping(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError("The MLmodel file can't be read.", hint="Log the model again.") from None


def _field(item: Any) -> tuple[str, str, bool]:
    """(name, type, required) of a column or a tensor."""
    if isinstance(item, bundle.Tensor):
        return item.name or "(array)", f"{item.dtype} {list(item.shape)}", True
    return item.name or "(unnamed)", item.type, item.required


def _examples(host: Host, by_path: dict[str, Entry], found: Look) -> None:
    entry = by_path.get(bundle.EXAMPLES)
    if entry is not None:
        try:
            examples = bundle.Examples.from_json(json.loads(_text(host, entry, _TEXT_BYTES)))
        except (ValueError, RecursionError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError("The recorded examples can't be read.", hint="Log the model again.") from None
        found.columns = examples.columns or []
        found.rows = [row if isinstance(row, list) else [row] for row in examples.data[:SHOWN_ROWS]]
        found.predictions = examples.predictions[:SHOWN_ROWS]
        found.payload = examples.payload()
        return
    serving = by_path.get("serving_input_example.json")
    if serving is None:
        return
    try:
        payload = json.loads(_text(host, serving, _TEXT_BYTES))
    except (ValueError, RecursionError):
        return
    if not isinstance(payload, dict):
        return
    found.payload = payload
    split = payload.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        found.columns = [str(c) for c in split.get("columns") or []]
        found.rows = [row for row in split["data"][:SHOWN_ROWS] if isinstance(row, list)]


def _text(host: Host, entry: Entry | None, most: int) -> str:
    if entry is None:
        return ""
    if (entry.size or 0) > most:
        raise BundleError(f"{entry.path} is larger than {most >> 20} MiB.")
    return host.blobs.read(entry.sha256).decode("utf-8", "replace")
