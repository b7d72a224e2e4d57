"""How many runs fulfil a filter, which they are, and whole columns of their values: for counts, groups and statistics."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from headway.storage import direct
from headway.storage.direct import Sql
from headway.tracking.find.conditions import TABLES, Piece
from headway.tracking.find.question import Question, RunRow, Scope, fewest
from headway.tracking.find.search import Clause
from headway.tracking.store import keys, record

FEW = 2000
_LAST = Sql("SELECT last, is_nan FROM summaries WHERE run_id = ? AND key_id = ?")


def count(db: Session, scope: Scope, clauses: Sequence[Clause]) -> int:
    """How many runs fulfil the clauses."""
    if not scope.experiment_ids:
        return 0
    q = Question(db, scope, clauses, [])
    within, values = q.within()
    alone = len(clauses) == 1 and clauses[0].kind in TABLES and scope.children and scope.lifecycle == "active"
    driver = fewest(q) if clauses and (q.sqlite or alone) else None
    if driver is None:
        mine, ids = q.experiments("r")
        checks, more = q.checks(sets="" if q.sqlite else "r.id")
        return int(q.rows(f"SELECT COUNT(*) FROM runs r WHERE {mine}{within}{checks}", [*ids, *values, *more])[0][0])  # noqa: S608
    clause, (listed, its), number = driver
    mine, ids = q.experiments("r")
    if alone and (gone := _deleted(q)) <= FEW:
        if not gone:
            return number
        checks, more = q.checks()
        text = f"SELECT COUNT(*) FROM runs r WHERE {mine} AND r.lifecycle = 'deleted'{checks}"  # noqa: S608
        return number - int(q.rows(text, [*ids, *more])[0][0])
    checks, more = q.checks([clause])
    text = f"SELECT COUNT(*) FROM ({listed}) d CROSS JOIN runs r WHERE r.id = d.run_id AND {mine}{within}{checks}"  # noqa: S608
    return int(q.rows(text, [*its, *ids, *values, *more])[0][0])


def _deleted(q: Question) -> int:
    """How many runs of the experiments are in the bin, counted up to `FEW` and one."""
    mine, ids = q.experiments("runs")
    text = f"SELECT COUNT(*) FROM (SELECT 1 FROM runs WHERE {mine} AND lifecycle = 'deleted' LIMIT {FEW + 1}) binned"  # noqa: S608
    return int(q.rows(text, ids)[0][0])


def numbers(db: Session, scope: Scope, clauses: Sequence[Clause], most: int = 10**9) -> list[int]:
    """The numbers of the runs that fulfil the clauses, at most so many, the latest first where there are more."""
    if not scope.experiment_ids:
        return []
    text, values = matching(db, scope, clauses)
    tail = " ORDER BY r.start_time DESC, r.uuid LIMIT ?" if most < 10**9 else ""
    return [row[0] for row in direct.of(db).rows(Sql(text + tail), [*values, *([most] if tail else [])])]


def matching(db: Session, scope: Scope, clauses: Sequence[Clause]) -> Piece:
    """The statement that lists the numbers (`id`) of the runs (`r`) that fulfil the clauses. The scope has an experiment."""
    q = Question(db, scope, clauses, [])
    driver = fewest(q) if clauses and q.sqlite else None
    (mine, ids), (within, values) = q.experiments("r"), q.within()
    if driver is not None:
        clause, (listed, its), _ = driver
        checks, more = q.checks([clause])
        text = f"SELECT r.id FROM ({listed}) d CROSS JOIN runs r WHERE r.id = d.run_id AND {mine}{within}{checks}"  # noqa: S608
        return text, [*its, *ids, *values, *more]
    checks, more = q.checks(sets="" if q.sqlite else "r.id")
    return f"SELECT r.id FROM runs r WHERE {mine}{within}{checks}", [*ids, *values, *more]  # noqa: S608


def named(db: Session, project_id: str, uuids: Sequence[str]) -> list[RunRow]:
    """The runs of the project with these ids, in their order. Raises `NotFound` for one that isn't there."""
    wanted = list(dict.fromkeys(uuids))
    text = f"SELECT {', '.join(RunRow._fields)} FROM runs WHERE project_id = ? AND uuid IN"  # noqa: S608
    rows = {row[1]: RunRow._make(row) for row in direct.of(db).among(text, wanted, project_id)}
    for uuid in wanted:
        if uuid not in rows:
            raise record.no_run(uuid)
    return [rows[uuid] for uuid in wanted]


def last(db: Session, run_id: int, key: str) -> float | None:
    """The last value of one metric of a run, by its number; None where it has none, or NaN."""
    key_id = keys.find(db, [key]).get(key, -1)
    found = direct.of(db).first(_LAST, [run_id, key_id])
    return None if found is None or found[1] else float(found[0])
