"""Folding small chunks into full ones: sorted, exact duplicates dropped, sketched for charts.

Every request writes one small chunk for each series it touches. When enough of them lie loose, they are folded, in pieces
small enough that writers hardly wait: first into one chunk, and full chunks of 4,096 points are not touched again unless
points come late. Late points are folded with the full chunks that they fall into, as long as those are few, so that a point
that was sent twice is found however much lies between.
"""

from __future__ import annotations

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.tracking.store import series
from headway.tracking.store.series import FULL, Points

LOOSE = 64
MET = 4  # full chunks that are folded anew with late points, at most
_DUE = text("SELECT run_id, key_id FROM summaries WHERE loose >= 64 LIMIT :limit")
_PARTS = text(
    "SELECT id, points, data FROM series_chunks WHERE run_id = :run AND key_id = :key AND sketch IS NULL ORDER BY id LIMIT 256"
)
_FULL = text(
    "SELECT id, step_low, step_high FROM series_chunks WHERE run_id = :run AND key_id = :key AND sketch IS NOT NULL"
    " AND step_high >= :low AND step_low <= :high"
)
_THESE = text("SELECT id, points, data FROM series_chunks WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)
_DROP = text("DELETE FROM series_chunks WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
_ADD = text(
    "INSERT INTO series_chunks (run_id, key_id, points, step_low, step_high, data, sketch)"
    " VALUES (:run, :key, :points, :low, :high, :data, :sketch)"
)
# A second server that folds the same series waits here, and then finds it done.
_LOCK = text("UPDATE summaries SET loose = loose WHERE run_id = :run AND key_id = :key")
_RECOUNT = text("UPDATE summaries SET loose = :loose WHERE run_id = :run AND key_id = :key")
_LEFT = text(
    "UPDATE summaries SET loose = loose - :done, points = points - :twice WHERE run_id = :run AND key_id = :key"
)


def due(db: Session, limit: int = 100) -> list[tuple[int, int]]:
    """Series (run's number, key's number) that have many loose chunks."""
    return [(row[0], row[1]) for row in db.execute(_DUE, {"limit": limit})]


def fold(db: Session, run: int, key: int) -> int:
    """Fold the loose chunks of one series; returns how many there were."""
    db.execute(_LOCK, {"run": run, "key": key})
    parts = db.execute(_PARTS, {"run": run, "key": key}).all()
    if len(parts) < 2:
        db.execute(_RECOUNT, {"run": run, "key": key, "loose": len(parts)})  # another server was faster
        return 0
    points = series.ordered(series.join([series.unpack(row.data) for row in parts]))
    if met := _met(db, run, key, points):
        parts = [*db.execute(_THESE, {"ids": met}).all(), *parts]
        points = series.ordered(series.join([series.unpack(row.data) for row in parts]))
    twice = sum(row.points for row in parts) - len(points)
    ids = [row.id for row in parts]
    for at in range(0, len(ids), 500):
        db.execute(_DROP, {"ids": ids[at : at + 500]})
    chunks = [series.chunk(points.take(slice(at, at + FULL))) for at in range(0, len(points), FULL)]
    db.execute(_ADD, [{"run": run, "key": key, **chunk._asdict()} for chunk in chunks])
    rest = 1 if len(points) % FULL else 0
    db.execute(_LEFT, {"run": run, "key": key, "done": len(parts) - len(met) - rest, "twice": twice})
    return len(parts) - len(met)


def _met(db: Session, run: int, key: int, points: Points) -> list[int]:
    """The full chunks that points fall into; none if they are too many (a series whose points all have one step)."""
    low, high = int(points.steps[0]), int(points.steps[-1])
    rows = db.execute(_FULL, {"run": run, "key": key, "low": low, "high": high}).all()
    starts = points.steps.searchsorted([row.step_low for row in rows], "left")
    ends = points.steps.searchsorted([row.step_high for row in rows], "right")
    met = [row.id for row, start, end in zip(rows, starts, ends, strict=True) if end > start]
    return met if len(met) <= MET else []
