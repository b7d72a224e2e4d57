"""Reading series: all points in order page by page, a chart's worth of them, and the same for several runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.tracking import keys, series
from headway.tracking.series import Points
from headway.web.paging import cursor, uncursor

_CHUNKS = text("SELECT data FROM series_chunks WHERE run_id = :run AND key_id = :key ORDER BY id")
_WITHIN = text(
    "SELECT data FROM series_chunks WHERE run_id = :run AND key_id = :key AND step_high >= :low AND step_low <= :high"
    " ORDER BY id"
)
_WITHIN_SKETCHES = text(
    "SELECT COALESCE(sketch, data) FROM series_chunks WHERE run_id = :run AND key_id = :key AND step_high >= :low"
    " AND step_low <= :high ORDER BY id"
)
_COUNT = text(
    "SELECT COALESCE(SUM(points), 0) FROM series_chunks WHERE run_id = :run AND key_id = :key AND step_high >= :low"
    " AND step_low <= :high"
)
_EVERY = (-(2**63), 2**63 - 1)
EXACT = 20_000  # up to so many points a chart is made of all of them, beyond of the sketches
CHART = 1000


def whole(db: Session, run_id: int, key: str) -> Points:
    """All points of a series, ordered, exact duplicates once. Empty for a series that isn't there."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return series.EMPTY
    rows = db.execute(_CHUNKS, {"run": run_id, "key": key_id}).scalars()
    return series.ordered(series.join([series.unpack(data) for data in rows]))


def page(db: Session, run_id: int, key: str, limit: int | None, token: str | None) -> tuple[Points, str]:
    """Points in the order they were logged in (step, then time), at most `limit`, and the token of the next page or ""."""
    found = whole(db, run_id, key)
    at = 0
    if token:
        values = uncursor(token, 3)
        if values[0] != f"{run_id}/{key}" or not isinstance(values[1], int) or not isinstance(values[2], int):
            raise BadInput("Invalid page token: it is not one of this series.")
        # the place is found by the last step, so that points logged meanwhile neither repeat nor hide others
        at = int((found.steps < values[1]).sum()) + values[2]
    if limit is None or at + limit >= len(found):
        return found.take(slice(at, None)), ""
    shown = found.take(slice(at, at + limit))
    step = int(shown.steps[-1])
    same = at + limit - int((found.steps < step).sum())
    return shown, cursor([f"{run_id}/{key}", step, same])


def chart(
    db: Session, run_id: int, key: str, *, low: int | None = None, high: int | None = None, most: int = CHART
) -> Points:
    """At most about `most` points between two steps (both included) that look like all of them: no spike is lost."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return series.EMPTY
    asked = {"run": run_id, "key": key_id, "low": _EVERY[0] if low is None else low,
             "high": _EVERY[1] if high is None else high}  # fmt: skip
    many = int(db.execute(_COUNT, asked).scalar_one()) > EXACT
    rows = db.execute(_WITHIN_SKETCHES if many else _WITHIN, asked).scalars()
    found = series.ordered(series.join([series.unpack(data) for data in rows]))
    if low is not None or high is not None:
        found = found.take((found.steps >= asked["low"]) & (found.steps <= asked["high"]))
    return series.for_chart(found, most)


def sampled(
    db: Session, run_ids: Sequence[int], key: str, *, low: int | None, high: int | None, most: int
) -> dict[int, Points]:
    """For each run the points at about `most` steps, the same steps for all, and its first and last one.

    A run with far more points than steps (all at step 0, say) is sampled by rank instead; long series from their sketches.
    """
    key_id = keys.find(db, [key]).get(key)
    found: dict[int, Points] = {}
    for run_id in run_ids:
        if key_id is None:
            found[run_id] = series.EMPTY
            continue
        asked = {"run": run_id, "key": key_id, "low": _EVERY[0] if low is None else low,
                 "high": _EVERY[1] if high is None else high}  # fmt: skip
        many = int(db.execute(_COUNT, asked).scalar_one()) > EXACT * 5
        rows = db.execute(_WITHIN_SKETCHES if many else _WITHIN, asked).scalars()
        p = series.ordered(series.join([series.unpack(data) for data in rows]))
        found[run_id] = p.take((p.steps >= asked["low"]) & (p.steps <= asked["high"]))
    steps = np.unique(np.concatenate([p.steps for p in found.values()])) if found else np.empty(0, np.int64)
    if len(steps) > most:
        steps = np.append(steps[:: -(-len(steps) // most)], steps[-1])
    for run_id, p in found.items():
        if len(p) > 2 * most:
            some = p.take(np.isin(p.steps, np.append(steps, [p.steps[0], p.steps[-1]])))
            found[run_id] = some if len(some) <= 2 * most else series.by_rank(p, most)
        elif len(p):
            found[run_id] = p.take(np.isin(p.steps, np.append(steps, [p.steps[0], p.steps[-1]])))
    return found
