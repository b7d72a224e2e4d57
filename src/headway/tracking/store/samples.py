"""Series sampled evenly by rank, exactly as MLflow samples them, from as few chunks as that takes.

Folded chunks that overlap no others say how many points they hold, so the chunk of a rank is known without reading any; only
those that hold a wanted point are read. Chunks that overlap, loose ones and those at the bounds are read to be counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from headway.tracking.store import history, keys, series
from headway.tracking.store.history import Part, Reader
from headway.tracking.store.readout import Kept, of_engine
from headway.tracking.store.series import Points

_SAMPLES = 8 << 20  # bytes of samples that are remembered
_HELD = 100_000  # points that were read to be counted and are kept to be sampled


@dataclass
class _Cluster:
    """Chunks that overlap each other and none of the others. `known`: one chunk that says itself how many points it has; else
    they were read to be counted, and `points` holds them unless they were too many."""

    parts: list[Part]
    count: int = 0
    known: bool = True
    points: list[Points] | None = None


def sampled(
    db: Reader, run_ids: Sequence[int], key: str, *, low: int | None, high: int | None, most: int
) -> dict[int, Points]:
    """For each run at most `most` points, exactly those that `mlflow server` (3.17) answers for the same data.

    It sorts by step, time and value, cuts them with SQL's NTILE into `most` parts whose sizes differ by one at most (the longer
    ones first), takes the first of each, and puts the very last in the place of the last one
    (`SqlAlchemyStore._sample_rows_with_window_functions`). A series that doesn't change is sampled once.
    """
    key_id = keys.find(db, [key]).get(key)
    least, last = history.bounds(low, high)
    found: dict[int, Points] = {}
    kept = of_engine(db, "samples", lambda: Kept[Points](_SAMPLES))
    for run_id in run_ids:
        parts = [] if key_id is None else history.parts_of(db, run_id, key_id, least, last)
        name = f"{run_id}/{key_id}/{least}/{last}/{most}"
        state = hash(tuple(parts))
        points = kept.get(name, state)
        if points is None:
            points = _sample(db, parts, least, last, most)
            kept.put(name, state, points, 24 * len(points) + 400)
        found[run_id] = points
    return found


def _sample(db: Reader, parts: Sequence[Part], low: int, high: int, most: int) -> Points:
    clusters = list(_clusters(parts))
    _count(db, clusters, low, high)
    ends = np.cumsum([0, *(cluster.count for cluster in clusters)])
    places = by_rank(int(ends[-1]), most)
    cuts = np.searchsorted(places, ends)  # where in the places each cluster's begin
    wanted = [
        (cluster, places[cuts[at] : cuts[at + 1]] - ends[at])
        for at, cluster in enumerate(clusters)
        if cuts[at] < cuts[at + 1]
    ]
    return series.join([_by_value(piece).take(its) for piece, its in _placed(db, wanted, low, high)])


def _clusters(parts: Sequence[Part]) -> Iterator[_Cluster]:
    """`parts` are in the order of their first steps."""
    made: list[Part] = []
    high = 0
    for part in parts:
        if made and part.low > high:
            yield _Cluster(made)
            made = []
        high = max(high, part.high) if made else part.high
        made.append(part)
    if made:
        yield _Cluster(made)


def _count(db: Reader, clusters: Sequence[_Cluster], low: int, high: int) -> None:
    """Find how many points between two steps each cluster has."""
    kept = 0
    for cluster in clusters:
        part = cluster.parts[0]
        if len(cluster.parts) == 1 and part.folded and low <= part.low and part.high <= high:
            cluster.count = part.points
            continue
        read: list[Points] | None = []
        for piece in _within(db, cluster.parts, low, high):
            cluster.count += len(piece)
            if read is not None:  # too many to keep are read again where they are wanted
                read = [*read, piece] if kept + cluster.count <= _HELD else None
        cluster.known = False
        cluster.points = read
        kept += cluster.count if read is not None else 0


def _within(db: Reader, parts: Sequence[Part], low: int, high: int) -> Iterator[Points]:
    """The points of chunks between two steps, in order, in pieces that share no step."""
    for piece in history.ordered(db, parts):
        if len(piece) and (piece.steps[0] < low or piece.steps[-1] > high):
            piece = piece.take((piece.steps >= low) & (piece.steps <= high))
        if len(piece):
            yield piece


Places: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def _placed(
    db: Reader, wanted: Sequence[tuple[_Cluster, Places]], low: int, high: int
) -> Iterator[tuple[Points, Places]]:
    """Pieces of points with the places in them that are wanted. Chunks that stand alone are read several at once."""
    alone: list[tuple[_Cluster, Places]] = []
    for cluster, places in wanted:
        if cluster.known and len(alone) < history.PIECE:
            alone.append((cluster, places))
            continue
        yield from _alone(db, alone)
        alone = [(cluster, places)] if cluster.known else []
        if cluster.known:
            continue
        passed = 0
        for piece in _within(db, cluster.parts, low, high) if cluster.points is None else cluster.points:
            yield piece, places[(places >= passed) & (places < passed + len(piece))] - passed
            passed += len(piece)
    yield from _alone(db, alone)


def _alone(db: Reader, some: Sequence[tuple[_Cluster, Places]]) -> Iterator[tuple[Points, Places]]:
    found = history.decoded(db, [cluster.parts[0] for cluster, _ in some])
    yield from zip(found, (places for _, places in some), strict=True)


def by_rank(total: int, most: int) -> Places:
    """The places, from 0, of the points that NTILE(most) keeps of `total`, the last one in the place of the last part's first."""
    parts = np.arange(min(total, max(1, most)), dtype=np.int64)
    short, longer = divmod(total, max(1, most))
    places = parts * short + np.minimum(parts, longer)
    places[-1:] = total - 1
    return places


def _by_value(p: Points) -> Points:
    """Points of one step and time in the order of their values, NaN as the 0 that MLflow stores for it."""
    same = (p.steps[1:] == p.steps[:-1]) & (p.times[1:] == p.times[:-1])
    if not same.any():
        return p
    nan = np.isnan(p.values)
    return p.take(np.lexsort((nan, np.where(nan, 0.0, p.values), p.times, p.steps)))
