"""Reading series against plain lists: all of it, pages, charts, and MLflow's sample by the SQL that it runs itself."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from headway.storage import direct
from headway.storage.database import Database
from headway.tracking import service
from headway.tracking.show import charts
from headway.tracking.store import history, keys, merge, readout, samples, series
from headway.tracking.store.record import Metric
from headway.tracking.store.series import Points, points
from tests.tracking.test_store import ADA, known, log, new_run

SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
POINT = st.tuples(st.integers(-3, 25), st.integers(0, 2), st.sampled_from([math.nan, -1.0, 0.0, 0.5, 2.0, math.inf]))
CHUNK = direct.Sql(
    "INSERT INTO series_chunks (run_id, key_id, points, step_low, step_high, data, sketch) VALUES (?, ?, ?, ?, ?, ?b, ?b)"
)
BATCHES = st.lists(st.lists(POINT, min_size=1, max_size=9), min_size=1, max_size=7)

# What `SqlAlchemyStore._sample_rows_with_window_functions` of mlflow 3.17 makes of its table of metrics.
NTILE = """
WITH bucketed AS (SELECT value, timestamp, step, is_nan, NTILE(:most) OVER (ORDER BY step, timestamp, value, is_nan) AS bucket
                  FROM metrics WHERE step BETWEEN :low AND :high),
ranked AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY bucket ORDER BY step, timestamp, value, is_nan) AS rn FROM bucketed)
SELECT value, timestamp, step, is_nan FROM ranked WHERE rn = 1 ORDER BY step, timestamp, value, is_nan"""
LAST = """SELECT value, timestamp, step, is_nan FROM metrics WHERE step BETWEEN :low AND :high
ORDER BY step DESC, timestamp DESC, value DESC, is_nan DESC LIMIT 1"""


def as_mlflow(told: list[tuple[int, int, float]], most: int, low: int, high: int) -> list[tuple[int, int, Any]]:
    """MLflow's sample of the points (step, time, value); NaN is stored as 0 and a mark, a point that is there twice once."""
    db = sqlite3.connect(":memory:")
    db.execute(
        "CREATE TABLE metrics (value DOUBLE, timestamp, step, is_nan, PRIMARY KEY (timestamp, step, value, is_nan))"
    )
    rows = [(0.0 if v != v else v, t, s, v != v) for s, t, v in told]
    db.executemany("INSERT OR IGNORE INTO metrics VALUES (?, ?, ?, ?)", rows)
    asked = {"most": most, "low": low, "high": high}
    found, last = db.execute(NTILE, asked).fetchall(), db.execute(LAST, asked).fetchone()
    db.close()
    if last is not None and (not found or found[-1] != last):
        found[-1:] = [last] if len(found) >= most else [*found[-1:], last]
    return [(s, t, "nan" if nan else v) for v, t, s, nan in found]


def rows(p: Points) -> list[tuple[int, int, Any]]:
    return list(zip(p.steps.tolist(), p.times.tolist(), map(known, p.values.tolist()), strict=True))


