"""A signature of columns, compiled: rows in the order and the types that the model wants, or an error that says where."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from headway.errors import Unprocessable
from headway.modelserver.payload import MISSING, Table, kind_of, refuse, shown
from headway.signature import NUMBERS, Column

_REMEMBERED = 1024
_NULL_CELLS = {"", "na", "n/a", "nan", "null", "none", "<na>"}


class Wrong(ValueError):
    """A value that its column can't hold: `str()` is what was got, in words."""


def _number(value: Any) -> Any:
    if type(value) is float or type(value) is int:
        if not _finite(value):
            raise Wrong("infinity or a number that is too large")
        return value
    raise Wrong(kind_of(value))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _whole(bits: int) -> Callable[[Any], Any]:
    limit = 1 << (bits - 1)

    def check(value: Any) -> int:
        number = _number(value)
        if number != int(number):
            raise Wrong("a fraction")
        if not -limit <= number < limit:
            raise Wrong(f"a number beyond {bits} bits")
        return int(number)

    return check


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise Wrong(kind_of(value))
        return value

    return check


def _binary(value: Any) -> bytes:
    if type(value) is not str:
        raise Wrong(kind_of(value))
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("text that is not base64") from None


def _moment(value: Any) -> datetime:
    if type(value) is not str:
        raise Wrong(kind_of(value))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Wrong("text that is not a date") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


CHECKS: dict[str, Callable[[Any], Any]] = {
    "double": _number,
    "float": _number,
    "integer": _whole(32),
    "long": _whole(64),
    "boolean": _exactly(bool),
    "string": _exactly(str),
    "binary": _binary,
    "datetime": _moment,
}
EXPECTED = {
    "double": "a number",
    "float": "a number",
    "integer": "a whole number (32 bits)",
    "long": "a whole number (64 bits)",
    "boolean": "true or false",
    "string": "text",
    "binary": "base64 text",
    "datetime": "a date as ISO 8601 text",
}


def _picker(places: list[int]) -> Callable[[list[Any]], Sequence[Any]] | None:
    """Picks these places of a row; None where there are none."""
    if len(places) == 1:
        only = places[0]
        return lambda row: (row[only],)
    return itemgetter(*places) if places else None


def _anything(value: Any) -> Any:
    return value


