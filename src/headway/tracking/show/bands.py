"""The mean of several curves and the band around it, aligned on steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.tracking.store.series import Floats, Ints, Points

MOST = 1000
KINDS = ("range", "deviation")


@dataclass(frozen=True)
class Band:
    """At each step the mean of the curves that reach over it, the band's ends, and how many curves that are."""

    steps: Ints
    mean: Floats
    low: Floats
    high: Floats
    count: Ints


def band(curves: Sequence[Points], kind: str = "range", most: int = MOST) -> Band:
    """The mean and the band of curves, at the steps that any of them has, at most `most` of them, evenly by rank.

    Between two of its steps a curve counts with the straight line between them, before its first and after its last it does not
    count: a run that ended early pulls nothing. Points that are not finite are left out; where a step has several points, their
    mean counts. `kind`: "range" (the lowest and the highest curve) or "deviation" (the mean and once the standard deviation
    of the curves).
    """
    clean = [_curve(curve) for curve in curves]
    clean = [(steps, values) for steps, values in clean if len(steps)]
    if not clean:
        nothing, steps = np.zeros(0), np.zeros(0, np.int64)
        return Band(steps, nothing, nothing, nothing, steps)
    grid = np.unique(np.concatenate([steps for steps, _ in clean]))
    if len(grid) > most:
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, most).astype(np.int64))]
    rows = np.full((len(clean), len(grid)), np.nan)
    for row, (steps, values) in zip(rows, clean, strict=True):
        inside = (grid >= steps[0]) & (grid <= steps[-1])
        row[inside] = np.interp(grid[inside], steps, values)
    there = ~np.isnan(rows)
    count = there.sum(axis=0)
    kept = count > 0  # steps of the grid that lie in a gap between curves
    rows, there, grid, count = rows[:, kept], there[:, kept], grid[kept], count[kept]
    mean = np.where(there, rows, 0).sum(axis=0) / count
    if kind == "deviation":
        square = np.where(there, (rows - mean) ** 2, 0).sum(axis=0)
        spread = np.sqrt(square / np.maximum(count - 1, 1))
        return Band(grid, mean, mean - spread, mean + spread, count)
    return Band(
        grid, mean, np.where(there, rows, np.inf).min(axis=0), np.where(there, rows, -np.inf).max(axis=0), count
    )


def _curve(points: Points) -> tuple[Ints, Floats]:
    """Steps, each once, and the mean of the finite values at it."""
    finite = np.isfinite(points.values)
    steps, place = np.unique(points.steps[finite], return_inverse=True)
    counts = np.bincount(place, minlength=len(steps))
    return steps, np.bincount(place, weights=points.values[finite], minlength=len(steps)) / np.maximum(counts, 1)
