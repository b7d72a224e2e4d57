"""The server asks the gateway: the try-it form of a page, with the platform's own key."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from headway.deployments.platform import platform_key
from headway.engines.host import Host
from headway.errors import Unavailable


@dataclass(frozen=True)
class Reply:
    """What the endpoint answered."""

    status: int
    body: Any
    prediction_id: str
    revision: str
    ms: float

    @property
    def error(self) -> dict[str, Any] | None:
        """The error's fields, None for a prediction."""
        found = self.body.get("error") if isinstance(self.body, dict) else None
        return found if isinstance(found, dict) else None


def predict(host: Host, slug: str, name: str, payload: Any, *, timeout_s: float = 35.0) -> Reply:
    """Posts a payload to the endpoint. Raises Unavailable when the gateway does not answer."""
    settings = host.settings
    where = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host  # noqa: S104
    link = http.client.HTTPConnection(where, settings.gateway_port, timeout=timeout_s)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {platform_key(host)}"}
    started = time.perf_counter()
    try:
        link.request("POST", f"/endpoints/{slug}/{name}/invocations", json.dumps(payload), headers)
        answer = link.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable("The gateway does not answer.", hint="It may be starting: try again in a moment.") from error
    finally:
        link.close()
    ms = (time.perf_counter() - started) * 1000
    try:
        body = json.loads(raw)
    except ValueError:
        body = {"error": {"code": "UNREADABLE", "message": "The answer is not JSON."}}
    told = answer.headers
    return Reply(answer.status, body, told.get("X-Headway-Prediction-Id", ""), told.get("X-Headway-Revision", ""), ms)
