"""Series as charts ask for them: `{"series": [{"name", "x", "y"}], "x": "step" | "time"}`, at most 1,000 points each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from headway.tracking import history, series
from headway.tracking.readout import RunFacts


def lines(
    db: Session,
    runs: Sequence[RunFacts],
    key: str,
    *,
    x: str = "step",
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """One metric of one or several runs. With `x="time"` bounds and positions are milliseconds since the epoch."""
    found = []
    for run in runs:
        if key not in run.metrics:
            continue
        if x == "time":
            points = history.chart(db, run.id, key, most=history.CHART if low is None and high is None else 10**9)
            if low is not None or high is not None:
                keep = (points.times >= (low or 0)) & (points.times <= (math.inf if high is None else high))
                points = series.for_chart(points.take(keep), history.CHART)
            points = points.take(points.times.argsort(kind="stable"))
        else:
            bounds = [None if b is None else int(b) for b in (low, high)]
            points = history.chart(db, run.id, key, low=bounds[0], high=bounds[1])
        position = points.times if x == "time" else points.steps
        values = [v if math.isfinite(v) else None for v in points.values.tolist()]
        found.append({"name": run.name or run.uuid[:8], "key": run.uuid, "x": position.tolist(), "y": values})
    return {"series": found, "x": x}


def course(runs: Sequence[RunFacts], key: str) -> dict[str, Any]:
    """One metric's last value in each run, over the time the runs began."""
    points = sorted((r.start_time or 0, r.metrics[key].last) for r in runs if key in r.metrics)
    shown = [(at, value) for at, value in points if math.isfinite(value)]
    return {"series": [{"name": key, "key": key, "x": [p[0] for p in shown], "y": [p[1] for p in shown]}], "x": "time"}
