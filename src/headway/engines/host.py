"""The host: what a server hands to its pillars. Services take what they need of it, loops take it whole."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headway.events import Bus, Event
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Database
from headway.storage.vault import Vault

if TYPE_CHECKING:
    from headway.engines.base import Engine

T = TypeVar("T")


@dataclass
class Host:
    """One server's database, blobs, vault and engine; `runtime` is what users' processes import (`HEADWAY_RUNTIME`).

    `name` marks the server's leases; it differs at each start.
    """

    settings: Settings
    database: Database
    blobs: Blobs
    vault: Vault
    engine: Engine
    runtime: Path
    bus: Bus = field(default_factory=Bus)
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    _own: dict[type, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.database.on_commit = self._deliver

    def own(self, kind: type[T]) -> T:
        """This server's one `kind()`, made when it is first asked for: what a pillar keeps in memory between two calls."""
        found: T | None = self._own.get(kind)
        if found is None:
            found = self._own.setdefault(kind, kind())  # of two threads, both get the first's
        return found

    def _deliver(self, events: list[Event]) -> None:
        self.bus.deliver(self, events)
