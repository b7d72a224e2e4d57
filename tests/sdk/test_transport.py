"""HTTP over real sockets: connections that are kept, that break, and answers in pieces."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from headway.sdk.transport import Broken, HttpTransport, Request

Talk = Callable[[socket.socket], None]


class Server:
    """A socket that gives each connection to the next of its talks."""

    def __init__(self, *talks: Talk) -> None:
        self.connections = 0
        self._talks = list(talks)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for talk in self._talks:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                talk(connection)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            return data
        data += piece
    return data


def answers(*bodies: bytes) -> Talk:
    """Answers one request for each body on one connection, then closes it."""

    def talk(connection: socket.socket) -> None:
        for body in bodies:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return talk


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(*talks: Talk) -> Server:
        made.append(Server(*talks))
        return made[-1]

    yield start
    for server in made:
        server.close()


def test_one_connection_serves_many_requests(serve: Callable[..., Server]) -> None:
    server = serve(answers(b"one", b"two"))
    transport = HttpTransport(server.url)
    assert transport.send(Request("GET", "/")).body == b"one"
    assert transport.send(Request("GET", "/")).body == b"two"
    assert server.connections == 1
    transport.close()


def test_a_connection_that_was_closed_meanwhile_is_not_used(serve: Callable[..., Server]) -> None:
    server = serve(answers(b"one"), answers(b"two"))
    transport = HttpTransport(server.url)
    assert transport.send(Request("POST", "/", body=b"x")).body == b"one"
    kept = transport._kept.connection.sock
    kept.settimeout(5)
    assert kept.recv(1, socket.MSG_PEEK) == b""  # the server's end has arrived
    assert transport.send(Request("POST", "/", body=b"x")).body == b"two"
    transport.close()


def test_a_path_in_front_is_kept(serve: Callable[..., Server]) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    transport = HttpTransport(serve(talk).url + "/headway")
    assert transport.send(Request("GET", "/api/v1/me")).status == 204
    assert seen[0].startswith(b"GET /headway/api/v1/me HTTP/1.1\r\n")
    transport.close()


def test_refused_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Broken, match="nothing listens") as caught:
        HttpTransport(f"http://127.0.0.1:{port}").send(Request("GET", "/"))
    assert not caught.value.sent


BREAKS: dict[str, Talk] = {
    "hangs up": lambda connection: (read_request(connection), None)[1],
    "no http": lambda connection: (read_request(connection), connection.sendall(b"hello\r\n\r\n"))[1],
    "cut short": lambda c: (read_request(c), c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))[1],
}


@pytest.mark.parametrize("talk", BREAKS.values(), ids=BREAKS.keys())
def test_what_broke_after_sending_says_so(serve: Callable[..., Server], talk: Talk) -> None:
    with pytest.raises(Broken) as caught:
        HttpTransport(serve(talk).url).send(Request("GET", "/"))
    assert caught.value.sent


def test_no_answer_in_time(serve: Callable[..., Server]) -> None:
    over = threading.Event()
    server = serve(lambda connection: (over.wait(10), None)[1])
    with pytest.raises(Broken, match="in time"):
        HttpTransport(server.url).send(Request("GET", "/", timeout=0.2))
    over.set()


def test_a_stream_comes_as_it_is_sent(serve: Callable[..., Server]) -> None:
    read = threading.Event()

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert read.wait(10)
        connection.sendall(b"6\r\nsecond\r\n0\r\n\r\n")

    with HttpTransport(serve(talk).url).send(Request("GET", "/", stream=True)) as answer:
        pieces = answer.pieces()
        assert next(pieces) == b"first"
        read.set()
        assert b"".join(pieces) == b"second"


def test_a_stream_that_breaks_off_is_noticed(serve: Callable[..., Server]) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")

    with HttpTransport(serve(talk).url).send(Request("GET", "/", stream=True)) as answer:
        pieces = answer.pieces()
        assert next(pieces) == b"first"
        with pytest.raises(Broken):
            next(pieces)
