"""Facts from live objects: copied at once, small, and without running a line of the user's code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

__all__ = ["describe", "held", "number_list", "scalar", "snapshot", "text", "told_of"]

TEXT_LIMIT = 2000
SERIES_LIMIT = 20_000
ITEMS_LIMIT = 60

_PLAIN = frozenset((int, float, bool, type(None)))


# Before Python 3.13 (PEP 667) a frame keeps the dict in which it shows its names, and what they hold with it.
_KEEPS = sys.version_info < (3, 13)
_OPTIMIZED = 1


def held(frame: FrameType) -> dict[str, Any]:
    """What a frame's names hold, as a dict of our own: the frame keeps nothing alive for it, and `exec` finds its own names."""
    shown = frame.f_locals
    found = dict(shown)
    if _KEEPS and frame.f_code.co_flags & _OPTIMIZED and sys.getrefcount(shown) == 3:  # the frame's, ours, the call's
        _forget(shown, frame)
    return found


def told_of(frame: FrameType, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What these names of a frame hold, None where they are none of its own; as `held`, for the few."""
    shown = frame.f_locals
    found = tuple(map(shown.get, names))
    if _KEEPS and frame.f_code.co_flags & _OPTIMIZED and sys.getrefcount(shown) == 3:  # the frame's, ours, the call's
        _forget(shown, frame)
    return found


def _forget(shown: dict[str, Any], frame: FrameType) -> None:
    code = frame.f_code
    for names in (code.co_varnames, code.co_cellvars, code.co_freevars):
        for name in names:
            shown.pop(name, None)


def scalar(value: Any) -> Any:
    """`value` as a JSON scalar, or `...` where it is none. Numpy scalars become Python ones; long text is cut."""
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not int or -(2**63) <= value < 2**63 else ...
    if kind is str:
        return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…"
    module = kind.__module__
    if module == "numpy":
        numpy = sys.modules["numpy"]
        if isinstance(value, (numpy.floating, numpy.integer, numpy.bool_, numpy.str_)):
            return scalar(value.item())
        if kind is numpy.ndarray and value.ndim == 0 and value.dtype.kind in "iufb":
            return value.item()
        return ...
    if module == "torch" and kind.__name__ == "Tensor":
        return tensor_scalar(value)
    if kind.__name__ == "ArrayImpl" and module.startswith("jax"):
        return value.item() if value.size == 1 and value.dtype.kind in "iufb" and value.is_ready() else ...
    if isinstance(value, int) and module in ("enum", "http", "signal"):
        return int(value)
    if isinstance(value, str) and "_value_" in getattr(value, "__dict__", ()):  # an enumeration of words
        return str.__str__(value)
    return ...


def tensor_scalar(value: Any) -> Any:
    """A one-element tensor on the CPU as a number; others stay where they are (no device is waited for)."""
    if value.device.type == "cpu" and value.numel() == 1 and not value.is_complex():
        return value.detach().item()
    return ...


def text(value: str) -> str:
    return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…"


def number_list(value: Any) -> list[float | int | None] | None:
    """A list, tuple or vector of numbers as a list of at most SERIES_LIMIT; None for anything else."""
    if type(value) in (list, tuple):
        if not 2 <= len(value) <= SERIES_LIMIT:
            return None
        found = [scalar(v) for v in list(value)]
        return found if all(type(v) in (int, float) for v in found) else None
    if type(value).__module__ != "numpy" or type(value).__name__ != "ndarray":
        return None
    numbers = value.ndim == 1 and 2 <= value.shape[0] <= SERIES_LIMIT and value.dtype.kind in "iuf"
    return list(value.tolist()) if numbers else None


def snapshot(value: Any, depth: int = 2) -> Any:
    """A JSON value of scalars, short lists and short dicts; `...` for what is none of them or too large."""
    found = scalar(value)
    if found is not ...:
        return found
    kind = type(value)
    if kind in (list, tuple) and len(value) <= ITEMS_LIMIT and depth:
        inner = [snapshot(v, depth - 1) for v in list(value)]
        return ... if any(v is ... for v in inner) else inner
    if isinstance(value, dict) and kind.__module__ in ("builtins", "collections") and depth:
        if len(value) > ITEMS_LIMIT:
            return ...
        return _snapshot_dict(dict(value), depth)
    if depth and kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.size <= ITEMS_LIMIT:
        return value.tolist() if value.dtype.kind in "iufbU" else ...
    if kind.__module__.startswith("pandas.") and kind.__name__ == "Series" and len(value) <= ITEMS_LIMIT:
        return _snapshot_dict({str(k): v for k, v in value.to_dict().items()}, depth)
    return ...


def _snapshot_dict(value: dict[Any, Any], depth: int) -> Any:
    inner = {}
    for key, item in value.items():
        found = snapshot(item, depth - 1)
        if found is not ... and isinstance(key, (str, int, float, bool)):
            inner[str(key)] = found
    return inner if inner or not value else ...


def described(value: Any) -> str:
    """An object by its class, for parameters that are no scalars; never its __repr__, which is the user's code."""
    kind = type(value)
    judge = getattr(value, "__dict__", {}).get("_score_func") if "sklearn.metrics" in kind.__module__ else None
    if judge is not None:  # a scorer: what it scores by
        return str(getattr(judge, "__name__", kind.__name__))
    if kind.__name__ in ("function", "builtin_function_or_method", "type", "method"):
        return str(getattr(value, "__name__", kind.__name__))
    return kind.__name__


def parameter(value: Any) -> Any:
    """`value` as a parameter: its snapshot, else the name of its class."""
    found = snapshot(value)
    return described(value) if found is ... else found


def describe(data: Any) -> dict[str, Any] | None:
    """Rows, columns and dtypes of a frame or an array; None for anything else. No cell is read."""
    module = type(data).__module__.split(".")[0]
    if module == "pandas" and hasattr(data, "columns"):
        dtypes = [str(t) for t in data.dtypes.tolist()[:200]]
        columns = [str(c) for c in list(data.columns[:200])]
        return {"type": "frame", "rows": len(data), "columns": columns, "dtypes": dtypes}
    if module == "pandas" and hasattr(data, "dtype"):
        return {"type": "series", "rows": len(data), "columns": [str(data.name)], "dtypes": [str(data.dtype)]}
    if module == "numpy" and hasattr(data, "shape") and hasattr(data, "dtype"):
        shape = [int(n) for n in data.shape]
        return {"type": "array", "rows": shape[0] if shape else 1, "shape": shape, "dtypes": [str(data.dtype)]}
    if module == "scipy" and hasattr(data, "shape"):
        return {"type": "sparse", "rows": int(data.shape[0]), "shape": list(data.shape), "dtypes": [str(data.dtype)]}
    if type(data) in (list, tuple):
        return {"type": "list", "rows": len(data)}
    return None
