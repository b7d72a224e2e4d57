"""What was acknowledged is there, once: `kill -9` of the real server among a hundred writers, and two servers on one database.

Each writer logs numbered points: in JSON, a point a request, which it never sends again, and in columns with an idempotency
key, which it sends again until it is acknowledged. The server is killed at a counted acknowledgement. Afterwards every
acknowledged point must be there, none twice, and nothing that was never sent.

HEADWAY_KILL_ROUNDS=20 asks for more rounds than the one of every day.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from headway.people.rules import Who
from headway.sdk import points
from headway.sdk.points import Columns
from headway.storage.database import Database
from headway.tracking import service
from headway.tracking.store import history
from tests.served import Served, until

ROUNDS = int(os.environ.get("HEADWAY_KILL_ROUNDS", "1"))
WRITERS, RUNS, BLOCK = 100, 5, 10
ADMIN = Who("x" * 32, "test", admin=True)
API = "/api/2.0/mlflow/"


class Gone(Exception):
    """No answer: whether it was written is not known."""


class Line:
    """A connection to the server of the moment."""

    def __init__(self, served: Served, token: str = "") -> None:
        self.served, self.token = served, token or served.token
        self._kept: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, **headers: str) -> Any:
        kept = self._kept or http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=60)
        self._kept = kept
        try:
            kept.request("POST", path, body, {"Authorization": f"Bearer {self.token}", **headers})
            answer = kept.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException):
            kept.close()
            self._kept = None
            raise Gone from None
        if answer.status >= 500:
            raise Gone
        assert answer.status in (200, 201), (answer.status, found)
        return json.loads(found)

    def json(self, what: str, **body: Any) -> Any:
        return self.post(API + what, json.dumps(body).encode(), **{"Content-Type": "application/json"})

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()


class Writers:
    """A hundred of them; `acknowledged` and `sent` are what they know in the end, by (run, series)."""

    def __init__(self, servers: list[Served], token: str) -> None:
        self.servers, self.token = servers, token
        first = Line(servers[0], token)
        first.post("/api/v1/projects", b'{"name": "Durable"}', **{"Content-Type": "application/json"})
        self.runs = [first.json("runs/create", experiment_id="0")["run"]["info"]["run_id"] for _ in range(RUNS)]
        first.close()
        self.acknowledged: dict[tuple[str, str], set[int]] = {}
        self.sent: dict[tuple[str, str], set[int]] = {}
        self.count = 0
        self.stop = threading.Event()
        self.up = threading.Event()
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()
        self.up.set()

    def write(self, number: int) -> None:
        try:
            self._write(number)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _write(self, number: int) -> None:
        line = Line(self.servers[number % len(self.servers)], self.token)
        run, at = self.runs[number % RUNS], 0
        own, shared = f"w{number}", f"block{number}"
        while not self.stop.is_set():
            at += 1
            self._tell(self.sent, run, own, [at])
            try:
                line.json("runs/log-metric", run_id=run, key=own, value=at * 0.5, timestamp=at, step=at)
                self._tell(self.acknowledged, run, own, [at])
            except Gone:
                self.up.wait(60)
            steps = range(at * BLOCK, (at + 1) * BLOCK)
            body = points.pack({shared: Columns(steps, steps, [s * 0.5 for s in steps])})
            self._tell(self.sent, run, shared, steps)
            while True:  # as a careful client does: the same batch, under the same name, until it is acknowledged
                try:
                    line.post(f"/api/v1/runs/{run}/points", body, **{"Idempotency-Key": f"{shared}-{at}"})
                    self._tell(self.acknowledged, run, shared, steps)
                    break
                except Gone:
                    self.up.wait(60)
        line.close()

    def _tell(self, whom: dict[tuple[str, str], set[int]], run: str, series: str, steps: Any) -> None:
        with self._lock:
            whom.setdefault((run, series), set()).update(steps)
            if whom is self.acknowledged:
                self.count += 1

    def reached(self, count: int) -> bool:
        assert not self.failures, self.failures[0]
        return self.count >= count


def check(database: Database, writers: Writers) -> int:
    """Compare the store with what the writers know; returns how many points they had acknowledged."""
    told = 0
    for (run, series), sent in sorted(writers.sent.items()):
        acknowledged = writers.acknowledged.get((run, series), set())
        with database.read() as db:
            facts = service.facts(db, ADMIN, run)
            found = history.whole(db, facts.id, series)
        steps = found.steps.tolist()
        assert len(steps) == len(set(steps)), f"{series}: a point is there twice"
        assert acknowledged <= set(steps), f"{series}: acknowledged and lost: {sorted(acknowledged - set(steps))[:5]}"
        assert set(steps) <= sent, f"{series}: never sent"
        if series.startswith("block"):
            assert set(steps) == sent == acknowledged, f"{series}: a batch was told to be there in part"
        assert found.values.tolist() == [step * 0.5 for step in steps]
        if steps:
            assert facts.metrics[series].points == len(steps), f"{series}: counted twice"
            assert facts.metrics[series].last == max(steps) * 0.5
        told += len(acknowledged)
    return told


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database."""
    if request.param == "sqlite":
        yield ""
        return
    base, name = make_url(request.getfixturevalue("postgres_url")), f"durable_{time.monotonic_ns()}"
    engine = create_engine(base, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    yield base.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as db:
        db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def a_server(home: Path, url: str) -> Served:
    more = {"HEADWAY_DATABASE_URL": url} if url else {}
    return Served(home, HEADWAY_SAMPLE="false", HEADWAY_DEFAULT_REQUIREMENTS="six", **more)


def running(home: str) -> list[int]:
    """The processes that work on this home folder."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if home in (one.info["cmdline"] or [])]


def test_killed_among_a_hundred_writers(tmp_path: Path, url: str) -> None:
    served = a_server(tmp_path / "home", url).start()
    writers = Writers([served], served.token)
    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            futures = [pool.submit(writers.write, number) for number in range(WRITERS)]
            for round_ in range(ROUNDS):
                goal = writers.count + 200 + 37 * round_
                until(lambda goal=goal: writers.reached(goal), 120, "acknowledgements")  # type: ignore[misc]
                writers.up.clear()
                served.kill()
                served.start()
                writers.up.set()
            goal = writers.count + 200
            until(lambda: writers.reached(goal), 120, "acknowledgements")
        finally:
            writers.stop.set()
            writers.up.set()
        for future in futures:
            future.result()
    served.stop()
    until(lambda: not running(str(served.home)), 60, "the gateway to end")
    database = Database(url or f"sqlite:///{tmp_path / 'home' / 'headway.db'}")
    assert check(database, writers) > 200 * (ROUNDS + 1)
    database.close()


@pytest.mark.parametrize("url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_two_servers_on_one_database(tmp_path: Path, url: str) -> None:
    """Both write into the same runs, one is killed and comes back: nothing is lost, doubled, or locked crosswise."""
    servers = [a_server(tmp_path / name, url).start() for name in ("one", "two")]
    writers = Writers(servers, servers[1].token)
    with ThreadPoolExecutor(WRITERS) as pool:
        try:
            futures = [pool.submit(writers.write, number) for number in range(WRITERS)]
            until(lambda: writers.reached(300), 120, "acknowledgements")
            servers[1].kill()
            servers[1].start()
            goal = writers.count + 300
            until(lambda: writers.reached(goal), 120, "acknowledgements")
        finally:
            writers.stop.set()
        for future in futures:
            future.result()
    database = Database(url)
    with database.read() as db:
        assert (
            db.execute(text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")).scalar() == 0
        )
    for served in servers:
        served.stop()
    assert check(database, writers) > 600
    database.close()
