"""A metric's course in groups of runs: of each group the mean of its runs and the band around it. The contract is in `runtable`.

Of a group of many runs an even share is read, by their numbers, so that a group of ten thousand costs what one of fifty does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from headway.people.rules import Who
from headway.projects.tables import Project
from headway.storage import direct
from headway.tracking.find import arrays
from headway.tracking.find.search import parse_filter
from headway.tracking.show import bands, cells, charts, grouping
from headway.tracking.store import history, samples
from headway.tracking.store.series import Points

READ = 400  # runs whose curves are read, of all groups together


def group_curves(
    db: Session, who: Who, project: Project, ask: cells.Ask, by: str, key: str, *, x: str = "step", kind: str = "range",
    low: float | None = None, high: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The `ask.limit` groups of most runs that have the metric. Raises `BadInput`. The caller has checked `who`.

    `x`: step, time (ms since the epoch) or relative (ms since each run began); `low` and `high` are bounds on it. `kind`: of the
    band, see `bands.band`. Each series says how many `runs` its group has that have the metric, and how many were `read`.
    """
    where = cells.scope(db, who, project, ask)
    ids = np.intersect1d(
        arrays.ids(db, where, parse_filter(ask.filter)), arrays.having(db, where, key), assume_unique=True
    )
    values, group = grouping.split(db, where, by, ids)
    ranked = grouping.by_size(values, group)[0][: ask.limit]
    found = []
    for at in ranked:
        members = ids[group == at]
        evenly = np.linspace(0, len(members) - 1, min(len(members), max(1, READ // len(ranked))))
        some = members[np.unique(evenly.astype(np.int64))].tolist()
        curves = _curves(db, some, key, x, low, high)
        band = bands.band(curves, kind)
        if curves:
            name = "none" if values[at] is None else str(values[at])
            found.append({"key": f"group:{name}", "name": name, "runs": len(members), "read": len(some), "x": band.steps.tolist(),
                          "y": band.mean.tolist(), "low": band.low.tolist(), "high": band.high.tolist(),
                          "count": band.count.tolist()})  # fmt: skip
    return {"x": x, "series": found}


def _curves(db: Session, runs: list[int], key: str, x: str, low: float | None, high: float | None) -> list[Points]:
    """The runs' courses, with positions on the axis for steps."""
    if x == "step":
        least, most = charts.whole_step(low, math.ceil), charts.whole_step(high, math.floor)
        found = list(samples.sampled(db, runs, key, low=least, high=most, most=history.CHART).values())
    else:
        starts: dict[int, int | None] = dict(direct.of(db).among("SELECT id, start_time FROM runs WHERE id IN", runs))
        found = [_in_time(db, run, key, (starts[run] or 0) if x == "relative" else 0, low, high) for run in runs]
    return [one for one in found if len(one)]


def _in_time(db: Session, run: int, key: str, origin: int, low: float | None, high: float | None) -> Points:
    least, most = (None if bound is None else bound + origin for bound in (low, high))
    found = history.chart_in_time(db, run, key, low=least, high=most)
    return Points(found.times - origin, found.times, found.values)
