"""Replicas that die and revisions that change while requests come: no request fails for it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.deployments.traffic import WHOLE
from tests.deployments.running import Data, until, whole
from tests.modelserver.bundles import save
from tests.modelserver.oddities import Dies, Odd

ROW = {"inputs": [[1.0]]}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Data]:
    made = Data(tmp_path / "home")
    made.home.mkdir()
    try:
        made.start_gateway()
        yield made
    finally:
        made.close()


def odd(folder: Path, value: float) -> Path:
    return save(folder, Odd(value), np.zeros((3, 1)), examples=False)


class Load:
    """Clients on keep-alive connections that count what they get until told to stop."""

    def __init__(self, data: Data, clients: int = 4) -> None:
        self.data = data
        self.seen: Counter[tuple[int, Any]] = Counter()
        self.rounds: Counter[int] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def total(self) -> int:
        return sum(self.seen.values())

    def _run(self) -> None:
        import http.client

        from tests.deployments.running import KEY

        link = http.client.HTTPConnection("127.0.0.1", self.data.port, timeout=30)
        body, headers = json.dumps(ROW), {"Authorization": f"Bearer {KEY}"}
        while not self._stop.is_set():
            link.request("POST", "/endpoints/demo/model/invocations", body, headers)
            answer = link.getresponse()
            told = json.loads(answer.read())
            key = (answer.status, told.get("predictions", [told.get("error", {}).get("code")])[0])
            with self._lock:
                self.seen[key] += 1
                self.rounds[threading.get_ident()] += 1
        link.close()

    def more(self, count: int = 200) -> None:
        """Waits until so many more were answered, some to each client: what was under way before is over."""
        wanted, before = self.total + count, Counter(self.rounds)
        until(lambda: self.total >= wanted and len(self.rounds) == len(self._threads), "more answers")
        until(lambda: all(n > before[one] for one, n in list(self.rounds.items())), "an answer to each client")


def test_a_replica_killed_under_load_loses_no_request(fresh: Data, tmp_path: Path) -> None:
    folder = odd(tmp_path / "b", 1.0)
    replica = fresh.start_replica(folder, "r1")
    fresh.routes(whole())
    with Load(fresh) as load:
        for _ in range(3):
            load.more()
            os.kill(replica.pid, signal.SIGKILL)
            replica.wait()
            replica = fresh.start_replica(folder, "r1")  # as the keeper does
            load.more()
    assert set(load.seen) == {(200, 1.0)}


def test_a_rolling_update_fails_nothing(fresh: Data, tmp_path: Path) -> None:
    old = fresh.start_replica(odd(tmp_path / "b1", 1.0), "r1")
    fresh.routes(whole())
    with Load(fresh) as load:
        load.more()
        fresh.start_replica(odd(tmp_path / "b2", 2.0), "r2")
        fresh.routes((2, 0, "r2"), (1, WHOLE, "r1"))  # warm
        load.more()
        assert set(load.seen) == {(200, 1.0)}
        fresh.routes((2, 2000, "r2"), (1, WHOLE - 2000, "r1"))  # canary
        load.more(500)
        fresh.routes((2, WHOLE, "r2"), (1, 0, "r1"))  # promoted
        load.more()
        fresh.routes((2, WHOLE, "r2"))  # the old one leaves
        old.terminate()
        assert old.wait(timeout=20) == 0
        load.more()
        fresh.start_replica(odd(tmp_path / "b3", 3.0), "r1")
        fresh.routes((3, WHOLE, "r1"), (2, 0, "r2"))
        load.more()
        fresh.routes((3, 0, "r1"), (2, WHOLE, "r2"))  # rolled back
        load.more()
    assert {status for status, _ in load.seen} == {200}
    assert {value for _, value in load.seen} == {1.0, 2.0, 3.0}


def test_a_canary_takes_its_share_and_keeps_its_entities(fresh: Data, tmp_path: Path) -> None:
    fresh.start_replica(odd(tmp_path / "b1", 1.0), "r1")
    fresh.start_replica(odd(tmp_path / "b2", 2.0), "r2")

    def canaried() -> set[int]:
        found = {i: fresh.ask(ROW, X_Headway_Entity=f"customer-{i}")[2]["predictions"][0] for i in range(150)}
        return {i for i, value in found.items() if value == 2.0}

    fresh.routes((2, 2000, "r2"), (1, WHOLE - 2000, "r1"))
    few = canaried()
    assert few == canaried()
    share = Counter(fresh.ask(ROW)[2]["predictions"][0] for _ in range(200))
    assert share[2.0] == pytest.approx(40, abs=3)
    fresh.routes((2, 6000, "r2"), (1, WHOLE - 6000, "r1"))
    many = canaried()
    assert few < many
    assert 15 <= len(few) <= 50
    assert 60 <= len(many) <= 120


def test_a_canary_that_dies_leaves_its_traffic_to_the_other(fresh: Data, tmp_path: Path) -> None:
    fresh.start_replica(odd(tmp_path / "b1", 1.0), "r1")
    canary = fresh.start_replica(odd(tmp_path / "b2", 2.0), "r2")
    fresh.routes((2, 5000, "r2"), (1, 5000, "r1"))
    with Load(fresh) as load:
        load.more()
        canary.kill()
        canary.wait()
        load.more()
    assert {status for status, _ in load.seen} == {200}


def test_a_request_that_kills_its_replica_is_not_asked_for_ever(fresh: Data, tmp_path: Path) -> None:
    folder = save(tmp_path / "b", Dies(), np.zeros((3, 1)), examples=False)
    for name in ("r1", "r2"):
        fresh.start_replica(folder, name)
    fresh.routes((2, 5000, "r2"), (1, 5000, "r1"))
    status, headers, answer = fresh.ask({"inputs": [[-1.0]]})
    assert (status, answer["error"]["code"]) == (503, "REPLICA_DIED")
    assert headers["retry-after"]


def test_what_is_not_pure_is_not_asked_twice(fresh: Data, tmp_path: Path) -> None:
    fresh.start_replica(save(tmp_path / "b", Dies(), np.zeros((3, 1)), examples=False), "r1")
    other = fresh.start_replica(odd(tmp_path / "b2", 2.0), "r2")
    fresh.routes((2, 0, "r2"), (1, WHOLE, "r1"), pure=False)
    assert fresh.ask({"inputs": [[-1.0]]})[2]["error"]["code"] == "REPLICA_DIED"
    assert other.poll() is None


def test_a_deadline_is_kept_while_the_model_is_busy(fresh: Data, tmp_path: Path) -> None:
    replica = fresh.start_replica(odd(tmp_path / "b", 1.0), "r1")
    fresh.routes(whole())
    os.kill(replica.pid, signal.SIGSTOP)
    status, _, answer = fresh.ask(ROW, X_Headway_Timeout_Ms="300")
    assert (status, answer["error"]["code"]) == (504, "DEADLINE")
    os.kill(replica.pid, signal.SIGCONT)
    assert fresh.ask(ROW)[0] == 200  # the late answer hurt nobody


def test_a_request_waits_for_a_replica_that_is_starting(fresh: Data, tmp_path: Path) -> None:
    fresh.routes(whole(), wait=False)
    got: list[int] = []
    asking = threading.Thread(target=lambda: got.append(fresh.ask(ROW)[0]))
    until(lambda: fresh.ask(ROW, X_Headway_Timeout_Ms="100")[0] in (503, 504), "the routes")
    asking.start()
    fresh.start_replica(odd(tmp_path / "b", 1.0), "r1")
    asking.join(timeout=30)
    assert got == [200]


def test_overload_is_told_at_once(fresh: Data, tmp_path: Path) -> None:
    replica = fresh.start_replica(odd(tmp_path / "b", 1.0), "r1")
    fresh.routes(whole(), in_flight=2)
    os.kill(replica.pid, signal.SIGSTOP)
    got: list[int] = []

    def ask() -> None:
        while (status := fresh.ask(ROW)[0]) == 503:  # the question below may hold a place for a moment
            time.sleep(0.01)
        got.append(status)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()

    def refused() -> Any:
        found = fresh.ask(ROW, X_Headway_Timeout_Ms="500")
        return found if found[0] == 503 else None

    _, headers, answer = until(refused, "the limit")
    assert (headers["retry-after"], answer["error"]["code"]) == ("1", "OVERLOADED")
    os.kill(replica.pid, signal.SIGCONT)
    for thread in threads:
        thread.join()
    assert got == [200, 200]
    assert fresh.ask(ROW)[0] == 200


def test_a_gateway_that_is_killed_goes_on_where_it_was(fresh: Data, tmp_path: Path) -> None:
    fresh.start_replica(odd(tmp_path / "b", 1.0), "r1")
    fresh.routes(whole())
    for _ in range(20):
        assert fresh.ask(ROW)[0] == 200
    counted = fresh.home / "gateway" / "stats.json"
    until(lambda: counted.exists() and '"200": 20' in counted.read_text(), "the counters")
    assert fresh.gateway is not None
    os.kill(fresh.gateway.pid, signal.SIGKILL)
    fresh.gateway.wait()
    (fresh.home / "gateway.log").unlink()
    fresh.start_gateway()
    until(lambda: fresh.ask(ROW)[0] == 200, "the gateway")
    until(lambda: json.loads(counted.read_text())["counters"]["e1"]["1"]["statuses"]["200"] >= 21, "the counters")
