"""Searches against a naive evaluation of the grammar in Python, on both databases: filters, orders, pages, counts, jumps.

The ways to an answer are chosen by numbers of runs; `narrow` makes those numbers so small that a dozen runs take every way.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from headway.clock import new_id
from headway.errors import BadInput
from headway.storage.database import Database
from headway.tracking import experiments, service
from headway.tracking.find import arrays, counting, query
from headway.tracking.find.search import Clause, Order, parse_filter, parse_orders
from headway.tracking.store.record import Metric
from headway.tracking.tables import Run
from tests.tracking.test_store import ADA, PROJECT

SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

NUMBERS = st.one_of(
    st.none(), st.lists(st.sampled_from([math.nan, -1.0, 0.0, 0.5, 1.0, math.inf]), min_size=1, max_size=3)
)
WORDS = st.one_of(
    st.none(), st.sampled_from(["", "a", "A", "ab", "aB%", "b_", "it's", "x" * 250, "x" * 249 + "y", "ü"])
)
RUN = st.fixed_dictionaries({
    "acc": NUMBERS, "loss": NUMBERS, "lr": WORDS, "team": WORDS, "start": st.integers(0, 3), "place": st.integers(0, 1),
    "status": st.sampled_from(["FINISHED", "RUNNING"]), "child": st.booleans(),
    "deleted": st.integers(0, 5).map(lambda n: n == 0),
})  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
CLAUSE = st.one_of(
    st.builds(lambda part, key, op, value: f"{part}(metrics.{key}) {op} {value}",
              st.sampled_from(["last", "min", "max", "best"]),
              st.sampled_from(["acc", "loss", "none"]), st.sampled_from(sorted(COMPARE)),
              st.sampled_from(["0", "0.5", "1", "9"])),
    st.builds(lambda key, op, value: f"{key} {op} '{value}'", st.sampled_from(["params.lr", "tags.team", "params.none"]),
              st.sampled_from(["=", "!=", "LIKE", "ILIKE"]), st.sampled_from(["a", "A%", "%b%", "it''s", "_", "x" * 250, "z"])),
    st.builds("{} {}".format, st.sampled_from(["params.lr", "tags.team", "params.none"]),
              st.sampled_from(["IS NULL", "IS NOT NULL"])),
    st.sampled_from(["attributes.status = 'RUNNING'", "start_time >= 2", "end_time < 5", "run_name LIKE 'run-1%'"]),
)  # fmt: skip
ORDER = st.builds("{} {}".format, st.sampled_from(
    ["metrics.acc", "min(metrics.acc)", "max(metrics.loss)", "params.lr", "tags.team", "metrics.none", "params.none",
     "start_time", "end_time", "run_name", "status"]), st.sampled_from(["ASC", "DESC"]))  # fmt: skip


@pytest.fixture(params=["wide", "narrow"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "narrow":
        for name, value in (("FEW", 1), ("SOME", 3), ("AHEAD", 2), ("APART", 1)):
            monkeypatch.setattr(query, name, value)
        monkeypatch.setattr(counting, "FEW", 0)
        monkeypatch.setattr(arrays, "FEW", 0)
        monkeypatch.setattr(arrays, "_DENSE", 0)
    return str(request.param)


def put(database: Database, name: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs in two experiments; returns them with what a search may see of them."""
    made = []

    def work(db: Session) -> None:
        places = [experiments.ensure(db, PROJECT, f"{name}-{n}") for n in (0, 1)]
        for number, r in enumerate(runs):
            row = service.create_run(db, ADA, project_id=PROJECT, experiment_id=places[r["place"]].id, name=f"run-{number}",
                                     start_time=r["start"], tags={"mlflow.parentRunId": "p"} if r["child"] else None)  # fmt: skip
            points = [Metric(k, v, 1, step) for k in ("acc", "loss") for step, v in enumerate(r[k] or [])]
            params = [("lr", r["lr"])] if r["lr"] is not None else []
            service.log_batch(
                db, row.uuid, points, params, {"team": r["team"]} if r["team"] is not None else {}, who=ADA
            )
            if r["status"] == "FINISHED":
                service.update_run(db, ADA, row.uuid, status="FINISHED", end_time=r["start"] + 3)
            if r["deleted"]:
                service.delete_run(db, ADA, row.uuid)
            made.append(r | {"uuid": row.uuid, "name": f"run-{number}"})

    database.group(work)
    return made


