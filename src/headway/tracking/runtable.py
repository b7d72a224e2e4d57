"""What the table of runs shows: which columns, by default only those in which the runs differ. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headway.tracking.readout import RunFacts
from headway.tracking.search import quote_key

SHOWN = 5  # columns of a kind that start visible
MOST = 40  # columns of a kind that can be chosen; rarer keys are on the run's own page
STATES = {"RUNNING": "running", "SCHEDULED": "queued", "FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
CAUSES = frozenset({"cancelled", "timed_out", "out_of_memory", "killed", "lost"})


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


def state(run: RunFacts) -> str:
    """The state in the words of badges: the platform's cause where it knows one."""
    if run.status in ("FAILED", "KILLED") and run.cause in CAUSES:
        return run.cause
    return STATES.get(run.status, run.status.lower())


def cause(run: RunFacts) -> str:
    """Why a run ended, where that is a sentence and not a state."""
    return "" if run.cause in CAUSES else run.cause


def columns(runs: Sequence[RunFacts]) -> list[Column]:
    """Metrics, then parameters. Those in which the runs differ come first; the first few of them are visible."""
    found: list[Column] = []
    metrics = _ranked(
        {key: [_same(run.metrics[key].last) for run in runs if key in run.metrics] for key in _keys(runs, "metrics")},
        len(runs),
    )
    params = _ranked(
        {key: [run.params[key] for run in runs if key in run.params] for key in _keys(runs, "params")}, len(runs)
    )
    for kind, ranked in (("metric", metrics), ("param", params)):
        differing = [key for key, differs in ranked if differs]
        visible = set(differing[:SHOWN])
        found += [Column(kind, key, key not in visible) for key, _ in ranked[:MOST]]
    return found


def _keys(runs: Sequence[RunFacts], field: str) -> list[str]:
    seen: dict[str, None] = {}
    for run in runs:
        seen.update(dict.fromkeys(getattr(run, field)))
    return list(seen)


def _same(value: float) -> str:
    return "nan" if math.isnan(value) else repr(value)


def _ranked(values: dict[str, list[str]], runs: int) -> list[tuple[str, bool]]:
    """(key, whether the runs differ in it): differing first, then those that more runs have, then by name."""

    def differs(found: list[str]) -> bool:
        return runs == 1 or len(set(found)) > 1 or len(found) < runs

    ranked = sorted(values, key=lambda key: (not differs(values[key]), -len(values[key]), _system(key), key.lower()))
    return [(key, differs(values[key])) for key in ranked]


def _system(key: str) -> bool:
    return key.startswith("system/")


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
