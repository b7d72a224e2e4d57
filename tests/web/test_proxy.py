"""The proxy is a pipe: what comes out is what went in, less what is ours. Real servers, a real UNIX socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from headway.errors import HeadwayError
from headway.web import proxy
from headway.web.proxy import Target

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]


async def echo(request: Request) -> Response:
    body = await request.body()
    seen = {
        "method": request.method,
        "path": proxy.raw_path(request).decode("latin-1"),
        "headers": {name.decode(): value.decode("latin-1") for name, value in request.headers.raw},
        "names": sorted(name.decode() for name, _ in request.headers.raw),
        "size": len(body),
    }
    response = JSONResponse(seen)
    response.headers.append("set-cookie", f"_xsrf={request.query_params.get('me', '')}; Path=/")
    response.headers.append("set-cookie", "headway=stolen; Path=/")
    response.headers["x-headway-identity"] = "forged"
    return response


async def lines(request: Request) -> Response:
    async def made() -> Any:
        for number in range(3):
            yield f"line {number}\n".encode()
            await asyncio.sleep(0.05)

    return StreamingResponse(made(), media_type="text/plain")


async def coded(request: Request) -> Response:
    return Response(b"\x1f\x8b not really", status_code=203, headers={"content-encoding": "gzip", "x-twice": "a"})


async def moved(request: Request) -> Response:
    return Response(status_code=302, headers={"location": "/elsewhere"})


async def talk(websocket: WebSocket) -> None:
    if websocket.query_params.get("refuse"):
        await websocket.send_denial_response(Response(status_code=404))
        return
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=offered[-1] if offered else None)
    await websocket.send_text(json.dumps(dict(websocket.headers)))
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                UPSTREAM_CLOSED.append(message.get("code"))
                return
            if message.get("text") == "close":
                await websocket.close(4321, "enough")
                return
            if message.get("bytes") is not None:
                await websocket.send_bytes(message["bytes"])
            else:
                await websocket.send_text(message["text"])


UPSTREAM_CLOSED: list[int | None] = []
ALLOWED = {"still": True}


def upstream() -> Starlette:
    return Starlette(
        routes=[
            WebSocketRoute("/talk", talk),
            Route("/lines", lines),
            Route("/coded", coded),
            Route("/moved", moved),
            Route("/{path:path}", echo, methods=METHODS),
        ]
    )


def front(target: Target) -> Starlette:
    async def http(request: Request) -> Response:
        try:
            return await proxy.http(request, target)
        except HeadwayError as error:
            return JSONResponse(error.as_dict(), status_code=error.status)

    async def still() -> bool:
        return ALLOWED["still"]

    async def websocket(socket: WebSocket) -> None:
        await proxy.websocket(socket, target, still=still, every_s=0.1)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await proxy.close()

    routes = [WebSocketRoute("/{path:path}", websocket), Route("/{path:path}", http, methods=METHODS)]
    return Starlette(routes=routes, lifespan=lifespan)


@contextlib.contextmanager
def serving(app: Starlette, **where: Any) -> Iterator[None]:
    sockets = where.pop("sockets", None)
    config = uvicorn.Config(
        app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1, proxy_headers=False, **where
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="hw-proxy-"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        target = Target(socket=folder / "up.sock", headers={"X-Headway-Identity": "ada"})
        with serving(upstream(), uds=str(folder / "up.sock")), serving(front(target), sockets=[listener]):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def client(url: str, **cookies: str) -> httpx.Client:
    return httpx.Client(base_url=url, cookies=cookies, trust_env=False)


def test_what_is_asked_arrives_as_it_was_asked(url: str) -> None:
    with client(url) as browser:
        for path in ("/a%2Fb/c%20d?x=1&y=%26", "/%E2%82%AC/", "/a//b/../c"):
            seen = json.loads(_raw(url, path))
            assert seen["path"] == path
        seen = browser.put("/file", content=b"x" * 300_000, headers={"content-type": "application/x-thing"}).json()
        assert (seen["method"], seen["size"], seen["headers"]["content-type"]) == (
            "PUT",
            300_000,
            "application/x-thing",
        )
        seen = browser.post("/file", content=(part for part in (b"ab", b"cd"))).json()
        assert seen["size"] == 4
        assert browser.head("/x").status_code == 200


def _raw(url: str, path: str) -> bytes:
    """A GET of precisely this path; clients tidy paths up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        data = b"".join(iter(lambda: wire.recv(65536), b""))
    return data.partition(b"\r\n\r\n")[2]


