"""What a model takes and gives, in MLflow's words: columns or tensors, read, written, and told from live objects.

Standard library only, and duck-typed: a user's process, a replica and the server all import it, and no library for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from headway.errors import Unprocessable

# MLflow's scalar types; anything else (array, object, map, any) is kept as it was written and passed through unchecked.
SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
NUMBERS = {"integer", "long", "float", "double"}


class BundleError(Unprocessable):
    """A folder that is not a sound bundle, or an object that can't become one."""

    code = "BAD_BUNDLE"


@dataclass(frozen=True)
class Column:
    """One input column. `type` is an MLflow type name; `spec` keeps the entry of a compound type as it was written."""

    name: str | None
    type: str
    required: bool = True
    spec: Mapping[str, Any] | None = None

    def to_mlflow(self) -> dict[str, Any]:
        if self.spec is not None:
            return dict(self.spec)
        entry: dict[str, Any] = {"type": self.type, "required": self.required}
        return entry if self.name is None else {"name": self.name, **entry}


@dataclass(frozen=True)
class Tensor:
    """One input array: numpy dtype name and shape, -1 where any length goes (the first is the batch)."""

    dtype: str
    shape: tuple[int, ...]
    name: str | None = None

    def to_mlflow(self) -> dict[str, Any]:
        entry = {"type": "tensor", "tensor-spec": {"dtype": self.dtype, "shape": list(self.shape)}}
        return entry if self.name is None else {"name": self.name, **entry}


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives: only columns, or only tensors, on each side."""

    inputs: tuple[Column | Tensor, ...]
    outputs: tuple[Column | Tensor, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(i for i in self.inputs if isinstance(i, Column))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(i for i in self.inputs if isinstance(i, Tensor))

    def to_mlflow(self) -> dict[str, Any]:
        """The `signature` of an MLmodel: lists as JSON in strings, as MLflow writes them."""
        side = [
            json.dumps([f.to_mlflow() for f in fields]) if fields else None for fields in (self.inputs, self.outputs)
        ]
        return {"inputs": side[0], "outputs": side[1], "params": None}

    @staticmethod
    def from_mlflow(value: Mapping[str, Any]) -> Signature:
        return Signature(_fields(value.get("inputs"), "inputs"), _fields(value.get("outputs"), "outputs"))


def _fields(value: Any, side: str) -> tuple[Column | Tensor, ...]:
    if not value:
        return ()
    try:
        entries = json.loads(value) if isinstance(value, str) else value
        found = tuple(_field(entry) for entry in entries)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"The signature's {side} can't be read: {error!r}.", hint="Log the model again.") from error
    if len({type(f) for f in found}) > 1:
        raise BundleError(f"The signature's {side} mix columns and tensors.", hint="Use one kind of field.")
    names = [f.name for f in found if f.name is not None]
    if len(names) != len(set(names)):
        raise BundleError(f"The signature's {side} name one field twice.", hint="Give each column its own name.")
    return found


def _field(entry: Mapping[str, Any]) -> Column | Tensor:
    name = entry.get("name")
    name = None if name is None else str(name)
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        return Tensor(str(spec["dtype"]), tuple(int(n) for n in spec["shape"]), name)
    required = entry.get("required")
    if required is None:
        required = not entry.get("optional", False)
    kind = str(entry["type"])
    return Column(name, kind, bool(required), None if kind in SCALARS else dict(entry))


def infer(inputs: Any, predictions: Any = None) -> Signature:
    """The signature of a frame (anything with `columns` and `dtypes`) or an array (`dtype`, `shape`), and its answers.

    A dict of arrays is several tensors with names. A column is required unless it holds a null here. Raises
    BundleError for an input that is neither.
    """
    told = isinstance(predictions, Mapping) or hasattr(predictions, "dtype") or hasattr(predictions, "dtypes")
    outputs = _infer_side(predictions) if told else ()
    return Signature(_infer_side(inputs), outputs)


def _infer_side(value: Any) -> tuple[Column | Tensor, ...]:
    if (
        isinstance(value, Mapping)
        and value
        and all(hasattr(v, "dtype") and hasattr(v, "shape") for v in value.values())
    ):
        return tuple(replace(t, name=str(n)) for n, v in value.items() for t in _infer_side(v) if isinstance(t, Tensor))
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        return tuple(_infer_column(str(name), value.iloc[:, i]) for i, name in enumerate(value.columns))
    if hasattr(value, "to_frame") and hasattr(value, "dtype"):
        name = getattr(value, "name", None)
        return (_infer_column(None if name is None else str(name), value),)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        kind = str(value.dtype)
        return (Tensor(kind, (-1, *(int(n) for n in value.shape[1:]))),)
    raise BundleError(
        f"No signature for an input of type {type(value).__name__}.", hint="Train on a frame or an array."
    )


def _infer_column(name: str | None, series: Any) -> Column:
    nulls = bool(series.isna().any())
    kind = str(series.dtype).lower()
    for prefixes, found in _DTYPES:
        if kind.startswith(prefixes):
            return Column(name, found, not nulls)
    if kind.startswith("category"):
        return Column(name, _type_of_values(series.cat.categories), not nulls)
    kept = _type_of_values(v for v in series if v is not None and v == v)
    column = Column(name, kept, not nulls)
    return column if kept in SCALARS else replace(column, spec=column.to_mlflow())


# First match wins: longer prefixes stand before shorter ones.
_DTYPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("int8", "int16", "int32", "uint8", "uint16"), "integer"),
    (("int", "uint"), "long"),
    (("float16", "float32"), "float"),
    (("float", "double"), "double"),
    (("bool",), "boolean"),
    (("datetime",), "datetime"),
    (("str",), "string"),
)


def _type_of_values(values: Any) -> str:
    kinds = {type(v).__name__.rstrip("_") for v in values}
    if not kinds or kinds <= {"str"}:
        return "string"
    if kinds <= {"bool"}:
        return "boolean"
    if kinds <= {"int", "int64", "int32", "bool"}:
        return "long"
    if kinds <= {"int", "int64", "int32", "float", "float64", "float32", "bool"}:
        return "double"
    if kinds <= {"bytes"}:
        return "binary"
    return "datetime" if kinds <= {"datetime", "date", "Timestamp"} else "any"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays to lists, NaN and NaT to None, dates to ISO 8601, numpy scalars to Python's.

    Raises TypeError for what JSON has no word for.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__name__ == "datetime64":
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no form in JSON")
