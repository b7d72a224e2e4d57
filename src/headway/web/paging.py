"""Keyset pages: a cursor holds the sort values of the last row seen, so page 1,000 costs what page 1 costs."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from headway.errors import BadInput

Value = str | int | float | bool | None
T = TypeVar("T")
_LIMIT = 4096


@dataclass(frozen=True)
class Slice(Generic[T]):
    """One page of rows, and the cursor of the next one ("" on the last)."""

    items: Sequence[T]
    next_cursor: str = ""


def cursor(values: Sequence[Value]) -> str:
    """The sort values of a row as text for a URL."""
    text = json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def uncursor(text: str, width: int) -> list[Value]:
    """The `width` values in a cursor. What this server did not make is BadInput."""
    try:
        if len(text) > _LIMIT:
            raise ValueError
        values = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != width or not all(isinstance(v, Value) for v in values):
        raise BadInput("This is not a cursor of this list.", hint="Start from the first page again.", field="cursor")
    return values


def limit(asked: int | None, default: int = 50, most: int = 500) -> int:
    """How many rows a page holds: `asked`, within reason."""
    return default if asked is None else max(1, min(asked, most))
