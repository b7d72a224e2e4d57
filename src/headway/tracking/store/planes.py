"""A chunk's columns as planes of bytes, each packed as suits it. Pure.

The eight bytes of a 64-bit number are eight planes of a column: the high ones hardly change, the low ones of a noisy value
can't be compressed at all. Packed together, the deflater spends its time on the noise. Here a plane that is one byte all along
is that byte, one that deflates is deflated, and the rest is as it is. Of steps and times the differences are packed; of steps
that rise evenly nothing is left but two numbers.

Layout, little-endian: codec (1 byte), number of points (4), first step (8), first time (8), the sizes of the 24 planes (2 each;
1: the byte that all are, as many as there are points: as it is, else deflated), the planes.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"
Bytes: TypeAlias = "NDArray[np.uint8]"

CODEC = 2
LEAST, MOST = 1025, 65_535  # points: for fewer the sizes of the planes would not pay
_HEAD = struct.Struct("<BIqq24H")
_WIDTH = 8  # planes of a column
_GAIN = 0.95  # a plane that deflates to more than this share of it stays as it is


def pack(steps: Ints, times: Ints, values: Floats) -> bytes:
    """Three columns of equal length, `LEAST` to `MOST`, as bytes."""
    n = len(steps)
    parts: list[bytes] = []
    for column in (_differences(steps), _differences(times), values):
        grid = np.ascontiguousarray(column.view(np.uint8).reshape(n, _WIDTH).T)
        even = (grid == grid[:, :1]).all(axis=1)
        parts += [grid[k, :1].tobytes() if even[k] else _plane(grid[k].tobytes()) for k in range(_WIDTH)]
    return _HEAD.pack(CODEC, n, int(steps[0]), int(times[0]), *map(len, parts)) + b"".join(parts)


def _differences(column: Ints) -> Ints:
    """The difference of each to the one before; the first, which is kept apart, looks like the second."""
    out = np.empty_like(column)
    with np.errstate(over="ignore"):  # wraps around, and back again in `_summed`
        np.subtract(column[1:], column[:-1], out=out[1:])
    out[0] = out[1]
    return out


def _plane(plane: bytes) -> bytes:
    packed = zlib.compress(plane, 1, -zlib.MAX_WBITS)
    return packed if len(packed) < _GAIN * len(plane) else plane


def unpack(data: bytes) -> tuple[Ints, Ints, Floats]:
    """The columns that `pack` was given."""
    _, n, step, time, *sizes = _HEAD.unpack_from(data)
    place = _HEAD.size
    columns = []
    for at in range(0, len(sizes), _WIDTH):
        some = sizes[at : at + _WIDTH]
        columns.append(_column(data, place, some, n))
        place += sum(some)
    return _summed(step, columns[0], n), _summed(time, columns[1], n), _filled(columns[2], n).view(np.float64)


Column = tuple[int, list[tuple[int, Bytes]]]  # the number that the even planes make, and the other planes by place


def _column(data: bytes, place: int, sizes: list[int], n: int) -> Column:
    even, planes = bytearray(_WIDTH), []
    for k, size in enumerate(sizes):
        if size == 1:
            even[k] = data[place]
        elif size == n:
            planes.append((k, np.frombuffer(data, np.uint8, n, place)))
        else:
            plain = zlib.decompress(data[place : place + size], -zlib.MAX_WBITS, n)
            planes.append((k, np.frombuffer(plain, np.uint8, n)))
        place += size
    return int.from_bytes(even, "little", signed=True), planes


def _filled(column: Column, n: int) -> Ints:
    number, planes = column
    out = np.full(n, number, "<i8")
    grid = out.view(np.uint8).reshape(n, _WIDTH)
    for k, plane in planes:
        grid[:, k] = plane
    return out


def _summed(first: int, column: Column, n: int) -> Ints:
    out = _filled(column, n)
    out[0] = first
    with np.errstate(over="ignore"):
        return np.cumsum(out, out=out)