def test_answers_come_back_as_they_are(url: str) -> None:
    with client(url) as browser:
        with browser.stream("GET", "/coded") as answer:
            assert answer.status_code == 203
            assert answer.headers["content-encoding"] == "gzip"
            assert b"".join(answer.iter_raw()) == b"\x1f\x8b not really"
        assert browser.get("/moved").headers["location"] == "/elsewhere"
        with browser.stream("GET", "/lines") as answer:
            assert list(answer.iter_lines()) == ["line 0", "line 1", "line 2"]


def test_identity_is_ours_alone(url: str) -> None:
    forged = {
        "X-Headway-Identity": "grace",
        "x-headway-anything": "1",
        "Authorization": "Bearer hw_secret",
        "X-Forwarded-For": "10.0.0.1",
        "X-Real-IP": "10.0.0.1",
        "Connection": "keep-alive, X-Drop",
        "X-Drop": "1",
        "X-Keep": "1",
    }
    with client(url, headway="session", theirs="1", hw_theme="dark") as browser:
        answer = browser.get("/x", headers=forged)
    seen = answer.json()
    assert seen["headers"]["x-headway-identity"] == "ada"
    assert seen["names"].count("x-headway-identity") == 1
    assert seen["headers"]["cookie"] == "theirs=1"
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["headers"]["x-keep"] == "1"
    assert {"authorization", "x-headway-anything", "x-real-ip", "x-drop"}.isdisjoint(seen["names"])
    assert answer.headers.get_list("set-cookie") == ["_xsrf=; Path=/"]
    assert "x-headway-identity" not in answer.headers


def test_no_cookie_of_one_reaches_the_other(url: str) -> None:
    people = [client(url) for _ in range(5)]
    for round_ in range(3):
        for number, person in enumerate(people):
            seen = person.get(f"/x?me={number}").json()
            cookie = seen["headers"].get("cookie", "")
            assert cookie == (f"_xsrf={number}" if round_ else "")
    for person in people:
        person.close()


def test_an_upstream_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        with serving(front(Target(socket=tmp_path / "nobody")), sockets=[listener]):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with client(url) as browser:
                answer = browser.get("/")
                assert answer.status_code == 503 and answer.json()["error"]["code"] == "UNAVAILABLE"
            with pytest.raises(InvalidStatus) as refused:
                connect(url.replace("http", "ws") + "/talk", proxy=None)
            assert refused.value.response.status_code == 503


def test_websockets(url: str) -> None:
    where = url.replace("http", "ws") + "/talk?q=1"
    headers = {"Cookie": "headway=session; _xsrf=mine", "X-Headway-Identity": "grace", "Authorization": "Bearer x"}
    with connect(where, subprotocols=["v1.a", "v1.b"], additional_headers=headers, max_size=None, proxy=None) as talk:  # type: ignore[list-item]
        assert talk.subprotocol == "v1.b"
        seen = json.loads(talk.recv(timeout=5))
        assert seen["x-headway-identity"] == "ada"
        assert seen["cookie"] == "_xsrf=mine"
        assert "authorization" not in seen
        talk.send("text")
        assert talk.recv(timeout=5) == "text"
        big = bytes(3 << 20)  # more than the usual limit of a message
        talk.send(big)
        assert talk.recv(timeout=10) == big
        talk.send("close")
        with pytest.raises(ConnectionClosed):
            talk.recv(timeout=5)
        assert (talk.close_code, talk.close_reason) == (4321, "enough")


def test_the_browsers_close_reaches_the_upstream(url: str) -> None:
    UPSTREAM_CLOSED.clear()
    with connect(url.replace("http", "ws") + "/talk", proxy=None) as talk:
        talk.recv(timeout=5)
        talk.close(4001, "bye")
    end = time.monotonic() + 5
    while not UPSTREAM_CLOSED and time.monotonic() < end:
        time.sleep(0.01)
    assert UPSTREAM_CLOSED == [4001]


def test_a_refused_handshake_keeps_its_status(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(url.replace("http", "ws") + "/talk?refuse=1", proxy=None)
    assert refused.value.response.status_code == 404


def test_a_permission_that_ends_ends_the_connection(url: str) -> None:
    with connect(url.replace("http", "ws") + "/talk", proxy=None) as talk:
        talk.recv(timeout=5)
        talk.send("still here")
        assert talk.recv(timeout=5) == "still here"
        ALLOWED["still"] = False
        try:
            with pytest.raises(ConnectionClosed):
                talk.recv(timeout=5)
        finally:
            ALLOWED["still"] = True
        assert talk.close_code == 1008
