"""What is deleted goes for good when its project's days are over: rows, files' bytes, the database file's pages, and names."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from headway.clock import now_ms
from headway.people.rules import Who
from headway.sdk import points
from headway.sdk.points import Columns
from headway.storage import blobs
from headway.tracking import loop
from tests.world import World, world

DAY = 86_400_000
API = "/api/2.0/mlflow/"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "home") as made:
        yield made


@pytest.fixture
def who(here: World) -> Who:
    return here.user("ada", admin=True)


@pytest.fixture
def client(here: World, who: Who) -> TestClient:
    here.project("Churn", who)
    return here.client(token=here.token(who))


def post(client: TestClient, what: str, **body: Any) -> Any:
    answer = client.post(API + what, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(client: TestClient, experiment: str = "0") -> str:
    return str(post(client, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"])


def sweep(here: World, days: float) -> None:
    """The loop's step so many days from now."""
    moment = now_ms() + round(days * DAY)
    here.host.own(loop._Swept).at = 0
    loop.step(here.host, moment)


def state(client: TestClient, run_id: str) -> str:
    answer = client.get(API + "runs/get", params={"run_id": run_id})
    return (
        str(answer.json()["run"]["info"]["lifecycle_stage"]) if answer.status_code == 200 else str(answer.status_code)
    )


def test_a_deleted_run_is_kept_as_long_as_its_project_says(here: World, client: TestClient) -> None:
    deleted, kept = run(client), run(client)
    post(client, "runs/delete", run_id=deleted)
    sweep(here, 29.9)
    assert (state(client, deleted), state(client, kept)) == ("deleted", "active")
    sweep(here, 30.1)
    assert (state(client, deleted), state(client, kept)) == ("404", "active")
    assert client.patch("/api/v1/projects/churn", json={"keep_deleted_days": 2}).json()["keep_deleted_days"] == 2
    post(client, "runs/delete", run_id=kept)
    sweep(here, 1.9)
    assert state(client, kept) == "deleted"
    post(client, "runs/restore", run_id=kept)
    sweep(here, 2.1)
    assert state(client, kept) == "active"
    post(client, "runs/delete", run_id=kept)
    sweep(here, 2.1)
    assert state(client, kept) == "404"


@pytest.mark.parametrize("days", [-1, 3651])
def test_days_that_make_no_sense_are_refused(here: World, client: TestClient, days: int) -> None:
    answer = client.patch("/api/v1/projects/churn", json={"keep_deleted_days": days})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "keep_deleted_days")
    assert client.get("/api/v1/projects/churn").json()["keep_deleted_days"] == 30


def test_the_settings_page_says_and_changes_it(here: World, client: TestClient, who: Who) -> None:
    browser = here.client(who, page=True)
    assert 'value="30"' in browser.get("/p/churn/settings").text
    assert browser.post("/p/churn/settings/keep", data={"days": "7"}).status_code == 303
    assert 'value="7"' in browser.get("/p/churn/settings").text
    for wrong in ("", "soon", "-1", "1.5", "9999"):
        answer = browser.post("/p/churn/settings/keep", data={"days": wrong})
        assert answer.status_code == 422 and "days" in answer.text
    assert client.get("/api/v1/projects/churn").json()["keep_deleted_days"] == 7


def test_the_name_of_a_purged_experiment_is_free_again(here: World, client: TestClient) -> None:
    old = post(client, "experiments/create", name="mine")["experiment_id"]
    inside = run(client, old)
    post(client, "experiments/delete", experiment_id=old)
    assert client.post(API + "experiments/create", json={"name": "mine"}).status_code == 400
    sweep(here, 31)
    assert state(client, inside) == "404"
    assert post(client, "experiments/create", name="mine")["experiment_id"]


def test_an_experiment_that_was_restored_stays(here: World, client: TestClient) -> None:
    old = post(client, "experiments/create", name="mine")["experiment_id"]
    inside = run(client, old)
    post(client, "experiments/delete", experiment_id=old)
    post(client, "experiments/restore", experiment_id=old)
    sweep(here, 31)
    assert state(client, inside) == "active"


def test_bytes_go(here: World, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300,000 points and an artifact nothing is left: no row, no blob, no page of the database file."""
    rng = random.Random(1)
    run_id, other = run(client), run(client)
    n = 100_000
    for name in ("a", "b", "c"):
        body = points.pack({name: Columns(range(n), range(n), [rng.random() for _ in range(n)])})
        answer = client.post(f"/api/v1/runs/{run_id}/points", content=body, headers={"idempotency-key": name})
        assert answer.json()["points"] == n
    files = "/api/2.0/mlflow-artifacts/artifacts"
    for one in (run_id, other):
        info = client.get(API + "runs/get", params={"run_id": one}).json()["run"]["info"]
        path = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        assert client.put(f"{files}/{path}/model.bin", content=one.encode() * 1000).status_code == 200
    database, folder = here.host.database, here.host.blobs.folder

    def on_disk() -> tuple[int, int]:
        with database.engine.connect() as db:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        held = [path for path in folder.glob("??/*") if path.is_file()]
        return (here.host.settings.home / "headway.db").stat().st_size, len(held)

    before, held = on_disk()
    assert before > 2_000_000 and held == 2
    post(client, "runs/delete", run_id=run_id)
    sweep(here, 31)
    for path in folder.glob("??/*"):  # what was stored in the last hour is not swept
        os.utime(path, (1, 1))
    sweep(here, 32)
    with database.read() as db:
        for table in ("series_chunks", "summaries", "point_batches"):
            assert db.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one() == 0
        assert blobs.used_bytes(db) == 32_000
    monkeypatch.setattr("headway.storage.database.KEEP_PAGES", 16)
    database.give_back()
    after, held = on_disk()
    assert held == 1
    assert after < before - 2_000_000
    assert state(client, other) == "active"


def test_idempotency_keys_are_forgotten_after_a_day(here: World, client: TestClient) -> None:
    run_id, body = run(client), points.pack({"m": Columns([1], [1], [1.0])})

    def again() -> bool:
        answer = client.post(f"/api/v1/runs/{run_id}/points", content=body, headers={"idempotency-key": "k"})
        return bool(answer.json()["repeated"])

    assert not again()
    sweep(here, 0.9)
    assert again()
    sweep(here, 1.1)
    assert not again()
