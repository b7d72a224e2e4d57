"""Reading series: all points in order, piece by piece, page by page, a chart's worth of them, and the same for several runs.

However long a series is, no more of it is in memory than a piece of it, as long as its chunks follow each other: chunks are read
in the order of their first steps, and points are handed on once no later chunk can hold a smaller step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.storage import direct
from headway.storage.direct import Sql
from headway.tracking.store import keys, series
from headway.tracking.store.readout import Kept, of_engine
from headway.tracking.store.series import Points
from headway.web.paging import cursor, uncursor

_PARTS = Sql(
    "SELECT id, points, step_low, step_high, sketch IS NOT NULL FROM series_chunks WHERE run_id = ? AND key_id = ?"
    " AND step_high >= ? AND step_low <= ? ORDER BY step_low, id"
)
_SKETCHES = Sql(
    "SELECT COALESCE(sketch, data) FROM series_chunks WHERE run_id = ? AND key_id = ? AND step_high >= ? AND step_low <= ?"
    " ORDER BY id"
)
_LEAST, _MOST = -(2**63), 2**63 - 1
EXACT = 20_000  # up to so many points a chart is made of all of them, beyond of the sketches
CHART = 1000
PIECE = 16  # chunks that are read at once
_SAMPLES = 16 << 20  # bytes of samples that are remembered


@dataclass(frozen=True)
class _Part:
    """A chunk: how many points, from which step to which, and whether it was folded, and so holds no point twice."""

    id: int
    points: int
    low: int
    high: int
    folded: bool


def _bounds(low: int | None, high: int | None) -> tuple[int, int]:
    """Steps as the database can hold them."""
    return max(_LEAST, _LEAST if low is None else low), min(_MOST, _MOST if high is None else high)


def _parts(db: Session, run_id: int, key_id: int, low: int, high: int) -> list[_Part]:
    if low > _MOST or high < _LEAST:
        return []
    return [
        _Part(row[0], row[1], row[2], row[3], bool(row[4]))
        for row in direct.of(db).rows(_PARTS, [run_id, key_id, low, high])
    ]


def _decoded(db: Session, parts: Sequence[_Part]) -> Iterator[Points]:
    for at in range(0, len(parts), PIECE):
        some = parts[at : at + PIECE]
        data: dict[int, bytes] = dict(
            direct.of(db).among("SELECT id, data FROM series_chunks WHERE id IN", [part.id for part in some])
        )
        for part in some:
            yield series.unpack(bytes(data[part.id]))


def _ordered(db: Session, parts: Sequence[_Part]) -> Iterator[Points]:
    """The points of chunks that are sorted by their first steps: in order, exact duplicates once, in pieces."""
    held: list[Points] = []
    for at, points in enumerate(_decoded(db, parts)):
        held.append(points)
        bound = parts[at + 1].low if at + 1 < len(parts) else None
        if bound is not None and all(bound <= int(one.steps.min()) for one in held):
            continue  # nothing can be handed on yet, so nothing need be sorted
        found = series.ordered(series.join(held))
        cut = len(found) if bound is None else int(np.searchsorted(found.steps, bound))
        held = [found.take(slice(cut, None))] if cut < len(found) else []
        yield found.take(slice(0, cut))


def pieces(db: Session, run_id: int, key: str, *, low: int | None = None, high: int | None = None) -> Iterator[Points]:
    """All points between two steps (both included) in order, exact duplicates once, in pieces of some thousand."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return
    least, most = _bounds(low, high)
    for piece in _ordered(db, _parts(db, run_id, key_id, least, most)):
        if low is not None or high is not None:
            piece = piece.take((piece.steps >= least) & (piece.steps <= most))
        if len(piece):
            yield piece


def whole(db: Session, run_id: int, key: str) -> Points:
    """All points of a series, ordered, exact duplicates once. Empty for a series that isn't there. See `pieces` for long ones."""
    return series.join(list(pieces(db, run_id, key)))


