"""The table of runs over JSON, as its contract in `runtable` says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from headway.tracking import experiments, service
from headway.tracking.show import cells, group_curves
from headway.tracking.store.record import Metric
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


def test_the_names_of_columns_come_in_pages_the_telling_ones_first(here: World) -> None:
    bench = Bench(here)
    for n in range(4):
        bench.run({"acc": n / 4, "same": 1.0, **({f"rare/{n}": 1.0} if n < 2 else {})}, n, lr=f"0.{n}", kind="x")
    found = bench.get("columns")
    assert [c["id"] for c in found["columns"]] == [
        "metrics.acc",
        "metrics.rare/0",
        "metrics.rare/1",
        "params.lr",
        "metrics.same",
        "params.kind",
    ]
    assert (
        [c["differs"] for c in found["columns"]] == [True] * 4 + [False] * 2
        and found["total"] == 6
        and found["next"] == ""
    )
    assert (
        found["columns"][0]["goal"] == "max"
        and found["columns"][0]["share"] == 1
        and found["columns"][1]["share"] == 0.25
    )
    first = bench.get("columns", limit=4)
    second = bench.get("columns", limit=4, cursor=first["next"])
    assert first["columns"] + second["columns"] == found["columns"] and second["next"] == ""
    assert [c["key"] for c in bench.get("columns", q="ARE/", kind="metric")["columns"]] == ["rare/0", "rare/1"]
    assert (
        bench.get("columns", filter="metrics.acc > 0.6")["columns"][-1]["share"] is None
    )  # a name that no run found has


def test_groups_have_the_mean_of_their_courses_and_a_band(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(here)
    for n, kind in enumerate(["a", "a", "b", ""]):
        bench.run({"loss": [float(n), n + 2.0]}, n, **({"kind": kind} if kind else {}))
    bench.run({"other": 1.0}, 9, kind="a")
    found = bench.get("bands", by="params.kind", key="loss")
    assert [(one["key"], one["runs"], one["read"]) for one in found["series"]] == [
        ("group:a", 2, 2), ("group:b", 1, 1), ("group:none", 1, 1)
    ]  # fmt: skip
    assert found["series"][0] | {"x": 0} == {
        "key": "group:a", "name": "a", "runs": 2, "read": 2, "x": 0, "y": [0.5, 2.5], "low": [0.0, 2.0], "high": [1.0, 3.0],
        "count": [2, 2],
    }  # fmt: skip
    assert found["x"] == "step" and found["series"][0]["x"] == [0, 1]
    assert [s["name"] for s in bench.get("bands", by="params.kind", key="loss", limit=1)["series"]] == ["a"]
    assert bench.get("bands", by="params.kind", key="loss", **{"from": 1, "to": 1})["series"][0]["y"] == [2.5]
    relative = bench.get("bands", by="attributes.status", key="loss", x="relative")["series"][0]
    assert relative["runs"] == 4 and relative["x"] == [-2, -1, 0, 1]  # logged at 1 ms, begun at 0 to 3
    assert bench.get("bands", by="params.kind", key="loss", filter="metrics.loss > 3.5")["series"][0]["name"] == "b"
    assert bench.get("bands", by="params.kind", key="nothing")["series"] == []
    monkeypatch.setattr(group_curves, "READ", 3)
    some = bench.get("bands", by="attributes.status", key="loss")["series"][0]
    assert some["runs"] == 4 and some["read"] == 3
    for wrong in ({"by": "metrics.loss"}, {"by": "params.kind", "x": "no"}, {"by": "params.kind", "band": "no"}):
        assert bench.get("bands", status=400, key="loss", **wrong)["error"]["message"]


def test_a_run_with_very_many_names_does_not_hide_how_others_differ(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "CELLS", 8)
    bench = Bench(here)
    bench.run({f"m{n}": 0.0 for n in range(9)} | {"acc": 0.1}, 1)
    bench.run({"acc": 0.2, "same": 1}, 2)
    bench.run({"acc": 0.3, "same": 1}, 3)
    assert [column["id"] for column in bench.get()["columns"]] == ["metrics.acc"]
    first = bench.get(offset=2)  # it comes first, and is looked at however many names it has
    assert [column["key"] for column in first["columns"]] == ["acc", "m0", "m1", "m2", "m3"]


def test_groups_count_and_measure_each_value(here: World) -> None:
    bench = Bench(here)
    for n, kind in enumerate(["a", "a", "it's", ""]):
        bench.run({"acc": [0.1 * n, 0.2 * n]}, n, **({"kind": kind} if kind else {}))
    found = bench.get("groups", by="params.kind", metric="max(metrics.acc)")
    assert [(g["value"], g["runs"]) for g in found["groups"]] == [("a", 2), ("it's", 1), (None, 1)]
    assert found["groups"][0] | {"mean": 0, "max": 0} == {
        "value": "a",
        "runs": 2,
        "filter": "params.kind = 'a'",
        "mean": 0,
        "min": 0,
        "max": 0,
    }
    for group in found["groups"]:
        assert bench.get(filter=group["filter"], count=True)["total"] == group["runs"]
    assert bench.get("groups", by="attributes.status")["groups"][0]["runs"] == 4
    assert bench.get("groups", by="params.kind", limit=1)["more"] is True
    assert bench.get("groups", by="params.nothing", metric="metrics.none")["groups"][0]["mean"] is None


def test_importance_and_series_of_many_runs(here: World) -> None:
    bench = Bench(here)
    runs = [bench.run({"acc": [0.0, n / 8]}, n, lr=str(n), kind="ab"[n % 2]) for n in range(8)]
    found = bench.get("importance", metric="metrics.acc")
    assert (
        found["runs"] == 8 and found["params"][0]["key"] == "lr" and found["params"][0]["direction"] == pytest.approx(1)
    )
    lines = bench.get("series", key="acc", run=runs)["series"]
    assert [line["key"] for line in lines] == runs and lines[7]["y"] == [0.0, 0.875]
    bands = bench.get("series", key="acc", run=runs, group="params.kind")["series"]
    assert [(b["name"], b["runs"], b["y"][1], b["low"][1], b["high"][1]) for b in bands] == [
        ("a", 4, 0.375, 0, 0.75),
        ("b", 4, 0.5, 0.125, 0.875),
    ]
    assert bench.get("series", key="acc", run=runs[:1], **{"from": 1})["series"][0]["x"] == [1]


@pytest.mark.parametrize(("path", "query", "status"), [
    ("columns", {"kind": "thing"}, 400), ("columns", {"limit": 5000}, 400), ("columns", {"cursor": "x"}, 400),
    ("groups", {"by": "metrics.a"}, 400), ("groups", {"by": "params.a", "limit": 0}, 400), ("groups", {"by": "run_name"}, 400),
    ("groups", {"by": "params.a", "metric": "params.b"}, 400), ("importance", {"metric": "nope"}, 400),
    ("series", {"key": "a"}, 400),
    ("series", {"key": "a", "run": ["0" * 32]}, 404), ("series", {"key": "a", "run": ["x"] * 101}, 400),
    ("series", {"key": "a", "run": ["x"], "x": "y"}, 400), ("series", {"key": "a", "run": ["x"], "from": "nan"}, 400),
    ("series", {"key": "a", "run": ["x"], "band": "y"}, 400),
])  # fmt: skip
def test_what_is_wrong_with_the_rest_is_said(here: World, path: str, query: dict[str, Any], status: int) -> None:
    bench = Bench(here)
    bench.run({"a": 1}, 1)
    assert bench.get(path, status=status, **query)["error"]["message"]


def test_other_projects_runs_are_not_there(here: World) -> None:
    bench, other = Bench(here), here.project("Other", here.user("bob"))
    mine = bench.run({"acc": 1}, 1)
    bob = here.client(here.user("bob"))
    base = f"/api/v1/projects/{other.slug}/runs"
    for path in (
        "table",
        "columns",
        "groups?by=params.a",
        "importance?metric=metrics.acc",
        "series?key=acc&run=" + mine,
    ):
        assert bob.get(f"{bench.base}/{path}").status_code == 404
    assert bob.get(f"{base}/series", params={"key": "acc", "run": mine}).status_code == 404
    with here.host.database.read() as db:
        number = experiments.active(db, bench.project.id)[0].id
    assert bob.get(f"{base}/table", params={"experiment": number}).json()["run_id"] == []
