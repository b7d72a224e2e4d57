"""`webhooks...` of MLflow's protocol."""

from __future__ import annotations

import http.client
import json
import uuid
from typing import Any

from anyio import to_thread
from sqlalchemy.orm import Session
from starlette.responses import Response

from headway.errors import BadInput
from headway.models import webhooks
from headway.models.tables import Webhook
from headway.tracking import limits
from headway.tracking.wire.call import Call, body_of, endpoint, respond
from headway.tracking.wire.shapes import filled
from headway.web import outbound


def _shape(row: Webhook) -> dict[str, Any]:
    told = (one.split(".") for one in json.loads(row.events))
    return {
        "webhook_id": row.uuid,
        "name": row.name,
        "url": row.url,
        "events": [{"entity": entity.upper(), "action": action.upper()} for entity, action in told],
        "status": row.status,
        "creation_timestamp": row.created_at,
        "last_updated_timestamp": row.updated_at,
    } | filled(description=row.description)


def _told(call: Call) -> dict[str, Any]:
    found = {
        name: call.values[name] for name in ("name", "url", "description", "secret", "status") if name in call.values
    }
    if call.values.get("events"):
        found["events"] = [_event(one) for one in call.items("events")]
    return found


def _event(told: Any) -> str:
    if not isinstance(told, dict) or not isinstance(told.get("entity"), str) or not isinstance(told.get("action"), str):
        raise limits.invalid("events", told, "It must be a list of objects with entity and action.")
    return f"{told['entity'].lower()}.{told['action'].lower()}"


@endpoint("POST", "webhooks")
def create(call: Call, db: Session) -> dict[str, Any]:
    return {"webhook": _shape(webhooks.create(db, call.host, call.who, call.project(db), _told(call)))}


@endpoint("GET", "webhooks", mode="read")
def listing(call: Call, db: Session) -> dict[str, Any]:
    rows, token = webhooks.listing(
        db, call.who, call.project(db), call.integer("max_results", 100), call.text("page_token", required=False)
    )
    return filled(webhooks=[_shape(row) for row in rows], next_page_token=token)


@endpoint("GET", "webhooks/{webhook_id}", mode="read")
def get(call: Call, db: Session) -> dict[str, Any]:
    return {"webhook": _shape(webhooks.get(db, call.who, call.path["webhook_id"]))}


@endpoint("PATCH", "webhooks/{webhook_id}")
def update(call: Call, db: Session) -> dict[str, Any]:
    return {"webhook": _shape(webhooks.change(db, call.host, call.who, call.path["webhook_id"], _told(call)))}


@endpoint("DELETE", "webhooks/{webhook_id}")
def delete(call: Call, db: Session) -> None:
    webhooks.remove(db, call.who, call.path["webhook_id"])


@endpoint("POST", "webhooks/{webhook_id}/test", mode="raw")
async def test(call: Call) -> Response:
    """Send an example now, and tell what the other side said."""
    values = await body_of(call.request)
    event = _event(values["event"]) if values.get("event") else None
    return respond(await to_thread.run_sync(_test, call, event))


def _test(call: Call, event: str | None) -> dict[str, Any]:
    with call.host.database.read() as db:
        row = webhooks.get(db, call.who, call.path["webhook_id"], "own")
        url, secret, events = row.url, row.secret, json.loads(row.events)
    wanted = webhooks.check_events([event or events[0]])[0]
    try:
        found = webhooks.send(call.host, url, secret, str(uuid.uuid4()), webhooks.example(wanted))
    except (outbound.Refused, OSError, http.client.HTTPException, BadInput) as error:
        return {"result": {"success": False, "error_message": f"Failed to test webhook: {error}"}}
    told = {"success": found.status < 400, "response_status": found.status, "response_body": found.body}
    return {"result": told}
