"""Webhooks: addresses that hear of the registry, in MLflow's format. What is to be sent is a row first, so nothing gets lost.

Format and signature: https://mlflow.org/docs/latest/ml/webhooks/ (Standard Webhooks: HMAC-SHA256 over `id.time.body`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from headway.clock import now, now_ms
from headway.engines.host import Host
from headway.errors import BadInput, NotFound
from headway.models.tables import Webhook, WebhookDelivery
from headway.people import audit, guard
from headway.people.rules import Who
from headway.tracking import limits
from headway.web import outbound
from headway.web.paging import cursor, uncursor

EVENTS: dict[str, tuple[str, ...]] = {
    "registered_model": ("created",), "model_version": ("created",), "model_version_tag": ("set", "deleted"),
    "model_version_alias": ("created", "deleted"), "prompt": ("created",), "prompt_version": ("created",),
    "prompt_tag": ("set", "deleted"), "prompt_version_tag": ("set", "deleted"), "prompt_alias": ("created", "deleted"),
}  # fmt: skip
_EXAMPLES: dict[str, Any] = {
    "name": "example", "version": "1", "alias": "champion", "key": "example_key", "value": "example_value",
    "source": "models:/123", "run_id": "abcd1234abcd5678", "template": "Hello {{name}}!",
    "tags": {"example_key": "example_value"}, "description": "An example",
}  # fmt: skip
_FIELDS: dict[str, tuple[str, ...]] = {
    "registered_model": ("name", "tags", "description"), "prompt": ("name", "tags", "description"),
    "model_version": ("name", "version", "source", "run_id", "tags", "description"),
    "prompt_version": ("name", "version", "template", "tags", "description"), "prompt_tag": ("name", "key", "value"),
    "model_version_tag": ("name", "version", "key", "value"), "prompt_version_tag": ("name", "version", "key", "value"),
    "model_version_alias": ("name", "alias", "version"), "prompt_alias": ("name", "alias", "version"),
}  # fmt: skip
STATUSES = ("ACTIVE", "DISABLED")
SIGNATURE, TIME, DELIVERY = "X-MLflow-Signature", "X-MLflow-Timestamp", "X-MLflow-Delivery-Id"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.I)


def get(db: Session, who: Who, webhook_id: str, verb: str = "edit") -> Webhook:
    """A webhook. Raises `NotFound`, `Forbidden`."""
    row = db.scalar(select(Webhook).where(Webhook.uuid == webhook_id))
    return guard.visible(db, who, verb, row, lambda: NotFound(f"Webhook with ID {webhook_id[:80]} not found."))


def listing(db: Session, who: Who, project_id: str, limit: int, token: str | None) -> tuple[list[Webhook], str]:
    """A page of a project's webhooks, the first made first."""
    guard.check(db, who, "edit", project_id)
    if not 1 <= limit <= 1000:
        raise BadInput(f"max_results must be between 1 and 1000, but got {limit}.", field="max_results")
    query = select(Webhook).where(Webhook.project_id == project_id)
    if token:
        at, last = uncursor(token, 2)
        query = query.where(or_(Webhook.created_at > at, (Webhook.created_at == at) & (Webhook.uuid > str(last))))
    rows = list(db.scalars(query.order_by(Webhook.created_at, Webhook.uuid).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, ""
    return rows[:limit], cursor([rows[limit - 1].created_at, rows[limit - 1].uuid])


def create(db: Session, host: Host, who: Who, project_id: str, told: dict[str, Any]) -> Webhook:
    """A new webhook: name, url, events ("model_version.created"...), description, secret, status. Owners only."""
    guard.check(db, who, "own", project_id)
    moment = now_ms()
    row = Webhook(uuid=str(uuid.uuid4()), project_id=project_id, name="", url="", events="[]", created_at=moment,
                  updated_at=moment, description="", status="ACTIVE")  # fmt: skip
    _change(host, row, {"name": None, "url": None, "events": None} | told)
    db.add(row)
    db.flush()
    audit.note(db, who, "webhook.create", row.name, project_id=project_id, url=row.url)
    return row


def change(db: Session, host: Host, who: Who, webhook_id: str, told: dict[str, Any]) -> Webhook:
    """Change what is told, keep the rest."""
    row = get(db, who, webhook_id, "own")
    _change(host, row, told)
    row.updated_at = max(now_ms(), row.updated_at + 1)
    db.flush()
    audit.note(db, who, "webhook.change", row.name, project_id=row.project_id, url=row.url)
    return row


def _change(host: Host, row: Webhook, told: dict[str, Any]) -> None:
    if "name" in told:
        name = told["name"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadInput(
                f"Webhook name {str(name)[:80]!r} is invalid. It must start and end with a letter or digit, be less than 63"
                " characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).",
                field="name",
            )
        row.name = name
    if "url" in told:
        row.url = outbound.check(told["url"], "Webhook", private=host.settings.private_webhooks)
    if "events" in told:
        row.events = json.dumps(check_events(told["events"]))
    if told.get("description") is not None:
        row.description = limits.text(told["description"], "description", 4000)
    if told.get("status"):
        if told["status"] not in STATUSES:
            raise limits.invalid("status", told["status"], f"It must be one of {', '.join(STATUSES)}.")
        row.status = told["status"]
    if told.get("secret"):
        row.secret = host.vault.seal(limits.text(told["secret"], "secret", 1000))


def check_events(found: Any) -> list[str]:
    """Sound events, "entity.action". Raises `BadInput`."""
    if not isinstance(found, list) or not found:
        raise BadInput("Webhook events must be a non-empty list.", field="events")
    for one in found:
        entity, _, action = str(one).partition(".")
        if action not in EVENTS.get(entity, ()):
            known = ", ".join(f"{e}.{a}" for e, actions in EVENTS.items() for a in actions)
            raise BadInput(f"Invalid webhook event '{str(one)[:80]}'. Known are {known}.", field="events")
    return list(dict.fromkeys(found))


def remove(db: Session, who: Who, webhook_id: str) -> None:
    """Delete a webhook with what waits for it."""
    row = get(db, who, webhook_id, "own")
    db.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == row.id))
    db.delete(row)
    db.flush()
    audit.note(db, who, "webhook.delete", row.name, project_id=row.project_id)


# ---------------------------------------------------------------- sending
def announce(db: Session, project_id: str, entity: str, action: str, data: dict[str, Any]) -> None:
    """Put a message for each active webhook of this event into the outbox, in the transaction of what it tells of."""
    wanted = f"{entity}.{action}"
    rows = db.scalars(select(Webhook).where(Webhook.project_id == project_id, Webhook.status == "ACTIVE")).all()
    moment = now_ms()
    for row in rows:
        if wanted in json.loads(row.events):
            db.add(
                WebhookDelivery(uuid=str(uuid.uuid4()), webhook_id=row.id, body=body(entity, action, data), next_at=moment,
                                created_at=moment, state="waiting", attempts=0, problem="")
            )  # fmt: skip
    if rows:
        db.flush()


def body(entity: str, action: str, data: dict[str, Any]) -> str:
    """The message, as JSON."""
    return json.dumps({"entity": entity, "action": action, "timestamp": now().isoformat(), "data": data})


def example(event: str) -> str:
    """A message as it would be sent for this event, with made-up values."""
    entity, _, action = event.partition(".")
    fields = [
        f
        for f in _FIELDS[entity]
        if not (action == "deleted" and f in ("value", "version" if "alias" in entity else ""))
    ]
    return body(entity, action, {name: _EXAMPLES[name] for name in fields})


def headers(secret: str | None, delivery: str, moment_s: int, text: str) -> dict[str, str]:
    """The headers of a message. Signature: `v1,` and base64 of HMAC-SHA256 over `<delivery>.<seconds>.<body>`."""
    found = {"Content-Type": "application/json", "User-Agent": "headway", DELIVERY: delivery, TIME: str(moment_s)}
    if secret:
        digest = hmac.new(secret.encode(), f"{delivery}.{moment_s}.{text}".encode(), hashlib.sha256).digest()
        found[SIGNATURE] = f"v1,{base64.b64encode(digest).decode()}"
    return found


def send(host: Host, url: str, sealed: str | None, delivery: str, text: str) -> outbound.Answer:
    """Send one message now. Raises as `outbound.post` does. Not to be called in a transaction."""
    secret = host.vault.unseal(sealed) if sealed else None
    told = headers(secret, delivery, now_ms() // 1000, text)
    return outbound.post(url, text.encode(), told, private=host.settings.private_webhooks)
