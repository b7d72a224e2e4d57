"""The names of all columns that the table of runs can have, the telling ones first, in pages. The contract is in `runtable`.

Which names there are is read by leaping through an index from name to name, so it costs what the names are, not the runs.
Which of them differ is seen in a sample of the latest runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.storage import direct
from headway.storage.direct import Sql
from headway.tracking import limits
from headway.tracking.find import query
from headway.tracking.find.search import column_id, goal, parse_filter
from headway.tracking.show import cells
from headway.tracking.store import keys
from headway.web.paging import cursor, uncursor

MOST = 1000
KINDS = ("metric", "param", "tag")
_PLATFORM = ("mlflow.", "headway.")
_LEAP = (
    "WITH RECURSIVE names(id) AS (SELECT (SELECT MIN(key_id) FROM {table} WHERE experiment_id = ?) UNION ALL"
    " SELECT (SELECT MIN(key_id) FROM {table} WHERE experiment_id = ? AND key_id > names.id) FROM names"
    " WHERE names.id IS NOT NULL) SELECT id FROM names WHERE id IS NOT NULL"
)
_NAMES = {"metric": Sql(_LEAP.format(table="summaries")), "param": Sql(_LEAP.format(table="params")),
          "tag": Sql(_LEAP.format(table="tags"))}  # fmt: skip


def names(db: Session, kind: str, experiments: Iterable[int]) -> list[str]:
    """All names of metrics, parameters or tags that runs of these experiments have, whatever the runs' lifecycle."""
    statement, found = _NAMES[kind], set[int]()
    for one in experiments:
        found.update(row[0] for row in direct.of(db).rows(statement, [one, one]))
    return sorted(keys.names(db, found).values())


def columns(
    db: Session, who: Who, project: Project, ask: cells.Ask, *, part: str = "", kind: str = ""
) -> dict[str, Any]:
    """One page of the names. Raises `BadInput`. The caller has checked that `who` may see the project."""
    if kind and kind not in KINDS:
        raise BadInput(f"There is no kind of column '{kind[:40]}'.", hint="metric, param or tag", field="kind")
    if not 1 <= ask.limit <= MOST:
        raise BadInput(f"A page holds 1 to {MOST} names, not {ask.limit}.", field="limit")
    where, clauses = cells.scope(db, who, project, ask), parse_filter(ask.filter)
    rows, _ = query.find_runs(db, where, clauses, [], cells.SAMPLE)
    seen = {
        (its_kind, key): (differs, share)
        for its_kind, ranked in cells.ranks(db, rows).items()
        for key, differs, share in ranked
    }
    wanted = part.strip().lower()
    found: list[tuple[Any, ...]] = []
    for its_kind in [kind] if kind else KINDS:
        for name in names(db, its_kind, where.experiment_ids):
            if wanted in name.lower() and not (its_kind == "tag" and name.startswith(_PLATFORM)):
                differs, share = seen.get((its_kind, name), (None, None))
                system = limits.of_machine(name)
                found.append(
                    (not differs, share is None, system, KINDS.index(its_kind), -(share or 0.0), name.lower(), name)
                )
    found.sort()
    total, start = len(found), 0
    if ask.cursor:
        last = uncursor(ask.cursor, 2)
        start = next((at + 1 for at, one in enumerate(found) if [one[3], one[6]] == last), None) or 0
        if not start:
            raise BadInput("This name is no longer there.", hint="Start at the first page again.", field="cursor")
    shown = found[start : start + ask.limit]
    following = cursor([shown[-1][3], shown[-1][6]]) if shown and start + len(shown) < total else ""
    told = []
    for one in shown:
        its_kind, name = KINDS[one[3]], one[6]
        differs, share = seen.get((its_kind, name), (None, None))
        more = {"goal": goal(name)} if its_kind == "metric" else {}
        told.append(
            {"id": column_id(its_kind, name), "kind": its_kind, "key": name, **more, "differs": differs, "share": share}
        )
    return {"columns": told, "next": following, "total": total, "sample": len(rows)}
