"""Points in columns over the wire: bodies that are sound, bodies that are not, repeated requests, and whole histories back."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.capture.wire import Server as CaptureServer
from headway.errors import BadInput, NotFound
from headway.sdk import points
from headway.sdk.client import Client
from headway.sdk.points import Columns
from headway.sdk.runs import Runs
from headway.sdk.transport import HttpTransport
from headway.tracking.store import columns, merge
from headway.tracking.store.series import Points
from tests.tracking.serving import Server

FEW = points.pack({"loss": Columns([1, 2], [10, 20], [0.5, math.nan])})


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.token}"}, timeout=60) as client:
        yield client


@pytest.fixture
def run(http: httpx.Client) -> str:
    made = http.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"})
    return str(made.raise_for_status().json()["run"]["info"]["run_id"])


def put(http: httpx.Client, run: str, body: bytes, **headers: str) -> httpx.Response:
    return http.post(f"/api/v1/runs/{run}/points", content=body, headers=headers)


def facts(http: httpx.Client, run: str) -> dict[str, Any]:
    found = http.get("/api/2.0/mlflow/runs/get", params={"run_id": run}).raise_for_status().json()["run"]
    return {m["key"]: m["value"] for m in found["data"].get("metrics", [])}


def back(http: httpx.Client, run: str, *names: str) -> dict[str, Columns]:
    answer = http.get(f"/api/v1/runs/{run}/points", params={"key": list(names)}).raise_for_status()
    assert answer.headers["content-type"] == points.MEDIA_TYPE == columns.MEDIA_TYPE
    return dict(points.unpack(answer.content))


NUMBERS = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf])
INT64 = st.integers(-(2**63), 2**63 - 1)
POINT = st.tuples(INT64, st.integers(0, 2**63 - 1), NUMBERS)


@settings(deadline=None)
@given(st.dictionaries(st.text("ab/ .", min_size=1, max_size=4).filter(lambda k: k == k.strip("/ .")
                                                                      and "//" not in k and "/." not in k),
                       st.lists(POINT, min_size=1, max_size=30), min_size=1, max_size=4))  # fmt: skip
def test_what_the_client_packs_the_server_reads(series: dict[str, list[tuple[int, int, float]]]) -> None:
    packed = points.pack({key: Columns(*map(list, zip(*rows, strict=True))) for key, rows in series.items()})
    found = columns.read(packed)
    told = {
        key: list(zip(*(c.tolist() for c in (p.steps, p.times, p.values)), strict=True)) for key, p in found.items()
    }
    assert told == series
    for held in (100, 3):  # kept while they are written, or read again for each column
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns, "_HELD", held)
            patch.setattr(columns, "_PART", 100)
            parts = [part for key, p in found.items() for part in columns.block(key, partial(_pieces, p))]
        assert columns.MAGIC + b"".join(parts) == packed and all(len(part) <= 100 + 7 * 8 for part in parts)
    assert {k: list(zip(*c, strict=True)) for k, c in points.unpack(packed)} == series


def _pieces(p: Points) -> Iterator[Points]:
    for at in range(0, len(p), 7):
        yield p.take(slice(at, at + 7))


def head(count: int, name: bytes) -> bytes:
    return struct.pack("<IH", count, len(name)) + name


BROKEN = [
    b"", b"HWP1", b"HWP2" + FEW[4:], FEW[:-1], FEW + b"x", FEW + b"x" * 6, b"{}", b"HWP1" + head(0, b"a"),
    b"HWP1" + head(1, b"a") + b"\0" * 23, b"HWP1" + head(2**32 - 1, b"a"), b"HWP1" + head(1, b"\xff") + b"\0" * 24,
    b"HWP1" + head(1, b"") + b"\0" * 24, b"HWP1" + head(1, b"../x") + b"\0" * 24, b"HWP1" + head(1, b"a" * 251) + b"\0" * 24,
    b"HWP1" + head(1, b"a") + struct.pack("<qqd", 1, -1, 0.5), FEW + head(1, b"a\0b") + b"\0" * 24,
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_body_is_refused_and_writes_nothing(http: httpx.Client, run: str, body: bytes) -> None:
    answer = put(http, run, body, **{"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_INPUT")
    assert facts(http, run) == {}
    assert put(http, run, FEW, **{"idempotency-key": "k"}).json() == {"points": 2, "repeated": False}
    if body[:4] == b"HWP1" and len(body) > 4:
        with pytest.raises(BadInput):
            columns.read(body)


def test_a_body_that_is_too_large_is_refused(http: httpx.Client, run: str) -> None:
    body = points.MAGIC + b"\0" * columns.MOST_BYTES
    assert put(http, run, body).status_code == 413
    assert facts(http, run) == {}


def test_a_key_counts_once_in_its_run(http: httpx.Client, run: str, server: Server) -> None:
    assert put(http, run, FEW, **{"idempotency-key": "a"}).json() == {"points": 2, "repeated": False}
    for _ in range(3):
        assert put(http, run, FEW, **{"idempotency-key": "a"}).json() == {"points": 2, "repeated": True}
    with server.world.host.database.read() as db:
        from headway.tracking import service

        assert service.facts(db, server.who, run).metrics["loss"].points == 2
    assert put(http, run, FEW, **{"idempotency-key": "b"}).json()["repeated"] is False
    assert back(http, run)["loss"].steps.tolist() == [1, 2]  # type: ignore[attr-defined]
    assert put(http, run, FEW, **{"idempotency-key": "x" * 201}).status_code == 400


def test_a_long_series_comes_back_whole(http: httpx.Client, run: str, server: Server) -> None:
    n = 3 * 4096 + 100
    order = sorted(range(n), key=lambda i: i * 7919 % n)  # not in order of steps
    series = Columns([i - 50 for i in order], [i * 3 for i in order], [math.sin(i) for i in order])
    assert (
        put(http, run, points.pack({"long": series, "one": Columns([5], [6], [-math.inf])})).json()["points"] == n + 1
    )
    put(http, run, points.pack({"long": Columns([n], [n * 3], [7.0])}))
    with server.world.host.database.write() as db:
        for one in merge.due(db):
            merge.fold(db, *one)
    found = back(http, run)
    assert sorted(found) == ["long", "one"]
    steps, times, values = (list(column) for column in found["long"])
    assert steps == [*range(-50, n - 50), n]
    assert times == [*range(0, 3 * n, 3), 3 * n]
    assert values == [*map(math.sin, range(n)), 7.0]
    assert list(back(http, run, "one")) == ["one"]
    assert back(http, run, "none") == {}
    chart = http.get("/api/2.0/mlflow/metrics/get-history", params={"run_id": run, "metric_key": "long"}).json()
    assert len(chart["metrics"]) == n + 1
    assert facts(http, run)["one"] == "-Infinity"


def test_who_may(server: Server, http: httpx.Client, run: str) -> None:
    world = server.world
    outsider = world.token(world.user("mallory"))
    reader = world.token(server.who, scope="read")
    cases = [(outsider, "POST", 404), (outsider, "GET", 404), (reader, "POST", 403), ("hw_none", "POST", 401),
             (reader, "GET", 200), ("hw_none", "GET", 401)]  # fmt: skip
    for token, method, status in cases:
        answer = http.request(
            method, f"/api/v1/runs/{run}/points", content=FEW, headers={"authorization": f"Bearer {token}"}
        )
        assert answer.status_code == status
    assert put(http, "0" * 32, FEW).status_code == 404
    assert facts(http, run) == {}
    http.post("/api/2.0/mlflow/runs/delete", json={"run_id": run})
    assert put(http, run, FEW).status_code == 400


def test_the_guards_stand_before_it(http: httpx.Client, run: str) -> None:
    """The address is answered before the walk along routes, but not before Host, Origin and CSRF are looked at."""
    assert put(http, run, FEW, host="evil.example").status_code == 421
    with httpx.Client(base_url=http.base_url) as stranger:
        assert put(stranger, run, FEW, origin="https://evil.example").status_code == 403
        answer = put(stranger, run, FEW)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="headway"')
    answer = put(http, run, FEW)
    assert answer.headers["x-content-type-options"] == "nosniff" and "content-security-policy" in answer.headers


def test_the_sdk_and_capture_log_by_it(server: Server, run: str) -> None:
    transport = HttpTransport(server.url)
    runs = Runs(Client(server.url, server.token, transport=transport), server.project.slug)
    runs.log(run, {"acc": 0.5, "loss": math.inf}, step=3)
    assert runs.log_series(run, {"acc": Columns(range(4, 9), [9] * 5, [0.1] * 5)}, once="mine") == 5
    assert runs.log_series(run, {"acc": Columns(range(4, 9), [9] * 5, [0.1] * 5)}, once="mine") == 5
    assert [p["step"] for p in runs.history(run, "acc")] == list(range(3, 9))
    assert runs.history(run, "none") == []
    with pytest.raises(NotFound):
        runs.history("0" * 32, "acc")
    with pytest.raises(BadInput, match="64 bits"):
        runs.log_series(run, {"acc": Columns([2**64], [1], [1.0])})
    transport.close()


def test_capture_sends_them(server: Server, http: httpx.Client, run: str, tmp_path: Any) -> None:
    (tmp_path / "token").write_text(server.token)
    shipper = CaptureServer(server.url, str(tmp_path / "token"))
    shipper.points(run, FEW)
    shipper.points(run, FEW)
    assert facts(http, run) == {"loss": "NaN"}
    assert len(back(http, run)["loss"].steps) == 2
