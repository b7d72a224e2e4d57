"""The log of a notebook run, `events.jsonl`: one JSON object a line, appended by the kernel's process before anyone else hears.

    {"k": message type, "p": id of the request it answers, "t": ms since the epoch, "c": content, "m": metadata}

A line without its end was cut by a kill: it is no event. A line that makes no sense is skipped and counted, never fatal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
Event = dict[str, Any]


class Reader:
    """Reads complete lines from an offset on. `offset` is the end of the last line that was given out."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path, self.offset = path, offset
        self.skipped = 0

    def lines(self, limit: int | None = None) -> Iterator[bytes]:
        """All complete lines that are there now, up to about `limit` bytes of them. Bounded memory but for one line."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            rest, position, stop = b"", self.offset, None if limit is None else self.offset + limit
            while stop is None or self.offset < stop:
                data = os.pread(fd, CHUNK, position)
                if not data:
                    return
                position += len(data)
                *whole, rest = (rest + data).split(b"\n") if b"\n" in data else [rest + data]
                for line in whole:
                    self.offset += len(line) + 1
                    yield line
        finally:
            os.close(fd)

    def events(self, limit: int | None = None) -> Iterator[Event]:
        """The events of `lines`."""
        for line in self.lines(limit):
            if (event := parse(line)) is not None:
                yield event
            elif line.strip():
                self.skipped += 1


def parse(line: bytes) -> Event | None:
    """One event, or None for what is not one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return (
        event
        if isinstance(event, dict) and isinstance(event.get("k"), str) and isinstance(event.get("c"), dict)
        else None
    )


def cells_sent(path: Path) -> dict[str, int]:
    """From `cursor.jsonl`: the number (from 0, of the notebook's cells) of the cell that each request ran."""
    sent: dict[str, int] = {}
    for line in Reader(path).lines():
        try:
            note = json.loads(line)
            sent[str(note["msg"]["header"]["msg_id"])] = int(note["cell"])
        except (ValueError, KeyError, TypeError):
            continue
    return sent
