"""Runs by the values of a parameter, a tag or an attribute, and what a metric hangs on. The contract is in `runtable`.

Whole columns are read from their indexes and joined here: a hundred thousand runs are a few arrays, not a join of tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.storage import direct
from headway.tracking.find import arrays, counting, query
from headway.tracking.find.search import Order, column_id, goal, parse_filter, parse_order
from headway.tracking.show import cells, importance
from headway.tracking.store import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1000
STUDIED = 3000  # runs that importance is worked out from, the latest
_ATTRIBUTES = ("status", "user_id", "experiment_id")


def metric(name: str) -> Order:
    """The metric that is meant, written as in an order. Raises `BadInput`."""
    order = parse_order(name)
    if order.kind != "metric":
        raise BadInput(
            f"'{name[:80]}' is no metric.", hint="For example: metrics.auc, min(metrics.loss)", field="metric"
        )
    return order


def groups(db: Session, who: Who, project: Project, ask: cells.Ask, by: str, measured: str = "") -> dict[str, Any]:
    """How many runs have each value of `by`, and a metric of theirs. Raises `BadInput`. The caller has checked `who`."""
    if not 1 <= ask.limit <= MOST:
        raise BadInput(f"1 to {MOST} groups can be asked for, not {ask.limit}.", field="limit")
    where, clauses = cells.scope(db, who, project, ask), parse_filter(ask.filter)
    shown = metric(measured) if measured else None
    ids = arrays.ids(db, where, clauses)
    values, group = split(db, where, by, ids)
    ranked, sizes = by_size(values, group)
    measures = _measures(arrays.metric(db, where, shown.key, shown.of, ids), group, len(values)) if shown else {}
    found = [
        {"value": values[at], "runs": sizes[at], "filter": _filter(by, values[at])}
        | {name: _told(column[at]) for name, column in measures.items()}
        for at in ranked[: ask.limit]
    ]
    return {"by": by, "groups": found, "more": len(ranked) > ask.limit, "total": len(ranked)}


def by_size(values: Sequence[Any], group: arrays.Ints) -> tuple[list[int], list[int]]:
    """The places of the groups that `split` found, the largest first (then by value, none last), and the sizes of all."""
    sizes: list[int] = np.bincount(group, minlength=len(values)).tolist()
    return sorted(range(len(values)), key=lambda at: (-sizes[at], values[at] is None, str(values[at]))), sizes


def split(db: Session, where: query.Scope, by: str, ids: arrays.Ints) -> tuple[list[Any], arrays.Ints]:
    """The different values of `by`, and for each of the runs (numbers, rising) the place of its value. Raises `BadInput`."""
    order = Order("attribute", "experiment_id") if by == "attributes.experiment_id" else parse_order(by)
    if order.kind == "attribute":
        if order.key not in _ATTRIBUTES:
            raise BadInput(
                f"Runs can't be grouped by {order.key}.", hint=f"Attributes: {', '.join(_ATTRIBUTES)}", field="by"
            )
        return arrays.by_attribute(db, where, order.key, ids)
    if order.kind in ("param", "tag"):
        return arrays.by_text(db, where, order.kind, order.key, ids)
    raise BadInput(
        "Runs are grouped by a parameter, a tag or an attribute.", hint="For example: params.model", field="by"
    )


def _filter(by: str, value: Any) -> str:
    if by.startswith("attributes.experiment_id"):
        return ""
    if value is None:
        return f"{by} IS NULL"
    return f"{by} = '{str(value).replace(chr(39), chr(39) * 2)}'"


def together(
    db: Session, where: query.Scope, runs: Sequence[query.RunRow], by: str, limit: int = 50
) -> dict[str, list[int]]:
    """The numbers of some runs by their values of `by`, those of most runs first. Raises `BadInput`."""
    ids = np.unique(np.array([run.id for run in runs], np.int64))
    values, group = split(db, where, by, ids)
    place = dict(zip(ids.tolist(), group.tolist(), strict=True))
    found: dict[str, list[int]] = {}
    for run in runs:
        value = values[place[run.id]]
        found.setdefault("none" if value is None else str(value), []).append(run.id)
    ranked = sorted(found, key=lambda name: (-len(found[name]), name))
    return {name: found[name] for name in ranked[:limit]}


def _measures(values: NDArray[np.float64], group: arrays.Ints, many: int) -> dict[str, Any]:
    """Mean, lowest and highest of a metric in each group; NaN where no run of the group has it."""
    has = np.isfinite(values)
    counts = np.bincount(group[has], minlength=many)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(group[has], weights=values[has], minlength=many) / np.where(counts, counts, np.nan)
    low, high = np.full(many, np.inf), np.full(many, -np.inf)
    np.minimum.at(low, group[has], values[has])
    np.maximum.at(high, group[has], values[has])
    return {"mean": mean, "min": low, "max": high}


def _told(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def what_matters(db: Session, who: Who, project: Project, ask: cells.Ask, measured: str) -> dict[str, Any]:
    """The parameters that differ between the runs, by how much a metric hangs on them (see `importance`). Raises `BadInput`.

    Worked out from the latest runs that the filter finds and that have the metric. The caller has checked `who`.
    """
    shown = metric(measured)
    where, clauses = cells.scope(db, who, project, ask), parse_filter(ask.filter)
    ids = counting.numbers(db, where, clauses, STUDIED)
    target = _metric_of(db, shown, ids)
    params = _params_of(db, [one for one in ids if one in target])
    order = [one for one in ids if one in target]
    found = importance.shares(
        {key: [its.get(one) for one in order] for key, its in params.items()}, [target[one] for one in order]
    )
    told = [
        {"key": s.key, "kind": s.kind, "importance": s.importance, "direction": _told(s.direction),
         "confidence": s.confidence, "runs": s.runs, "values": s.values}
        for s in found
    ]  # fmt: skip
    name = column_id("metric", shown.key, shown.of)
    return {"metric": name, "goal": goal(shown.key), "runs": len(order), "params": told}


def _metric_of(db: Session, shown: Order, ids: Sequence[int]) -> Mapping[int, float]:
    key_id = keys.find(db, [shown.key]).get(shown.key)
    if key_id is None:
        return {}
    part = {"last": "last", "min": "low", "max": "high"}[shown.of]
    text = f"SELECT run_id, {part}, is_nan FROM summaries WHERE key_id = ? AND run_id IN"  # noqa: S608
    rows = direct.of(db).among(text, ids, key_id)
    return {
        row[0]: row[1]
        for row in rows
        if row[1] is not None and math.isfinite(row[1]) and not (shown.of == "last" and row[2])
    }


def _params_of(db: Session, ids: Sequence[int]) -> dict[str, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    for run, key, value in direct.of(db).among("SELECT run_id, key_id, value FROM params WHERE run_id IN", ids):
        found.setdefault(key, {})[run] = value
    names = keys.names(db, found)
    return {names[key]: its for key, its in found.items()}
