"""The frames in which gateway and replica talk: a header of 20 bytes, then the body as it came, unparsed.

    length u32   bytes of the body            id u32        chosen by the asker, echoed by the answer
    kind u16     what is asked, or the        content u16   how the body is encoded (asked only)
                 HTTP status of the answer    when f64      asked: deadline, epoch seconds, 0 for none;
                                                            answered: seconds spent in the replica
Many requests are under way on one socket; answers come in any order. Standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("<IIHHd")
MAX_BODY = 256 * 1024 * 1024

# kinds
INVOCATIONS, V2_INFER, HEALTH, SCHEMA = 1, 2, 3, 4
# contents
JSON, CSV = 0, 1


def pack(number: int, kind: int, content: int, when: float, body: bytes) -> bytes:
    """One frame, header and body."""
    return HEADER.pack(len(body), number, kind, content, when) + body


def call(path: str, kind: int, body: bytes = b"", *, timeout_s: float = 5.0) -> tuple[int, Any]:
    """Asks one replica one thing and waits: (status, decoded JSON). Raises OSError when it is not there or too slow."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        link.connect(path)
        link.sendall(pack(1, kind, JSON, 0.0, body))
        head = _exactly(link, HEADER.size)
        length, _, status, _, _ = HEADER.unpack(head)
        answer = _exactly(link, length)
    return status, json.loads(answer) if answer else None


def _exactly(link: socket.socket, wanted: int) -> bytes:
    got = bytearray()
    while len(got) < wanted:
        part = link.recv(min(1 << 20, wanted - len(got)))
        if not part:
            raise ConnectionResetError("the replica closed the link")
        got += part
    return bytes(got)
