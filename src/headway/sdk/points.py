"""Series of points on the wire: columns of numbers, as they lie in memory. What `docs/tracking.md` describes.

A body is the four bytes `HWP1` and blocks, all little-endian: number of points (u32), length of the name (u16), the name
(UTF-8), then the steps (i64 each), the times (i64, milliseconds since 1970) and the values (f64). A series may have several
blocks. 24 bytes a point; JSON takes some 75.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from headway.errors import BadInput

MEDIA_TYPE = "application/vnd.headway.points"
MAGIC = b"HWP1"
HEAD = struct.Struct("<IH")


class Columns(NamedTuple):
    """The points of a series: steps, times (ms) and values, equally many."""

    steps: Sequence[int]
    times: Sequence[int]
    values: Sequence[float]


def pack(series: Mapping[str, Columns] | Iterable[tuple[str, Columns]]) -> bytes:
    """The body for some series; empty ones are left out. Raises `BadInput` for numbers that don't fit into 64 bits."""
    parts = [MAGIC]
    for key, (steps, times, values) in series.items() if isinstance(series, Mapping) else series:
        if not len(steps) == len(times) == len(values):
            raise BadInput(f"The columns of '{key}' differ in length.", field=key)
        if len(steps):
            name = key.encode()
            parts += [HEAD.pack(len(steps), len(name)), name]
            parts += [_bytes("q", steps, key), _bytes("q", times, key), _bytes("d", values, key)]
    return b"".join(parts)


def unpack(body: bytes) -> Iterator[tuple[str, Columns]]:
    """The blocks of a body, in order. Raises `BadInput` for anything else."""
    if body[:4] != MAGIC:
        raise BadInput("These are no points: the body must begin with HWP1.")
    at, end = 4, len(body)
    while at < end:
        try:
            count, length = HEAD.unpack_from(body, at)
            start = at + HEAD.size + length
            name = body[at + HEAD.size : start].decode()
        except (struct.error, UnicodeDecodeError):
            raise BadInput("The points are broken: a block's head can't be read.") from None
        at = start + 24 * count
        if at > end:
            raise BadInput("The points are cut off.")
        cut = [start, start + 8 * count, start + 16 * count, at]
        columns: Any = [_array(kind, body[cut[i] : cut[i + 1]]) for i, kind in enumerate("qqd")]
        yield name, Columns(*columns)


def _bytes(kind: str, column: Sequence[float], key: str) -> bytes:
    try:
        found = column if isinstance(column, array) and column.typecode == kind else array(kind, column)
    except (TypeError, OverflowError) as error:
        raise BadInput(f"The points of '{key}' are no numbers of 64 bits: {error}.", field=key) from None
    if sys.byteorder == "big":
        found = array(kind, found)
        found.byteswap()
    return found.tobytes()


def _array(kind: str, data: bytes) -> array[float]:
    found: array[float] = array(kind)
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found
