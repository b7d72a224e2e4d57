"""Server-sent events, read piece by piece."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event; `id` and `name` are empty where the server gave none."""

    data: str
    name: str = ""
    id: str = ""


def read(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream of bytes that may be cut anywhere. An event that is not complete at the end is left out."""
    decode = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in pieces:
        *blocks, rest = (rest + decode.decode(piece)).split("\n\n")
        for block in blocks:
            event = _event(block)
            if event is not None:
                yield event


def _event(block: str) -> Event | None:
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields:
        return None  # a comment: a sign of life
    return Event("\n".join(fields["data"]), *(fields.get(name, [""])[-1] for name in ("event", "id")))
