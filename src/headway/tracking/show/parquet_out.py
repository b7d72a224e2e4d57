"""Writing Parquet while it is sent: flat tables of optional doubles and texts, which is all that runs have.

The format: https://parquet.apache.org/docs/file-format/ and `parquet.thrift` there; metadata in Thrift's compact protocol. Values
are PLAIN, definition levels one run of bits, pages compressed by gzip, which every reader knows. A library for it would weigh
more than the server.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

DOUBLE, TEXT = 5, 6  # parquet.thrift: Type
_OPTIONAL, _UTF8, _PLAIN, _RLE, _GZIP, _DATA_PAGE = 1, 0, 0, 3, 2, 0
_MAGIC = b"PAR1"
_GROUP = 8 << 20
"""A row group is sent when its pages weigh so much: what is held in memory."""
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12  # Thrift's compact types


class Writer:
    """A file of these columns, as (name, `DOUBLE` or `TEXT`). What `rows` and `end` return is sent in that order."""

    def __init__(self, columns: Sequence[tuple[str, int]]) -> None:
        self._columns = columns
        self._pages: list[list[bytes]] = [[] for _ in columns]
        self._plain = [0] * len(columns)
        self._groups: list[bytes] = []
        self._held = self._rows = self._total = 0
        self._at = 0

    def rows(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Take rows, None where a value lacks; returns what can be sent."""
        if not rows:
            return b""
        for at, (_, kind) in enumerate(self._columns):
            page, plain = _page(kind, [row[at] for row in rows])
            self._pages[at].append(page)
            self._plain[at] += plain
            self._held += len(page)
        self._rows += len(rows)
        return self._group() if self._held >= _GROUP else b""

    def end(self) -> bytes:
        """The rest, with the metadata of all."""
        rest = self._group() if self._rows or not self._at else b""
        meta = _struct(
            (1, _I32, 2), (2, _LIST, (_STRUCT, self._schema())), (3, _I64, self._total),
            (4, _LIST, (_STRUCT, self._groups)), (6, _BINARY, b"headway"),
        )  # fmt: skip
        return rest + meta + struct.pack("<I", len(meta)) + _MAGIC

    def _schema(self) -> list[bytes]:
        found = [_struct((4, _BINARY, b"schema"), (5, _I32, len(self._columns)))]
        for name, kind in self._columns:
            text = [(6, _I32, _UTF8), (10, _STRUCT, _struct((1, _STRUCT, _struct())))] if kind == TEXT else []
            found.append(_struct((1, _I32, kind), (3, _I32, _OPTIONAL), (4, _BINARY, name.encode()), *text))
        return found

    def _group(self) -> bytes:
        out = [] if self._at else [_MAGIC]
        at = self._at or len(_MAGIC)
        chunks = []
        for (name, kind), pages, plain in zip(self._columns, self._pages, self._plain, strict=True):
            size = sum(map(len, pages))
            meta = _struct(
                (1, _I32, kind), (2, _LIST, (_I32, [_zigzag(_PLAIN), _zigzag(_RLE)])),
                (3, _LIST, (_BINARY, [_text(name.encode())])), (4, _I32, _GZIP), (5, _I64, self._rows),
                (6, _I64, plain), (7, _I64, size), (9, _I64, at),
            )  # fmt: skip
            chunks.append(_struct((2, _I64, at), (3, _STRUCT, meta)))
            out += pages
            at += size
            pages.clear()
        if self._rows:
            self._groups.append(
                _struct((1, _LIST, (_STRUCT, chunks)), (2, _I64, sum(self._plain)), (3, _I64, self._rows))
            )
        self._plain = [0] * len(self._columns)
        self._total, self._rows, self._held, self._at = self._total + self._rows, 0, 0, at
        return b"".join(out)


def _page(kind: int, values: list[Any]) -> tuple[bytes, int]:
    """A data page with its header, and how long it is with its values uncompressed."""
    there = [one for one in values if one is not None]
    bits = sum(1 << at for at, one in enumerate(values) if one is not None)
    groups = (len(values) + 7) // 8
    levels = _varint(groups << 1 | 1) + bits.to_bytes(groups, "little")
    if kind == DOUBLE:
        data = struct.pack(f"<{len(there)}d", *there)
    else:
        texts = [str(one).encode("utf-8", "replace") for one in there]
        data = b"".join(struct.pack("<I", len(one)) + one for one in texts)
    plain = struct.pack("<I", len(levels)) + levels + data
    machine = zlib.compressobj(1, wbits=31)
    packed = machine.compress(plain) + machine.flush()
    told = _struct((1, _I32, len(values)), (2, _I32, _PLAIN), (3, _I32, _RLE), (4, _I32, _RLE))
    header = _struct((1, _I32, _DATA_PAGE), (2, _I32, len(plain)), (3, _I32, len(packed)), (5, _STRUCT, told))
    return header + packed, len(header) + len(plain)


# ------------------------------------------------------------------ Thrift's compact protocol
def _struct(*fields: tuple[int, int, Any]) -> bytes:
    """A struct of (id, type, value), by id. Structs are given as bytes, lists as (type, items as bytes)."""
    out, last = [], 0
    for number, kind, value in fields:
        out.append(bytes([(number - last) << 4 | kind]))
        last = number
        if kind in (_I32, _I64):
            out.append(_zigzag(value))
        elif kind == _BINARY:
            out.append(_text(value))
        elif kind == _LIST:
            item, items = value
            out.append(
                bytes([len(items) << 4 | item]) if len(items) < 15 else bytes([0xF0 | item]) + _varint(len(items))
            )
            out += items
        else:
            out.append(value)
    return b"".join([*out, b"\0"])


def _text(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def written(columns: Sequence[tuple[str, int]], pages: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    """A file of these columns and rows, piece by piece."""
    writer = Writer(columns)
    for page in pages:
        if piece := writer.rows(page):
            yield piece
    yield writer.end()
