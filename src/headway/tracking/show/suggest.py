"""Suggestions for a filter that is being typed: `completion` says what is expected, the store says what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from headway.people.rules import Who
from headway.projects.tables import Project
from headway.storage import direct
from headway.storage.direct import Sql
from headway.tracking import experiments, limits
from headway.tracking.find import completion, query
from headway.tracking.find.completion import Expected
from headway.tracking.find.conditions import TABLES, marks
from headway.tracking.show import cells
from headway.tracking.store import keys

SHOWN = 12
SAMPLE = 200  # the latest runs, whose names and values are offered
_LATEST = text(
    "SELECT id, name, user_id FROM runs WHERE project_id = :project AND lifecycle = 'active' ORDER BY start_time DESC LIMIT :most"
)
_RUNS: Any = bindparam("runs", expanding=True)
_OFTEN = " WHERE run_id IN :runs AND key_id = :key GROUP BY value ORDER BY COUNT(*) DESC LIMIT 200"
_VALUES = {
    "param": text("SELECT value, COUNT(*) FROM params" + _OFTEN).bindparams(_RUNS),  # noqa: S608
    "tag": text("SELECT value, COUNT(*) FROM tags" + _OFTEN).bindparams(_RUNS),  # noqa: S608
}
_RANGE = text(
    "SELECT MIN(last), MAX(last) FROM summaries WHERE run_id IN :runs AND key_id = :key AND NOT is_nan"
).bindparams(_RUNS)
_HELD = (
    "SELECT k.name FROM keys k WHERE lower(k.name) LIKE ? ESCAPE '!' AND EXISTS"
    " (SELECT 1 FROM {table} t WHERE t.experiment_id IN {marks} AND t.key_id = k.id) ORDER BY k.name LIMIT 50"
)
_MOST = " WHERE run_id IN :runs GROUP BY key_id ORDER BY COUNT(*) DESC LIMIT 20000"
_NAMES = {
    "metric": text("SELECT key_id, COUNT(*) FROM summaries" + _MOST).bindparams(_RUNS),  # noqa: S608
    "param": text("SELECT key_id, COUNT(*) FROM params" + _MOST).bindparams(_RUNS),  # noqa: S608
    "tag": text("SELECT key_id, COUNT(*) FROM tags" + _MOST).bindparams(_RUNS),  # noqa: S608
}


def items(db: Session, who: Who, project: Project, text_: str, at: int, asked: Sequence[str] = ()) -> dict[str, Any]:
    """What may come at place `at` of a filter: {"items": [{"text", "label", "kind", "note"}], "start", "end"}; a suggestion
    replaces the text from start to end. `asked`: experiments by id. The caller has checked that `who` may see the project.
    """
    ahead = completion.expected(text_, at)
    found = {"key": _keys, "operator": _operators, "value": _values, "join": _joins}[ahead.what](
        db, who, project, ahead, asked
    )
    return {"items": found[:SHOWN], "start": ahead.start, "end": ahead.end}


def _item(text_: str, kind: str, note: str = "") -> dict[str, Any]:
    return {"text": text_, "label": text_, "kind": kind, "note": note or kind}


def _latest(db: Session, who: Who, project: Project, asked: Sequence[str]) -> list[Any]:
    if asked:
        mine = {one.id for one in experiments.active(db, project.id)} & set(experiments.visible(db, who, asked))
        rows, _ = query.find_runs(db, query.Scope(sorted(mine)), [], [], SAMPLE)
        return list(rows)
    return list(db.execute(_LATEST, {"project": project.id, "most": SAMPLE}))


def _keys(db: Session, who: Who, project: Project, ahead: Expected, asked: Sequence[str]) -> list[dict[str, Any]]:
    """Names that hold what was typed: those that begin with it first, then those that more runs have."""
    runs = [row.id for row in _latest(db, who, project, asked)]
    typed = ahead.key.lower()
    found: list[tuple[tuple[bool, bool, int, str], dict[str, Any]]] = []

    def offer(kind: str, name: str, note: str, count: int = 0) -> None:
        low = name.lower()
        if typed in low and (typed.startswith("mlflow") or not name.startswith("mlflow.")):
            rank = (not low.startswith(typed), limits.of_machine(name), -count, low)
            found.append((rank, _item(completion.name(kind, name), note)))

    for kind, statement in _NAMES.items():
        if ahead.kind not in ("", kind):
            continue
        some = cells.within(db, kind, runs)
        counts = {int(key): int(count) for key, count in db.execute(statement, {"runs": some})} if some else {}
        names = keys.names(db, counts)
        for key_id, name in names.items():
            offer(kind, name, kind, counts[key_id])
        if typed and len(found) < SHOWN:
            for name in _older(db, who, project, kind, typed, asked) - set(names.values()):
                offer(kind, name, kind)
    if ahead.kind in ("", "attribute"):
        for name in completion.ATTRIBUTES:
            offer("attribute", name, "run")
    if ahead.kind == "dataset" or (ahead.kind == "" and typed and "dataset".startswith(typed)):
        found += [((False, False, 0, name), _item(f"dataset.{name}", "dataset")) for name in completion.DATASET_KEYS]
    return [one for _, one in sorted(found, key=lambda each: each[0])]


def _older(db: Session, who: Who, project: Project, kind: str, typed: str, asked: Sequence[str]) -> set[str]:
    """Names that hold what was typed, of any runs: those that the latest ones have are known."""
    mine = {one.id for one in experiments.active(db, project.id)}
    where = sorted(mine & set(experiments.visible(db, who, asked)) if asked else mine)
    pattern = "".join(f"!{char}" if char in "!%_" else char for char in typed)
    held = Sql(_HELD.format(table=TABLES[kind], marks=marks(where)))
    return {row[0] for row in direct.of(db).rows(held, [f"%{pattern}%", *where])} if where else set()


def _operators(
    _db: Session, _who: Who, _project: Project, ahead: Expected, _asked: Sequence[str]
) -> list[dict[str, Any]]:
    typed = ahead.typed.strip().upper()
    return [
        _item(op, "comparison")
        for op in completion.operators(ahead.kind, ahead.key)
        if op.startswith(typed) and op != typed
    ]


def _values(db: Session, who: Who, project: Project, ahead: Expected, asked: Sequence[str]) -> list[dict[str, Any]]:
    typed = ahead.typed.strip("'%( ").lower()
    found = _known(db, who, project, ahead, asked)
    shown = [(value, note) for value, note in found if typed in value.lower()]
    if ahead.kind == "metric":
        return [_item(value, "value", note) for value, note in shown]
    pattern = ahead.op in ("LIKE", "ILIKE")
    listed = ahead.op in ("IN", "NOT IN")
    made = [completion.quoted(f"%{value}%" if pattern else value) for value, _ in shown]
    return [_item(f"({one})" if listed else one, "value", note) for one, (_, note) in zip(made, shown, strict=True)]


def _known(db: Session, who: Who, project: Project, ahead: Expected, asked: Sequence[str]) -> list[tuple[str, str]]:
    """(value, note) that runs have for the key, the most frequent first."""
    if ahead.kind == "attribute" and ahead.key == "status":
        return [(one, "status") for one in completion.STATUSES]
    rows = _latest(db, who, project, asked)
    if ahead.kind == "attribute":
        field = {"run_name": "name", "user_id": "user_id"}.get(ahead.key)
        return [(value, "run") for value in dict.fromkeys(getattr(row, field) for row in rows)] if field else []
    key_id = keys.find(db, [ahead.key]).get(ahead.key)
    if key_id is None or not rows:
        return []
    where = {"runs": [row.id for row in rows], "key": key_id}
    if ahead.kind == "metric":
        low, high = db.execute(_RANGE, where).one()
        return [(f"{value:.4g}", note) for value, note in ((low, "lowest"), (high, "highest")) if value is not None]
    if ahead.kind not in _VALUES:
        return []
    return [
        (str(value)[:200], f"{count} runs" if count > 1 else "1 run")
        for value, count in db.execute(_VALUES[ahead.kind], where)
    ]


def _joins(_db: Session, _who: Who, _project: Project, ahead: Expected, _asked: Sequence[str]) -> list[dict[str, Any]]:
    return [_item("AND", "and")] if "AND".startswith(ahead.typed.strip().upper()) else []
