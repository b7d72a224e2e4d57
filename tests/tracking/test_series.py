"""Chunks, sketches and thinning, against plain lists."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.tracking.store import planes, series

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


COURSES = {
    "even": lambda n, rng: np.arange(n, dtype=np.int64) * 7 - 3,
    "one": lambda n, rng: np.full(n, -(2**63), np.int64),
    "noise": lambda n, rng: rng.integers(-(2**63), 2**63 - 1, n, endpoint=True),
    "rising": lambda n, rng: np.cumsum(rng.integers(0, 300, n)),
    "falling": lambda n, rng: -np.cumsum(rng.integers(0, 70_000, n)),
    "ends": lambda n, rng: np.where(rng.random(n) < 0.5, -(2**63), 2**63 - 1),
}


@given(
    st.sampled_from([1025, 1026, 4095, 4096, 65_535]), st.sampled_from(sorted(COURSES)), st.sampled_from(sorted(COURSES)),
    st.sampled_from(sorted(COURSES)), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_many_points_come_back_to_the_last_bit(n: int, steps: str, times: str, values: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = COURSES[values](n, rng).astype(np.int64)  # any bits at all: NaNs with a payload, infinities, denormals
    p = series.Points(COURSES[steps](n, rng), COURSES[times](n, rng), bits.view(np.float64))
    packed = series.pack(p)
    found = series.unpack(packed)
    assert packed[0] == planes.CODEC
    assert (found.steps == p.steps).all() and (found.times == p.times).all()
    assert found.values.tobytes() == p.values.tobytes()


def test_chunks_of_older_versions_are_read() -> None:
    n = 4096
    p = series.Points(np.arange(n), np.arange(n) * 3, np.sin(np.arange(n)))
    columns = [np.diff(p.steps, prepend=0), np.diff(p.times, prepend=0), p.values.view(np.int64)]
    laid = b"".join(np.ascontiguousarray(c.view(np.uint8).reshape(n, 8).T).tobytes() for c in columns)
    found = series.unpack(bytes([series.SHUFFLED]) + struct.pack("<I", n) + zlib.compress(laid, 1))
    assert rows_of(found) == rows_of(p)


def test_steps_that_rise_evenly_take_no_room() -> None:
    n = 4096
    p = series.Points(np.arange(n), 1_700_000_000_000 + np.arange(n), np.random.default_rng(1).normal(size=n))
    assert len(series.pack(p)) < 7.3 * n


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
