"""How much a metric hangs on each parameter, from runs that were made anyway. Pure; numpy only, nothing random, no permutations.

For each parameter the runs are put into groups: by its value, or, where it has many numeric values, into up to eight groups of
equally many runs along its order. The metric is replaced by its ranks (ties share their mean rank), so that one absurd loss
counts no more than any bad one. Then

    eta2       = sum over groups of n_g (mean rank of g - mean rank)^2 / sum over runs of (rank - mean rank)^2
    importance = max(0, 1 - (1 - eta2) (n - 1) / (n - k))        n runs, k groups

`eta2` is Pearson's correlation ratio; a parameter that means nothing would still have (k - 1) / (n - 1) of it if the runs were
shuffled, more the more values it has, and the second line takes just that out (epsilon squared: T. L. Kelley, "An unbiased
correlation ratio measure", PNAS 21, 1935). 0 is what a shuffled parameter has, 1 explains the metric's order wholly; unlike a
correlation it also sees an optimum in the middle. Two parameters that were always changed together get the same credit.

The confidence that it is not chance is the distribution of (n - 1) eta2 under shuffling, which is Kruskal's and Wallis' H
(JASA 47, 1952): chi-squared with k - 1 degrees of freedom, computed as E. B. Wilson and M. M. Hilferty showed (PNAS 17, 1931).
The direction is Spearman's rank correlation, for parameters that are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 5  # runs, below which nothing is said
GROUPS = 8
VALUES = 12  # so many different numbers are taken as groups of their own,
EACH = 3  # if there are as many runs of each, on the average


@dataclass(frozen=True)
class Share:
    """One parameter: how much the metric hangs on it (0 to 1), in which direction (-1 to 1; None where it is no number), how
    sure it is that this isn't chance (0 to 1), how many runs have it, and how many values it takes."""

    key: str
    kind: str  # number or category
    importance: float
    direction: float | None
    confidence: float
    runs: int
    values: int


def shares(params: Mapping[str, Sequence[str | None]], metric: Sequence[float]) -> list[Share]:
    """The parameters that differ, the most important first. `params`: by key, each run's value or None; `metric`: each
    run's value.

    Runs whose metric is not finite are left out.
    """
    target = np.asarray(metric, np.float64)
    finite = np.isfinite(target)
    found = []
    for key, values in params.items():
        has = finite & np.array([value is not None for value in values], bool)
        share = _share(key, [str(values[int(at)]) for at in np.flatnonzero(has)], target[has])
        if share is not None:
            found.append(share)
    return sorted(found, key=lambda s: (-s.importance, -s.confidence, s.key))


def _share(key: str, values: Sequence[str], target: NDArray[np.float64]) -> Share | None:
    different = len(set(values))
    n = len(values)
    if n < FEWEST or different < 2:
        return None
    numbers = _numbers(values)
    apart = numbers is None or (different <= VALUES and n >= EACH * different)
    groups = np.unique(values, return_inverse=True)[1] if apart or numbers is None else _along(numbers)
    y = ranks(target)
    k = int(groups.max()) + 1
    spread = float(((y - y.mean()) ** 2).sum())
    if spread == 0 or k < 2 or k >= n:
        return Share(key, "category" if numbers is None else "number", 0.0, None, 0.0, n, different)
    sizes = np.bincount(groups, minlength=k)
    means = np.bincount(groups, weights=y, minlength=k) / np.maximum(sizes, 1)
    ratio = min(1.0, float((sizes * (means - y.mean()) ** 2).sum()) / spread)
    importance = max(0.0, 1 - (1 - ratio) * (n - 1) / (n - k))
    direction = None if numbers is None else float(np.corrcoef(ranks(numbers), y)[0, 1])
    kind = "category" if numbers is None else "number"
    return Share(key, kind, importance, direction, chi_squared((n - 1) * ratio, k - 1), n, different)


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        found = np.array([float(value) for value in values])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _along(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Groups of about equally many runs along the order; equal numbers are in one group."""
    wanted = max(2, min(GROUPS, len(numbers) // FEWEST))
    raw = np.floor((ranks(numbers) - 0.5) * wanted / len(numbers)).astype(np.int64)
    return np.unique(raw, return_inverse=True)[1]


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 to n; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return mean


def chi_squared(x: float, freedom: int) -> float:
    """The probability that a chi-squared number with so many degrees of freedom is below `x`; within 0.01 of it."""
    if x <= 0:
        return 0.0
    if freedom == 1:
        return math.erf(math.sqrt(x / 2))
    if freedom == 2:
        return 1 - math.exp(-x / 2)
    spread = 2 / (9 * freedom)
    z = ((x / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
