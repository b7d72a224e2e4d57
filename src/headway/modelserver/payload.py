"""Request bodies: MLflow's four JSON forms, CSV, and Open Inference v2, decoded to rows or arrays. No signature here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NoReturn

from headway.errors import BadInput, Unprocessable

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
METHODS = ("predict", "predict_proba")
MISSING = object()


def _loads() -> Callable[[bytes], Any]:
    """The fastest JSON parser here. orjson refuses NaN, which Python clients send: the standard one then decides."""
    try:
        import orjson
    except ImportError:
        return _standard
    fast = orjson.loads

    def loads(body: bytes) -> Any:
        try:
            return fast(body)
        except ValueError:
            return _standard(body)

    return loads


def _standard(body: bytes) -> Any:
    return json.loads(body)


@dataclass(slots=True)
class Table:
    """Rows as sent. `columns` is None where they were sent by position."""

    rows: list[Any]
    columns: list[Any] | None
    method: str = "predict"


@dataclass(slots=True)
class Arrays:
    """Nested lists by tensor name; the name is None where the body gave one unnamed array."""

    by_name: dict[str | None, Any]
    method: str = "predict"


_parse = _loads()


def document(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises BadInput for anything else."""
    if not body.strip():
        raise BadInput("The body is empty.", hint=_hint())
    try:
        value = _parse(body)
    except RecursionError:
        raise BadInput("The body's JSON is nested too deeply.", hint=_hint()) from None
    except UnicodeDecodeError:
        raise BadInput("The body is not UTF-8 text.", hint=_hint()) from None
    except json.JSONDecodeError as error:
        raise BadInput(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", hint=_hint()
        ) from None
    except ValueError:
        raise BadInput("The body is not JSON: a number in it is too long.", hint=_hint()) from None
    if not isinstance(value, dict):
        raise BadInput(f"The body must be a JSON object, not {kind_of(value)}.", hint=_hint())
    return value


def _hint() -> str:
    return 'Send {"dataframe_split": {"columns": [...], "data": [[...]]}}; GET schema shows an example.'


def method_of(value: dict[str, Any]) -> str:
    """What to call, from `{"params": {"method": ...}}`."""
    params = value.get("params")
    if params is None:
        return "predict"
    if not isinstance(params, dict) or not params.keys() <= {"method"}:
        raise BadInput('"params" must be an object with at most "method".', hint=f"Methods: {', '.join(METHODS)}.")
    method = params.get("method", "predict")
    if method not in METHODS:
        raise BadInput(f"Unknown method {shown(method)}.", hint=f"Methods: {', '.join(METHODS)}.")
    return str(method)


def decode(value: dict[str, Any], names: list[str] | None) -> Table | Arrays:
    """The one form in a body. `names` are the signature's columns, None for a model that takes arrays."""
    if (split := value.get("dataframe_split")) is not None and value.keys() <= _SPLIT_ONLY:
        return _split(split, method_of(value))
    forms = [f for f in FORMS if f in value]
    unknown = value.keys() - {*FORMS, "params", "signature_name"}
    if len(forms) != 1 or unknown:
        found = f"got {', '.join(sorted(shown(k) for k in value))}" if value else "got none"
        raise BadInput(f"The body needs exactly one of {', '.join(FORMS)} ({found}).", hint=_hint())
    return _READERS[forms[0]](value[forms[0]], method_of(value), names)


_SPLIT_ONLY = {"dataframe_split", "params"}


def _split(value: Any, method: str, _names: list[str] | None = None) -> Table:
    if not isinstance(value, dict) or "data" not in value:
        raise BadInput('"dataframe_split" must be an object with "columns" and "data".', hint=_hint())
    unknown = value.keys() - {"columns", "data", "index"}
    if unknown:
        raise BadInput(f'"dataframe_split" has unknown keys: {", ".join(sorted(map(shown, unknown)))}.', hint=_hint())
    return Table(_list(value["data"], "dataframe_split.data"), _columns(value.get("columns")), method)


