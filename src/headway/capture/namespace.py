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
ROWS_LIMIT = 2_000
ATTRIBUTES_LIMIT = 60
_SKIP = frozenset(("In", "Out", "exit", "quit", "get_ipython", "open"))
_SETTINGS = ("config", "cfg", "conf", "param", "setting", "arg", "option", "hyper")
_MODEL_WORDS = (
    "network",
    "net",
    "model",
    "classifier",
    "regressor",
    "perceptron",
    "rnn",
    "lstm",
    "gru",
    "autoencoder",
    "mlp",
)
_MODEL_BASES = ("torch.nn.modules.module", "sklearn.base", "keras.src.models.model")
_TEACHABLE = ("fit", "train", "predict", "forward", "train_step", "training_step")


def look(names: Mapping[str, Any], sites: Sites, *, only: frozenset[str] | None = None) -> dict[str, Any]:
    """`{name: value}` of what can be told: `{"v": scalar or short container}`, `{"l": numbers}`, `{"o": object}`."""
    from headway.capture.redact import secret_name

    found: dict[str, Any] = {}
    for name, value in list(names.items()):
        if name.startswith("_") or name in _SKIP or (only is not None and name not in only) or secret_name(name):
            continue
        told = _instance(value, sites) if name == "self" else _tell(value, sites)
        if told is not None:
            found[name] = told
            if len(found) >= NAMES_LIMIT:
                break
    modules = [n for n, told in found.items() if told.get("o", {}).get("kind") == "torch"]
    for name in _parts({n: names[n] for n in modules}) if len(modules) > 1 else ():
        del found[name]
    return found


def _parts(modules: dict[str, Any]) -> list[str]:
    """The names of torch modules that are parts of another one among them."""
    base = sys.modules["torch.nn.modules.module"].Module
    inner = {id(part) for module in modules.values() for part in base.modules(module) if part is not module}
    return [name for name, module in modules.items() if id(module) in inner]


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
        told = _series_of(value) if isinstance(value, dict) else _rows_of(value) if kind is list else None
        return told if small is ... else {"v": small, **(told or {})}
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


def _rows_of(value: list[Any]) -> dict[str, Any] | None:
    """A history: a list of dicts with the same keys, as its columns of numbers and words."""
    if not 2 <= len(value) <= ROWS_LIMIT or type(value[0]) is not dict or not 1 <= len(value[0]) <= ATTRIBUTES_LIMIT:
        return None
    columns: dict[str, list[Any]] = {k: [] for k in value[0] if isinstance(k, str)}
    for row in list(value):
        if type(row) is not dict or row.keys() != value[0].keys():
            return None
        for name in columns:
            columns[name].append(scalar(row[name]))
    found = {k: v for k, v in columns.items() if all(type(x) in (int, float, str) for x in v)}
    return {"r": found} if any(type(v[0]) is not str for v in found.values()) else None


def _instance(value: Any, sites: Sites) -> dict[str, Any] | None:
    """The instance that a method of the user's works on."""
    if (told := _settings(value, sites) or _teachable(value, sites)) is not None:
        return told
    kind = type(value)
    if not user_class(kind, sites):
        return None
    return {"o": {"class": kind.__name__, "module": kind.__module__, "kind": "", "attrs": _attributes(value)}}


def _teachable(value: Any, sites: Sites) -> dict[str, Any] | None:
    """An object that learns: a torch module, or an instance of a user's class with a `fit` or the like."""
    kind = type(value)
    torch = any(c.__module__ == "torch.nn.modules.module" for c in kind.__mro__)
    if torch:
        if kind.__module__.startswith(("torch.nn.modules.loss", "torchmetrics")) or not _has_parameters(value):
            return None
        return {"o": {"class": kind.__name__, "module": kind.__module__, "kind": "torch", "attrs": _attributes(value)}}
    if not user_class(kind, sites):
        return None
    learns = any(callable(getattr(kind, m, None)) for m in _TEACHABLE)
    if not learns and (hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__pydantic_fields__")):
        return None
    if not learns and not kind.__name__.lower().rstrip("0123456789").endswith(_MODEL_WORDS):
        return None
    told = {
        "class": kind.__name__,
        "module": kind.__module__,
        "kind": "user" if learns else "name",
        "attrs": _attributes(value),
    }
    return {"o": {**told, **({"holds": True} if _holds_model(value) else {})}}


def _has_parameters(module: Any) -> bool:
    """Whether a torch module has anything to learn: losses, transforms and given dynamics have not."""
    return next(sys.modules["torch.nn.modules.module"].Module.parameters(module), None) is not None


def _holds_model(value: Any) -> bool:
    """Whether an instance of the user's has a model of a library as an attribute: it trains or uses that one."""
    held = getattr(value, "__dict__", None)
    items = list(held.values())[:ATTRIBUTES_LIMIT] if isinstance(held, dict) else []
    return any(c.__module__ in _MODEL_BASES for item in items for c in type(item).__mro__)


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
        elif type(item) is dict and (series := _series_of(item)) is not None:
            found[name] = series
        elif type(item) is list and (rows := _rows_of(item)) is not None:
            found[name] = rows
    return found
