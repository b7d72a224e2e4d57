"""Requests that this server makes to addresses people typed in: never into its own network, unless a setting allows it.

The name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that changes its
address in between (DNS rebinding) gains nothing. Redirects are not followed, proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from headway.errors import BadInput

TIMEOUT_S = 10.0
LONGEST_ANSWER = 4096
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Answer:
    """What the other side said."""

    status: int
    body: str


class Refused(Exception):
    """The address is not one that this server may ask; the text says why."""


def check(url: object, what: str, *, private: bool) -> str:
    """A sound address for a request from here: https (http too where `private` addresses are allowed). Raises `BadInput`.

    The name is not resolved here: that is done, and checked, when the request is made.
    """
    if not isinstance(url, str) or not url.strip():
        raise BadInput(f"{what} URL cannot be empty or just whitespace: {url!r}", field="url")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise BadInput(f"Invalid {what.lower()} URL {url[:200]!r}: {error}", field="url") from None
    schemes = ("https", "http") if private else ("https",)
    if parts.scheme not in schemes:
        raise BadInput(
            f"Invalid {what.lower()} URL scheme: {parts.scheme!r}. Allowed schemes are: {', '.join(schemes)}.",
            field="url",
        )
    if not host or len(url) > 500 or any(ord(char) <= 32 or ord(char) == 127 for char in url) or port == 0:
        raise BadInput(f"{what} URL must include a hostname, and at most 500 characters: {url[:200]!r}", field="url")
    if parts.username or parts.password:
        raise BadInput(f"{what} URL must not hold a password.", hint="Use the secret instead.", field="url")
    if not private and (host == "localhost" or _is_private_literal(host)):
        raise BadInput(
            f"{what} URL {host!r} is not a public address.",
            hint="An administrator can allow private ones: HEADWAY_PRIVATE_WEBHOOKS=1.",
            field="url",
        )
    return url


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet; an IPv6 address that stands for an IPv4 one counts as that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def post(url: str, body: bytes, headers: dict[str, str], *, private: bool, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send a POST and read the start of the answer. Raises `Refused`, `OSError` and `http.client.HTTPException`."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    address = _resolve(host, port, private)
    raw = socket.create_connection((address, port), timeout=timeout_s)
    try:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if tls else raw
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", path, body=body, headers={**headers, "Connection": "close"})
        found = connection.getresponse()
        return Answer(found.status, found.read(LONGEST_ANSWER).decode("utf-8", "replace"))
    finally:
        raw.close()


def _resolve(host: str, port: int, private: bool) -> str:
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not private:
        for address in found:
            if not is_public(address):
                raise Refused(f"{host} is {address}, which is not a public address")
    return found[0]
