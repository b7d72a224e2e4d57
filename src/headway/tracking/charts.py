"""Series as charts ask for them: `{"x": "step" | "time" | "relative", "series": [{"name", "x", "y"}]}`, 1,000 points each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from headway.tracking import history, runtable, series
from headway.tracking.readout import RunFacts

AXES = ("step", "time", "relative")
PARAMETERS, METRICS = 6, 3  # axes of each kind in parallel coordinates
WIDE = 50.0


def lines(
    db: Session,
    runs: Sequence[RunFacts],
    key: str,
    *,
    x: str = "step",
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """One metric of one or several runs. `x`: "step", "time" (bounds and positions are milliseconds since the epoch) or
    "relative" (milliseconds since each run began).
    """
    found = []
    asked = (low, high)
    for run in runs:
        if key not in run.metrics:
            continue
        origin = run.start_time or 0 if x == "relative" else 0
        if x != "step":
            low, high = (None if bound is None else bound + origin for bound in asked)
            points = history.chart(db, run.id, key, most=history.CHART if low is None and high is None else 10**9)
            if low is not None or high is not None:
                keep = (points.times >= (low or 0)) & (points.times <= (math.inf if high is None else high))
                points = series.for_chart(points.take(keep), history.CHART)
            points = points.take(points.times.argsort(kind="stable"))
        else:
            bounds = [None if b is None else int(b) for b in (low, high)]
            points = history.chart(db, run.id, key, low=bounds[0], high=bounds[1])
        position = points.steps if x == "step" else points.times - origin
        values = [v if math.isfinite(v) else None for v in points.values.tolist()]
        found.append({"name": run.name or run.uuid[:8], "key": run.uuid, "start": run.start_time, "x": position.tolist(),
                      "y": values})  # fmt: skip
    return {"series": found, "x": x}


def parallel(runs: Sequence[RunFacts], url: Callable[[str], str]) -> dict[str, Any]:
    """Parallel coordinates of what differs: parameters first, then the metrics that most runs have, the most common one last.

    `{"axes": [{"name", "log"?}], "runs": [{"id", "name", "url", "values"}]}`; a parameter all of whose values are numbers is one.
    """
    params = [row for row in runtable.diff([run.params for run in runs]) if _tells(row.values)]
    params = sorted(params, key=lambda row: sum(v is None for v in row.values))[:PARAMETERS]
    found = runtable.diff([{key: m.last for key, m in run.metrics.items() if math.isfinite(m.last)} for run in runs])
    metrics = [row for row in found if _tells(row.values) and not row.key.startswith("system/")]
    metrics = sorted(metrics, key=lambda row: sum(v is None for v in row.values))[:METRICS]
    columns = [_numbers(row.values) for row in params] + [row.values for row in reversed(metrics)]
    axes = [{"name": row.key, "log": _is_wide(column)} for row, column in zip(params, columns, strict=False)]
    axes += [{"name": row.key} for row in reversed(metrics)]
    lines_ = [
        {
            "id": run.uuid,
            "name": run.name or run.uuid[:8],
            "url": url(run.uuid),
            "values": [column[at] for column in columns],
        }
        for at, run in enumerate(runs)
    ]
    return {"axes": axes, "runs": lines_}


def _tells(values: Sequence[str | float | None]) -> bool:
    """Whether an axis has at least two places."""
    return len({value for value in values if value is not None}) > 1


def _numbers(values: Sequence[str | float | None]) -> tuple[str | float | None, ...]:
    """The values as numbers, if all of them are finite ones; else as they are."""
    try:
        numbers = tuple(None if value is None else float(value) for value in values)
    except ValueError:
        return tuple(values)
    return numbers if all(n is None or math.isfinite(n) for n in numbers) else tuple(values)


def _is_wide(values: Sequence[str | float | None]) -> bool:
    """Whether positive numbers span so much that their sizes matter more than their differences: a learning rate."""
    numbers = [value for value in values if isinstance(value, float)]
    return len(numbers) > 1 and min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE


def course(runs: Sequence[RunFacts], key: str) -> dict[str, Any]:
    """One metric's last value in each run, over the time the runs began."""
    points = sorted((r.start_time or 0, r.metrics[key].last) for r in runs if key in r.metrics)
    shown = [(at, value) for at, value in points if math.isfinite(value)]
    return {"series": [{"name": key, "key": key, "x": [p[0] for p in shown], "y": [p[1] for p in shown]}], "x": "time"}
