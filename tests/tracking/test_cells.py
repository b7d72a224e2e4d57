"""The table of runs over JSON, as its contract in `runtable` says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from headway.tracking import experiments, service
from headway.tracking.record import Metric
from tests.world import World, world


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with world(tmp_path / "home") as made:
        yield made


class Bench:
    """A project with runs, and its table."""

    def __init__(self, made: World) -> None:
        self.world, self.ada = made, made.user("ada", admin=True)
        self.project = made.project("Churn", self.ada)
        self.client = made.client(self.ada)
        self.base = f"/api/v1/projects/{self.project.slug}/runs"

    def run(self, metrics: dict[str, Any], start: int, *, parent: str = "", **params: str) -> str:
        """A finished run; a list of numbers is a series."""
        points = [
            Metric(key, value, 1, step)
            for key, values in metrics.items()
            for step, value in enumerate(values if isinstance(values, list) else [values])
        ]
        with self.world.host.database.write() as db:
            row = experiments.ensure(db, self.project.id, "e")
            made = service.create_run(db, self.ada, project_id=self.project.id, experiment_id=row.id, start_time=start,
                                      tags={"mlflow.parentRunId": parent} if parent else None)  # fmt: skip
            service.log_batch(db, made.uuid, points, list(params.items()), who=self.ada)
            service.update_run(db, self.ada, made.uuid, status="FINISHED", end_time=start + 5)
            return made.uuid

    def get(self, path: str = "table", status: int = 200, **query: Any) -> Any:
        answer = self.client.get(f"{self.base}/{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()


def test_cells_orders_and_what_differs(here: World) -> None:
    bench = Bench(here)
    a = bench.run({"acc": [0.5, 0.9, 0.7], "same": 1}, 10, lr="0.1", kind="x")
    b = bench.run({"acc": [0.6, 0.8], "same": 1}, 20, lr="0.2", kind="x")
    c = bench.run({"acc": math.nan, "same": 1}, 30, lr="0.3", kind="x")
    d = bench.run({"same": 1}, 40, kind="x")
    kid = bench.run({"acc": 0.99}, 50, parent=d)
    found = bench.get(count=True)
    assert found["run_id"] == [d, c, b, a] and found["total"] == 4 and found["next"] == ""
    assert found["children"] == [1, 0, 0, 0] and found["state"] == ["finished"] * 4 and found["start"][0] == 40
    columns = {column["id"]: column["values"] for column in found["columns"]}
    assert columns == {"metrics.acc": [None, "NaN", 0.8, 0.7], "params.lr": [None, "0.3", "0.2", "0.1"]}
    assert bench.get(order="max(metrics.acc) DESC")["run_id"] == [a, b, c, d]
    assert bench.get(order="metrics.acc DESC")["run_id"] == [b, a, c, d]
    assert bench.get(order="min(metrics.acc)")["run_id"] == [a, b, c, d]
    assert bench.get(order="params.lr", limit=1, offset=2)["run_id"] == [c]
    assert bench.get(filter="best(metrics.acc) > 0.85")["run_id"] == [kid, a]
    assert bench.get(filter="min(metrics.acc) <= 0.5", count=True)["total"] == 1
    picked = bench.get(column=["min(metrics.acc)", "best(metrics.acc)", "tags.mlflow.runName", "params.none"])[
        "columns"
    ]
    assert picked[0]["values"] == [None, "NaN", 0.6, 0.5] and picked[1]["values"] == [None, "NaN", 0.8, 0.9]
    assert picked[1]["of"] == "max" and picked[1]["goal"] == "max" and picked[3]["values"] == [None] * 4
    first = bench.get(order="metrics.acc", limit=3)
    assert bench.get(order="metrics.acc", limit=3, cursor=first["next"])["run_id"] == [d]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 5001}, {"offset": -1}, {"order": "nope"}, {"filter": "metrics.a >"}, {"cursor": "x"},
              {"column": "attributes.status"}, {"column": "min(params.a)"}, {"experiment": "x"}])  # fmt: skip
def test_what_is_wrong_is_said(here: World, query: dict[str, Any]) -> None:
    bench = Bench(here)
    bench.run({"a": 1}, 1)
    assert bench.get(status=400, **query)["error"]["message"]
