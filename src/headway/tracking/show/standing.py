"""How a run stands among its like: its headline metrics beside the previous run's and the best one's, and how long runs take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy.orm import Session

from headway.people.rules import Who
from headway.tracking import limits, service
from headway.tracking.find import counting
from headway.tracking.find.search import goal, quote_key
from headway.tracking.show import headline
from headway.tracking.store import readout
from headway.tracking.store.readout import RunFacts, Series

FIGURES = 4
LATELY = 5


@dataclass(frozen=True)
class Figure:
    """A metric of a run. `goal`: min or max, what is better. `change` is the difference to the previous run's value."""

    key: str
    value: float
    goal: str
    previous: float | None = None
    best: float | None = None
    best_run: str = ""
    best_name: str = ""

    @property
    def change(self) -> float | None:
        return None if self.previous is None else self.value - self.previous

    @property
    def tone(self) -> str:
        """ok where it got better, bad where it got worse, "" where it is the same or there is nothing before it."""
        return "" if not self.change else "ok" if (self.change < 0) == (self.goal == "min") else "bad"

    @property
    def is_best(self) -> bool:
        """Whether no other run of the experiment does better."""
        if self.best is None:
            return False
        return self.value <= self.best if self.goal == "min" else self.value >= self.best


@dataclass(frozen=True)
class Standing:
    """`usual_ms`: how long such runs took lately, None where there were none."""

    figures: list[Figure]
    previous: RunFacts | None
    usual_ms: int | None

    def percent(self, now: int, start: int | None) -> float | None:
        """How far a run that goes on is, judged by its like; never quite done before it is."""
        if not self.usual_ms or start is None:
            return None
        return min(95.0, 100.0 * max(now - start, 0) / self.usual_ms)


def towards(key: str, value: float) -> str:
    """min or max, what is better: by the name, and an error below zero is one that was turned around, as scikit-learn does."""
    return "max" if goal(key) == "min" and value < 0 else goal(key)


def standing(db: Session, who: Who, run: RunFacts) -> Standing:
    """Where a run stands among the finished runs of its experiment."""
    before = f"attributes.status = 'FINISHED' and attributes.start_time < {run.start_time or 0}"
    lately = service.find(
        db,
        who,
        [run.experiment_id],
        filter_=before,
        orders=["attributes.start_time DESC"],
        limit=LATELY,
        children=False,
    ).rows
    previous = readout.facts(db, lately[:1])[0] if lately else None
    figures = [_figure(db, who, run, key, previous) for key in telling(run.metrics)]
    took = [row.end_time - row.start_time for row in lately if row.start_time is not None and row.end_time]
    return Standing(figures, previous, round(median(took)) if took else None)


def telling(metrics: Mapping[str, Series], most: int = FIGURES) -> list[str]:
    """The metrics that say most about a run, the most telling first; where several models have one each, the best one's."""
    known = [key for key, m in metrics.items() if math.isfinite(m.last) and not limits.of_machine(key)]
    kin = headline.kin(known)
    chosen = (_best(kin[key], metrics) for key in headline.varied(known, most * 8))
    return list(dict.fromkeys(chosen))[:most]


def _best(keys: Sequence[str], metrics: Mapping[str, Series]) -> str:
    least = towards(keys[0], metrics[keys[0]].last) == "min"
    return (min if least else max)(keys, key=lambda key: metrics[key].last)


def _figure(db: Session, who: Who, run: RunFacts, key: str, previous: RunFacts | None) -> Figure:
    value = run.metrics[key].last
    better = towards(key, value)
    column = f"metrics.{quote_key(key)}"
    others = service.find(
        db, who, [run.experiment_id], orders=[f"{column} {'ASC' if better == 'min' else 'DESC'}"], limit=1, children=False,
        filter_=f"attributes.status = 'FINISHED' and attributes.run_id != '{run.uuid}' and {column} <= 1e308",
    ).rows  # fmt: skip
    best = others[0] if others else None
    last = previous.metrics.get(key) if previous else None
    return Figure(
        key, value, better, last.last if last and math.isfinite(last.last) else None,
        counting.last(db, best.id, key) if best else None, best.uuid if best else "", best.name if best else "",
    )  # fmt: skip


def changed_params(run: RunFacts, previous: RunFacts | None) -> dict[str, str | None]:
    """Parameters that differ from the previous run's, with what they were there (None: it had none)."""
    if previous is None:
        return {}
    return {key: previous.params.get(key) for key, value in run.params.items() if previous.params.get(key) != value}


def ordered(keys: Sequence[str], metrics: Mapping[str, Series]) -> list[str]:
    """Names of metrics, the most telling first, curves before single numbers among the rest."""
    first = telling({key: metrics[key] for key in keys})
    rest = sorted((k for k in keys if k not in first), key=lambda k: (not metrics[k].is_curve, k.lower()))
    return [*first, *rest]
