"""The store against a model that anybody can read, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from headway.clock import new_id
from headway.errors import BadInput, NotFound
from headway.people.rules import Who
from headway.storage.database import Database
from headway.tracking import experiments, service
from headway.tracking.store import history, merge, purge, readout
from headway.tracking.store.record import Metric
from headway.tracking.tables import Run

ADA = Who("u" * 32, "ada", admin=True)
PROJECT = "p" * 32
SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

VALUES = st.one_of(st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf]), st.floats(-5, 5))
POINT = st.tuples(st.sampled_from(["loss", "acc"]), st.integers(-2, 30), st.integers(0, 3), VALUES)
BATCHES = st.lists(st.lists(POINT, min_size=1, max_size=12), min_size=1, max_size=8)


def new_run(db: Database, experiment: str = "e", **more: Any) -> Run:
    def work(session: Any) -> Run:
        row = experiments.ensure(session, PROJECT, experiment)
        return service.create_run(session, ADA, project_id=PROJECT, experiment_id=row.id, **more)

    return db.group(work)


def log(db: Database, run: Run, **what: Any) -> None:
    db.group(lambda session: service.log_batch(session, run.uuid, who=ADA, **what))


def facts(db: Database, run: Run) -> readout.RunFacts:
    with db.read() as session:
        return service.facts(session, ADA, run.uuid)


def known(value: float) -> Any:
    return "nan" if math.isnan(value) else value


@SLOW
@given(batches=BATCHES, fold_after=st.sets(st.integers(0, 8)), twice=st.sets(st.integers(0, 8)))
def test_series_equal_a_plain_list(
    database: Database, batches: list[list[Any]], fold_after: set[int], twice: set[int]
) -> None:
    run = new_run(database)
    told: list[tuple[str, int, int, float]] = []
    for number, batch in enumerate(batches):
        points = [Metric(key, value, time, step) for key, step, time, value in batch]
        for _ in range(2 if number in twice else 1):
            log(database, run, metrics=points)
        told += batch
        if number in fold_after:
            with database.write() as session:
                for key_id in session.execute(text("SELECT id FROM keys")).scalars().all():
                    merge.fold(session, run.id, key_id)
    found = facts(database, run).metrics
    assert set(found) == {key for key, *_ in told}
    for key, short in found.items():
        mine = [(step, time, value) for k, step, time, value in told if k == key]
        with database.read() as session:
            points = history.whole(session, run.id, key)
        rows = list(zip(points.steps.tolist(), points.times.tolist(), map(known, points.values.tolist()), strict=True))
        assert set(rows) == {(s, t, known(v)) for s, t, v in mine} and len(rows) == len(set(rows))
        assert [r[:2] for r in rows] == sorted(r[:2] for r in rows)
        step, time = max((s, t) for s, t, _ in mine)
        last = max((v for s, t, v in mine if (s, t) == (step, time)), key=lambda v: (math.isnan(v), v))
        assert (short.step, short.time, known(short.last)) == (step, time, known(last))
        real = [v for *_, v in mine if not math.isnan(v)]
        assert (short.low, short.high) == ((min(real), max(real)) if real else (None, None))


def test_long_series_are_folded_read_and_charted(database: Database) -> None:
    run = new_run(database)
    for start in range(0, 30_000, 300):
        log(database, run, metrics=[Metric("loss", math.sin(i / 500) + (50 if i == 12_345 else 0), i, i)
                                    for i in range(start, start + 300)])  # fmt: skip
    with database.read() as session:
        due = merge.due(session)
    assert len(due) == 1
    with database.write() as session:
        assert merge.fold(session, *due[0]) == 100
    with database.read() as session:
        assert merge.due(session) == []
        points = history.whole(session, run.id, "loss")
        chart = history.chart(session, run.id, "loss")
        part = history.chart(session, run.id, "loss", low=12_000, high=12_999)
        page, token = history.page(session, run.id, "loss", 1000, None)
        rest, end = history.page(session, run.id, "loss", 40_000, token)
        chunks = session.execute(text("SELECT COUNT(*) FROM series_chunks")).scalar_one()
    assert points.steps.tolist() == list(range(30_000)) and chunks == 8
    assert len(chart) <= 1001 and chart.values.max() > 49 and chart.steps[0] == 0 and chart.steps[-1] == 29_999
    assert len(part) == 1000 and part.values.max() > 49
    assert len(page) == 1000 and len(rest) == 29_000 and end == ""


@st.composite
def a_run(draw: Any) -> dict[str, Any]:
    numbers = st.one_of(st.none(), st.sampled_from([math.nan, 0.0, 1.0, 2.0, 3.0]))
    words = st.one_of(st.none(), st.sampled_from(["a", "A", "ab", "b%", "b_"]))
    return {"acc": draw(numbers), "p": draw(words), "t": draw(words), "start": draw(st.integers(0, 3))}


@SLOW
@given(
    runs=st.lists(a_run(), min_size=1, max_size=12),
    number=st.sampled_from(["", ">", ">=", "<", "<=", "=", "!="]),
    order=st.sampled_from([[], ["metrics.acc"], ["metrics.acc DESC"], ["params.p DESC", "metrics.acc"], ["tags.t"]]),
    size=st.integers(1, 5),
)
def test_search_equals_a_plain_filter_and_sort(
    database: Database, runs: list[dict[str, Any]], number: str, order: list[str], size: int
) -> None:
    name = new_id()
    made = []
    for r in runs:
        row = new_run(database, name, start_time=r["start"])
        log(database, row, metrics=[Metric("acc", r["acc"], 1)] if r["acc"] is not None else [],
            params=[("p", r["p"])] if r["p"] is not None else [], tags={"t": r["t"]} if r["t"] is not None else {})  # fmt: skip
        made.append(r | {"uuid": row.uuid})
    operators = {">": lambda v: v > 1, ">=": lambda v: v >= 1, "<": lambda v: v < 1, "<=": lambda v: v <= 1,
                 "=": lambda v: v == 1, "!=": lambda v: v != 1}  # fmt: skip
    wanted = [r for r in made if not number or (r["acc"] is not None and operators[number](r["acc"]))]
    wanted.sort(key=lambda r: (-r["start"], r["uuid"]))
    for clause in reversed(order):
        key, _, direction = clause.partition(" ")
        field = {"metrics.acc": "acc", "params.p": "p", "tags.t": "t"}[key]
        having = [r for r in wanted if r[field] is not None and r[field] == r[field]]
        nan = [r for r in wanted if r[field] is not None and r[field] != r[field]]
        having.sort(key=lambda r, field=field: r[field], reverse=direction == "DESC")
        if direction == "DESC":  # equal values keep the order of the keys behind
            having.sort(key=lambda r: 0)
            having = [r for value in dict.fromkeys(r[field] for r in having) for r in wanted if r[field] == value]
        wanted = having + nan + [r for r in wanted if r[field] is None]
    found: list[str] = []
    token = None
    with database.read() as session:
        experiment = experiments.by_name(session, ADA, PROJECT, name).id
        while True:
            page = service.find(session, ADA, [experiment], filter_=f"metrics.acc {number} 1" if number else "",
                                orders=order, limit=size, token=token)  # fmt: skip
            assert len(page.rows) <= size
            found += [row.uuid for row in page.rows]
            token = page.token
            if not token:
                break
    assert found == [r["uuid"] for r in wanted]


def test_a_batch_is_all_or_nothing(database: Database) -> None:
    run = new_run(database)
    log(database, run, params=[("a", "1")])
    with pytest.raises(BadInput):
        log(database, run, params=[("b", "2"), ("a", "9")], metrics=[Metric("m", 1.0, 1)], tags={"t": "x"})
    found = facts(database, run)
    assert found.params == {"a": "1"} and found.metrics == {} and "t" not in found.tags


def test_many_writers_lose_nothing(database: Database) -> None:
    runs = [new_run(database) for _ in range(4)]
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            for i in range(20):
                log(database, runs[number % 4], metrics=[Metric(f"m{number}", float(i), i, i), Metric("shared", float(i), i, i)],
                    params=[(f"p{number}.{i}", "x")])  # fmt: skip
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in range(12):
        with database.read() as session:
            assert len(history.whole(session, runs[number % 4].id, f"m{number}")) == 20
    assert sum(len(facts(database, run).params) for run in runs) == 240


def test_what_who_may_not_see_is_as_if_it_were_not_there(database: Database) -> None:
    run = new_run(database)
    stranger = Who("s" * 32, "eve")
    other = Who("s" * 32, "bob", admin=True, project_id="q" * 32)
    for who in (stranger, other):
        with pytest.raises(NotFound) as foreign, database.read() as session:
            service.facts(session, who, run.uuid)
        with pytest.raises(NotFound) as absent, database.read() as session:
            service.facts(session, who, "0" * 32)
        assert foreign.value.message.replace(run.uuid, "") == absent.value.message.replace("0" * 32, "")
        with pytest.raises(NotFound):
            database.group(lambda session, who=who: service.log_batch(session, run.uuid, who=who, tags={"x": "y"}))
        with database.read() as session:
            assert service.find(session, who, [run.experiment_id]).rows == []
    assert "x" not in facts(database, run).tags


def test_purging_leaves_nothing(database: Database) -> None:
    run = new_run(database)
    log(database, run, metrics=[Metric("m", 1.0, 1)], params=[("a", "1")], tags={"t": "x"})
    with database.write() as session:
        purge.run(session, run.id)
    with database.read() as session:
        for table in ("runs", "series_chunks", "summaries", "params", "tags"):
            assert session.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one() == 0
