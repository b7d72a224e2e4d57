"""Series as charts ask for them: `{"x": "step" | "time" | "relative", "series": [{"name", "x", "y"}]}`, 1,000 points each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.orm import Session

from headway.tracking import limits
from headway.tracking.find.query import RunRow
from headway.tracking.show import bands, runtable
from headway.tracking.store import history, readout, samples, series
from headway.tracking.store.readout import RunFacts

AXES = ("step", "time", "relative")
PARAMETERS, METRICS = 6, 3  # axes of each kind in parallel coordinates
WIDE = 50.0


def lines(
    db: Session,
    runs: Sequence[RunFacts | RunRow],
    key: str,
    *,
    x: str = "step",
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """One metric of one or several runs. `x`: "step", "time" (bounds and positions are milliseconds since the epoch) or
    "relative" (milliseconds since each run began).
    """
    found = []
    for run in runs:
        if isinstance(run, RunFacts) and key not in run.metrics:
            continue
        origin = run.start_time or 0 if x == "relative" else 0
        if x == "step":
            points = history.chart(db, run.id, key, low=whole_step(low, math.ceil), high=whole_step(high, math.floor))
        else:
            least, most = (None if bound is None else bound + origin for bound in (low, high))
            points = history.chart_in_time(db, run.id, key, low=least, high=most)
        if not len(points):
            continue
        position = points.steps if x == "step" else points.times - origin
        found.append({"name": run.name or run.uuid[:8], "key": run.uuid, "start": run.start_time, "x": position.tolist(),
                      "y": _finite(points.values)})  # fmt: skip
    return {"series": found, "x": x}


def drawn(
    db: Session, runs: Sequence[RunFacts | RunRow], key: str, *, x: str, low: float | None, high: float | None, name: str = ""
) -> bytes:  # fmt: skip
    """`lines` as JSON, kept until one of the runs is written to. `name`: what the lines are called instead of by their runs."""

    def made() -> bytes:
        found = lines(db, runs, key, x=x, low=low, high=high)
        return orjson.dumps(found | {"series": [line | {"name": name} for line in found["series"]]} if name else found)

    return readout.answer(db, ("lines", key, x, low, high, name), runs, made)


def whole_step(bound: float | None, towards: Callable[[float], int]) -> int | None:
    """The nearest whole step inside a bound; none for one that is beyond all."""
    return None if bound is None or not math.isfinite(bound) else towards(bound)


def _finite(values: series.Floats) -> list[float | None]:
    """What JSON can hold; a gap where a value is no number."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def bands_of(
    db: Session, groups: Mapping[str, Sequence[int]], key: str, *, low: float | None, high: float | None, kind: str
) -> dict[str, Any]:
    """For each group of runs (name to the runs' numbers) the mean of a metric and the band around it, aligned on steps."""
    runs = [run for group in groups.values() for run in group]
    bounds = {"low": whole_step(low, math.ceil), "high": whole_step(high, math.floor)}
    points = samples.sampled(db, runs, key, **bounds, most=history.CHART)
    found = []
    for name, its in groups.items():
        curves = [points[run] for run in its if len(points[run])]
        made = bands.band(curves, kind)
        if curves:
            found.append({"key": name, "name": name, "runs": len(curves), "x": made.steps.tolist(), "y": _finite(made.mean),
                          "low": _finite(made.low), "high": _finite(made.high), "count": made.count.tolist()})  # fmt: skip
    return {"series": found, "x": "step"}


def parallel(runs: Sequence[RunFacts], url: Callable[[str], str]) -> dict[str, Any]:
    """Parallel coordinates of what differs: parameters first, then the metrics that most runs have, the most common one last.

    `{"axes": [{"name", "log"?}], "runs": [{"id", "name", "url", "values"}]}`; a parameter all of whose values are numbers is one.
    """
    params = [row for row in runtable.diff([run.params for run in runs]) if _tells(row.values)]
    params = sorted(params, key=lambda row: sum(v is None for v in row.values))[:PARAMETERS]
    found = runtable.diff([{key: m.last for key, m in run.metrics.items() if math.isfinite(m.last)} for run in runs])
    metrics = [row for row in found if _tells(row.values) and not limits.of_machine(row.key)]
    metrics = sorted(metrics, key=lambda row: sum(v is None for v in row.values))[:METRICS]
    columns = [_numbers(row.values) for row in params] + [row.values for row in reversed(metrics)]
    axes = [{"name": row.key, "log": _is_wide(column)} for row, column in zip(params, columns, strict=False)]
    axes += [{"name": row.key} for row in reversed(metrics)]
    lines_ = [
        {
            "id": run.uuid,
            "name": run.name or run.uuid[:8],
            "url": url(run.uuid),
            "values": [column[at] for column in columns],
        }
        for at, run in enumerate(runs)
    ]
    return {"axes": axes, "runs": lines_}


def _tells(values: Sequence[str | float | None]) -> bool:
    """Whether an axis has at least two places."""
    return len({value for value in values if value is not None}) > 1


def _numbers(values: Sequence[str | float | None]) -> tuple[str | float | None, ...]:
    """The values as numbers, if all of them are finite ones; else as they are."""
    try:
        numbers = tuple(None if value is None else float(value) for value in values)
    except ValueError:
        return tuple(values)
    return numbers if all(n is None or math.isfinite(n) for n in numbers) else tuple(values)


def _is_wide(values: Sequence[str | float | None]) -> bool:
    """Whether positive numbers span so much that their sizes matter more than their differences: a learning rate."""
    numbers = [value for value in values if isinstance(value, float)]
    return len(numbers) > 1 and min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE


def course(runs: Sequence[RunFacts], key: str) -> dict[str, Any]:
    """One metric's last value in each run, over the time the runs began."""
    points = sorted((r.start_time or 0, r.metrics[key].last) for r in runs if key in r.metrics)
    shown = [(at, value) for at, value in points if math.isfinite(value)]
    return {"series": [{"name": key, "key": key, "x": [p[0] for p in shown], "y": [p[1] for p in shown]}], "x": "time"}
