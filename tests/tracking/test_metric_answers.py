"""Series over the wire: texts equal to what is meant, samples that follow each write, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.tracking.store import series
from headway.tracking.wire import metrics, shapes
from tests.tracking.serving import Server, serve_on

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(INT64, INT64, st.floats()), max_size=30), st.text(), st.sampled_from(["", "a" * 32]))
@settings(max_examples=150, deadline=None)
def test_points_as_text_say_what_their_objects_say(rows: list[tuple[int, int, float]], key: str, run: str) -> None:
    p = series.points([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    try:
        wanted = orjson.dumps(shapes.points(key, p, run))
    except TypeError:  # a key that is no Unicode can't be logged either
        return
    assert b"[" + metrics.text(key, p, run) + b"]" == wanted


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_on(request.param, request, tmp_path_factory) as server:
        yield server


@pytest.fixture
def http(served: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {served.token}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=30) as client:
        yield client


def new(http: httpx.Client) -> str:
    return str(http.post("/api/2.0/mlflow/runs/create", json={}).json()["run"]["info"]["run_id"])


def log(http: httpx.Client, run: str, key: str, value: Any, step: int) -> None:
    body = {"run_id": run, "key": key, "value": value, "timestamp": 5, "step": step}
    http.post("/api/2.0/mlflow/runs/log-metric", json=body).raise_for_status()


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"])
def test_a_sample_follows_each_write(http: httpx.Client, prefix: str) -> None:
    one, two = new(http), new(http)
    log(http, one, "loss", 1.0, 0)
    log(http, two, "loss", "NaN", 3)
    asked: dict[str, Any] = {"run_ids": [one, two], "metric_key": "loss", "max_results": 10}

    def sample(**more: Any) -> list[tuple[str, Any, int]]:
        answer = http.get(f"{prefix}metrics/get-history-bulk-interval", params=asked | more).raise_for_status()
        return [(m["run_id"], m["value"], m["step"]) for m in answer.json().get("metrics", [])]

    for _ in range(2):
        assert sample() == [(one, 1.0, 0), (two, "NaN", 3)]
    log(http, two, "loss", "-Infinity", 4)
    assert sample() == [(one, 1.0, 0), (two, "NaN", 3), (two, "-Infinity", 4)]
    assert sample(start_step=0, end_step=0) == [(one, 1.0, 0)] and sample(metric_key="other") == []
    assert sample(run_ids=[two]) == [(two, "NaN", 3), (two, "-Infinity", 4)]
    ours = http.get("/api/v1/projects/churn/runs/series", params={"run": two, "key": "loss"}).json()["series"]
    assert ours[0]["x"] == [3, 4] and ours[0]["y"] == [None, None]


def test_what_is_kept_is_for_those_who_may(http: httpx.Client, served: Server) -> None:
    run = new(http)
    log(http, run, "loss", 1.0, 0)
    world = served.world
    stranger = world.token(world.user(f"eve{run[:8]}"), scope="all")
    paths = ["runs/get", "metrics/get-history", "metrics/get-history-bulk", "metrics/get-history-bulk-interval"]
    for path in paths:
        params = {"run_id": run, "run_ids": run, "metric_key": "loss"}
        mine = [http.get(f"/api/2.0/mlflow/{path}", params=params) for _ in range(2)]
        assert [a.status_code for a in mine] == [200, 200] and mine[0].content == mine[1].content
        theirs = http.get(f"/api/2.0/mlflow/{path}", params=params, headers={"authorization": f"Bearer {stranger}"})
        missing = http.get(f"/api/2.0/mlflow/{path}", params=params | {"run_id": "0" * 32, "run_ids": "0" * 32})
        assert theirs.status_code == missing.status_code == 404
        assert theirs.json()["message"].replace(run, "") == missing.json()["message"].replace("0" * 32, "")
    found = http.post("/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"]}).json()["runs"]
    assert run in {one["info"]["run_id"] for one in found}
    number = http.post("/api/2.0/mlflow/experiments/create", json={"name": f"e{run}"}).json()["experiment_id"]
    http.post("/api/2.0/mlflow/runs/create", json={"experiment_id": number}).raise_for_status()
    body, headers = {"experiment_ids": [number]}, {"authorization": f"Bearer {stranger}"}
    assert len(http.post("/api/2.0/mlflow/runs/search", json=body).json()["runs"]) == 1
    assert http.post("/api/2.0/mlflow/runs/search", json=body, headers=headers).json() == {}
