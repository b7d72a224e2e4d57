"""The host: what a server hands to its pillars. Services take what they need of it, loops take it whole."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from headway.events import Bus, Event
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Database
from headway.storage.vault import Vault

if TYPE_CHECKING:
    from headway.engines.base import Engine


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

    def __post_init__(self) -> None:
        self.database.on_commit = self._deliver

    def _deliver(self, events: list[Event]) -> None:
        self.bus.deliver(self, events)
