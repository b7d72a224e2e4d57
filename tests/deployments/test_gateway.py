"""The gateway in front of a real replica: keys, routes, forms, limits, and HTTP as strangers speak it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from typing import Any

import pytest

from headway.deployments import prediction_log
from headway.deployments.snapshot import read_json
from tests.deployments.running import KEY, OTHER, PLATFORM, Data, until, whole

GOOD = {"dataframe_split": {"columns": ["a", "b"], "data": [[4.5, 1.0]]}}
V2 = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [4.5, 1.0]}]}
BASE = b"/endpoints/demo/model/invocations"


def test_a_prediction_carries_its_id_and_revision(data: Data) -> None:
    status, headers, answer = data.ask(GOOD)
    assert (status, answer) == (200, {"predictions": [1]})
    assert headers["x-headway-revision"] == "1"
    other = data.ask(GOOD)[1]["x-headway-prediction-id"]
    assert len(other) >= 16
    assert other != headers["x-headway-prediction-id"]


ROUTES: list[tuple[str, str, str | None, Any, int]] = [
    ("POST", "invocations", KEY, GOOD, 200),
    ("POST", "invocations", PLATFORM, GOOD, 200),
    ("POST", "invocations?x=1", KEY, GOOD, 200),
    ("POST", "invocations", None, GOOD, 401),
    ("POST", "invocations", "hwe_wrong", GOOD, 401),
    ("POST", "invocations", "", GOOD, 401),
    ("POST", "invocations", OTHER, GOOD, 404),
    ("POST", "/endpoints/demo/none/invocations", KEY, GOOD, 404),
    ("POST", "/endpoints/demo/none/invocations", None, GOOD, 401),
    ("GET", "invocations", KEY, None, 405),
    ("POST", "schema", KEY, GOOD, 405),
    ("POST", "nothing", KEY, GOOD, 404),
    ("GET", "health", KEY, None, 200),
    ("GET", "health", None, None, 401),
    ("GET", "ping", KEY, None, 200),
    ("GET", "schema", KEY, None, 200),
    ("GET", "openapi.json", KEY, None, 200),
    ("GET", "", KEY, None, 200),
    ("GET", "v2", KEY, None, 200),
    ("GET", "v2/health/live", KEY, None, 200),
    ("GET", "v2/health/ready", KEY, None, 200),
    ("GET", "v2/models/model", KEY, None, 200),
    ("GET", "v2/models/model/ready", KEY, None, 200),
    ("POST", "v2/models/model/infer", KEY, V2, 200),
    ("POST", "v2/models/model/infer", KEY, {}, 400),
    ("GET", "/endpoints/demo/other/health", OTHER, None, 503),
    ("POST", "/endpoints/demo/other/invocations", OTHER, GOOD, 503),
    ("GET", "/health", None, None, 200),
    ("GET", "/metrics", None, None, 401),
    ("GET", "/metrics", KEY, None, 404),
    ("GET", "/", None, None, 401),
    ("GET", "/endpoints/../../etc/passwd", None, None, 401),
]


@pytest.mark.parametrize(("method", "path", "key", "body", "status"), ROUTES)
def test_routes_and_keys(data: Data, method: str, path: str, key: str | None, body: Any, status: int) -> None:
    found, headers, answer = data.ask(body, path, key=key, method=method)
    assert found == status, answer
    assert headers["content-type"].startswith("application/json")
    if status >= 400:
        assert answer["error"]["message"]
    if status == 401:
        assert headers["www-authenticate"] == "Bearer"


def test_a_foreign_endpoint_and_a_missing_one_look_the_same(data: Data) -> None:
    foreign = data.ask(GOOD, key=OTHER)
    missing = data.ask(GOOD, "/endpoints/demo/none/invocations", key=OTHER)
    assert (foreign[0], foreign[2]) == (missing[0], missing[2])


def test_x_api_key_opens_too(data: Data) -> None:
    assert data.ask(GOOD, key=None, X_API_Key=KEY)[0] == 200
    assert data.ask(GOOD, key=None, X_API_Key="nonsense")[0] == 401


def test_openapi_names_the_models_own_columns(data: Data) -> None:
    document = data.ask(None, "openapi.json", method="GET")[2]
    body = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    record = body["schema"]["oneOf"][1]["properties"]["dataframe_records"]["items"]
    assert list(record["properties"]) == record["required"] == ["a", "b"]
    assert data.ask(body["example"])[0] == 200


def test_csv_by_content_type(data: Data) -> None:
    assert data.ask(b"b,a\n1,4.5\n", Content_Type="text/csv; charset=utf-8")[2] == {"predictions": [1]}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[" * 1_000_000, 400), ({"instances": [["x", 1]]}, 422), ({"instances": [[1]]}, 422)],
)
def test_bad_bodies_get_the_replicas_own_words(data: Data, body: Any, status: int) -> None:
    found, _, answer = data.ask(body)
    assert found == status
    assert set(answer["error"]) >= {"code", "message"}
    assert data.ask(GOOD)[0] == 200


# ---- HTTP as strangers speak it ----


def talk(data: Data, sent: bytes, *, half_close: bool = False, seconds: float = 10.0) -> bytes:
    """What comes back for raw bytes, until the gateway closes or is silent for a while after an answer."""
    with socket.create_connection(("127.0.0.1", data.port), timeout=seconds) as link:
        link.sendall(sent)
        if half_close:
            link.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := link.recv(1 << 16):
                got += part
                link.settimeout(0.3)
        return got


def http(
    body: bytes = b"", *lines: bytes, path: bytes = BASE, method: bytes = b"POST", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    head = [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Authorization: Bearer " + KEY.encode()]
    if length != -1:
        head.append(b"Content-Length: %d" % size)
    return b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + body


RAW = json.dumps(GOOD).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(RAW), RAW)
STRANGE: list[tuple[str, bytes, list[bytes]]] = [
    ("two requests at once", http(RAW) + http(RAW), [b"200 OK", b"200 OK"]),
    ("good after bad", http(b"{") + http(RAW), [b"400 Bad", b"200 OK"]),
    ("chunked", http(CHUNKED, b"Transfer-Encoding: chunked", length=-1), [b"200 OK"]),
    ("one byte chunks", http(b"".join(b"1\r\n%b\r\n" % RAW[i : i + 1] for i in range(len(RAW))) + b"0\r\n\r\n",
                             b"Transfer-Encoding: chunked", length=-1), [b"200 OK"]),
    ("a broken chunk", http(b"zz\r\n{}\r\n", b"Transfer-Encoding: chunked", length=-1), [b"400 Bad"]),
    ("length and chunks", http(CHUNKED, b"Transfer-Encoding: chunked"), [b"400 Bad"]),
    ("a length too short", http(RAW, length=10), [b"400 Bad", b"400 Bad"]),
    ("two lengths", http(RAW, b"Content-Length: 1"), [b"400 Bad"]),
    ("a negative length", http(RAW, length=-5), [b"400 Bad"]),
    ("a length that is no number", http(RAW).replace(b"Content-Length: %d" % len(RAW), b"Content-Length: x"), [b"400 Bad"]),
    ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10, [b"400 Bad"]),
    ("no HTTP version", b"GET /health\r\n\r\n", [b"200 OK"]),
    ("endless headers", http(RAW, b"X-Long: " + b"x" * 100_000), [b"431 "]),
    ("ten thousand headers", http(RAW, *[b"X-%d: 1" % i for i in range(10_000)]), [b"431 "]),
    ("an announced gigabyte", http(b"", length=1 << 30), [b"413 "]),
    ("HTTP/1.0", http(RAW).replace(b"HTTP/1.1", b"HTTP/1.0"), [b"200 OK"]),
    ("close", http(RAW, b"Connection: close"), [b"200 OK"]),
    ("expect", http(RAW, b"Expect: 100-continue"), [b"100 Continue", b"200 OK"]),
    ("an upgrade", http(b"", b"Connection: Upgrade", b"Upgrade: websocket", method=b"GET"), [b"40"]),
    ("a null in the path", http(RAW, path=b"/endpoints/\0/x/invocations"), [b"40"]),
    ("a method of its own", http(RAW, method=b"PURGE"), [b"405 "]),
    ("a timeout that is no number", http(RAW, b"X-Headway-Timeout-Ms: soon"), [b"400 Bad"]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), [s[1:] for s in STRANGE], ids=[s[0] for s in STRANGE])
def test_strange_requests(data: Data, sent: bytes, expected: list[bytes]) -> None:
    got = talk(data, sent)
    found = re.findall(rb"HTTP/1\.1 (\d+ [^\r]*)", got)
    starts = [f.startswith(e) for f, e in zip(found, expected, strict=False)]
    assert all(starts), found
    assert len(found) >= len(expected), found
    assert data.ask(GOOD)[0] == 200


def test_a_client_that_half_closes_still_gets_its_answer(data: Data) -> None:
    assert b"200 OK" in talk(data, http(RAW), half_close=True)


def test_clients_that_leave_hurt_nobody(data: Data) -> None:
    stop = threading.Event()
    failed: list[Any] = []

    def steady() -> None:
        while not stop.is_set():
            status, _, answer = data.ask(GOOD)
            if status != 200:
                failed.append(answer)

    thread = threading.Thread(target=steady)
    thread.start()
    try:
        for i in range(200):
            link = socket.create_connection(("127.0.0.1", data.port))
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset
            link.sendall(http(RAW) * (i % 5 + 1) + http(RAW)[: i % 40])
            link.close()
    finally:
        stop.set()
        thread.join()
    assert not failed
    assert data.ask(GOOD)[0] == 200


def test_a_hundred_pipelined_requests_are_answered_in_order(data: Data) -> None:
    bodies = [json.dumps({"instances": [[i % 6, 1.0]]}).encode() for i in range(300)]
    got = talk(data, b"".join(http(b) for b in bodies), seconds=20)
    found = [json.loads(part.split(b"\r\n\r\n", 1)[1])["predictions"][0] for part in got.split(b"HTTP/1.1 200 OK")[1:]]
    assert found == [int(i % 6 > 2) for i in range(300)]


# ---- what is remembered ----


def test_answers_are_logged_and_counted(data: Data) -> None:
    marked = {"instances": [[4.5, 0.125]]}
    given = data.ask(marked)[1]["x-headway-prediction-id"]
    data.ask({"instances": [["a secret", 0.125]]})

    def logged() -> dict[str, Any] | None:
        return next((e for e in prediction_log.read(data.home / "predictions", "e1") if e["id"] == given), None)

    entry = until(logged, "the line")
    assert (entry["request"], entry["response"], entry["status"], entry["key"]) == (
        marked,
        {"predictions": [1]},
        200,
        "k1",
    )
    segments = (data.home / "predictions" / "e1").glob("*.jsonl")
    assert all(b"a secret" not in s.read_bytes() and s.stat().st_mode & 0o077 == 0 for s in segments)

    def counted() -> bool:
        found = (read_json(data.home / "gateway" / "stats.json") or {}).get("counters", {}).get("e1", {}).get("1", {})
        return bool(found.get("statuses", {}).get("200", 0) > 5 and found.get("p99_ms"))

    until(counted, "the counters")


def test_metrics_for_the_platform(data: Data) -> None:
    with socket.create_connection(("127.0.0.1", data.port)) as link:
        link.sendall(
            b"GET /metrics HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer " + PLATFORM.encode() + b"\r\n\r\n"
        )
        got = b"".join(iter(lambda: link.recv(65536), b"")).decode()
    assert 'headway_requests_total{project="demo",endpoint="model",revision="1",status="200"}' in got
    assert 'headway_request_seconds_bucket{project="demo",endpoint="model",revision="1",le="+Inf"}' in got


def test_limits_of_an_endpoint(data: Data) -> None:
    try:
        data.routes(whole(), body_bytes=2000)
        status, _, answer = data.ask({"instances": [[1.0, 1.0]] * 500})
        assert (status, answer["error"]["code"]) == (413, "TOO_LARGE")
        chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
        assert b"413 " in talk(data, http(chunk * 5 + b"0\r\n\r\n", b"Transfer-Encoding: chunked", length=-1))
        data.routes(whole(), in_flight=0)
        status, headers, answer = data.ask(GOOD)
        assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "1", "OVERLOADED")
    finally:
        data.routes(whole())
    assert data.ask(GOOD)[0] == 200


def test_a_broken_snapshot_changes_nothing(data: Data) -> None:
    path = data.home / "gateway" / "routes.json"
    before = path.read_text()
    for text in ("{", "[]", '{"generation": 1}'):
        path.write_text(text)
        until(lambda: "not a snapshot" in (data.home / "gateway.log").read_text(), "the report")
        assert data.ask(GOOD)[0] == 200
    path.write_text(before)


def test_a_public_endpoint_needs_no_key(data: Data) -> None:
    try:
        data.routes(whole(), public=True)
        assert data.ask(GOOD, key=None)[0] == 200
        assert data.ask(GOOD, key="hwe_wrong")[0] == 200
    finally:
        data.routes(whole())


def test_a_revoked_key_stops_at_the_next_snapshot(data: Data) -> None:
    assert data.ask(GOOD)[0] == 200
    path = data.home / "gateway" / "routes.json"
    value = json.loads(path.read_text())
    value["keys"] = {}
    value["generation"] += 1
    before = path.read_text()
    path.write_text(json.dumps(value))
    until(lambda: data.ask(GOOD)[0] == 401, "the key to end")
    path.write_text(before)
    until(lambda: data.ask(GOOD)[0] == 200, "the key to come back")
