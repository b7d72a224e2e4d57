"""Runs with all that was recorded about them, read in few statements for many runs, and kept while they don't change."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.orm import Session

from headway.storage import direct
from headway.storage.direct import Direct
from headway.tracking.store import keys

_IN: Any = bindparam("runs", expanding=True)
_PARAMS = text("SELECT run_id, key_id, value FROM params WHERE run_id IN :runs").bindparams(_IN)
_TAGS = text("SELECT run_id, key_id, value FROM tags WHERE run_id IN :runs").bindparams(_IN)
_SUMMARIES = text(
    "SELECT run_id, key_id, last, is_nan, step, time, low, high, points FROM summaries WHERE run_id IN :runs"
).bindparams(_IN)
_INPUTS = (
    "SELECT i.run_id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile, i.tags, d.id FROM run_inputs i"
    " JOIN datasets d ON d.id = i.dataset_id WHERE i.run_id IN"
)
_MODELS = "SELECT run_id, model_uuid, role, step FROM run_models WHERE run_id IN"
_PIECE = 500


@dataclass(frozen=True)
class Series:
    """A metric in short: its last value (at the highest step), where that is, the extremes, and the number of points."""

    last: float
    step: int
    time: int
    low: float | None
    high: float | None
    points: int

    @property
    def is_curve(self) -> bool:
        """Whether there is a course to draw: several points, and not one value said twice."""
        return self.points > 1 and (self.step != 0 or self.low != self.high)


@dataclass(frozen=True)
class DataInput:
    """Data a run read. `tags` holds `mlflow.data.context` among others; `schema` and `profile` are JSON texts or empty."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str
    tags: dict[str, str]


@dataclass
class RunFacts:
    """A run and all that was recorded about it."""

    id: int
    uuid: str
    experiment_id: int
    project_id: str
    name: str
    user_id: str
    status: str
    cause: str
    start_time: int | None
    end_time: int | None
    lifecycle: str
    artifact_uri: str
    parent_uuid: str | None
    version: int
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Series] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[DataInput] = field(default_factory=list)
    models: list[tuple[str, str, int]] = field(default_factory=list)  # (model's uuid, "input" or "output", step)

    @property
    def duration(self) -> int | None:
        """Milliseconds from start to end; None while it goes on."""
        return None if self.end_time is None or self.start_time is None else self.end_time - self.start_time


def facts(db: Session, rows: Sequence[Any]) -> list[RunFacts]:
    """The facts of rows (with `query.COLUMNS`), in their order."""
    found: list[RunFacts] = []
    for at in range(0, len(rows), _PIECE):
        found += _facts(db, rows[at : at + _PIECE])
    return found


def bare(r: Any, tags: dict[str, str] | None = None) -> RunFacts:
    """A run of which no more is known than its row (with `query.COLUMNS`), and perhaps its tags."""
    return RunFacts(r.id, r.uuid, r.experiment_id, r.project_id, r.name, r.user_id, r.status, r.cause, r.start_time,
                    r.end_time, r.lifecycle, r.artifact_uri, r.parent_uuid, r.version, tags=tags or {})  # fmt: skip


def _facts(db: Session, rows: Sequence[Any]) -> list[RunFacts]:
    made = {r.id: bare(r) for r in rows}
    asked = {"runs": list(made)}
    params, tags = db.execute(_PARAMS, asked).all(), db.execute(_TAGS, asked).all()
    summaries = db.execute(_SUMMARIES, asked).all()
    ids = {row[1] for row in params} | {row[1] for row in tags} | {row[1] for row in summaries}
    names = keys.names(db, ids)
    for run, key, value in params:
        made[run].params[names[key]] = value
    for run, key, value in tags:
        made[run].tags[names[key]] = value
    nan = float("nan")
    for run, key, last, is_nan, step, time, low, high, points in summaries:
        made[run].metrics[names[key]] = Series(nan if is_nan else last, step, time, low, high, points)
    attach(db, made)
    return list(made.values())


def attach(db: Session | Direct, made: Mapping[int, RunFacts]) -> None:
    """Add the inputs and the models of runs, by number."""
    reader = direct.of(db)
    for run, name, digest, kind, source, schema, profile, its_tags, _ in sorted(
        reader.among(_INPUTS, made), key=itemgetter(8)
    ):
        made[run].inputs.append(DataInput(name, digest, kind, source, schema, profile, json.loads(its_tags)))
    for run, model, role, step in sorted(reader.among(_MODELS, made), key=itemgetter(1)):
        made[run].models.append((model, role, step))


T = TypeVar("T")


class Kept(Generic[T]):
    """What was made of runs, by a name and the version it was made of, up to a number of bytes; the longest unused go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Hashable, T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, version: Hashable) -> T | None:
        """What was kept of this very version."""
        with self._lock:
            found = self._kept.get(name)
            if found is None or found[0] != version:
                return None
            self._kept.move_to_end(name)
            return found[1]

    def put(self, name: Hashable, version: Hashable, value: T, size: int) -> None:
        """Keep it, and forget what no longer fits."""
        with self._lock:
            old = self._kept.pop(name, None)
            self._bytes += size - (old[2] if old else 0)
            self._kept[name] = (version, value, size)
            while self._bytes > self._most and self._kept:
                _, (_, _, freed) = self._kept.popitem(last=False)
                self._bytes -= freed


_kept: WeakKeyDictionary[Engine, dict[str, Any]] = WeakKeyDictionary()
_DOCUMENT_BYTES = 16 << 20
_ANSWER_BYTES = 8 << 20


def of_engine(db: Session | Direct, name: str, make: Callable[[], T]) -> T:
    """What this process keeps about this database under a name; made when it is first asked for."""
    mine = _kept.setdefault(direct.of(db).engine, {})
    found: T = mine[name] if name in mine else mine.setdefault(name, make())
    return found


def documents(db: Session | Direct) -> Kept[bytes]:
    """Serialised runs of this database."""
    return of_engine(db, "documents", lambda: Kept[bytes](_DOCUMENT_BYTES))


class Versioned(Protocol):
    """A run of which is known what it was like: every write raises its version."""

    @property
    def uuid(self) -> str: ...
    @property
    def version(self) -> int: ...


def answer(
    db: Session | Direct, question: tuple[Hashable, ...], runs: Sequence[Versioned], make: Callable[[], bytes]
) -> bytes:
    """The bytes that answer a question about runs, kept until one of them is written to. For reading alone, as `documents`, and
    the runs must have been read before what is made of them: an answer may then be newer than its version says, never older."""
    kept = of_engine(db, "answers", lambda: Kept[bytes](_ANSWER_BYTES))
    name = (*question, *(run.uuid for run in runs))
    versions = tuple(run.version for run in runs)
    found = kept.get(name, versions)
    if found is None:
        found = make()
        kept.put(name, versions, found, len(found) + 100 * len(name) + 400)
    return found
