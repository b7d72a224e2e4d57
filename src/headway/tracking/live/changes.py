"""What changed in runs since they were last looked at: for pages that are open while a run goes on.

`Picture` is what a page knows of a run. `look` reads runs whose version differs and says what is new in each, in a few
statements for all of them: changed values, and the points that came since. Points are thinned to what a screen can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from headway.tracking import states
from headway.tracking.store import keys, readout, series
from headway.tracking.store.readout import RunFacts
from headway.tracking.tables import Run
from headway.web import show

POINTS = 8_000
"""Points of one message, all series together; each has at least `LEAST`."""
LEAST, MOST = 6, 500
VALUE_CHARS = 400
_NEWEST = (
    "SELECT * FROM (SELECT id, key_id, data FROM series_chunks WHERE run_id = :run AND key_id = {key}"
    " ORDER BY id DESC LIMIT {most}) AS newest_{key}"
)
_AT_ONCE = 500
_TOGETHER = 50  # series asked for in one statement
_CHUNKS = 2000  # chunks of one series that are read at once


@dataclass
class Picture:
    """A run as it was last seen. `counts`: how many points each series had."""

    uuid: str
    id: int
    version: int
    facts: RunFacts
    counts: dict[str, int] = field(default_factory=dict)


def snapshot(db: Session) -> Session:
    """One snapshot for all that follows, also on PostgreSQL: points and their counts must be of the same moment."""
    if db.get_bind().dialect.name == "postgresql":
        db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    return db


def versions(db: Session, uuids: Sequence[str]) -> list[Any]:
    """The rows of these runs: one statement for `_AT_ONCE` of them."""
    found: list[Any] = []
    for at in range(0, len(uuids), _AT_ONCE):
        found += db.scalars(select(Run).where(Run.uuid.in_(list(uuids[at : at + _AT_ONCE]))))
    return found


def picture(db: Session, row: Any) -> Picture:
    """A run as it is now."""
    (facts,) = readout.facts(db, [row])
    return of_facts(facts)


def of_facts(facts: RunFacts) -> Picture:
    """A run as its facts say."""
    return Picture(facts.uuid, facts.id, facts.version, facts, _counts(facts))


def look(db: Session, known: Iterable[tuple[Picture, Any]]) -> list[tuple[Picture, dict[str, Any]]]:
    """For each (picture, row of now): the new picture, and what a page is to be told (see `told`)."""
    pairs = list(known)
    found = []
    for (old, row), facts in zip(pairs, readout.facts(db, [row for _, row in pairs]), strict=True):
        counts = _counts(facts)
        grown = {key: n - old.counts.get(key, 0) for key, n in counts.items() if n > old.counts.get(key, 0)}
        fresh = _points(db, row.id, grown, row.version - old.version) if grown else {}
        new = Picture(old.uuid, row.id, row.version, facts, counts)
        found.append((new, told(old.facts, facts) | {"points": fresh}))
    return found


def told(old: RunFacts, new: RunFacts) -> dict[str, Any]:
    """What differs, as JSON: `metrics` {key: {last, low, high, step, points, time, and `shown`: the numbers as pages write them,
    whole part and fraction}}, `params`, `tags`, and `gone`, the tags that are no more. The state is always there."""
    metrics = {key: _metric(m) for key, m in new.metrics.items() if repr(old.metrics.get(key)) != repr(m)}
    return {
        "run": new.uuid, "version": new.version, "name": new.name, "status": new.status, "state": states.state(new),
        "cause": states.cause(new), "start": new.start_time, "end": new.end_time, "duration": new.duration,
        "metrics": metrics, "params": _differing(old.params, new.params), "tags": _differing(old.tags, new.tags),
        "gone": sorted(old.tags.keys() - new.tags.keys()),
    }  # fmt: skip


def _metric(m: readout.Series) -> dict[str, Any]:
    found: dict[str, Any] = {"last": m.last, "low": m.low, "high": m.high, "step": m.step}
    shown = {part: show.number(value) for part, value in found.items()}
    return found | {"points": m.points, "time": m.time, "shown": shown}


def _differing(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    return {key: value[:VALUE_CHARS] for key, value in new.items() if old.get(key) != value}


def _counts(facts: RunFacts) -> dict[str, int]:
    return {key: m.points for key, m in facts.metrics.items()}


def _points(db: Session, run: int, grown: dict[str, int], writes: int) -> dict[str, dict[str, list[Any]]]:
    """The points that came in so many writes. The newest chunks hold them: ids can't be gone by, as SQLite gives those of
    chunks that were folded away to others, but among what is there they rise."""
    ids = {number: key for key, number in keys.find(db, grown).items()}
    parts: dict[str, list[series.Points]] = {}
    room = min(MOST, max(LEAST, POINTS // max(1, len(ids))))
    numbers = sorted(ids)
    for at in range(0, len(numbers), _TOGETHER):
        some = numbers[at : at + _TOGETHER]
        most = {key: min(_CHUNKS, max(writes, 2 + grown[ids[key]] // series.FULL)) for key in some}
        asked = " UNION ALL ".join(_NEWEST.format(key=int(key), most=int(most[key])) for key in some)
        for _, key_id, data in sorted(db.execute(text(asked), {"run": run}), key=lambda row: int(row[0])):
            parts.setdefault(ids[key_id], []).append(series.unpack(data))
    return {key: columns(thinned(series.join(found), grown[key], room)) for key, found in parts.items()}


def thinned(points: series.Points, new: int, room: int) -> series.Points:
    """The `new` latest of the points, in order, at most about `room` of them. More were read where others wrote to the run, or
    old chunks were folded into a new one."""
    found = series.ordered(points)
    return series.for_chart(found.take(slice(max(0, len(found) - new), None)), room)


def columns(points: series.Points) -> dict[str, list[Any]]:
    """Columns as JSON; what is not a number there becomes null."""
    return {"steps": points.steps.tolist(), "times": points.times.tolist(), "values": points.values.tolist()}