def page(db: Session, run_id: int, key: str, limit: int | None, token: str | None) -> tuple[Points, str]:
    """Points in the order they were logged in (step, then time), at most `limit`, and the token of the next page or ""."""
    start, passed = None, 0
    if token:
        values = uncursor(token, 3)
        if values[0] != f"{run_id}/{key}" or not _whole(values[1]) or not _whole(values[2]):
            raise BadInput("Invalid page token: it is not one of this series.")
        # the place is found by the last step, so that points logged meanwhile neither repeat nor hide others
        start, passed = int(values[1] or 0), int(values[2] or 0)
    found: list[Points] = []
    have = 0
    for piece in pieces(db, run_id, key, low=start):
        found.append(piece)
        have += len(piece)
        if limit is not None and have > passed + limit:
            break
    points = series.join(found)
    shown = points.take(slice(passed, None if limit is None else passed + limit))
    if limit is None or have <= passed + limit:
        return shown, ""
    step = int(shown.steps[-1])
    same = int((points.steps[: passed + limit] == step).sum())
    return shown, cursor([f"{run_id}/{key}", step, same])


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def chart(
    db: Session, run_id: int, key: str, *, low: int | None = None, high: int | None = None, most: int = CHART
) -> Points:
    """At most `most` points between two steps (both included) that look like all of them: no spike is lost."""
    return series.for_chart(_for_chart(db, run_id, key, low, high), most)


def _for_chart(db: Session, run_id: int, key: str, low: int | None, high: int | None) -> Points:
    """The points between two steps, or where they are many, the first, lowest and highest of each 64."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return series.EMPTY
    least, most = _bounds(low, high)
    parts = _parts(db, run_id, key_id, least, most)
    if sum(part.points for part in parts) > EXACT:
        rows = direct.of(db).rows(_SKETCHES, [run_id, key_id, least, most])
        found = series.ordered(series.join([series.unpack(bytes(row[0])) for row in rows]))
    else:
        found = series.join(list(_ordered(db, parts)))
    if low is not None or high is not None:
        found = found.take((found.steps >= least) & (found.steps <= most))
    return found


def chart_in_time(
    db: Session, run_id: int, key: str, *, low: float | None = None, high: float | None = None, most: int = CHART
) -> Points:
    """As `chart`, between two times (ms since the epoch), in the order of time. The steps that lie between are asked for again,
    so that zooming in shows every point."""
    found = _for_chart(db, run_id, key, None, None)
    if low is not None or high is not None:
        least, last = -np.inf if low is None else low, np.inf if high is None else high
        inside = np.flatnonzero((found.times >= least) & (found.times <= last))
        around = found.take(slice(max(0, int(inside[0]) - 1), int(inside[-1]) + 2)) if len(inside) else found
        found = _for_chart(db, run_id, key, int(around.steps.min()), int(around.steps.max())) if len(around) else found
        found = found.take((found.times >= least) & (found.times <= last))
    found = found.take(np.argsort(found.times, kind="stable"))
    return series.for_chart(found, most)


# ------------------------------------------------------------------ evenly by rank, as MLflow samples
def sampled(
    db: Session, run_ids: Sequence[int], key: str, *, low: int | None, high: int | None, most: int
) -> dict[int, Points]:
    """For each run at most `most` points, exactly those that `mlflow server` (3.17) answers for the same data.

    It sorts by step, time and value, cuts them with SQL's NTILE into `most` parts whose sizes differ by one at most (the longer
    ones first), takes the first of each, and puts the very last in the place of the last one
    (`SqlAlchemyStore._sample_rows_with_window_functions`). A series that doesn't change is sampled once.
    """
    key_id = keys.find(db, [key]).get(key)
    least, last = _bounds(low, high)
    found: dict[int, Points] = {}
    kept = of_engine(db, "samples", lambda: Kept[Points](_SAMPLES))
    for run_id in run_ids:
        parts = [] if key_id is None else _parts(db, run_id, key_id, least, last)
        name = f"{run_id}/{key_id}/{least}/{last}/{most}"
        state = hash(tuple((part.id, part.points) for part in parts))
        points = kept.get(name, state)
        if points is None:
            points = _sample(db, parts, least, last, most)
            kept.put(name, state, points, 24 * len(points) + 400)
        found[run_id] = points
    return found


def _sample(db: Session, parts: Sequence[_Part], low: int, high: int, most: int) -> Points:
    def within() -> Iterator[Points]:
        for piece in _ordered(db, parts):
            if len(piece) and (piece.steps[0] < low or piece.steps[-1] > high):
                piece = piece.take((piece.steps >= low) & (piece.steps <= high))
            if len(piece):
                yield _by_value(piece)

    apart = all(a.high < b.low for a, b in pairwise(parts))
    inside = all(part.folded and low <= part.low and part.high <= high for part in parts)
    if not parts:
        return series.EMPTY
    total = sum(part.points for part in parts) if apart and inside else sum(len(piece) for piece in within())
    places, passed, found = by_rank(total, most), 0, []
    for piece in within():
        its = places[(places >= passed) & (places < passed + len(piece))] - passed
        found.append(piece.take(its))
        passed += len(piece)
    return series.join(found)


def by_rank(total: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
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