class Columns:
    """The compiled form of a signature's columns. `rows(table)` gives checked rows in the model's order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.names = [str(i) if c.name is None else c.name for i, c in enumerate(columns)]
        self.types = [c.type for c in columns]
        self.all_numbers = all(t in NUMBERS or t == "boolean" for t in self.types)
        self._unnamed = all(c.name is None for c in columns)
        self._checks = [CHECKS.get(t, _anything) for t in self.types]
        self._floats = _picker([i for i, t in enumerate(self.types) if t in ("float", "double")])
        self._wholes = _picker([i for i, t in enumerate(self.types) if t in ("integer", "long")])
        self._limit = 1 << (31 if "integer" in self.types else 63)
        self._plain = not set(self.types) - {*NUMBERS, "boolean", "string"}
        self._known: set[tuple[type, ...]] = set()

    def rows(self, table: Table, *, text: bool = False) -> list[list[Any]]:
        """Checked rows. `text` says that the cells are text (CSV) and are to be converted first. Raises Unprocessable."""
        rows = table.rows
        if not rows:
            refuse("There are no rows to predict.", "Send at least one row.")
        if table.columns is not None and table.columns != self.names and not self._unnamed:
            rows = self._by_name(table.columns, rows)
        if text:
            rows = [self._cells(i, row) for i, row in enumerate(rows)]
        known = self._known
        for i, row in enumerate(rows):
            if not (self._plain and type(row) is list and tuple(map(type, row)) in known and self._sound(row)):
                rows[i] = self._row(i, row)
        return rows

    def _sound(self, row: list[Any]) -> bool:
        """True where the floats of a row of known types are finite (their sum is) and its whole numbers in range."""
        try:
            if self._floats is not None and not math.isfinite(sum(self._floats(row))):
                return False
            if self._wholes is not None:
                wholes = self._wholes(row)
                return bool(-self._limit <= min(wholes) and max(wholes) < self._limit)
        except (TypeError, OverflowError):
            return False
        return True

    def _row(self, i: int, row: Any) -> list[Any]:
        if not isinstance(row, list):
            refuse(f"Row {i} must be a list of values, not {kind_of(row)}.", row=i)
        if len(row) != len(self.columns):
            refuse(
                f"Row {i} has {len(row)} values, the model takes {len(self.columns)} columns.",
                "Give the column names with the data, or all values in the schema's order.",
                row=i,
                expected=len(self.columns),
                got=len(row),
            )
        found = [self._value(i, j, value) for j, value in enumerate(row)]
        # Where every value came through as it was, later rows of the same types need no look at each value.
        if self._plain and all(a is b for a, b in zip(found, row, strict=True)):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.add(tuple(map(type, row)))
        return found

    def _value(self, i: int, j: int, value: Any) -> Any:
        column = self.columns[j]
        if value is None or value is MISSING or value != value:
            if column.required:
                got = "nothing" if value is MISSING else "null" if value is None else "NaN"
                self._refuse(i, j, got)
            return None
        try:
            return self._checks[j](value)
        except Wrong as wrong:
            self._refuse(i, j, str(wrong))

    def _refuse(self, i: int, j: int, got: str) -> Any:
        expected = EXPECTED.get(self.types[j], "a value")
        raise Unprocessable(
            f"Row {i}, column {shown(self.names[j])}: expected {expected}, got {got}.",
            hint="This column may not be empty." if got in _EMPTY else "",
            row=i,
            column=self.names[j],
            expected=self.types[j],
            got=got,
        )

    def _by_name(self, columns: list[Any], rows: list[Any]) -> list[Any]:
        places: dict[str, int] = {}
        for place, name in enumerate(columns):
            if str(name) in places:
                refuse(f"The column {shown(name)} is given twice.", column=str(name))
            places[str(name)] = place
        missing = [c.name for c in self.columns if c.required and str(c.name) not in places]
        if missing:
            told = ", ".join(shown(n) for n in missing[:10]) + (
                f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            )
            extra = [str(n) for n in columns if str(n) not in self.names][:10]
            refuse(
                f"Missing column{'s' if len(missing) > 1 else ''}: {told}.",
                f"Not known to the model: {', '.join(map(shown, extra))}."
                if extra
                else "GET schema lists the columns.",
                column=missing[0],
                missing=missing[:100],
            )
        order = [places.get(name) for name in self.names]
        width = len(columns)
        found = []
        for i, row in enumerate(rows):
            if not isinstance(row, list):
                refuse(f"Row {i} must be a list of values, not {kind_of(row)}.", row=i)
            if len(row) != width:
                refuse(f"Row {i} has {len(row)} values for {width} columns.", row=i, expected=width, got=len(row))
            found.append([None if place is None else row[place] for place in order])
        return found

    def _cells(self, i: int, row: Any) -> list[Any]:
        if len(row) != len(self.types):
            refuse(
                f"Line {i + 2} has {len(row)} cells for {len(self.types)} columns.",
                row=i,
                expected=len(self.types),
                got=len(row),
            )
        return [self._cell(t, cell) for t, cell in zip(self.types, row, strict=True)]

    @staticmethod
    def _cell(kind: str, cell: Any) -> Any:
        if (
            cell is None
            or (kind == "string" and cell == "")
            or (kind != "string" and cell.strip().lower() in _NULL_CELLS)
        ):
            return None
        try:
            if kind in ("integer", "long"):
                return int(cell)
            if kind in NUMBERS:
                return float(cell)
        except ValueError:
            return _fraction(cell) if kind in ("integer", "long") else cell
        if kind == "boolean":
            return {"true": True, "false": False, "1": True, "0": False}.get(cell.strip().lower(), cell)
        return cell


def _fraction(cell: str) -> Any:
    """ "5.0" is a whole number too; what is no number stays text, and is refused as that."""
    try:
        return float(cell)
    except ValueError:
        return cell


_EMPTY = {"null", "NaN", "nothing"}