def experiments_of(db: Session, name: str) -> list[int]:
    found = db.execute(text("SELECT id FROM experiments WHERE name LIKE :name ORDER BY name"), {"name": f"{name}%"})
    return list(found.scalars())


def value(r: dict[str, Any], kind: str, key: str, of: str) -> Any:
    """What a run has for a key; None where it lacks it."""
    if kind == "metric":
        series = r.get(key)
        if not series:
            return None
        real = [v for v in series if not math.isnan(v)]
        return series[-1] if of == "last" else math.nan if not real else min(real) if of == "min" else max(real)
    if kind == "attribute":
        end = r["start"] + 3 if r["status"] == "FINISHED" else None
        return {"status": r["status"], "start_time": r["start"], "end_time": end, "run_name": r["name"]}[key]
    return r.get(key)


def holds(r: dict[str, Any], c: Clause) -> bool:
    has = value(r, c.kind, c.key, c.of)
    if c.op in ("IS NULL", "IS NOT NULL"):
        return bool((has is None) == (c.op == "IS NULL"))
    if has is None:
        return False
    if c.op in ("LIKE", "ILIKE"):
        pattern = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in str(c.value))
        return re.fullmatch(pattern, has, re.S | (re.I if c.op == "ILIKE" else 0)) is not None
    return COMPARE[c.op](has, c.value)


def ranked(runs: list[dict[str, Any]], orders: list[Order]) -> list[str]:
    found = sorted(
        runs, key=lambda r: (-r["start"], r["uuid"]) if not any(o.key == "start_time" for o in orders) else r["uuid"]
    )
    for order in reversed(orders):
        has = {r["uuid"]: value(r, order.kind, order.key, order.of) for r in found}
        classes: list[list[dict[str, Any]]] = [[], [], []]
        for r in found:
            v = has[r["uuid"]]
            classes[2 if v is None else 1 if v != v else 0].append(r)
        different = sorted({has[r["uuid"]] for r in classes[0]}, key=code_points, reverse=not order.ascending)
        found = [r for v in different for r in classes[0] if has[r["uuid"]] == v] + classes[1] + classes[2]
    return [r["uuid"] for r in found]


def code_points(v: Any) -> Any:
    return v.encode() if isinstance(v, str) else v


def pages(db: Session, scope: query.Scope, filter_: str, orders: list[str], size: int) -> list[str]:
    found: list[str] = []
    token: str | None = None
    while True:
        rows, token = query.find_runs(db, scope, parse_filter(filter_), parse_orders(orders), size, token)
        assert len(rows) <= size and (len(rows) == size or not token)
        found += [row.uuid for row in rows]
        if not token:
            return found


def columns_agree(db: Session, scope: query.Scope, filter_: str, wanted: dict[str, dict[str, Any]]) -> None:
    """Whole columns of the runs that match are those of the runs."""
    runs = arrays.ids(db, scope, parse_filter(filter_))
    rows = db.execute(select(Run.id, Run.uuid).where(Run.id.in_(runs.tolist())).order_by(Run.id)).all()
    assert [row.id for row in rows] == runs.tolist() and {row.uuid for row in rows} == set(wanted)
    mine = [wanted[row.uuid] for row in rows]
    for values, places, field in (
        (*arrays.by_text(db, scope, "param", "lr", runs), "lr"), (*arrays.by_text(db, scope, "tag", "team", runs), "team"),
        (*arrays.by_attribute(db, scope, "status", runs), "status"),
    ):  # fmt: skip
        assert [values[at] for at in places] == [r[field] for r in mine] and len(set(values)) == len(values)
    for of in ("last", "min", "max"):
        told = [value(r, "metric", "acc", of) for r in mine]
        np.testing.assert_equal(arrays.metric(db, scope, "acc", of, runs), [math.nan if v is None else v for v in told])
    having = {row.uuid for row in rows if row.id in arrays.having(db, scope, "acc")}
    assert having == {uuid for uuid, r in wanted.items() if r["acc"]}


@pytest.fixture
def plain_order(database: Database) -> None:
    """Texts are compared by their bytes: what SQLite does, and PostgreSQL in the locale of these tests."""
    if not database.sqlite:
        with database.read() as db:
            if db.execute(text("SELECT 'a' < 'B'")).scalar_one():
                pytest.skip("this PostgreSQL sorts texts by a language")


@SLOW
@given(runs=st.lists(RUN, max_size=14), clauses=st.lists(CLAUSE, max_size=3), orders=st.lists(ORDER, max_size=2),
       size=st.integers(1, 5), both=st.booleans(), children=st.booleans(), lifecycle=st.sampled_from(["active", "deleted", None]),
       jump=st.integers(0, 9))  # fmt: skip
