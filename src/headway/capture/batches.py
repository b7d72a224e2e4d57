"""Many calls' values in one line of the spool, by columns: what a loop prints thousands of times costs little to write.

`{"k": "batch", "t": ms, "d": [ms since t, ...], "of": [number of its part, ...], "b": [part, ...]}`, a part a line of code:
`{"k": kind, "s": site, "v": [column, ...], "n": {name: column}}`. A column is a list, or `{"f": floats as hex}` (IEEE 754, little
endian), or `{"v": number}`: the same as that column of `v`. `of` is left out where there is one part.
"""

from __future__ import annotations

from headway.capture.redact import redact
from headway.capture.spool import LARGEST, short

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.sites import Site

    Row = tuple[int, None, str, Site, tuple[Any, ...], tuple[Any, ...]]

__all__ = ["packed", "unpacked"]

VALUES = 24
_FLOAT, _INT = frozenset((float,)), frozenset((int,))
_NUMBERS = frozenset((float, int, bool, type(None)))
_TEXTS = _NUMBERS | {str}


def packed(rows: list[Row], since: int) -> dict[str, Any]:
    """Rows of (perf_counter ns, None, kind, site, values, names' values) as one fact; `since` makes the times ns of the epoch."""
    began = (rows[0][0] + since) // 1_000_000
    start = since - began * 1_000_000
    fact: dict[str, Any] = {"k": "batch", "t": began, "d": [(row[0] + start) // 1_000_000 for row in rows]}
    keys = [(row[3].id, row[2], len(row[4])) for row in rows]
    if keys.count(keys[0]) == len(keys):
        return {**fact, "b": [_part(rows)]}
    places: dict[tuple[int, str, int], int] = {}
    parts: list[list[Row]] = []
    of = []
    for row, key in zip(rows, keys, strict=True):
        place = places.get(key)
        if place is None:
            place = places[key] = len(parts)
            parts.append([])
        parts[place].append(row)
        of.append(place)
    return {**fact, "b": [_part(p) for p in parts], "of": of}


def _part(rows: list[Row]) -> dict[str, Any]:
    from _operator import is_

    site = rows[0][3]
    columns = list(zip(*[row[4][:VALUES] for row in rows], strict=False))
    held: dict[str, Any] = {}
    told = zip(*[row[5] for row in rows], strict=False)
    for name, column in zip(site.names, told, strict=False):
        same = next((i for i, c in enumerate(columns) if all(map(is_, c, column))), None)
        held[name] = _column(column, name) if same is None else {"v": same}
    return {"k": rows[0][2], "s": site.id, "v": [_column(c) for c in columns], "n": held}


def _column(values: tuple[Any, ...], name: str = "") -> Any:
    kinds = set(map(type, values))
    if kinds == _FLOAT:
        from _struct import pack

        return {"f": pack(f"<{len(values)}d", *values).hex()}
    if kinds == _INT and max(values) < LARGEST and min(values) >= -LARGEST:
        return values
    told = [short(v) for v in values]
    if kinds <= _NUMBERS:
        return told
    if kinds <= _TEXTS:
        text = "\n".join([v for v in told if type(v) is str])
        if redact(f"{text}\n       ", name) == f"{text}\n       ":  # what holds no secret in one holds none in any
            return told
    return redact(told, name)


def unpacked(fact: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a batch, each as a fact of its own, in their order. A fact of another form gives none."""
    try:
        parts = [_calls(part, len(fact["d"])) for part in fact["b"]]
        of = fact.get("of") or [0] * len(fact["d"])
        return [{"t": fact["t"] + since, **next(parts[place])} for since, place in zip(fact["d"], of, strict=True)]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration):
        return []


def _calls(part: dict[str, Any], count: int) -> Any:
    values = [_values(c, []) for c in part["v"]]
    names = {str(k): _values(c, values) for k, c in part["n"].items()}
    length = min([len(c) for c in [*values, *names.values()]], default=count)
    for i in range(length):
        held = {k: c[i] for k, c in names.items() if c[i] is not None}
        yield {"k": str(part["k"]), "s": part["s"], "v": [c[i] for c in values], "n": held}


def _values(column: Any, others: list[Any]) -> Any:
    if isinstance(column, dict):
        if "v" in column:
            return others[column["v"]]
        import struct

        data = bytes.fromhex(column["f"])
        return struct.unpack(f"<{len(data) // 8}d", data)
    if not isinstance(column, list):
        raise TypeError("a column is a list")
    return column
