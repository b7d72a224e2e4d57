"""Reading series: all points in order, piece by piece, page by page, and a chart's worth of them (`samples.py`: as MLflow does).

However long a series is, no more of it is in memory than a piece of it, as long as its chunks follow each other: chunks are read
in the order of their first steps, and points are handed on once no later chunk can hold a smaller step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.storage import direct
from headway.storage.direct import Direct, Sql
from headway.tracking.store import keys, series
from headway.tracking.store.series import Points
from headway.web.paging import cursor, uncursor

_PARTS = Sql(
    "SELECT id, points, step_low, step_high, sketch IS NOT NULL FROM series_chunks WHERE run_id = ? AND key_id = ?"
    " AND step_high >= ? AND step_low <= ? ORDER BY step_low, id"
)
_SKETCHES = "SELECT id, COALESCE(sketch, data) FROM series_chunks WHERE id IN"
Reader = Session | Direct
_LEAST, _MOST = -(2**63), 2**63 - 1
EXACT = 20_000  # up to so many points a chart is made of all of them, beyond of the sketches
CHART = 1000
PIECE = 16  # chunks that are read at once
SKETCHES = 256  # sketches that are read at once
_HELD = 100_000  # points that a chart is made of at most, however long the series is


class Part(NamedTuple):
    """A chunk: how many points, from which step to which, and whether it was folded, and so holds no point twice."""

    id: int
    points: int
    low: int
    high: int
    folded: bool


def bounds(low: int | None, high: int | None) -> tuple[int, int]:
    """Steps as the database can hold them."""
    return max(_LEAST, _LEAST if low is None else low), min(_MOST, _MOST if high is None else high)


def parts_of(db: Reader, run_id: int, key_id: int, low: int, high: int) -> list[Part]:
    """The chunks with points between two steps, in the order of their first steps."""
    if low > _MOST or high < _LEAST:
        return []
    return [Part._make(row) for row in direct.of(db).rows(_PARTS, [run_id, key_id, low, high])]


def decoded(db: Reader, parts: Sequence[Part]) -> Iterator[Points]:
    """The points of chunks, one after another."""
    for at in range(0, len(parts), PIECE):
        some = parts[at : at + PIECE]
        data = direct.of(db).blobs("SELECT id, data FROM series_chunks WHERE id IN", [part.id for part in some])
        for part in some:
            yield series.unpack(data[part.id])


def ordered(db: Reader, parts: Sequence[Part]) -> Iterator[Points]:
    """The points of chunks that are sorted by their first steps: in order, exact duplicates once, in pieces."""
    held: list[Points] = []
    for at, points in enumerate(decoded(db, parts)):
        held.append(points)
        bound = parts[at + 1].low if at + 1 < len(parts) else None
        if bound is not None and all(bound <= int(one.steps.min()) for one in held):
            continue  # nothing can be handed on yet, so nothing need be sorted
        found = series.ordered(series.join(held))
        cut = len(found) if bound is None else int(np.searchsorted(found.steps, bound))
        held = [found.take(slice(cut, None))] if cut < len(found) else []
        yield found.take(slice(0, cut))


def pieces(db: Reader, run_id: int, key: str, *, low: int | None = None, high: int | None = None) -> Iterator[Points]:
    """All points between two steps (both included) in order, exact duplicates once, in pieces of some thousand."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return
    least, most = bounds(low, high)
    for piece in ordered(db, parts_of(db, run_id, key_id, least, most)):
        if low is not None or high is not None:
            piece = piece.take((piece.steps >= least) & (piece.steps <= most))
        if len(piece):
            yield piece


def whole(db: Reader, run_id: int, key: str) -> Points:
    """All points of a series, ordered, exact duplicates once. Empty for a series that isn't there. See `pieces` for long ones."""
    return series.join(list(pieces(db, run_id, key)))


def page(db: Reader, run_id: int, key: str, limit: int | None, token: str | None) -> tuple[Points, str]:
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
    db: Reader, run_id: int, key: str, *, low: int | None = None, high: int | None = None, most: int = CHART
) -> Points:
    """At most `most` points between two steps (both included) that look like all of them: no spike is lost."""
    return series.for_chart(_for_chart(db, run_id, key, low, high), most)


def _for_chart(db: Reader, run_id: int, key: str, low: int | None, high: int | None) -> Points:
    """The points between two steps, or where they are many, the first, lowest and highest of each 64."""
    key_id = keys.find(db, [key]).get(key)
    if key_id is None:
        return series.empty()
    least, most = bounds(low, high)
    parts = parts_of(db, run_id, key_id, least, most)
    if sum(part.points for part in parts) > EXACT:
        found = series.ordered(series.join(list(_sketched(db, parts))))
    else:
        found = series.join(list(ordered(db, parts)))
    if low is not None or high is not None:
        found = found.take((found.steps >= least) & (found.steps <= most))
    return found


def _sketched(db: Reader, parts: Sequence[Part]) -> Iterator[Points]:
    """The sketches of chunks, thinned where they are very many: the lowest and the highest stay."""
    for at in range(0, len(parts), SKETCHES):
        some = parts[at : at + SKETCHES]
        data = direct.of(db).blobs(_SKETCHES, [part.id for part in some])
        points = series.ordered(series.join([series.unpack(data[part.id]) for part in some]))
        room = _HELD * len(some) // len(parts)
        yield points if len(points) <= room else series.thin_extremes(points, -(-3 * len(points) // room))


def chart_in_time(
    db: Reader, run_id: int, key: str, *, low: float | None = None, high: float | None = None, most: int = CHART
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
