"""Who a secret stands for, remembered for a breath.

A client that logs a thousand metrics asks a thousand times who it is. An answer is kept for two seconds at most; whatever
is revoked empties the memory of this server when it is committed (a second server notices two seconds later).
"""

from __future__ import annotations

import threading
import time
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from headway.people.rules import Who

LIFE_S = 2.0
_MOST = 4096


class Cache:
    """The memory of one database. `generation` tells whether something was revoked while an answer was looked up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Who]] = {}
        self.generation = 0

    def recall(self, key: str) -> Who | None:
        """The Who of a digest, as it was less than two seconds ago."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def remember(self, key: str, who: Who, generation: int) -> None:
        """Keep an answer whose look-up began at `generation`, unless something was revoked since."""
        with self._lock:
            if generation != self.generation:
                return
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (time.monotonic() + LIFE_S, who)

    def clear(self) -> None:
        """Everybody must be looked up again."""
        with self._lock:
            self.generation += 1
            self._known.clear()


_caches: WeakKeyDictionary[Engine, Cache] = WeakKeyDictionary()
_caches_lock = threading.Lock()


def of(engine: Engine) -> Cache:
    """The cache that belongs to a database's engine."""
    with _caches_lock:
        return _caches.setdefault(engine, Cache())


def forget(db: Session) -> None:
    """Something in this transaction changes who may do what: once it is over, nothing older is believed."""
    if not db.info.get("people.forget"):
        db.info["people.forget"] = True
        event.listen(db, "after_transaction_end", _ended)


def _ended(db: Session, transaction: SessionTransaction) -> None:
    # "after_commit" would not do: it is also said of a savepoint, before others can see what was changed.
    if transaction.parent is None:
        of(db.get_bind().engine).clear()
