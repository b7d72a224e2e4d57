"""What a loop prints is written by columns, and read as it was; loops that print fast lose no line that is rare."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.capture.batches import packed, unpacked
from headway.capture.sites import Site
from tests.capture.conftest import Run

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=30)
ROWS = st.lists(st.tuples(st.integers(0, 2), st.lists(SCALARS, max_size=3), SCALARS, SCALARS), min_size=1, max_size=40)


def _sites() -> list[Site]:
    return [Site(n, "train.py", n, "<module>", ("step", "loss"), False) for n in range(3)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


@given(ROWS)
def test_what_was_packed_is_unpacked(drawn: list[tuple[int, list[Any], Any, Any]]) -> None:
    sites = _sites()
    rows = [
        (1_000_000 * i, None, "print", sites[s], tuple(v), (step, loss)) for i, (s, v, step, loss) in enumerate(drawn)
    ]
    found = unpacked(json.loads(json.dumps(packed(rows, 5_000_000))))
    assert len(found) == len(rows)
    for i, (fact, (number, values, step, loss)) in enumerate(zip(found, drawn, strict=True)):
        assert (fact["t"], fact["k"], fact["s"]) == (5 + i, "print", number)
        assert len(fact["v"]) == len(values) and all(map(_same, fact["v"], values))
        held = {k: v for k, v in (("step", step), ("loss", loss)) if v is not None}
        assert fact["n"].keys() == held.keys() and all(_same(fact["n"][k], held[k]) for k in held)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([10**30, 1], [None, 1]),
        (["x" * 3000, "y"], ["x" * 2000 + "…", "y"]),
        (["AKIA" + "A" * 16, "plain"], ["[redacted]", "plain"]),
        ([{"d": [1, 2]}, {"t": "Thing"}], [{"d": [1, 2]}, {"t": "Thing"}]),
    ],
)
def test_what_is_no_measurement_is_cut_or_hidden(values: list[Any], read: list[Any]) -> None:
    site = Site(0, "train.py", 1, "<module>", (), False)
    fact = packed([(0, None, "print", site, (value,), ()) for value in values], 0)
    assert [f["v"][0] for f in unpacked(json.loads(json.dumps(fact)))] == read


def test_texts_under_a_secrets_name_are_hidden() -> None:
    site = Site(0, "train.py", 1, "<module>", ("api_key",), False)
    fact = packed([(0, None, "print", site, (), ("hush",))] * 2, 0)
    assert [f["n"] for f in unpacked(json.loads(json.dumps(fact)))] == [{"api_key": "[redacted]"}] * 2


@pytest.mark.parametrize(
    "fact",
    [
        {"k": "batch"},
        {"k": "batch", "t": 1, "d": [0], "b": 7},
        {"k": "batch", "t": 1, "d": [0], "b": [{"k": "print", "s": 1, "v": [{"f": "zz"}], "n": {}}]},
        {"k": "batch", "t": 1, "d": [0], "b": [{"k": "print", "s": 1, "v": [{"v": 4}], "n": {}}]},
        {"k": "batch", "t": 1, "d": [0, 0], "of": [0], "b": [{"k": "print", "s": 1, "v": [[1]], "n": {}}]},
        {"k": "batch", "t": 1, "d": [0], "of": [9], "b": [{"k": "print", "s": 1, "v": [[1]], "n": {}}]},
    ],
)
def test_a_batch_of_another_form_tells_nothing(fact: dict[str, Any]) -> None:
    assert unpacked(fact) == []


FAST = {
    "two lines in turn": """
        for step in range(20_000):
            loss = 1 / (step + 1)
            print("loss", loss)
            print("acc", 1 - loss)""",
    "in a function": """
        def train():
            for step in range(40_000):
                loss = 1 / (step + 1)
                print(f"step {step} loss {loss:.3f}")
        train()""",
    "records": """
        import logging
        logging.basicConfig(level=logging.INFO)
        for step in range(20_000):
            loss = 1 / (step + 1)
            logging.info("step %d loss %.3f", step, loss)""",
}


@pytest.mark.parametrize("name", FAST)
def test_a_loop_faster_than_any_chart_is_thinned_and_its_first_points_are_all_kept(run: Run, name: str) -> None:
    done = run(FAST[name])
    points = [p[:2] for p in done.record["metrics"]["loss"]["points"]]
    assert 500 < len(points) < 20_000
    assert [y for _, y in points[:500]] == [1 / (step + 1) for step in range(500)]
    assert all(y == 1 / (x + 1) for x, y in points)  # each under its own step, however many are left out


def test_a_rare_line_in_a_loop_that_prints_is_always_noted(run: Run) -> None:
    done = run("""
        for epoch in range(48):
            for step in range(50):
                loss = 1 / (step + 1)
                print(step, loss)
            accuracy = epoch / 48
            print("accuracy", accuracy)
    """)
    assert done.metrics["accuracy"] == [epoch / 48 for epoch in range(48)]
