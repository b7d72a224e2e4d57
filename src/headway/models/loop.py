"""The background step of the registry: sends what waits in the webhooks' outbox, tries again what failed."""

from __future__ import annotations

import http.client
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import BadInput
from headway.models import webhooks
from headway.models.tables import Webhook, WebhookDelivery
from headway.storage import leases
from headway.web import outbound

INTERVAL_S = 5.0
AT_ONCE, TRIES, WAIT_MS, KEEP_MS = 16, 7, 5_000, 7 * 86_400_000
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
log = logging.getLogger("headway.webhooks")


@dataclass(frozen=True)
class _Due:
    id: int
    uuid: str
    url: str
    secret: str | None
    body: str
    attempts: int


def step(host: Host, now: int) -> int | None:
    """One step at `now` (ms): load what is due, send it, note how it went. Returns when the next message is due."""
    with host.database.read() as db:
        due = _due(db, now)
    if due:
        _deliver(host, now)
    with host.database.read() as db:
        waiting = select(func.min(WebhookDelivery.next_at)).where(WebhookDelivery.state == "waiting")
        first = db.scalar(waiting)
    return None if first is None else max(first, now + int(INTERVAL_S * 1000))


def _deliver(host: Host, now: int) -> None:
    with host.database.write() as db:
        if not leases.take(db, "models:webhooks", host.name, 120):
            return
        due = _due(db, now)
    try:
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook") as pool:
            problems = list(pool.map(lambda one: _send(host, one), due))
        with host.database.write() as db:
            for one, (problem, again) in zip(due, problems, strict=True):
                _note(db, one, now, problem, again)
            old = WebhookDelivery.state == "failed", WebhookDelivery.created_at < now - KEEP_MS
            db.execute(delete(WebhookDelivery).where(*old))
    finally:
        with host.database.write() as db:
            leases.release(db, "models:webhooks", host.name)


def _due(db: Session, now: int) -> list[_Due]:
    query = (
        select(WebhookDelivery, Webhook)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(WebhookDelivery.state == "waiting", WebhookDelivery.next_at <= now, Webhook.status == "ACTIVE")
        .order_by(WebhookDelivery.next_at, WebhookDelivery.id)
        .limit(AT_ONCE)
    )
    return [_Due(d.id, d.uuid, w.url, w.secret, d.body, d.attempts) for d, w in db.execute(query)]


def _send(host: Host, one: _Due) -> tuple[str, bool]:
    """(what went wrong or "", whether to try again)."""
    try:
        found = webhooks.send(host, one.url, one.secret, one.uuid, one.body)
    except (outbound.Refused, BadInput) as error:
        return str(error), False
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}", True
    return ("", False) if found.status < 400 else (f"answered {found.status}", found.status in AGAIN)


def _note(db: Session, one: _Due, now: int, problem: str, again: bool) -> None:
    row = db.get(WebhookDelivery, one.id)
    if row is None:
        return
    if not problem:
        db.delete(row)
        return
    row.attempts += 1
    row.problem = problem[:500]
    if again and row.attempts < TRIES:
        row.next_at = now + WAIT_MS * 2**row.attempts
    else:
        row.state = "failed"
        log.warning("a webhook's message was given up after %d tries: %s", row.attempts, problem)
