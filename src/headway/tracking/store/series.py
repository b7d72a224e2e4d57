"""Series of points as bytes: columns of step, time and value, packed, sketched and thinned. Pure.

A chunk is one codec byte and its columns. 0: raw, for a few points. 1: differences of steps and times, the bytes of each
column laid out by significance (all high bytes first, as they hardly change), deflated. 2, for many points: the same, but each of
the 24 planes of bytes for itself (`planes.py`), which is five times as quick to read. Values are never rounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from headway.tracking.store import planes
from headway.tracking.store.planes import Floats as Floats
from headway.tracking.store.planes import Ints as Ints

RAW, SHUFFLED = 0, 1
FULL = 4096  # points of a merged chunk
STRIDE = 64  # points for each entry of a sketch
_FEW = 24


@dataclass(frozen=True)
class Points:
    """Columns of equal length: steps, times (ms) and values."""

    steps: Ints
    times: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, where: Any) -> Points:
        """The points at an index, a slice or a mask."""
        return Points(self.steps[where], self.times[where], self.values[where])


def points(steps: Sequence[int], times: Sequence[int], values: Sequence[float]) -> Points:
    """Columns from lists."""
    return Points(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def empty() -> Points:
    """No points."""
    return points([], [], [])


def join(parts: Sequence[Points]) -> Points:
    """The points of several chunks, one after another."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty()
    return Points(
        np.concatenate([p.steps for p in parts]),
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.values for p in parts]),
    )


def pack_rows(steps: Sequence[int], times: Sequence[int], values: Sequence[float]) -> bytes:
    """A chunk of the points in three lists."""
    n = len(steps)
    if n <= _FEW:
        return struct.pack(f"<B{n}q{n}q{n}d", RAW, *steps, *times, *values)
    return pack(points(steps, times, values))


def pack(p: Points) -> bytes:
    """A chunk of `p`."""
    if len(p) <= _FEW:
        columns = (p.steps.tobytes(), p.times.tobytes(), p.values.tobytes())
        return bytes([RAW]) + b"".join(columns)
    if planes.LEAST <= len(p) <= planes.MOST:
        return planes.pack(p.steps, p.times, p.values)
    parts = [_shuffle(_differences(p.steps)), _shuffle(_differences(p.times)), _shuffle(p.values.view(np.int64))]
    return bytes([SHUFFLED]) + struct.pack("<I", len(p)) + zlib.compress(b"".join(parts), 1)


def unpack(data: bytes) -> Points:
    """The points of a chunk."""
    if data[0] == RAW:
        n = (len(data) - 1) // 24
        return Points(
            np.frombuffer(data, np.int64, n, 1),
            np.frombuffer(data, np.int64, n, 1 + 8 * n),
            np.frombuffer(data, np.float64, n, 1 + 16 * n),
        )
    if data[0] == planes.CODEC:
        return Points(*planes.unpack(data))
    if data[0] != SHUFFLED:
        raise ValueError(f"unknown codec {data[0]} of a chunk")
    (n,) = struct.unpack_from("<I", data, 1)
    raw = np.frombuffer(zlib.decompress(data[5:]), np.uint8).reshape(3, 8, n)
    steps, times, values = (np.ascontiguousarray(column.T).view(np.int64).reshape(n) for column in raw)
    with np.errstate(over="ignore"):
        return Points(np.cumsum(steps), np.cumsum(times), values.view(np.float64))


def _differences(column: Ints) -> Ints:
    out = np.empty_like(column)
    out[:1] = column[:1]
    with np.errstate(over="ignore"):  # wraps around, and back again in `unpack`
        np.subtract(column[1:], column[:-1], out=out[1:])
    return out


def _shuffle(column: Ints) -> bytes:
    return np.ascontiguousarray(column.view(np.uint8).reshape(len(column), 8).T).tobytes()


def ordered(p: Points) -> Points:
    """Sorted by step, then time, then arrival; exact duplicates (a batch sent twice) once."""
    if len(p) < 2:
        return p
    rising = p.steps[1:] > p.steps[:-1]
    if rising.all():
        return p
    p = p.take(np.lexsort((np.arange(len(p)), p.times, p.steps)))
    same = (p.steps[1:] == p.steps[:-1]) & (p.times[1:] == p.times[:-1])
    if not same.any():
        return p
    bits = p.values.view(np.int64)
    order = np.lexsort((np.arange(len(p)), bits, p.times, p.steps))
    sorted_ = p.take(order)
    again = np.zeros(len(p), bool)
    again[order[1:]] = (
        (sorted_.steps[1:] == sorted_.steps[:-1])
        & (sorted_.times[1:] == sorted_.times[:-1])
        & (sorted_.values.view(np.int64)[1:] == sorted_.values.view(np.int64)[:-1])
    )
    return p.take(~again)


