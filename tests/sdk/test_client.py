"""Requests, what is tried again, and errors that come back as what they were; over a transport in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headway import errors
from headway.errors import HeadwayError
from headway.sdk import client as clients
from headway.sdk.address import Address
from headway.sdk.client import Client, error_of, target
from headway.sdk.runs import Runs
from headway.sdk.transport import Broken, Request, Response

HERE = Address("http://server", "hw_token", "argument")


class Script:
    """A transport that answers what it was told, in order, and keeps what was asked."""

    def __init__(self, *answers: Response | Broken) -> None:
        self.answers = list(answers)
        self.seen: list[Request] = []
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []

    def send(self, request: Request) -> Response:
        self.seen.append(request)
        self.tokens.append(request.headers["Authorization"])
        if request.body is not None:
            self.bodies.append(request.body if isinstance(request.body, bytes) else request.body.read())
        answer = self.answers.pop(0)
        if isinstance(answer, Broken):
            raise answer
        return answer


def made(*answers: Response | Broken) -> tuple[Client, Script]:
    script = Script(*answers)
    return Client(address=HERE, transport=script), script


def ok(value: Any = None) -> Response:
    return Response(200, {}, json.dumps(value).encode())


def refused(status: int = 503, **headers: str) -> Response:
    return Response(
        status, {"Retry-After": "0.1"} | headers, json.dumps({"error": {"code": "X", "message": "no"}}).encode()
    )


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Waits are noted, not waited."""
    waits: list[float] = []
    monkeypatch.setattr(clients.time, "sleep", waits.append)
    yield waits


def test_a_request_carries_the_token_and_its_query() -> None:
    client, script = made(ok({"a": 1}))
    assert client.get("/api/v1/things", q="x y", none=None, many=["1", "2"], yes=True) == {"a": 1}
    assert script.seen[0].target == "/api/v1/things?q=x+y&many=1&many=2&yes=true"
    assert script.seen[0].headers["Authorization"] == "Bearer hw_token"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/a b/ü", "/a%20b/%C3%BC"),
        ("/files/" + clients.part("x/y?#.csv"), "/files/x%2Fy%3F%23.csv"),
        ("/m@champion", "/m@champion"),
    ],
)
def test_paths_are_escaped_once(path: str, wanted: str) -> None:
    assert target(path) == wanted


SAFE: list[tuple[str, Callable[[Client], Any]]] = [
    ("get", lambda c: c.get("/x")),
    ("delete", lambda c: c.delete("/x")),
    ("post again", lambda c: c.post("/x", {}, again=True)),
]


@pytest.mark.parametrize("call", [call for _, call in SAFE], ids=[name for name, _ in SAFE])
@pytest.mark.parametrize(
    "first", [Broken("gone", sent=True), Broken("refused", sent=False), refused(503), refused(429)]
)
def test_what_is_safe_is_tried_again(call: Callable[[Client], Any], first: Response | Broken) -> None:
    client, script = made(first, ok(7))
    assert call(client) == 7
    assert len(script.seen) == 2


def test_a_post_that_may_have_arrived_is_not_sent_twice() -> None:
    client, script = made(Broken("gone", sent=True), ok())
    with pytest.raises(errors.Unavailable, match="can't be reached: gone"):
        client.post("/x", {})
    assert len(script.seen) == 1


def test_a_post_that_never_left_is_sent_again() -> None:
    client, script = made(Broken("refused", sent=False), ok(1))
    assert client.post("/x", {}) == 1
    assert len(script.seen) == 2


def test_it_gives_up_in_the_end(slept: list[float]) -> None:
    client, script = made(*[refused() for _ in range(clients.TRIES)])
    with pytest.raises(errors.Unavailable):
        client.get("/x")
    assert len(script.seen) == clients.TRIES
    assert slept == [0.1] * (clients.TRIES - 1)


def test_a_long_retry_after_is_not_waited_for(slept: list[float]) -> None:
    client, _ = made(refused(429, **{"Retry-After": "3600"}))
    with pytest.raises(errors.TooMany):
        client.get("/x")
    assert slept == []


