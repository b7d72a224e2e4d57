"""What capture told of a run (`headway/capture.json`), made ready for its page. Pure, and forgiving: the file is a user's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MOST = 500


@dataclass(frozen=True)
class Fact:
    """One parameter or metric with its witnesses: (source, file and line, expression)."""

    kind: str
    name: str
    value: str
    witnesses: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Training:
    """One fit, or many at one line (`rows`: what differs in each, `columns` the names)."""

    name: str
    where: str
    seconds: float | None
    params: dict[str, str]
    metrics: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Told:
    """Facts with their witnesses, trainings, and notes about what could not be captured."""

    facts: list[Fact]
    trainings: list[Training]
    notes: list[str]


def read(text: str) -> Told | None:
    """None for a text that is no record of capture."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    facts = []
    for kind in ("params", "metrics"):
        for name, fact in list(_dict(record.get(kind)).items())[:MOST]:
            value = (
                fact.get("value") if kind == "params" else _last(fact.get("points")) if isinstance(fact, dict) else None
            )
            facts.append(Fact(kind[:-1], str(name), _short(value), _witnesses(_dict(fact).get("witnesses"))))
    trainings = [_training(t) for t in _list(record.get("trainings"))[:MOST] if isinstance(t, dict)]
    notes = [str(n)[:500] for n in _list(record.get("notes"))[:100]]
    notes += [f"The server did not take {str(n)[:400]}" for n in _list(record.get("refused"))[:100]]
    return Told(facts, trainings, notes)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _last(points: Any) -> Any:
    found = _list(points)
    return found[-1][1] if found and isinstance(found[-1], list) and len(found[-1]) > 1 else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:199] + "…"


def _where(item: dict[str, Any]) -> str:
    file, line = str(item.get("file") or ""), item.get("line")
    return f"{file.rpartition('/')[2]}:{line}" if line else file.rpartition("/")[2]


def _witnesses(value: Any) -> list[tuple[str, str, str]]:
    return [
        (str(w.get("source", "")), _where(w), _short(str(w.get("expression") or "")))
        for w in _list(value)[:10]
        if isinstance(w, dict)
    ]


def _training(t: dict[str, Any]) -> Training:
    rows = [r for r in _list(t.get("sweep") or t.get("trials"))[:MOST] if isinstance(r, dict)]
    flat = [{**{k: v for k, v in r.items() if not isinstance(v, dict | list)}, **_dict(r.get("params"))} for r in rows]
    columns: dict[str, None] = {}
    for row in flat:
        columns.update(dict.fromkeys(row))
    names = list(columns)[:20]
    name = str(t.get("inner") or t.get("class") or "training")
    params = {str(k): _short(v) for k, v in list(_dict(t.get("params")).items())[:60]}
    params |= {f"best {k}": _short(v) for k, v in list(_dict(t.get("best_params")).items())[:60]}
    seconds = t.get("seconds")
    return Training(
        name[:120], _where(t), float(seconds) if isinstance(seconds, int | float) else None, params,
        _dict(t.get("metrics")), [str(n) for n in names], [[_short(row.get(n, "")) for n in names] for row in flat],
    )  # fmt: skip
