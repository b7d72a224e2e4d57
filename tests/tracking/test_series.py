"""Chunks, sketches and thinning, against plain lists."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.tracking.store import series

INT64 = st.integers(-(2**63), 2**63 - 1)
POINTS = st.lists(st.tuples(INT64, INT64, st.floats()), max_size=200)


def columns(rows: list[tuple[int, int, float]]) -> series.Points:
    return series.points([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def rows_of(p: series.Points) -> list[tuple[int, int, bytes]]:
    return [(int(s), int(t), np.float64(v).tobytes()) for s, t, v in zip(p.steps, p.times, p.values, strict=True)]


@given(POINTS)
@settings(max_examples=150, deadline=None)
def test_what_is_packed_comes_back_to_the_last_bit(rows: list[tuple[int, int, float]]) -> None:
    p = columns(rows)
    assert rows_of(series.unpack(series.pack(p))) == rows_of(p)
    lists = ([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    assert rows_of(series.unpack(series.pack_rows(*lists))) == rows_of(p)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf])))
)
@settings(max_examples=150, deadline=None)
def test_ordered_sorts_and_drops_what_was_sent_twice(rows: list[tuple[int, int, float]]) -> None:
    found = rows_of(series.ordered(columns(rows)))
    assert sorted(set(found)) == sorted(set(rows_of(columns(rows))))
    assert len(set(found)) == len(found)
    assert [r[:2] for r in found] == sorted(r[:2] for r in found)


@given(st.integers(1, 5000), st.integers(10, 1000), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_chart_keeps_the_extremes_and_the_ends(n: int, most: int, random: object) -> None:
    rng = np.random.default_rng(n)
    p = series.Points(np.arange(n), np.arange(n), rng.normal(size=n))
    thin = series.for_chart(p, most)
    assert len(thin) <= most + 1 or n <= most
    assert thin.values.min() == p.values.min() and thin.values.max() == p.values.max()
    assert thin.steps[0] == 0 and thin.steps[-1] == n - 1
    assert (np.diff(thin.steps) > 0).all()


def test_nan_does_not_hide_a_spike() -> None:
    values = np.full(10_000, np.nan)
    values[5000] = 7.0
    p = series.Points(np.arange(10_000), np.arange(10_000), values)
    assert 7.0 in series.for_chart(p, 100).values


@given(POINTS.filter(bool))
@settings(max_examples=100, deadline=None)
def test_summaries(rows: list[tuple[int, int, float]]) -> None:
    short = series.shorten([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    real = [r[2] for r in rows if not math.isnan(r[2])]
    assert short.points == len(rows)
    assert (short.low, short.high) == ((min(real), max(real)) if real else (None, None))
    assert (short.step, short.time) == max((r[0], r[1]) for r in rows)
