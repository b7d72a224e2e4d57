"""What names hold at the end of a cell, of the program, or at a call inside a function: numbers, series, models."""

from __future__ import annotations

import sys

from headway.capture.values import number_list, scalar, snapshot

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from headway.capture.sites import Sites

__all__ = ["look"]

NAMES_LIMIT = 400
ATTRIBUTES_LIMIT = 60
_SKIP = frozenset(("In", "Out", "exit", "quit", "get_ipython", "open"))
_SETTINGS = ("config", "cfg", "conf", "param", "setting", "arg", "option", "hyper")
_TEACHABLE = ("fit", "train", "predict", "forward", "train_step", "training_step")


def look(names: Mapping[str, Any], sites: Sites, *, only: frozenset[str] | None = None) -> dict[str, Any]:
    """`{name: value}` of what can be told: `{"v": scalar or short container}`, `{"l": numbers}`, `{"o": object}`."""
    from headway.capture.redact import secret_name

    found: dict[str, Any] = {}
    for name, value in list(names.items()):
        if name.startswith("_") or name in _SKIP or (only is not None and name not in only) or secret_name(name):
            continue
        told = _tell(value, sites)
        if told is not None:
            found[name] = told
            if len(found) >= NAMES_LIMIT:
                break
    return found


def _tell(value: Any, sites: Sites) -> dict[str, Any] | None:
    plain = scalar(value)
    if plain is not ...:
        return {"v": plain}
    kind = type(value)
    if kind in (list, tuple) or kind.__module__ == "numpy":
        numbers = number_list(value)
        if numbers is not None:
            return {"l": numbers, "c": kind.__name__}
    settings = kind.__name__ == "Namespace" and kind.__module__ == "argparse"
    if kind in (list, tuple, dict) or kind.__module__ == "collections" or settings:
        small = snapshot(vars(value) if settings else value)
        if small is not ...:
            return {"v": small}
        return _series_of(value) if isinstance(value, dict) else None
    return _settings(value, sites) or _teachable(value, sites)


def _settings(value: Any, sites: Sites) -> dict[str, Any] | None:
    """An instance of a class of settings: a dataclass, a pydantic model or the like whose class is called so."""
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "__pydantic_fields__", None)
    simple = kind.__name__ in ("SimpleNamespace", "ConfigDict")
    if not (simple or (fields and user_class(kind, sites) and any(w in kind.__name__.lower() for w in _SETTINGS))):
        return None
    return {"g": _fields(value, 3), "c": kind.__name__}


def _fields(value: Any, depth: int) -> dict[str, Any]:
    """What such an instance holds, read from its `__dict__` (no property runs); those in it under dotted names."""
    from headway.capture.redact import secret_name

    held = getattr(value, "__dict__", None)
    found: dict[str, Any] = {}
    for name, item in list(held.items())[:ATTRIBUTES_LIMIT] if isinstance(held, dict) else []:
        if not isinstance(name, str) or name.startswith("_") or secret_name(name):
            continue
        told = snapshot(item)
        if told is not ... and told is not None:
            found[name] = told
        elif depth and hasattr(type(item), "__dataclass_fields__") | hasattr(type(item), "__pydantic_fields__"):
            found |= {f"{name}.{k}": v for k, v in _fields(item, depth - 1).items()}
    return found


def _series_of(value: dict[Any, Any]) -> dict[str, Any] | None:
    """A history: a dict of lists of numbers."""
    found = {
        str(k): numbers for k, v in list(value.items())[:ATTRIBUTES_LIMIT] if (numbers := number_list(v)) is not None
    }
    return {"h": found} if found else None


def _teachable(value: Any, sites: Sites) -> dict[str, Any] | None:
    """An object that learns: a torch module, or an instance of a user's class with a `fit` or the like."""
    kind = type(value)
    torch = any(c.__module__ == "torch.nn.modules.module" for c in kind.__mro__)
    if torch:
        if kind.__module__.startswith(("torch.nn.modules.loss", "torchmetrics")):
            return None
        return {"o": {"class": kind.__name__, "module": kind.__module__, "kind": "torch", "attrs": _attributes(value)}}
    if not user_class(kind, sites) or not any(callable(getattr(kind, m, None)) for m in _TEACHABLE):
        return None
    return {"o": {"class": kind.__name__, "module": kind.__module__, "kind": "user", "attrs": _attributes(value)}}


def user_class(kind: type, sites: Sites) -> bool:
    """Whether a class was written by the user: in the script, a cell, or a module of the work folder."""
    if kind.__module__ == "__main__":
        return True
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return isinstance(file, str) and sites.is_user(file)


def _attributes(value: Any) -> dict[str, Any]:
    """An instance's own numbers and series, from its `__dict__` (no property runs)."""
    from headway.capture.redact import secret_name

    attributes = getattr(value, "__dict__", None)
    found: dict[str, Any] = {}
    if not isinstance(attributes, dict):
        return found
    for name, item in list(attributes.items())[:ATTRIBUTES_LIMIT]:
        if not isinstance(name, str) or name.startswith("_") or name == "training" or secret_name(name):
            continue
        plain = scalar(item)
        if plain is not ...:
            found[name] = {"v": plain}
        elif (numbers := number_list(item)) is not None and type(item) is list:
            found[name] = {"l": numbers}
    return found