def logged(database: Database, batches: list[list[tuple[int, int, float]]], fold_after: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    run = new_run(database)
    for number, batch in enumerate(batches):
        database.group(
            lambda db, batch=batch: service.log_batch(
                db, run.uuid, [Metric("m", v, t, s) for s, t, v in batch], who=ADA
            )
        )
        if number in fold_after:
            with database.write() as db:
                merge.fold(db, run.id, db.execute(text("SELECT id FROM keys WHERE name = 'm'")).scalar_one())
    return run


@SLOW
@given(batches=BATCHES, fold_after=st.sets(st.integers(0, 7)), most=st.integers(1, 12),
       bounds=st.tuples(st.integers(-3, 25), st.integers(-3, 25)),
       size=st.integers(1, 9))  # fmt: skip
def test_series_are_read_as_plain_lists(
    database: Database, batches: list[Any], fold_after: set[int], most: int, bounds: tuple[int, int], size: int
) -> None:
    run, told = logged(database, batches, fold_after), [point for batch in batches for point in batch]
    low, high = sorted(bounds)
    every = {(s, t, known(v)) for s, t, v in told}
    with database.read() as db:
        found = rows(history.whole(db, run.id, "m"))
        assert (
            set(found) == every and len(found) == len(every) and [r[:2] for r in found] == sorted(r[:2] for r in found)
        )
        part = rows(series.join(list(history.pieces(db, run.id, "m", low=low, high=high))))
        assert part == [r for r in found if low <= r[0] <= high]
        paged: list[Any] = []
        token: str | None = None
        while True:
            page, token = history.page(db, run.id, "m", size, token)
            paged += rows(page)
            if not token:
                break
        assert paged == found
        for _ in range(2):  # the second answer is the one that was kept
            sample = samples.sampled(db, [run.id], "m", low=None, high=None, most=most)[run.id]
            assert rows(sample) == as_mlflow(told, most, -9, 99)
        sample = samples.sampled(db, [run.id], "m", low=low, high=high, most=most)[run.id]
        assert rows(sample) == as_mlflow(told, most, low, high)


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 2499, 2501, 4096, 12_289, 300_000, 1_000_001])
@pytest.mark.parametrize("most", [1, 2, 1000, 2500])
def test_a_sample_has_the_ranks_of_ntile(count: int, most: int) -> None:
    places = samples.by_rank(count, most)
    assert len(places) == min(count, most) and places[-1] == count - 1
    sizes = [count // most + (part < count % most) for part in range(min(count, most))]
    assert places[:-1].tolist() == np.cumsum([0, *sizes])[: len(places) - 1].tolist()


def chunks(database: Database, layout: list[tuple[Points, bool]]) -> Any:
    """A run whose series `m` lies in these chunks, folded (and sketched) or loose."""
    run = new_run(database)
    with database.write() as db:
        key = keys.ensure(db, ["m"])["m"]
        for p, folded in layout:
            low, high, mark = int(p.steps.min()), int(p.steps.max()), series.sketch(p) if folded else None
            direct.of(db).run(CHUNK, (run.id, key, len(p), low, high, series.pack(p), mark))
    return run


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40), folded=st.lists(st.booleans(), min_size=40, max_size=40),
    gaps=st.lists(st.integers(-60, 5), min_size=40, max_size=40), tied=st.booleans(), most=st.sampled_from([1, 7, 40, 300, 2500]),
    bounds=st.tuples(st.integers(-50, 900), st.integers(-50, 900)), held=st.sampled_from([0, 50, 100_000]),
)  # fmt: skip
def test_a_sample_is_mlflows_however_the_chunks_lie(
    database: Database, lengths: list[int], folded: list[bool], gaps: list[int], tied: bool, most: int,
    bounds: tuple[int, int], held: int,
) -> None:  # fmt: skip
    layout, told, start = [], [], 0
    for at, n in enumerate(lengths):
        start += 1 + max(gaps[at], -n if at % 3 else 0)  # next to each other, apart, or far back into those before
        steps = start + np.arange(n) // (3 if tied else 1)
        p = Points(steps, steps % 2, np.where(np.arange(n) % 9 == 8, np.nan, np.arange(n) % 5 / 2.0 + at))
        p = series.ordered(p)
        layout.append((p, folded[at]))
        told += list(zip(p.steps.tolist(), p.times.tolist(), p.values.tolist(), strict=True))
        start = int(p.steps[-1])
    run, (low, high) = chunks(database, layout), sorted(bounds)
    with pytest.MonkeyPatch.context() as patch, database.read() as db:
        patch.setattr(samples, "_HELD", held)
        for its_low, its_high in ((None, None), (low, high)):
            found = samples.sampled(db, [run.id], "m", low=its_low, high=its_high, most=most)[run.id]
            wanted = as_mlflow(told, most, -(2**62) if its_low is None else low, 2**62 if its_high is None else high)
            assert rows(found) == wanted