def sketch(p: Points) -> bytes:
    """For each 64 points the first, the lowest and the highest, so that a chart need not read the rest."""
    return pack(thin_extremes(p, STRIDE))


def thin_extremes(p: Points, stride: int) -> Points:
    """For each `stride` points in a row: the first, the lowest and the highest, in their order. NaN counts as neither."""
    n = len(p)
    if n <= 3 or stride < 2:
        return p
    buckets = -(-n // stride)
    padded = np.full(buckets * stride, np.nan)
    padded[:n] = p.values
    grid = padded.reshape(buckets, stride)
    starts = np.arange(buckets) * stride
    low = starts + np.argmin(np.where(np.isnan(grid), np.inf, grid), axis=1)
    high = starts + np.argmax(np.where(np.isnan(grid), -np.inf, grid), axis=1)
    return p.take(np.unique(np.clip(np.concatenate([starts, low, high, [n - 1]]), 0, n - 1)))


def for_chart(p: Points, most: int = 1000) -> Points:
    """At most `most` points that look like all of them: the lowest and the highest of equally many points each."""
    n = len(p)
    if n <= most:
        return p
    stride = -(-n // max(1, (most - 1) // 3))
    return thin_extremes(p, stride)


def by_rank(p: Points, most: int) -> Points:
    """About `most` points, evenly spaced by rank, and the last."""
    n = len(p)
    if n <= most:
        return p
    return p.take(np.unique(np.append(np.arange(0, n, -(-n // most)), n - 1)))


class Short(NamedTuple):
    """A summary of points: the last by (step, time, value), lowest and highest (None where all are NaN), their number."""

    last: float
    is_nan: bool
    step: int
    time: int
    low: float | None
    high: float | None
    points: int


def shorten(steps: Sequence[int], times: Sequence[int], values: Sequence[float]) -> Short:
    """The summary of at least one point; NaN sorts above all values at one step and time, as in the protocol."""
    if len(steps) > _FEW:
        return short(points(steps, times, values))
    best = 0 if len(steps) == 1 else max(range(len(steps)), key=lambda i: (steps[i], times[i], _rank(values[i])))
    value, real = values[best], [v for v in values if v == v]
    last, is_nan = (0.0, True) if value != value else (value, False)
    return Short(last, is_nan, steps[best], times[best], min(real, default=None), max(real, default=None), len(values))


def _rank(value: float) -> tuple[bool, float]:
    return (True, 0.0) if value != value else (False, value)


def short(p: Points) -> Short:
    """As `shorten`, for columns."""
    step = p.steps.max()
    at = p.steps == step
    time = p.times[at].max()
    values = p.values[at][p.times[at] == time]
    is_nan = bool(np.isnan(values).any())
    some = not np.isnan(p.values).all()
    low, high = (float(np.nanmin(p.values)), float(np.nanmax(p.values))) if some else (None, None)
    return Short(0.0 if is_nan else float(values.max()), is_nan, int(step), int(time), low, high, len(p))


class Chunk(NamedTuple):
    """A row of `series_chunks`: number of points, first and last step, the points, and a sketch if it is full."""

    points: int
    low: int
    high: int
    data: bytes
    sketch: bytes | None


class Packed(NamedTuple):
    """A series' new points, ready to be written."""

    short: Short
    chunks: list[Chunk]

    @property
    def loose(self) -> int:
        """How many of the chunks wait for being folded."""
        return sum(1 for chunk in self.chunks if chunk.sketch is None)


def packed(p: Points) -> Packed:
    """Points as full chunks and a rest; exact duplicates among them once."""
    if len(p) > _FEW:
        p = ordered(p)
    return Packed(short(p), [chunk(p.take(slice(at, at + FULL))) for at in range(0, len(p), FULL)])


def chunk(p: Points) -> Chunk:
    """At most `FULL` points as a row. One that isn't full has no sketch: it is folded with others later."""
    low, high = int(p.steps.min()), int(p.steps.max())
    return Chunk(len(p), low, high, pack(p), sketch(p) if len(p) == FULL else None)
