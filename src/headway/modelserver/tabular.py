"""Checked rows to what models take: a matrix of floats, or one frame a batch. numpy and pandas only if they are here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from headway.modelserver.columns import Columns
from headway.modelserver.payload import Arrays, Table
from headway.signature import plain

_DTYPES = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_numpy = _optional("numpy")


def matrix(rows: list[list[Any]]) -> Any:
    """Rows of numbers as a float64 matrix; None becomes NaN."""
    return _numpy.array(rows, dtype="float64")


def trust_numbers() -> None:
    """Spares scikit-learn its own look for NaN and infinity (a tenth of a small predict): each value was looked at before."""
    if (sklearn := sys.modules.get("sklearn")) is not None:
        sklearn.set_config(assume_finite=True)


def joined(parts: list[Any]) -> Any:
    """The data of several requests as one."""
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return _numpy.concatenate(parts)


def frames(columns: Columns, headway: Mapping[str, Any]) -> Callable[[list[list[Any]]], Any]:
    """A function from rows to a DataFrame with the training data's types; to lists of rows where pandas is missing.

    `headway` may hold `dtypes` (column -> pandas dtype name) and `categories` (column -> values), as capture saw them.
    """
    pandas = _optional("pandas")
    if pandas is None:
        return matrix if columns.all_numbers and _numpy is not None else (lambda rows: rows)
    usual = {n: _DTYPES.get(t, "object") for n, t in zip(columns.names, columns.types, strict=True)}
    recorded = dict(headway.get("dtypes") or {})
    dtypes = {
        c: str(d)
        for c, d in recorded.items()
        if c in usual and str(d) != usual[c] and not str(d).startswith("datetime")
    }
    for name, values in dict(headway.get("categories") or {}).items():
        if name in columns.names:
            dtypes[name] = pandas.CategoricalDtype(values)
    if not dtypes and set(columns.types) == {"double"}:
        return lambda rows: pandas.DataFrame(matrix(rows), columns=columns.names)

    def build(rows: list[list[Any]]) -> Any:
        series = {}
        for name, kind, values in zip(columns.names, columns.types, zip(*rows, strict=True), strict=True):
            series[name] = _series(pandas, kind, list(values), dtypes.get(name))
        return pandas.DataFrame(series, columns=columns.names)

    return build


def _series(pandas: Any, kind: str, values: list[Any], dtype: Any) -> Any:
    if dtype is not None:
        try:
            return pandas.Series(values, dtype=dtype)
        except (
            TypeError,
            ValueError,
        ):  # a recorded dtype that can't hold what the signature allows, such as int64 and null
            pass
    empty = any(v is None for v in values)
    if kind in _DTYPES:
        if empty and kind == "boolean":
            return pandas.Series(values, dtype="object")
        return pandas.Series(values, dtype="float64" if empty else _DTYPES[kind])
    if kind == "datetime":
        return pandas.Series(pandas.to_datetime(values))
    return pandas.Series(values, dtype="object")


def unchecked(sent: Table | Arrays) -> tuple[Any, int]:
    """(data, rows) for a model that was saved without a signature: as sent, a frame where names came with it."""
    if isinstance(sent, Arrays):
        if list(sent.by_name) == [None]:
            array = _numpy.array(sent.by_name[None])
            return array, len(array)
        arrays = {k: _numpy.array(v) for k, v in sent.by_name.items()}
        return arrays, max((len(a) for a in arrays.values() if a.ndim), default=0)
    if sent.columns is None:
        return _numpy.array(sent.rows), len(sent.rows)
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(sent.rows, columns=sent.columns), len(sent.rows)


def plain_array(found: Any) -> Any:
    """An array or a list as JSON-ready lists, fast for arrays of finite numbers."""
    if _numpy is not None and isinstance(found, _numpy.ndarray):
        kind = found.dtype.kind
        if kind in "iub" or (kind == "f" and _numpy.isfinite(found).all()):
            return found.tolist()
    return plain(found)
