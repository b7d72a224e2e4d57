"""What a Parquet file says of itself: columns, types, number of rows. Its footer alone is read, and nothing of its data.

The footer is a `FileMetaData` in Thrift's compact protocol, its length (4 bytes, little endian) and `PAR1`:
https://parquet.apache.org/docs/file-format/ and https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FOOTER = 4 << 20
_TYPES = ("bool", "int32", "int64", "int96", "float", "double", "bytes", "fixed bytes")
_MEANT = {0: "text", 1: "map", 3: "list", 4: "enum", 5: "decimal", 6: "date", 7: "time", 8: "time", 9: "timestamp",
          10: "timestamp", 11: "uint8", 12: "uint16", 13: "uint32", 14: "uint64", 15: "int8", 16: "int16", 17: "int32",
          18: "int64", 19: "json"}  # fmt: skip


@dataclass(frozen=True)
class Footer:
    """`columns`: (dotted name, type) of each leaf."""

    rows: int
    groups: int
    columns: list[tuple[str, str]]
    made_by: str


class NotParquet(ValueError):
    """The bytes are no footer of a Parquet file, or one that is larger than `FOOTER`."""


def footer(read: Callable[[int, int], bytes], size: int) -> Footer:
    """The footer of a file of `size` bytes, of which `read(start, end)` gives parts. Raises `NotParquet`."""
    tail = read(max(0, size - 8), size)
    if len(tail) < 8 or tail[4:] != b"PAR1":
        raise NotParquet("it does not end like one")
    length = struct.unpack("<I", tail[:4])[0]
    if length > min(FOOTER, size - 8):
        raise NotParquet("its footer is too large")
    try:
        meta = _Compact(read(size - 8 - length, size - 8)).struct()
        rows, groups = meta[3], meta.get(4, [])
        if not isinstance(rows, int) or not isinstance(groups, list):
            raise TypeError
        return Footer(rows, len(groups), _leaves(meta[2]), _text(meta.get(6, b"")))
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, struct.error, RecursionError) as error:
        raise NotParquet("its footer is broken") from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _leaves(schema: list[dict[int, Any]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    stack: list[tuple[str, int]] = []  # (prefix, children that are still to come)
    for element in schema[1:]:
        while stack and stack[-1][1] == 0:
            stack.pop()
        prefix = ""
        if stack:
            prefix, left = stack[-1]
            stack[-1] = (prefix, left - 1)
        name = prefix + _text(element[4])
        if element.get(5):
            stack.append((name + ".", int(element[5])))
        else:
            found.append((name, _MEANT.get(int(element.get(6, -1)), "") or _TYPES[int(element.get(1, 6))]))
    return found


class _Compact:
    """A reader of Thrift's compact protocol: structs as dicts by field number."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80 or shift > 63:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self) -> bytes:
        length = self._varint()
        if self._at + length > len(self._data):
            raise IndexError
        self._at += length
        return self._data[self._at - length : self._at]

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > 32:
            raise RecursionError
        found: dict[int, Any] = {}
        field = 0
        while True:
            head = self._byte()
            kind = head & 0x0F
            if kind == 0:
                return found
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            found[field] = kind == 1 if kind in (1, 2) else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return self._byte() == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            self._at += 8
            return struct.unpack("<d", self._data[self._at - 8 : self._at])[0]
        if kind == 8:
            return self._bytes()
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            if count > len(self._data):
                raise IndexError
            return [self._value(head & 0x0F, depth + 1) for _ in range(count)]
        if kind == 11:
            count = self._varint()
            if count > len(self._data):
                raise IndexError
            kinds = self._byte() if count else 0
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise IndexError
