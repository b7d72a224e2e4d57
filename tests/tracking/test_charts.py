"""What charts are told: pure parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from headway.tracking.show import charts


def run(uuid: str, params: dict[str, str], metrics: dict[str, float]) -> Any:
    found = {key: SimpleNamespace(last=value) for key, value in metrics.items()}
    return SimpleNamespace(uuid=uuid, name=uuid.upper(), params=params, metrics=found)


def test_parallel_coordinates_show_what_differs_and_end_in_the_commonest_metric() -> None:
    runs = [
        run("a", {"lr": "0.1", "kind": "forest", "same": "1"}, {"accuracy": 0.9, "loss": 0.3, "system/cpu": 1.0}),
        run(
            "b",
            {"lr": "0.0001", "kind": "boost", "same": "1", "alone": "5"},
            {"accuracy": 0.8, "loss": 0.4, "system/cpu": 2.0},
        ),
        run("c", {"lr": "0.01", "same": "1"}, {"accuracy": 0.7, "loss": float("nan"), "system/cpu": 3.0}),
    ]
    told = charts.parallel(runs, lambda uuid: f"/r/{uuid}")
    assert told["axes"] == [
        {"name": "lr", "log": True},
        {"name": "kind", "log": False},
        {"name": "loss"},
        {"name": "accuracy"},
    ]
    assert told["runs"][0] == {"id": "a", "name": "A", "url": "/r/a", "values": [0.1, "forest", 0.3, 0.9]}
    assert told["runs"][2]["values"] == [0.01, None, None, 0.7]


def test_a_parameter_is_a_number_only_if_all_its_values_are_finite_numbers() -> None:
    for values, wanted in (
        (("1", "2"), [1.0, 2.0]),
        (("1", "many"), ["1", "many"]),
        (("1", "inf"), ["1", "inf"]),
    ):
        told = charts.parallel([run(str(at), {"x": value}, {}) for at, value in enumerate(values)], str)
        assert [one["values"][0] for one in told["runs"]] == wanted


def test_nothing_differs() -> None:
    told = charts.parallel([run("a", {"x": "1"}, {}), run("b", {"x": "1"}, {})], str)
    assert told["axes"] == [] and [one["values"] for one in told["runs"]] == [[], []]