def test_a_file_is_sent_whole_again() -> None:
    client, script = made(Broken("gone", sent=True), Response(201, {}, b""))
    file = io.BytesIO(b"head and body")
    file.seek(5)
    client.request("PUT", "/x", file)
    assert script.bodies == [b"and body", b"and body"]


@pytest.mark.parametrize("kind", list(errors.tree().values()), ids=lambda kind: kind.code)
def test_each_error_comes_back_as_itself(kind: type[HeadwayError]) -> None:
    raised = kind("what", hint="do this", field="name")
    back = error_of(Response(raised.status, {}, json.dumps(raised.as_dict()).encode()))
    assert type(back) is kind
    assert (back.message, back.hint, back.details) == ("what", "do this", {"field": "name"})


def test_mlflows_errors_are_understood() -> None:
    body = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such run"}
    back = error_of(Response(404, {}, json.dumps(body).encode()))
    assert isinstance(back, errors.NotFound)
    assert back.message == "No such run"


@pytest.mark.parametrize("status", [301, 400, 401, 404, 405, 418, 500, 502])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 3}', b'{"error": {"message": 3}}', b"\xff"])
def test_foreign_answers_are_errors_with_a_way_out(status: int, body: bytes) -> None:
    back = error_of(Response(status, {}, body), "http://server")
    assert isinstance(back, HeadwayError)
    assert back.message
    assert back.hint


def test_a_good_answer_that_is_no_json_is_no_headway() -> None:
    client, _ = made(Response(200, {}, b"<html>welcome</html>"))
    with pytest.raises(HeadwayError) as caught:
        client.get("/health")
    assert "http://server" in caught.value.hint


def test_numbers_that_json_lacks_go_as_words() -> None:
    client, script = made(ok())
    client.post("/x", {"values": [1.5, float("nan"), float("inf"), -float("inf")]})
    assert json.loads(script.bodies[0]) == {"values": [1.5, "NaN", "Infinity", "-Infinity"]}


def test_a_server_that_was_stopped_is_named_as_such() -> None:
    stopped = Address("http://127.0.0.1:9", "t", "/home/x/.headway/cli.json", 2**22 + 1)
    client = Client(address=stopped, transport=Script(*[Broken("refused", sent=False)] * clients.TRIES))
    with pytest.raises(errors.Unavailable, match="is not running") as caught:
        client.get("/health")
    assert "headway up" in caught.value.hint


def test_a_token_that_was_given_is_never_replaced(tmp_path: Path) -> None:
    """A revoked token is refused, although the home folder's file has one that works."""
    path = tmp_path / "cli.json"
    path.write_text(json.dumps({"url": "http://server", "token": "hw_machine", "pid": 1}))
    script = Script(Response(401, {}, b""))
    client = Client(address=Address("http://server", "hw_revoked", str(path), 1), transport=script)
    with pytest.raises(errors.Unauthenticated):
        client.get("/x")
    assert script.tokens == ["Bearer hw_revoked"]


def test_who_follows_a_run_outlasts_a_server_that_is_away_at_any_moment() -> None:
    """While it waits to start, while it prints, and when it is over; each time longer than one request is tried again."""
    away = [Broken("refused", sent=False)] * 10
    queued = {"run_id": "r", "status": "queued", "waits_for": "its environment"}
    end = b'id: 3\nevent: output\ndata: {"text": "hi\\n"}\n\nevent: end\ndata: {"status": "finished"}\n\n'
    answers = [
        *away,
        ok(queued),
        *away,
        ok({"status": "running"}),
        *away,
        Response(200, {}, end),
        *away,
        ok({"status": "finished"}),
    ]
    client, _ = made(*answers)
    runs = Runs(client, "p")
    heard: list[str] = []
    assert list(runs.follow("r", waits=heard.append)) == ["hi\n"]
    assert heard == ["its environment"]
    assert runs.get("r", patient=True)["status"] == "finished"


def test_who_only_asks_is_told_that_the_server_is_away() -> None:
    client, _ = made(*[Broken("refused", sent=False)] * 10)
    with pytest.raises(errors.Unavailable):
        Runs(client, "p").get("r")
