"""Tables of user code, in and out; pandas and numpy only where the process has them, or asks for a table."""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headway.errors import BadInput, Unavailable
from headway.sdk.points import Columns

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

_PLAIN = ("run_id", "parent_run_id", "name", "path", "status", "cause")


def of_runs(found: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Runs as a DataFrame: plain columns, times as UTC, then `params.*` and `metrics.*` by name."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise Unavailable(
            "pandas is not installed here.", hint="pip install pandas, or `headway runs export`"
        ) from None
    params = sorted({name for run in found for name in run["params"]})
    metrics = sorted({name for run in found for name in run["metrics"]})
    columns: dict[str, Any] = {name: [run[name] for run in found] for name in _PLAIN}
    for name in ("started_at", "ended_at"):
        columns[name] = pandas.to_datetime([run[name] for run in found], unit="ms", utc=True)
    columns |= {f"params.{name}": [run["params"].get(name) for run in found] for name in params}
    for name in metrics:
        columns[f"metrics.{name}"] = [run["metrics"].get(name, math.nan) for run in found]
    return pandas.DataFrame(columns)


def installed() -> bool:
    """Whether this process can have pandas, without importing it."""
    import importlib.util

    return "pandas" in sys.modules or importlib.util.find_spec("pandas") is not None


def of_points(found: Columns) -> pandas.DataFrame | dict[str, list[Any]]:
    """Points as columns step, time (UTC) and value; as lists, with times in milliseconds, where there is no pandas."""
    if not installed():
        return {"step": list(found.steps), "time": list(found.times), "value": list(found.values)}
    import pandas

    times = pandas.to_datetime(list(found.times), unit="ms", utc=True)
    return pandas.DataFrame({"step": list(found.steps), "time": times, "value": list(found.values)})


def of_rows(rows: Mapping[str, Sequence[Any]], names: Sequence[str]) -> pandas.DataFrame | dict[str, list[Any]]:
    """Values side by side: a row for each name in `rows`, a column for each of `names`."""
    if not installed():
        return {name: list(values) for name, values in rows.items()}
    import pandas

    return pandas.DataFrame.from_dict(dict(rows), orient="index", columns=list(names), dtype=object)


def payload_of(data: Any) -> dict[str, Any]:
    """A request's body for a DataFrame, a Series, records, one record, an array or nested lists of numbers.

    Raises `BadInput` for anything else.
    """
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        columns = [_values(data.iloc[:, at]) for at in range(len(data.columns))]
        rows = [list(row) for row in zip(*columns, strict=True)]
        return {"dataframe_split": {"columns": [str(name) for name in data.columns], "data": rows}}
    if isinstance(data, Mapping):
        return {"dataframe_records": [_record(data)]}
    if hasattr(data, "tolist") and hasattr(data, "shape"):
        return {"inputs": _plain(data.tolist())}
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and len(data):
        if all(isinstance(one, Mapping) for one in data):
            return {"dataframe_records": [_record(one) for one in data]}
        return {"inputs": _plain(list(data))}
    raise BadInput(f"A {type(data).__name__} can't be sent to an endpoint.",
                   hint="Give a DataFrame, a list of records (dicts), one record, or an array.")  # fmt: skip


def _record(record: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in record.items()}


def _values(column: Any) -> list[Any]:
    missing = column.isna().tolist()
    return [None if absent else _plain(value) for value, absent in zip(column.tolist(), missing, strict=True)]


def _plain(value: Any) -> Any:
    """A value as JSON has it; numpy's numbers are Python's, times are ISO 8601, what is missing is null."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if hasattr(value, "item"):
        return _plain(value.item())
    raise BadInput(
        f"{value!r} (a {type(value).__name__}) can't be sent to an endpoint.", hint="Give numbers, text, times."
    )
