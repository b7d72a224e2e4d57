"""Which runs fulfil a filter, in an order, page by page. A page is found by the sort values of the last row before it.

Where the first key is a metric, a parameter or a tag, runs that have it are read by walking its index, and those that lack it
(or have NaN) follow. A filter is answered in the first of these ways that does, so that a page costs about the same with a
thousand runs and with a hundred thousand:

1. one condition is known by its index to hold for few runs: these are read, and the rest is asked of them;
2. the next `AHEAD` runs in the order hold a page of runs that fulfil it;
3. the condition that holds for the fewest runs, now counted exactly, is read as in 1 if they are not many;
4. the order is walked to its end. What indexes tell is made a set of runs first, so that a run that isn't in it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.storage.direct import Direct
from headway.tracking.find import question
from headway.tracking.find.conditions import Piece, tested
from headway.tracking.find.question import WIDTH, Key, Question
from headway.tracking.find.question import RunRow as RunRow
from headway.tracking.find.question import Scope as Scope
from headway.tracking.find.search import Clause, Order
from headway.tracking.tables import HEAD
from headway.web.paging import cursor, uncursor

MOST = 50_000
FEW = 500  # runs of a condition that are read without further thought
SOME = 8000  # runs of a condition that are read rather than walk the order to its end
AHEAD = 2000  # runs of an order that are looked at before the conditions are counted
APART = 20  # experiments whose orders are walked each for itself and merged


def find_runs(
    db: Session | Direct, scope: Scope, clauses: Sequence[Clause], orders: Sequence[Order], limit: int, token: str | None = None,
    *, skip: int = 0,
) -> tuple[list[RunRow], str]:  # fmt: skip
    """At most `limit` rows, and the token of the next page or "". Raises `BadInput` for a foreign token.

    `skip`: so many rows are passed over, for jumping to the middle; pages that follow each other go by their tokens.
    """
    if not 0 < limit <= MOST:
        raise BadInput(f"Invalid value {limit} for parameter 'max_results' supplied: It must be between 1 and {MOST}.")
    if not scope.experiment_ids:
        return [], ""
    mark = question.mark(scope, clauses, orders)
    q = Question(db, scope, clauses, orders)
    after: list[Any] | None = None
    if token:
        values = uncursor(token, 2 * len(q.sort) + 2)
        if values[0] != mark or not isinstance(values[-1], str) or not question.sound(q, values[1:-1]):
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
        after = values[1:]
    rows = _page(q, after, limit + 1, skip)
    found = [RunRow._make(row[:WIDTH]) for row in rows[:limit]]
    if len(rows) <= limit:
        return found, ""
    return found, cursor([mark, *rows[limit - 1][WIDTH:], found[-1].uuid])


# ------------------------------------------------------------------ ways to a page
def _page(q: Question, after: list[Any] | None, limit: int, skip: int) -> list[Any]:
    few = _some_few(q)
    if few is not None:
        return _driven(q, few, after, limit, skip)
    narrows = _narrows(q)
    if skip == 0 and (
        set(map(id, q.clauses)) - set(map(id, narrows))
        or _first(q).order.of != "last"
        or len(q.scope.experiment_ids) > 1
    ):
        edge = _edge(q, after, max(AHEAD, 2 * limit))
        if edge is not None:
            rows = _walked(q, after, limit, 0, having=True if _first(q).table else None, edge=edge)
            if len(rows) >= limit:
                return rows
            if (
                not q.sqlite
            ):  # PostgreSQL keeps statistics of values, and counts slowly: from here on its own plan is better
                return _whole(q, after, limit, skip, sets=True)
            driver = question.fewest(q) if q.clauses else None
            if driver is not None and driver[2] == 0:
                return []
            if driver is not None and driver[2] <= SOME:
                return _driven(q, driver[:2], after, limit, 0)
            return _whole(q, after, limit, skip, sets=driver is not None)
    return _whole(q, after, limit, skip)


def _whole(q: Question, after: list[Any] | None, limit: int, skip: int, sets: bool = False) -> list[Any]:
    """The order to its end: runs that have the first key, then those that lack it."""
    first = _first(q)
    if not first.table or first.key_id < 0:
        return _walked(q, after, limit, skip, having=None, sets=sets)
    rows: list[Any] = []
    if after is None or after[0] == 0:
        rows = _walked(q, after, limit, skip, having=True, sets=sets)
        if rows or not skip:
            skip = 0
        else:
            skip -= _having(q)
        after = None
    if len(rows) < limit and not _demanded(q):
        rows += _walked(q, after, limit - len(rows), skip, having=False, sets=sets)
    return rows


def _demanded(q: Question) -> bool:
    """Whether a condition asks for the first key, so that no run that lacks it can be found."""
    return any(c.op not in ("!=", "IS NULL") for c in q.clauses if _same(c, _first(q).order))


def _first(q: Question) -> Key:
    return q.sort[0]


def _same(clause: Clause, order: Order) -> bool:
    return (clause.kind, clause.key, clause.of) == (order.kind, order.key, order.of)


def _narrows(q: Question) -> list[Clause]:
    """Conditions on the very value that is sorted by: they narrow the walk through its index."""
    first = _first(q)
    return [c for c in q.clauses if first.table and first.key_id >= 0 and _same(c, first.order) and c.op != "IS NULL"]


def _some_few(q: Question) -> tuple[Clause, Piece] | None:
    """A condition that holds for few runs, if an index tells so at once."""
    for clause in q.clauses:
        if clause.op in ("LIKE", "ILIKE"):
            continue  # these read the whole range of the key
        listed = q.listed(clause)
        if listed is not None:
            text = f"SELECT COUNT(*) FROM (SELECT 1 FROM ({listed[0]}) a LIMIT {FEW + 1}) b"  # noqa: S608
            if q.rows(text, listed[1])[0][0] <= FEW:
                return clause, listed
    return None


def _driven(q: Question, driver: tuple[Clause, Piece], after: list[Any] | None, limit: int, skip: int) -> list[Any]:
    """The page out of the runs that fulfil one condition."""
    clause, (listed, values) = driver
    mine, ids = q.experiments("r")
    within, more = q.within()
    checks, tests = q.checks([clause])
    beyond, seen = question.beyond(q, after)
    joins = "".join(key.join for key in q.sort if key.table)
    text = (
        f"{q.selected()} FROM ({listed}) d CROSS JOIN runs r{joins}"
        f" WHERE r.id = d.run_id AND {mine}{within}{checks}{beyond}{q.ordered(skip)}"
    )
    return q.rows(text, [*values, *ids, *more, *tests, *seen, limit, *([skip] if skip else [])])


def _walked(
    q: Question, after: list[Any] | None, limit: int, skip: int, *, having: bool | None, edge: Any = None, sets: bool = False
) -> list[Any]:  # fmt: skip
    """`having`: only runs with a value for the first key (True), only those without (False), all (None).

    `edge`: the walk goes no further than this value of the first key.
    """
    first, within, (beyond, seen) = _first(q), q.within(), question.beyond(q, after)
    joins = "".join(key.join for place, key in enumerate(q.sort) if key.table and not (place == 0 and having))
    if having:
        test, values = _range(q, after, edge)
        source = f"{first.table} {first.alias} CROSS JOIN runs r{joins} WHERE r.id = {first.alias}.run_id AND {test}"
        checks, tests = q.checks(_narrows(q), sets=f"{first.alias}.run_id" if sets else "", row=first.alias)
    else:
        test, values = _range(q, after, edge) if first.order.key == "start_time" else q.experiments("r")
        source = f"runs r{joins} WHERE {test}" + (f" AND {first.rank} <> 0" if having is False else "")
        # the plus keeps SQLite from reading the set's runs one by one instead of walking
        checks, tests = q.checks(sets="+r.id" if sets else "")
    text = f"{q.selected()} FROM {source}{within[0]}{checks}{beyond}{q.ordered(skip, bool(having))}"
    return q.rows(text, [*values, *within[1], *tests, *seen, limit, *([skip] if skip else [])])


def _having(q: Question) -> int:
    """How many runs of the answer have a value for the first key."""
    first, within, (test, values) = _first(q), q.within(), _range(q, None, None)
    checks, tests = q.checks(_narrows(q))
    text = f"SELECT COUNT(*) FROM {first.table} {first.alias} CROSS JOIN runs r WHERE r.id = {first.alias}.run_id AND {test}"  # noqa: S608
    return int(q.rows(f"{text}{within[0]}{checks}", [*values, *within[1], *tests])[0][0])


def _range(q: Question, after: list[Any] | None, edge: Any, experiment: int | None = None) -> Piece:
    """The part of the first key's index that is walked: from the last page's end, as far as `edge`."""
    first = _first(q)
    table, up = first.alias or "r", first.order.ascending
    test, values = q.experiments(table) if experiment is None else (f"{table}.experiment_id = ?", [experiment])
    if first.table:
        test, values = f"{test} AND {table}.key_id = ?", [*values, first.key_id]
        if first.order.kind == "metric":
            test += f" AND {table}.is_nan = false" if first.order.of == "last" else f" AND {first.value} IS NOT NULL"
        for clause in _narrows(q):
            more, its = tested(q.sqlite, clause, table)
            test, values = f"{test} AND {more}", [*values, *its]
    elif q.scope.lifecycle is not None:
        test, values = f"{test} AND r.lifecycle = ?", [*values, q.scope.lifecycle]
    column = (
        first.value if q.sqlite or first.order.kind in ("metric", "attribute") else f"substr({first.value}, 1, {HEAD})"
    )
    for bound, sign in ((after[1] if after is not None and after[0] == 0 else None, up), (edge, not up)):
        if bound is not None:
            bound = bound[:HEAD] if isinstance(bound, str) else bound
            test, values = f"{test} AND {column} {'>=' if sign else '<='} ?", [*values, bound]
    return test, values


def _edge(q: Question, after: list[Any] | None, ahead: int) -> Any:
    """The first key's value `ahead` rows further on in its index; None where its end is nearer, or it has no index."""
    first = _first(q)
    if (first.table and first.key_id < 0) or (not first.table and first.order.key != "start_time"):
        return None
    if after is not None and after[0] != 0:
        return None
    if first.order.of != "last" and not q.clauses:
        ahead = min(ahead, 200)  # these are not in the index' order: the fewer, the quicker
    source = f"{first.table} {first.alias}" if first.table else "runs r"
    column = first.value
    if first.order.kind in ("param", "tag") and not q.sqlite:
        column = f"substr({first.value}, 1, {HEAD})"
    order = f"ORDER BY v {'' if first.order.ascending else 'DESC'} LIMIT"
    ids = list(q.scope.experiment_ids)
    if 1 < len(ids) <= APART:
        parts = [_range(q, after, None, one) for one in ids]
        some = f"SELECT v FROM (SELECT {column} AS v FROM {source} WHERE %s {order} {ahead + 1}) w"  # noqa: S608
        inner = " UNION ALL ".join(some.replace("%s", test) for test, _ in parts)
        text, values = f"SELECT v FROM ({inner}) u {order} 1 OFFSET {ahead}", [v for _, its in parts for v in its]  # noqa: S608
    else:
        test, values = _range(q, after, None)
        text = f"SELECT {column} AS v FROM {source} WHERE {test} {order} 1 OFFSET {ahead}"  # noqa: S608
    found = q.rows(text, values)
    return found[0][0] if found else None
