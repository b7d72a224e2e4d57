"""What a metric hangs on, and bands around means: properties that must hold whatever the numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.tracking.show import bands, importance
from headway.tracking.store.series import Points, points

QUICK = settings(max_examples=60, deadline=None)
VALUE = st.one_of(st.none(), st.sampled_from(["1", "2", "3", "1e-3", "a", "b", "", "nan"]), st.floats(0, 9).map(str))


@QUICK
@given(rows=st.lists(st.tuples(VALUE, VALUE, st.floats(allow_nan=True, allow_infinity=True)), max_size=40))
def test_shares_are_shares_whatever_comes(rows: list[tuple[str | None, str | None, float]]) -> None:
    found = importance.shares({"p": [r[0] for r in rows], "q": [r[1] for r in rows]}, [r[2] for r in rows])
    for share in found:
        assert (
            0 <= share.importance <= 1 and 0 <= share.confidence <= 1 and share.runs <= len(rows) and share.values >= 2
        )
        assert share.direction is None or math.isnan(share.direction) or -1.0001 <= share.direction <= 1.0001
        assert share.kind == "number" or share.direction is None


@QUICK
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 100))
def test_only_the_order_of_the_metric_counts(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    lr = rng.choice(["0.1", "0.01", "0.001"], 40)
    metric = rng.normal(size=40) + (lr == "0.1")
    params = {"lr": lr.tolist()}
    assert importance.shares(params, metric.tolist()) == importance.shares(params, np.exp(metric * scale / 50).tolist())


def test_what_matters_comes_first_with_its_direction_and_what_does_not_gets_nothing() -> None:
    rng = np.random.default_rng(1)
    n = 400
    depth, lr, noise = rng.integers(1, 9, n), 10 ** rng.uniform(-4, 0, n), rng.integers(0, 5, n)
    middle = rng.uniform(-1, 1, n)
    metric = 0.2 * depth - np.log10(lr) - 3 * middle**2 + 0.1 * rng.normal(size=n)
    told = {
        "depth": depth,
        "lr": lr,
        "noise": noise,
        "middle": middle,
        "same": ["x"] * n,
        "each": [f"r{i}" for i in range(n)],
    }
    found = importance.shares({key: [str(value) for value in values] for key, values in told.items()}, metric.tolist())
    by = {share.key: share for share in found}
    assert [share.key for share in found[:3]] == ["lr", "middle", "depth"] and "same" not in by
    assert by["lr"].direction is not None and by["lr"].direction < -0.5 < 0 < (by["depth"].direction or 0)
    assert by["lr"].confidence > 0.999 and by["middle"].confidence > 0.999 and by["middle"].importance > 0.1
    assert by["noise"].importance < 0.03 and by["each"].importance == 0 == by["each"].confidence


def test_chance_is_called_chance_as_often_as_it_says() -> None:
    """Of shuffled parameters one in twenty seems surer than 95 %, and their importance is nothing on the average."""
    rng = np.random.default_rng(2)
    for values in (2, 4, 12):
        raw = [
            importance.shares({"p": [str(v) for v in rng.integers(0, values, 60)]}, rng.normal(size=60).tolist())
            for _ in range(500)
        ]
        sure = np.mean([found[0].confidence > 0.95 for found in raw])
        assert 0.02 < sure < 0.09
        assert np.mean([found[0].importance for found in raw]) < 0.06


@pytest.mark.parametrize(
    ("x", "freedom", "below"),
    [(3.841, 1, 0.95), (5.991, 2, 0.95), (7.815, 3, 0.95), (18.307, 10, 0.95), (4.351, 5, 0.5)],
)
def test_chi_squared_is_that_of_the_tables(x: float, freedom: int, below: float) -> None:
    assert importance.chi_squared(x, freedom) == pytest.approx(below, abs=0.01)


CURVE = st.lists(st.tuples(st.integers(-5, 30), st.one_of(st.just(math.nan), st.floats(-5, 5))), max_size=12)


def curve(rows: list[tuple[int, float]]) -> Points:
    rows = sorted(rows, key=lambda row: row[0])
    return points([r[0] for r in rows], [0] * len(rows), [r[1] for r in rows])


@QUICK
@given(curves=st.lists(CURVE, max_size=5), kind=st.sampled_from(bands.KINDS), most=st.integers(1, 40))
def test_bands_hold_their_mean_and_no_more_than_there_is(
    curves: list[list[tuple[int, float]]], kind: str, most: int
) -> None:
    found = bands.band([curve(rows) for rows in curves], kind, most)
    assert len(found.steps) <= most and (np.diff(found.steps) > 0).all() and np.isfinite(found.mean).all()
    assert (found.low <= found.mean + 1e-9).all() and (found.mean <= found.high + 1e-9).all()
    assert ((found.count >= 1) & (found.count <= len(curves))).all()
    if kind == "range" and len(found.steps):
        real = [v for rows in curves for _, v in rows if v == v]
        assert found.low.min() >= min(real) - 1e-9 and found.high.max() <= max(real) + 1e-9


def test_a_run_that_ended_early_pulls_nothing() -> None:
    long, short = curve([(0, 1.0), (10, 2.0), (20, 3.0)]), curve([(5, 5.5), (10, 6.0)])
    found = bands.band([long, short])
    assert found.steps.tolist() == [0, 5, 10, 20] and found.mean.tolist() == [1.0, 3.5, 4.0, 3.0]
    assert found.low.tolist() == [1.0, 1.5, 2.0, 3.0] and found.count.tolist() == [1, 2, 2, 1]
    assert bands.band([long, short], "deviation").high.tolist()[0] == 1.0
