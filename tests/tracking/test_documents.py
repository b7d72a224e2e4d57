"""Runs and series as the wire has them, written straight from rows: equal to what `shapes` says of the same facts."""

from __future__ import annotations

import math
from typing import Any

import httpx
import orjson
import pytest

from headway.storage.database import Database
from headway.tracking import service
from headway.tracking.store import readout
from headway.tracking.store.record import Metric
from headway.tracking.wire import documents, shapes
from tests.tracking.serving import Server
from tests.tracking.test_store import ADA, log, new_run


def test_a_runs_text_says_what_its_facts_say(database: Database) -> None:
    odd = [0.1, -0.0, 1e-300, 1e22, math.nan, math.inf, -math.inf, 3.0]
    full = new_run(database, tags={"mlflow.note.content": 'a "quoted"\n ünï \\ text', "empty": ""})
    log(database, full, metrics=[Metric(f"m/{n} x", v, 5 + n, n) for n, v in enumerate(odd)],
        params=[("b", "1"), ("a", "<&>'\" "), ("ä", "")])  # fmt: skip
    bare = new_run(database)
    with database.read() as db:
        rows = [service.get_run(db, ADA, run.uuid) for run in (full, bare)]
        wanted = [shapes.run(facts) for facts in readout.facts(db, rows)]
        assert [orjson.loads(text) for text in documents.write(db, rows)] == wanted
        assert documents.documents(db, rows) == documents.documents(db, rows[::-1])[::-1]


@pytest.mark.parametrize("points", [0, 3, 5000])
def test_a_whole_series_is_sent_as_its_pages_are(server: Server, points: int) -> None:
    with httpx.Client(
        base_url=f"{server.url}/api/2.0/mlflow/", headers={"authorization": f"Bearer {server.token}"}
    ) as http:
        run = http.post("runs/create", json={}).json()["run"]["info"]["run_id"]
        for at in range(0, points, 1000):
            some = [{"key": "loss", "value": "NaN" if i % 7 == 3 else i / 2, "timestamp": i, "step": i}
                    for i in range(at, min(points, at + 1000))]  # fmt: skip
            http.post("runs/log-batch", json={"run_id": run, "metrics": some}).raise_for_status()
        asked: dict[str, Any] = {"run_id": run, "metric_key": "loss"}
        whole = http.get("metrics/get-history", params=asked).json()
        pages: list[Any] = []
        token = ""
        while True:
            page = http.get("metrics/get-history", params=asked | {"max_results": 1999, "page_token": token}).json()
            pages += page.get("metrics", [])
            token = page.get("next_page_token", "")
            if not token:
                break
        assert whole.get("metrics", []) == pages and len(pages) == points
        assert http.get("metrics/get-history", params=asked | {"run_id": "0" * 32}).status_code == 404
        assert http.get("metrics/get-history", params={"run_id": run}).status_code == 400
