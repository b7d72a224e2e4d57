"""Requests to addresses that people typed in: none into the own network, whatever the name resolves to."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from headway.errors import BadInput
from headway.web import outbound


@pytest.mark.parametrize("url", ["https://example.org/x", "https://example.org:8443/x?y=1", "https://93.184.215.14/"])
def test_public_addresses(url: str) -> None:
    assert outbound.check(url, "Webhook", private=False) == url


@pytest.mark.parametrize(
    "url",
    ["", "  ", None, 5, "example.org", "ftp://example.org", "http://example.org", "https://", "https://u:p@example.org",
     "https://localhost/x", "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3", "https://169.254.169.254/latest",
     "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://0.0.0.0/", "https://a b/", "https://x:99999/",
     "http://[bad", "https://x/" + "y" * 500],
)  # fmt: skip
def test_what_is_not_asked(url: Any) -> None:
    with pytest.raises(BadInput):
        outbound.check(url, "Webhook", private=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True), ("192.168.0.1", False), ("100.64.0.1", False),
     ("fe80::1%eth0", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
     ("224.0.0.1", False)],
)  # fmt: skip
def test_is_public(address: str, public: bool) -> None:
    assert outbound.is_public(address) is public


class _Echo(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).seen.append((self.path, dict(self.headers), body))
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server that keeps what it is sent."""
    handler = type("Echo", (_Echo,), {"seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen
        server.shutdown()
        thread.join()


def test_a_request_arrives_and_a_redirect_is_not_followed(echo: tuple[str, list[Any]]) -> None:
    url, seen = echo
    assert outbound.post(f"{url}/a?b=c", b"{}", {"X-A": "1"}, private=True) == outbound.Answer(200, "thanks")
    path, headers, body = seen[0]
    assert (path, headers["X-A"], body) == ("/a?b=c", "1", b"{}")
    assert outbound.post(f"{url}/moved", b"", {}, private=True).status == 302 and len(seen) == 2


def test_a_name_of_the_own_network_is_refused_when_asked(
    echo: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = echo
    port = int(url.rpartition(":")[2])
    # a name that was public when it was typed in
    told = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: told)
    with pytest.raises(outbound.Refused, match="not a public address"):
        outbound.post(f"http://rebound.example:{port}/", b"", {}, private=False)
    assert seen == []
