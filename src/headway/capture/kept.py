"""Lists and dicts of numbers in functions that were seen once: told again when they have grown, and the function has ended."""

from __future__ import annotations

import sys

from headway.capture.values import SERIES_LIMIT

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["Kept"]

Key = tuple[str, str, str]  # file, function, name
LIMIT = 100


class Kept:
    """The container itself is held, not its function's frame: nothing but numbers lives longer for it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: dict[Key, tuple[Any, dict[str, Any], int]] = {}

    def keep(self, key: Key, container: Any, told: dict[str, Any], line: int) -> None:
        """Remembers a container as it was told; the one before it under the same name is told as it is now."""
        if not _whole(container, told):
            return
        before = self._held.get(key)
        if before is not None and before[0] is not container:
            self._tell(key, *before)
        for other, (one, was, at) in list(self._held.items()):
            alone = sys.getrefcount(one) == 3  # the tuple's, `one`, the argument
            if other != key and (alone or len(one) > SERIES_LIMIT):
                self._tell(other, one, was, at)
                self._held.pop(other, None)
        if key in self._held or len(self._held) < LIMIT:
            self._held[key] = (container, told, line)

    def tell(self) -> None:
        """At the end of a cell, and of the program."""
        held, self._held = self._held, {}
        for key, one in held.items():
            self._tell(key, *one)

    def _tell(self, key: Key, container: Any, told: dict[str, Any], line: int) -> None:
        from headway.capture.namespace import look

        file, function, name = key
        now = look({name: container}, self._session.sites)
        if now and now[name] != told:
            self._session.fact("names", file=file, fn=function, line=line, values=now)


def _whole(container: Any, told: dict[str, Any]) -> bool:
    """Whether all that a container holds was told: numbers, nothing that is large or ends loudly."""
    if "l" in told:
        return type(container) is list
    if "h" in told:
        return isinstance(container, dict) and len(told["h"]) == len(container)
    return "r" in told and type(container) is list and len(told["r"]) == len(container[0])