def test_a_sample_reads_only_the_chunks_that_hold_a_wanted_point(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = np.arange(4000)
    cuts = [slice(at, at + 100) for at in range(0, 4000, 100)]
    run = chunks(database, [(Points(steps[c], steps[c], steps[c] / 2), True) for c in cuts])
    read: list[int] = []
    unpack = series.unpack

    def counted(data: bytes) -> Points:
        read.append(1)
        return unpack(data)

    monkeypatch.setattr(series, "unpack", counted)
    with database.read() as db:
        found = samples.sampled(db, [run.id], "m", low=None, high=None, most=5)[run.id]
    assert found.steps.tolist() == [0, 800, 1600, 2400, 3999] and len(read) == 5


@pytest.fixture
def long_run(database: Database) -> Iterator[tuple[Database, int]]:
    """60,000 points as folded chunks, one spike, and a few loose ones behind them."""
    run = new_run(database)
    steps = np.arange(60_000)
    values = np.sin(steps / 900)
    values[33_333] = 50
    with database.write() as db:
        db.execute(text("INSERT INTO keys (name) VALUES ('m')"))
        key = db.execute(text("SELECT id FROM keys WHERE name = 'm'")).scalar_one()
        for at in range(0, 60_000, series.FULL):
            cut = slice(at, at + series.FULL)
            p = Points(steps[cut], 1_000_000 + steps[cut] * 10, values[cut])
            full = len(p) == series.FULL
            db.execute(text("INSERT INTO series_chunks (run_id, key_id, points, step_low, step_high, data, sketch) VALUES"
                            " (:r, :k, :n, :l, :h, :d, :s)"),
                       {"r": run.id, "k": key, "n": len(p), "l": int(p.steps[0]), "h": int(p.steps[-1]), "d": series.pack(p),
                        "s": series.sketch(p) if full else None})  # fmt: skip
    yield database, run.id


def test_charts_are_small_lose_no_spike_and_show_all_when_zoomed_in(long_run: tuple[Database, int]) -> None:
    database, run = long_run
    with database.read() as db:
        chart = history.chart(db, run, "m")
        assert 300 < len(chart) <= 1000 and chart.values.max() == 50 and chart.steps[[0, -1]].tolist() == [0, 59_999]
        assert history.chart(db, run, "m", low=33_000, high=33_500).steps.tolist() == list(range(33_000, 33_501))
        in_time = history.chart_in_time(db, run, "m")
        assert len(in_time) <= 1000 and in_time.values.max() == 50
        zoomed = history.chart_in_time(db, run, "m", low=1_333_000, high=1_335_000)
        assert zoomed.steps.tolist() == list(range(33_300, 33_501))
        assert len(history.chart_in_time(db, run, "m", low=5, high=6)) == 0
        assert len(history.chart(db, run, "m", low=70_000)) == 0 == len(history.chart(db, run, "nothing"))
        assert len(history.chart(db, run, "m", low=-(2**80), high=2**80)) == len(chart)
        most = max(len(piece) for piece in history.pieces(db, run, "m"))
        assert most == series.FULL


@given(count=st.integers(0, 6000), most=st.integers(4, 1000), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_chart_never_has_more_points_and_keeps_the_extremes(count: int, most: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=count)
    thin = series.for_chart(points(list(range(count)), [0] * count, values.tolist()), most)
    assert len(thin) <= most and thin.steps.tolist() == sorted(set(thin.steps.tolist()))
    if count:
        assert {thin.values.min(), thin.values.max()} == {values.min(), values.max()}


def test_very_long_series_are_thinned_while_they_are_read(
    long_run: tuple[Database, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, run = long_run
    monkeypatch.setattr(history, "_HELD", 600)
    monkeypatch.setattr(history, "SKETCHES", 4)
    joined: list[int] = []
    join = series.join

    def measured(parts: list[Points]) -> Points:
        joined.append(sum(map(len, parts)))
        return join(parts)

    monkeypatch.setattr(series, "join", measured)
    with database.read() as db:
        chart = history.chart(db, run, "m")
    assert chart.values.max() == 50 and chart.steps[[0, -1]].tolist() == [0, 59_999]
    assert joined[-1] < 700 and max(joined) < history.SKETCHES * series.FULL


def test_answers_are_kept_until_the_run_is_written_to(database: Database) -> None:
    run = logged(database, [[(0, 1, 0.5)]])

    def asked(**of: Any) -> Any:
        with database.read() as db:
            row = service.seen_run(db, ADA, run.uuid)
            return orjson.loads(charts.drawn(db, [row], "m", x="step", low=None, high=None, **of))["series"]

    before = asked()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "chart", None)  # what is kept is not made again
        assert asked() == before and before[0]["y"] == [0.5]
    assert asked(name="loss")[0]["name"] == "loss" and asked()[0]["name"] == before[0]["name"]
    log(database, run, metrics=[Metric("m", math.nan, 2, 1)])
    assert asked()[0]["y"] == [0.5, None]
    log(database, run, tags={"mlflow.runName": "renamed"})
    assert asked()[0]["name"] == "renamed"
    with database.write() as db:
        assert json.loads(charts.drawn(db, [], "m", x="step", low=None, high=None)) == {"series": [], "x": "step"}


def test_what_is_kept_is_bounded() -> None:
    kept = readout.Kept[bytes](1000)
    for n in range(100):
        kept.put(("q", n), n, b"x" * 90, 90)
    found = [n for n in range(100) if kept.get(("q", n), n)]
    assert found == list(range(89, 100)) and kept.get(("q", 99), 98) is None
    kept.put("big", 1, b"x" * 2000, 2000)  # larger than all there is room for
    assert kept.get("big", 1) is None


def test_lines_of_runs_by_step_time_and_since_their_start(database: Database) -> None:
    run = logged(database, [[(0, 5, 1.0), (1, 7, math.nan), (2, 9, math.inf)]])
    with database.read() as db:
        (line,) = charts.lines(db, [run], "m")["series"]
        assert (line["x"], line["y"], line["key"]) == ([0, 1, 2], [1.0, None, None], run.uuid)
        assert charts.lines(db, [run], "m", x="time", low=6)["series"][0]["x"] == [7, 9]
        assert charts.lines(db, [run], "m", x="relative")["series"][0]["x"] == [
            5 - run.start_time,
            7 - run.start_time,
            9 - run.start_time,
        ]
        assert charts.lines(db, [run], "m", low=0.5, high=1.5)["series"][0]["x"] == [1]
        assert charts.lines(db, [run], "other")["series"] == []
        bands = charts.bands_of(db, {"g": [run.id]}, "m", low=None, high=None, kind="range")["series"]
        assert bands[0]["x"] == [0] and bands[0]["runs"] == 1