def _columns(columns: Any) -> list[Any] | None:
    if columns is None:
        return None
    if not isinstance(columns, list) or not all(isinstance(c, str | int) for c in columns):
        raise BadInput('"columns" must be a list of column names.', hint=_hint())
    return columns


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f'"{where}" must be a list, not {kind_of(value)}.', hint=_hint())
    return value


def _records(value: Any, method: str, names: list[str] | None, where: str = "dataframe_records") -> Table:
    rows = _list(value, where)
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadInput(f'"{where}" row {i} must be an object, not {kind_of(row)}.', hint=_hint())
    if names is None:
        names = list(dict.fromkeys(k for row in rows for k in row))
    if names:
        try:
            pick = itemgetter(*names)
            found = [list(pick(row)) for row in rows] if len(names) > 1 else [[pick(row)] for row in rows]
        except KeyError:
            found = [[row.get(n, MISSING) for n in names] for row in rows]
    else:
        found = [[] for _ in rows]
    return Table(found, names, method)


def _instances(value: Any, method: str, names: list[str] | None) -> Table | Arrays:
    rows = _list(value, "instances")
    if rows and isinstance(rows[0], dict):
        if names is not None:
            return _records(value, method, names, "instances")
        table = _records(value, method, None, "instances")
        columns = table.columns or []
        return Arrays({str(n): [row[i] for row in table.rows] for i, n in enumerate(columns)}, method)
    return Arrays({None: rows}, method) if names is None else Table(_widen(rows), None, method)


def _inputs(value: Any, method: str, names: list[str] | None) -> Table | Arrays:
    if isinstance(value, dict):
        if names is None:
            return Arrays(dict(value), method)
        columns = {str(k): v if isinstance(v, list) else [v] for k, v in value.items()}
        return columns_table(columns, method)
    rows = _list(value, "inputs")
    if names is None:
        return Arrays({None: rows}, method)
    if rows and isinstance(rows[0], dict):
        return _records(value, method, names, "inputs")
    return Table(_widen(rows), None, method)


def columns_table(columns: dict[str, list[Any]], method: str) -> Table:
    """Rows of columns given side by side. Raises Unprocessable where they are of unequal length."""
    lengths = {len(v) for v in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{shown(k)} {len(v)}" for k, v in list(columns.items())[:8])
        raise Unprocessable(f"The columns have unequal lengths: {told}.", hint="Give each column one value a row.")
    return Table([list(row) for row in zip(*columns.values(), strict=True)], list(columns), method)


def _widen(rows: list[Any]) -> list[Any]:
    """A list of bare values is a table of one column."""
    return rows if not rows or isinstance(rows[0], list) else [[v] for v in rows]


_READERS: dict[str, Callable[[Any, str, list[str] | None], Table | Arrays]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def decode_csv(body: bytes) -> Table:
    """A CSV body whose first line names the columns; cells are text until the signature says what they are."""
    try:
        text = body.decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError:
        raise BadInput("The CSV is not UTF-8 text.", hint="Save it as UTF-8.") from None
    except csv.Error as error:
        raise BadInput(f"The CSV can't be read: {error}.", hint="Quote cells that hold commas or quotes.") from None
    lines = [line for line in lines if line]
    if not lines:
        raise BadInput("The body is empty.", hint="Send a first line with the column names, then one line a row.")
    return Table(lines[1:], list(lines[0]))


def kind_of(value: Any) -> str:
    """What a JSON value is, in words: never the value itself."""
    if value is MISSING:
        return "nothing"
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: dict[type, str] = {
    dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null",
}  # fmt: skip


def shown(name: Any) -> str:
    """A name quoted and cut, for messages."""
    text = str(name)
    return "'" + (text if len(text) <= 80 else text[:77] + "...") + "'"


def refuse(message: str, hint: str = "", **details: Any) -> NoReturn:
    """Raises Unprocessable: well-formed, but not what the signature allows."""
    raise Unprocessable(message, hint=hint, **details)
