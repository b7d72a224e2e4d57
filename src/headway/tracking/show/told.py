"""What capture told of a run (`headway/capture.json`), made ready for its page. Pure, and forgiving: the file is a user's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headway.tracking.show.loose import mapping

MOST = 500
_KERNEL = re.compile(r"/ipykernel_\d+/")


@dataclass(frozen=True)
class Witness:
    """Who saw a fact: the source, where as people say it (`cell 9, line 3`, `train.py:12`), the file of the run's code that it
    means with its line (for a link; "" where that isn't kept), and the expression."""

    source: str
    where: str
    expression: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Fact:
    """One parameter or metric with its witnesses."""

    kind: str
    name: str
    value: str
    witnesses: list[Witness]

    @property
    def short(self) -> str:
        """Why it is known, in one line."""
        return "; ".join(f"{w.source}, {w.where}" if w.where else w.source for w in self.witnesses[:3])


@dataclass(frozen=True)
class Training:
    """One fit, or many at one line (`rows`: what differs in each, `columns` the names). `best` is the row that won."""

    name: str
    where: str
    seconds: float | None
    params: dict[str, str]
    metrics: dict[str, Any]
    columns: list[str]
    rows: list[list[Any]]
    best: int | None = None


@dataclass(frozen=True)
class Told:
    """Facts with their witnesses, trainings, what data was read, figures by their path, and what could not be captured."""

    facts: list[Fact]
    trainings: list[Training]
    notes: list[str]
    figures: dict[str, str]

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], Fact]:
        return {(f.kind, f.name): f for f in self.facts if f.witnesses}

    def why(self, kind: str, name: str) -> Fact | None:
        """What is known of a parameter's or metric's origin. `kind`: param or metric."""
        return self._by_name.get((kind, name))


def read(text: str) -> Told | None:
    """None for a text that is no record of capture."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    cells = _cells(record)
    facts = []
    for kind in ("params", "metrics"):
        for name, fact in list(mapping(record.get(kind)).items())[:MOST]:
            value = (
                fact.get("value") if kind == "params" else _last(fact.get("points")) if isinstance(fact, dict) else None
            )
            witnesses = _witnesses(mapping(fact).get("witnesses"), cells)
            facts.append(Fact(kind[:-1], str(name), _short(value), witnesses))
    trainings = [_training(t, cells) for t in _list(record.get("trainings"))[:MOST] if isinstance(t, dict)]
    notes = [str(n)[:500] for n in _list(record.get("notes"))[:100]]
    notes += [f"The server did not take {str(n)[:400]}" for n in _list(record.get("refused"))[:100]]
    figures = {
        str(f.get("artifact") or ""): _where(f, cells)
        for f in _list(record.get("figures"))[:MOST]
        if isinstance(f, dict)
    }
    return Told(facts, trainings, notes, figures)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _last(points: Any) -> Any:
    found = _list(points)
    return found[-1][1] if found and isinstance(found[-1], list) and len(found[-1]) > 1 else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:199] + "…"


def _cells(record: Mapping[str, Any]) -> dict[str, int]:
    """The number of the executed cell that each of a kernel's made-up files stands for."""
    found: dict[str, int] = {}
    for one in _list(record.get("code"))[: 20 * MOST]:
        if isinstance(one, dict) and isinstance(one.get("cell"), int):
            found[str(one.get("file") or "")] = one["cell"]
    return found


def _place(item: Mapping[str, Any], cells: Mapping[str, int]) -> tuple[str, str, int]:
    """(in words, file of the run's code, line)."""
    file, line = str(item.get("file") or ""), item.get("line")
    number = line if isinstance(line, int) else 0
    at = cells.get(file)
    if at is not None:
        return (f"cell {at}, line {number}" if number else f"cell {at}"), f"cells/{at:04}.py", number
    name = file.rpartition("/")[2]
    # a file of our own, or of a kernel whose cell is not known: a line in it helps nobody
    if "/headway/runner/" in file or _KERNEL.search(file):
        return "", "", 0
    return (f"{name}:{number}" if number else name), name, number


def _where(item: Mapping[str, Any], cells: Mapping[str, int]) -> str:
    return _place(item, cells)[0]


def _witnesses(value: Any, cells: Mapping[str, int]) -> list[Witness]:
    found: dict[Witness, None] = {}
    for w in _list(value)[:20]:
        if isinstance(w, dict):
            where, file, line = _place(w, cells)
            found[Witness(str(w.get("source", "")), where, _short(str(w.get("expression") or "")), file, line)] = None
    return sorted(found, key=lambda w: not w.where)[:10]


def _training(t: dict[str, Any], cells: Mapping[str, int]) -> Training:
    rows = [r for r in _list(t.get("sweep") or t.get("trials"))[:MOST] if isinstance(r, dict)]
    flat = [_flat(r) for r in rows]
    columns: dict[str, None] = {}
    for row in flat:
        columns.update(dict.fromkeys(row))
    names = [n for n in columns if any(row.get(n) not in (None, "") for row in flat)]
    if len(flat) > 1:  # what is the same in all of them is no news
        names = [n for n in names if len({repr(row.get(n)) for row in flat}) > 1] or names
    names = names[:20]
    name = str(t.get("inner") or t.get("class") or "training")
    params = {str(k): _short(v) for k, v in list(mapping(t.get("params")).items())[:60]}
    params |= {f"best {k}": _short(v) for k, v in list(mapping(t.get("best_params")).items())[:60]}
    seconds = t.get("seconds")
    best = mapping(t.get("best_params"))
    won = next((at for at, r in enumerate(flat) if best and all(r.get(k) == v for k, v in best.items())), None)
    return Training(
        name[:120], _where(t, cells), float(seconds) if isinstance(seconds, int | float) else None, params,
        mapping(t.get("metrics")), [str(n) for n in names], [[_cell(row.get(n)) for n in names] for row in flat], won,
    )  # fmt: skip


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One fit of a sweep as columns: what the loop went over first, then its parameters, then what was measured."""
    found: dict[str, Any] = {}
    found |= mapping(row.get("loop")) | mapping(row.get("params"))
    found |= {k: v for k, v in row.items() if not isinstance(v, dict | list)}
    found |= mapping(row.get("metrics"))
    return dict(sorted(found.items(), key=lambda item: "time" in item[0] or item[0] in ("seconds", "class")))


def _cell(value: Any) -> Any:
    """Numbers stay numbers, for their column; the rest is text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return "" if value is None else _short(value)
