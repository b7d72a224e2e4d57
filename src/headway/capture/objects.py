"""Objects that learn and that no library told of: which of those that names held are models of the run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["named_models"]


def named_models(objects: Iterable[dict[str, Any]], trained: set[str]) -> list[dict[str, Any]]:
    """The models among objects that names held, each class once. `trained`: the classes whose training was seen.

    What only holds a model that is known (a trainer, an agent with its network) is none. An object that is a model by its
    class's name alone counts where nothing else does.
    """
    found: list[dict[str, Any]] = []
    told = [o for o in objects if o["class"] not in trained]
    sure = [o for o in told if o["kind"] != "name" and not (o["holds"] and (trained or _others(told, o)))]
    for one in sure or ([] if trained else told):
        if all(m["class"] != one["class"] for m in found):
            found.append({"class": one["class"], "inner": None, "folder": None, "training": None, "name": one["name"],
                          "library": one["kind"] if one["kind"] != "name" else "user"})  # fmt: skip
    return found


def _others(objects: list[dict[str, Any]], one: dict[str, Any]) -> bool:
    return any(o["kind"] == "torch" and o is not one for o in objects)
