"""Which names runs have: all of them, and the metrics that are worth a chart, which have a course and not one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.tracking import limits
from headway.tracking.store import keys

MOST = 200
_CURVES = text(
    "SELECT key_id, COUNT(*) FROM summaries WHERE run_id IN :runs AND points > 1 AND (step <> 0 OR low <> high)"
    " GROUP BY key_id ORDER BY COUNT(*) DESC LIMIT 2000"
).bindparams(bindparam("runs", expanding=True))
_RUNS: Any = bindparam("runs", expanding=True)
_NAMES = {
    "param": text("SELECT DISTINCT key_id FROM params WHERE run_id IN :runs").bindparams(_RUNS),
    "metric": text("SELECT DISTINCT key_id FROM summaries WHERE run_id IN :runs").bindparams(_RUNS),
    "tag": text("SELECT DISTINCT key_id FROM tags WHERE run_id IN :runs").bindparams(_RUNS),
}
_PIECE = 500


def all_names(db: Session, runs: Sequence[int]) -> list[tuple[str, str]]:
    """(kind, name) of all parameters, metrics and tags of these runs (by their numbers); not the tags of the platform."""
    found: dict[str, set[int]] = {kind: set() for kind in _NAMES}
    for at in range(0, len(runs), _PIECE):
        for kind, statement in _NAMES.items():
            found[kind].update(db.execute(statement, {"runs": list(runs[at : at + _PIECE])}).scalars())
    known = keys.names(db, set().union(*found.values()))
    return [
        (kind, known[key]) for kind, ids in found.items() for key in ids
        if kind != "tag" or not known[key].startswith(("mlflow.", "headway."))
    ]  # fmt: skip


def names(db: Session, runs: Sequence[int]) -> list[str]:
    """Metrics with several points in some of these runs (by their numbers): those that most have first, dull ones last."""
    if not runs:
        return []
    counts = {int(key): int(count) for key, count in db.execute(_CURVES, {"runs": list(runs)})}
    found = keys.names(db, counts)
    ranked = sorted(counts, key=lambda key: (_dull(found[key]), -counts[key], found[key].lower()))
    return [found[key] for key in ranked[:MOST]]


def _dull(name: str) -> int:
    """What a schedule or the machine says of itself is rarely what one came for."""
    if limits.of_machine(name):
        return 2
    return int(name.lower().rsplit("/", 1)[-1] in ("lr", "learning_rate", "epoch", "step"))
