"""The body of `POST /api/v1/runs/{id}/points` as arrays, checked; and whole series as such a body. Pure.

The format is described at the top of `sdk/points.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from headway.errors import BadInput
from headway.tracking import limits
from headway.tracking.store import series
from headway.tracking.store.series import Points

MEDIA_TYPE = "application/vnd.headway.points"
MAGIC = b"HWP1"
MOST_BYTES = 32 << 20
MOST_SERIES = 10_000
_HELD = 100_000  # points of a series that are kept for writing them
_PART = 256 << 10  # bytes that are sent at once, at least
_HEAD = struct.Struct("<IH")


def read(body: bytes) -> dict[str, Points]:
    """The points of each series, as they came. Raises `BadInput` for whatever is not exactly such a body."""
    if body[:4] != MAGIC:
        raise BadInput(
            "The body must begin with HWP1.", hint=f"Content-Type: {MEDIA_TYPE}; see docs/tracking.md, or send JSON to"
            " /api/2.0/mlflow/runs/log-batch.",
        )  # fmt: skip
    found: dict[str, list[Points]] = {}
    at, end = len(MAGIC), len(body)
    while at < end:
        if end - at < _HEAD.size:
            raise _broken(at)
        count, length = _HEAD.unpack_from(body, at)
        start = at + _HEAD.size + length
        if count == 0 or start + 24 * count > end:
            raise _broken(at)
        try:
            name = limits.key(body[at + _HEAD.size : start].decode(), "key", what="Metric name")
        except UnicodeDecodeError:
            raise BadInput(f"The name of the series at byte {at} is not UTF-8.") from None
        steps = np.frombuffer(body, "<i8", count, start).astype(np.int64)
        times = np.frombuffer(body, "<i8", count, start + 8 * count).astype(np.int64)
        values = np.frombuffer(body, "<f8", count, start + 16 * count).astype(np.float64)
        if times.min() < 0:
            raise BadInput(f"A time of '{name}' is negative: times are milliseconds since 1970.", field="times")
        found.setdefault(name, []).append(Points(steps, times, values))
        at = start + 24 * count
    if not found:
        raise BadInput("There are no points in the body.")
    if len(found) > MOST_SERIES:
        raise BadInput(f"At most {MOST_SERIES} series fit in a request, got {len(found)}.")
    return {name: series.join(parts) for name, parts in found.items()}


def _broken(at: int) -> BadInput:
    return BadInput(f"The body breaks off or is wrong in the block at byte {at}.", hint="Nothing of it was written.")


def block(name: str, read: Callable[[], Iterable[Points]]) -> Iterator[bytes]:
    """A series as one block, in parts; nothing for an empty one. `read` gives its points in pieces: once, where they are few,
    else once to count them and once for each column, so that a long series is never in memory whole."""
    held: list[Points] = []
    count = 0
    for piece in read():
        count += len(piece)
        if count <= _HELD:
            held.append(piece)
    if not count:
        return
    key = name.encode()
    yield _HEAD.pack(count, len(key)) + key
    for column, kind in (("steps", "<i8"), ("times", "<i8"), ("values", "<f8")):
        part = bytearray()
        for piece in held if count <= _HELD else read():
            part += getattr(piece, column).astype(kind, copy=False).tobytes()
            if len(part) >= _PART:
                yield bytes(part)
                part.clear()
        if part:
            yield bytes(part)
