"""What the table of runs shows: which columns, by default only those in which the runs differ. Pure.

The table over JSON (`api.py`; `cells.py` reads it), all below `/api/v1/projects/{slug}/runs/`. Every name of a column is written
as in filters and orders, and means the same in all three: `params.lr`, `metrics.acc` (its last value), `min(metrics.loss)`,
`max(metrics.acc)`, `best(metrics.acc)` (lowest or highest, by the metric's name), `tags.team`, `attributes.start_time`;
unusual names in backticks: ``metrics.`a b` ``. All lists in the address are repeated fields: `order=a&order=b`.

`GET table?filter=&order=&column=&experiment=&deleted=&children=&cursor=&offset=&limit=&count=`
    `filter` MLflow's grammar · `order` as `metrics.acc DESC`, several; the newest first behind them · `column` absent: the server
    chooses (at most five metrics and five parameters in which the runs differ) · `experiment` ids; absent: all active ones ·
    `children` whether trainings (child runs) too; unsaid: where there is a filter · `limit` 1 to 5,000 (100) ·
    `cursor` the next page, exactly where the last one ended, whatever was added meanwhile · `offset` instead of it: a row in the
    middle, for a scroll bar · `count=true` also how many there are.

        {"run_id": [...], "name": [...], "state": ["finished", ...], "cause": ["", ...], "experiment": [1, ...],
         "user": [...], "start": [ms, ...], "end": [ms or null, ...], "parent": [run_id or null, ...], "children": [0, ...],
         "columns": [{"id": "metrics.acc", "kind": "metric", "key": "acc", "of": "last", "goal": "max",
                      "values": [0.91, null, "NaN", "Infinity", "-Infinity"]},
                     {"id": "params.lr", "kind": "param", "key": "lr", "values": ["0.1", null]}],
         "next": "cursor, or empty on the last page", "total": 100000 (null unless asked for)}

    All lists have one entry a run, in the order of the table. `state` holds the words of badges. A run that lacks a key has null.

`GET columns?q=&kind=&filter=&experiment=&children=&cursor=&limit=` all names there are, for the chooser: those in which runs
    differ first. `q`: part of a name. `kind`: metric, param or tag.

        {"columns": [{"id", "kind", "key", "goal" (metrics), "differs": true, "share": 0.98}], "next": "", "total": 72}

    `share` (of runs that have it) and `differs` are those of a sample of the runs; both are null where the sample lacks the key.

`GET groups?by=params.model&metric=metrics.acc&filter=&experiment=&limit=` how many runs have each value of a parameter, a tag,
    `attributes.status`, `attributes.user_id` or `attributes.experiment_id`, the most frequent first.

        {"by": "params.model", "groups": [{"value": "forest" or null, "runs": 41, "filter": "params.model = 'forest'",
                                           "mean": 0.9, "min": 0.8, "max": 0.95}], "more": false}

`GET bands?by=params.model&key=loss&x=step|time|relative&from=&to=&band=range|deviation&filter=&experiment=&limit=10` a metric's
    course in the groups of most runs: the mean of the runs that have it, and the band around it. Of a large group an even share
    is `read` (400 runs of all groups together); `count`: how many curves reach over each place.

        {"x": "step", "series": [{"key": "group:forest", "name": "forest", "runs": 20000, "read": 100, "x": [...], "y": [mean],
                                  "low": [...], "high": [...], "count": [...]}]}

`GET importance?metric=metrics.acc&filter=&experiment=` what the metric hangs on (see `importance.py`).

        {"metric": "metrics.acc", "goal": "max", "runs": 2000, "params": [{"key": "lr", "kind": "number", "importance": 0.62,
                   "direction": -0.8, "confidence": 0.99, "runs": 2000, "values": 12}]}

`GET series?run=&key=&x=step|time|relative&from=&to=&group=params.model` one metric of up to 100 runs, at most 1,000 points each.
    `relative`: milliseconds since the run began. Zooming in asks again. `group`: instead of each run the mean and the
    band of the runs that agree in a parameter or tag, aligned on steps.

        {"x": "step", "series": [{"key": run_id, "name": "calm-fox", "x": [...], "y": [0.5, null]}]}
        {"x": "step", "series": [{"key": "forest", "name": "forest", "runs": 3,
                                   "x": [...], "y": [mean], "low": [...], "high": [...]}]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway.tracking import limits
from headway.tracking.find.search import quote_key
from headway.tracking.store.readout import RunFacts

SHOWN = 5  # columns of a kind that start visible
MOST = 40  # columns of a kind that can be chosen; rarer keys are on the run's own page


@dataclass(frozen=True)
class Column:
    """A parameter's or a metric's column. `order` is what to sort by; `hidden` columns wait in the chooser."""

    kind: str
    key: str
    hidden: bool

    @property
    def id(self) -> str:
        return f"{self.kind}.{self.key}"

    @property
    def order(self) -> str:
        return f"{self.kind}s.{quote_key(self.key)}"


def columns(runs: Sequence[RunFacts]) -> list[Column]:
    """Metrics, then parameters. Those in which the runs differ come first; the first few of them are visible."""
    found: list[Column] = []
    metrics = ranked(
        _told(
            {
                key: [_same(run.metrics[key].last) for run in runs if key in run.metrics]
                for key in _keys(runs, "metrics")
            }
        ),
        len(runs),
    )
    params = ranked(
        _told({key: [run.params[key] for run in runs if key in run.params] for key in _keys(runs, "params")}), len(runs)
    )
    for kind, its in (("metric", metrics), ("param", params)):
        visible = {key for key, differs, _ in its if differs}.intersection([key for key, *_ in its][:SHOWN])
        found += [Column(kind, key, key not in visible) for key, *_ in its[:MOST]]
    return found


def _keys(runs: Sequence[RunFacts], field: str) -> list[str]:
    seen: dict[str, None] = {}
    for run in runs:
        seen.update(dict.fromkeys(getattr(run, field)))
    return list(seen)


def _same(value: float) -> str:
    return "nan" if math.isnan(value) else repr(value)


def _told(values: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, bool]]:
    return {key: (len(its), len(set(its)) > 1) for key, its in values.items()}


def ranked(told: Mapping[str, tuple[int, bool]], runs: int) -> list[tuple[str, bool, float]]:
    """(key, whether the runs differ in it, the share that has it) of the keys of `runs` runs. `told`: how many have the key, and
    whether these differ in it.

    Differing ones come first, then those that more runs have, then by name; what the machine measured of itself comes last.
    """
    found = []
    for key, (count, several) in told.items():
        differs = runs == 1 or count < runs or several
        found.append((not differs, -count, limits.of_machine(key), key.lower(), key, differs, count / max(1, runs)))
    return [(key, differs, share) for *_, key, differs, share in sorted(found)]


@dataclass(frozen=True)
class DiffRow:
    """One key across runs that are compared; None where a run lacks it."""

    key: str
    values: tuple[str | float | None, ...]
    differs: bool


def diff(columns_: Sequence[dict[str, str]] | Sequence[dict[str, float]]) -> list[DiffRow]:
    """One row for each key that any has, differing ones first."""
    keys: dict[str, None] = {}
    for column in columns_:
        keys.update(dict.fromkeys(column))
    rows = []
    for key in keys:
        values = tuple(column.get(key) for column in columns_)
        rows.append(DiffRow(key, values, len({repr(value) for value in values}) > 1))
    return sorted(rows, key=lambda row: (not row.differs, row.key.lower()))