def test_any_search_equals_a_naive_one(
    database: Database, plain_order: None, ways: str, runs: list[dict[str, Any]], clauses: list[str], orders: list[str],
    size: int, both: bool, children: bool, lifecycle: str | None, jump: int,
) -> None:  # fmt: skip
    name, filter_ = new_id(), " and ".join(clauses)
    orders = list({parse_orders([o])[0].key + parse_orders([o])[0].of: o for o in orders}.values())
    made = put(database, name, runs)
    wanted = [r for r in made if (both or r["place"] == 0) and (children or not r["child"]) and
              (lifecycle is None or r["deleted"] == (lifecycle == "deleted")) and
              all(holds(r, c) for c in parse_filter(filter_))]  # fmt: skip
    expected = ranked(wanted, parse_orders(orders))
    with database.read() as db:
        ids = (
            db.execute(text("SELECT id FROM experiments WHERE name LIKE :n ORDER BY name"), {"n": f"{name}%"})
            .scalars()
            .all()
        )
        scope = query.Scope(ids if both else ids[:1], lifecycle, children)
        assert pages(db, scope, filter_, orders, size) == expected
        assert counting.count(db, scope, parse_filter(filter_)) == len(expected)
        assert sorted(counting.numbers(db, scope, parse_filter(filter_))) == sorted(
            counting.numbers(db, scope, parse_filter(filter_), 99)
        )
        columns_agree(db, scope, filter_, {r["uuid"]: r for r in wanted})
        rows, _ = query.find_runs(db, scope, parse_filter(filter_), parse_orders(orders), size, skip=jump)
        assert [row.uuid for row in rows] == expected[jump : jump + size]


@pytest.mark.parametrize("order", ["metrics.acc DESC", "params.lr", "start_time", "max(metrics.acc)", "end_time DESC"])
def test_pages_have_no_gaps_and_no_repeats_while_runs_are_added(database: Database, ways: str, order: str) -> None:
    def some(first: int) -> list[dict[str, Any]]:
        return [{"acc": [float(n * 7 % 11)] if n % 4 else None, "loss": None, "lr": "ab"[n % 2] if n % 3 else None, "team": None,
                 "start": n % 5, "place": 0, "status": "FINISHED", "deleted": False, "child": False}
                for n in range(first, first + 9)]  # fmt: skip

    name = new_id()
    old = {r["uuid"] for r in put(database, name, some(0) + some(3))}
    found: list[str] = []
    token: str | None = None
    for turn in range(40):
        with database.read() as db:
            ids = (
                db.execute(text("SELECT id FROM experiments WHERE name LIKE :n ORDER BY name"), {"n": f"{name}%"})
                .scalars()
                .all()
            )
            rows, token = query.find_runs(db, query.Scope(ids), [], parse_orders([order]), 4, token)
        found += [row.uuid for row in rows]
        if not token:
            break
        if turn < 3:
            put(database, name, some(turn))
    assert len(found) == len(set(found)) and old <= set(found)


@pytest.mark.parametrize("values", [
    ["x"], [0, 1], ["mark", 0, "text", 0, 1, "id"], ["mark", 0, None, 0, 1, "id"], ["mark", 9, 1.0, 0, 1, "id"],
    ["mark", 0, 1.0, 0, 2**70, "id"], ["mark", 0, 1.0, 0, 1, 5]])  # fmt: skip
def test_a_token_that_this_search_never_gave_is_refused(database: Database, values: list[Any]) -> None:
    from headway.tracking.find import question
    from headway.web.paging import cursor

    put(database, "tokens", [])
    with database.read() as db:
        ids = experiments_of(db, "tokens")
        scope, orders = query.Scope(ids), parse_orders(["metrics.acc"])
        mark = question.mark(scope, [], orders)
        with pytest.raises(BadInput):
            query.find_runs(db, scope, [], orders, 5, cursor([mark if v == "mark" else v for v in values]))


def test_the_naive_like_is_fnmatch() -> None:
    """The evaluation itself, looked at once with another's eyes."""
    r = {"team": "aB%"}
    for pattern in ("a%", "A%", "_B_", "%b%"):
        other = fnmatch.fnmatchcase(r["team"], pattern.replace("%", "*").replace("_", "?"))
        assert holds(r, Clause("tag", "team", "LIKE", pattern)) == other
