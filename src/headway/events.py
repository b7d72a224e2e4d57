"""What has happened: dataclasses, published inside a transaction and delivered after its commit.

News goes up by events (a slice hears of what a lower one did), commands go down as plain calls. A subscriber runs in the
publisher's thread after the commit, in transactions of its own; if it fails, the failure is logged and the others still run.
What must survive a crash is not an event but a row: subscribers only hasten what a loop would find anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

log = logging.getLogger("headway.events")


@dataclass(frozen=True)
class Event:
    """Base of all events. The class name is the event's stable name."""


@dataclass(frozen=True)
class ProcessChanged(Event):
    """engines: a process of ours has another state."""

    process_id: str
    kind: str
    owner_id: str
    state: str
    cause: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class ProcessStirred(Event):
    """engines: a process of ours has ended, or may have; the keeper has yet to look. Of no transaction."""

    handle: str


@dataclass(frozen=True)
class RunChanged(Event):
    """tracking, runs: a run began, went on or ended."""

    run_id: str
    project_id: str
    status: str


@dataclass(frozen=True)
class TraceChanged(Event):
    """traces: spans of a trace came, or its end."""

    trace_id: str
    project_id: str
    status: str


@dataclass(frozen=True)
class EnvironmentChanged(Event):
    """environments: a build began, ended or failed."""

    environment_id: str
    state: str


@dataclass(frozen=True)
class VersionRegistered(Event):
    """models: a new version of a model is in the registry."""

    version_id: str
    project_id: str


@dataclass(frozen=True)
class EndpointChanged(Event):
    """deployments: an endpoint's revisions or traffic changed."""

    endpoint_id: str
    project_id: str


Subscriber = Callable[[Any, Any], None]


class Bus:
    """Who wants to hear of what. One for each host, so that two servers in one test do not hear each other."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[type[Event], Subscriber]] = []

    def subscribe(self, kind: type[Event], subscriber: Subscriber) -> None:
        """`subscriber(host, event)` is called for each event that is an instance of `kind`."""
        self._subscribers.append((kind, subscriber))

    def deliver(self, host: Any, events: list[Event]) -> None:
        """Call all subscribers; a failing one is logged and hurts nobody."""
        for event in events:
            for kind, subscriber in self._subscribers:
                if isinstance(event, kind):
                    try:
                        subscriber(host, event)
                    except Exception:
                        log.exception("a subscriber of %s failed", type(event).__name__)


def publish(db: Session, event: Event) -> None:
    """Deliver `event` once the transaction of `db` is committed, never if it is rolled back."""
    db.info.setdefault("events", []).append(event)
