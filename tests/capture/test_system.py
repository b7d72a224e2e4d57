"""What a run took of its machine, as the shipper writes it down and the page draws it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headway.capture import system
from headway.errors import NotFound
from headway.tracking.show import resources


def written(spool: Path, *values: float) -> None:
    lines = [{"t": 1_000 * at, "v": {"memory_mb": value}} for at, value in enumerate(values)]
    (spool / system.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines) + "{torn")


def test_a_process_is_measured(tmp_path: Path) -> None:
    sampler = system.Sampler(tmp_path, os.getpid())
    sampler._next = 0.0
    sampler.tick()
    told = system.described(tmp_path)
    assert told["use"]["memory_mb"]["max"] > 1
    assert told["machine"]["cores"] >= 1
    assert len(told["series"]["memory_mb"]["t"]) == len(told["series"]["memory_mb"]["v"]) == 1


def test_a_process_that_is_gone_is_not(tmp_path: Path) -> None:
    sampler = system.Sampler(tmp_path, 2**22 - 1)
    sampler._next = 0.0
    sampler.tick()
    assert system.described(tmp_path) == {}


def test_long_series_keep_their_peaks(tmp_path: Path) -> None:
    written(tmp_path, *[1.0] * 700, 99.0, *[1.0] * 1300)
    told = system.described(tmp_path)
    assert told["use"] == {"memory_mb": {"mean": pytest.approx(1.049), "max": 99.0}}
    series = told["series"]["memory_mb"]
    assert len(series["t"]) <= system.MOST
    assert series["t"][series["v"].index(99.0)] == 700_000


def test_as_a_chart_asks_for_it() -> None:
    series = {"t": [5_000, 6_000, 7_000], "v": [1, 2, float("nan")]}
    assert resources.line(series, "m", began=5_000, x="relative", low=None, high=None) == {
        "x": "relative",
        "series": [{"name": "m", "x": [0, 1_000, 2_000], "y": [1, 2, None]}],
    }
    assert resources.line(series, "m", began=5_000, x="time", low=5_500, high=6_500)["series"][0]["x"] == [6_000]
    with pytest.raises(NotFound):
        resources.line({}, "m", began=0, x="time", low=None, high=None)


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("system/cpu_percent", "CPU, %"),
        ("disk_read_mb_per_s", "Disk read, MB/s"),
        ("gpu0_memory_mb", "Gpu0 memory, MB"),
        ("load", "Load"),
    ],
)
def test_labels(key: str, label: str) -> None:
    assert resources.label(key) == label
