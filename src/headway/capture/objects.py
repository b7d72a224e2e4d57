"""Objects that learn and that no library told of: which of those that names held are models of the run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["checkpoint", "files_of", "graphs", "named_models"]


def named_models(
    objects: Iterable[dict[str, Any]], trained: set[str], folders: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The models among objects that names held, each class once. `trained`: the classes whose training was seen.
    `folders`: class -> where an object of it was saved.

    What only holds a model that is known (a trainer, an agent with its network) is none. An object that is a model by its
    class's name alone counts where nothing else does.
    """
    found: list[dict[str, Any]] = []
    told = [o for o in objects if o["class"] not in trained]
    sure = [o for o in told if o["kind"] != "name" and not (o["holds"] and (trained or _others(told, o)))]
    for one in sure or ([] if trained else told):
        if all(m["class"] != one["class"] for m in found):
            library = one["kind"] if one["kind"] != "name" else "user"
            found.append({"class": one["class"], "inner": None, "folder": folders.get(one["class"]), "training": None,
                          "name": one["name"], "library": library})  # fmt: skip
    return found


def checkpoint(files: dict[str, dict[str, Any]], fact: dict[str, Any], site: dict[str, Any]) -> None:
    """A model file that the program wrote. One that is written again and again is one, as it was at last."""
    saves = files.pop(fact["path"], {"saves": 0})["saves"] + 1
    told = {k: fact[k] for k in ("path", "name", "size", "how", "cls", "id")}
    where = {"file": site.get("file"), "line": (site.get("at") or [0])[0]}
    files[fact["path"]] = {**told, **where, "beside": fact["n"], "t": fact["t"], "saves": saves}


def files_of(files: Iterable[dict[str, Any]], numbers: set[Any]) -> list[str]:
    """The files that the program saved a model of these numbers to."""
    return [str(f["path"]) for f in files if f["id"] is not None and f["id"] in numbers]


def graphs(facts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """ONNX graphs that the program exported: models of their own, as they are."""
    return [
        {"class": "ONNX graph", "inner": None, "title": Path(f["path"]).name, "folder": f["folder"], "training": None,
         "library": "onnx", "files": [f["path"]]}
        for f in facts
    ]  # fmt: skip


def _others(objects: list[dict[str, Any]], one: dict[str, Any]) -> bool:
    return any(o["kind"] == "torch" and o is not one for o in objects)
