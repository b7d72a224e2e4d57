"""What a Keras model needs beside Keras: layers, models, losses, metrics and functions of the user's own, by their names."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headway.capture.session import Session

__all__ = ["answers", "objects"]

PARTS = 5_000


def objects(model: Any, session: Session) -> dict[str, Any]:
    """`{name that the model's file has for it: class or function}` of the user's own that the model is made of."""
    found: dict[str, Any] = {}
    saving: Any = sys.modules["keras"].saving
    for value in _made_of(model):
        if _is_users(value, session):
            found[str(value.__name__)] = value
            registered = saving.get_registered_name(value)
            if isinstance(registered, str):
                found[registered] = value
    return found


def _made_of(model: Any) -> Iterator[Any]:
    """Classes of the model's parts, and the classes and functions that their settings hold."""
    layers = list(model._flatten_layers(include_self=True, recursive=True))[:PARTS]
    for layer in layers:
        yield type(layer)
        for value in list(vars(layer).values())[:200]:
            yield value if type(value) is FunctionType else type(value)
    for name in ("loss", "_loss", "optimizer", "_compile_metrics"):
        value = getattr(model, name, None)
        inner = getattr(value, "_user_metrics", None) or value
        for one in (
            inner if isinstance(inner, (list, tuple)) else inner.values() if isinstance(inner, dict) else [inner]
        ):
            yield one if type(one) is FunctionType else type(one)


def _is_users(value: Any, session: Session) -> bool:
    module = getattr(value, "__module__", None)
    if type(value) is FunctionType and value.__qualname__ != value.__name__:
        return False  # a method, or what Keras puts around one: it would bring the whole model along
    if not isinstance(getattr(value, "__name__", None), str) or value.__name__ == "<lambda>":
        return False
    if module == "__main__":
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return isinstance(file, str) and session.sites.is_user(file)


def answers(model: Any, sample: Any) -> Any:
    """The model's answers as arrays: one, or those of several outputs by their place or name."""
    found = model.predict_on_batch(sample)
    if isinstance(found, (list, tuple)):
        return {str(i): v for i, v in enumerate(found)}
    return found
