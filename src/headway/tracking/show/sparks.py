"""Small pictures of many series: one statement for all metrics of a run, a few dozen values each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.tracking.store import keys, series
from headway.tracking.store.readout import RunFacts

VALUES = 48
POINTS = 2_000_000
"""Series whose points together are more are left out, the longest first."""
_ALL = text(
    "SELECT key_id, COALESCE(sketch, data) FROM series_chunks WHERE run_id = :run AND key_id IN :keys ORDER BY key_id, id"
).bindparams(bindparam("keys", expanding=True))


def sparks(db: Session, run: RunFacts, names: Sequence[str]) -> dict[str, list[float | None]]:
    """About `VALUES` values of each of these metrics that is a curve: the mean of as many pieces; NaN is None."""
    curves = sorted(
        (k for k in names if k in run.metrics and run.metrics[k].is_curve), key=lambda k: run.metrics[k].points
    )
    wanted, total = [], 0
    for key in curves:
        total += run.metrics[key].points
        if total > POINTS:
            break
        wanted.append(key)
    ids = {number: key for key, number in keys.find(db, wanted).items()}
    parts: dict[str, list[series.Points]] = {}
    if ids:
        for key_id, data in db.execute(_ALL, {"run": run.id, "keys": list(ids)}):
            parts.setdefault(ids[key_id], []).append(series.unpack(data))
    return {key: shrunk(series.ordered(series.join(found)).values) for key, found in parts.items()}


def shrunk(values: series.Floats, most: int = VALUES) -> list[float | None]:
    """At most `most` values: those there are, or means of equally many."""
    if len(values) > most:
        pieces = np.array_split(values, most)
        found = [float(np.mean(p[np.isfinite(p)])) if np.isfinite(p).any() else math.nan for p in pieces]
    else:
        found = values.tolist()
    return [v if math.isfinite(v) else None for v in found]
