"""Webhooks: made by owners, told of the registry, signed as MLflow signs, sent again when the other side was away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.clock import now_ms
from headway.models import loop, webhooks
from headway.models.tables import Webhook, WebhookDelivery
from headway.web import outbound
from tests.world import World

EVENTS = [
    {"entity": entity.upper(), "action": action.upper()} for entity, all_ in webhooks.EVENTS.items() for action in all_
]


class Scene:
    """A project whose webhook hears of everything; what is sent is kept, and answered with `status`."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.status, self.sent = world, 200, []
        self.who = world.user("ada")
        self.project = world.project("Churn", self.who)
        self.client = world.client(token=world.token(self.who, scope="all"))
        monkeypatch.setattr(outbound, "post", self._post)
        hook = {"name": "ci", "url": "https://example.org/x", "events": EVENTS, "secret": "s3cret"}
        self.hook = self.ask("POST", "webhooks", hook)["webhook"]

    def _post(self, url: str, body: bytes, headers: dict[str, str], *, private: bool) -> outbound.Answer:
        assert not private
        if self.status == 0:
            raise ConnectionRefusedError("away")
        self.sent.append((url, json.loads(body), body, headers))
        return outbound.Answer(self.status, "thanks")

    def ask(self, method: str, path: str, values: dict[str, Any] | None = None, status: int = 200) -> Any:
        url = f"/api/2.0/mlflow/{path}"
        given = {"params": values} if method == "GET" else {"json": values or {}}
        answer = self.client.request(method, url, **given)
        assert answer.status_code == status, answer.text
        return answer.json()

    def step(self, later_ms: int = 0) -> None:
        loop.step(self.world.host, now_ms() + later_ms)

    def waiting(self) -> list[WebhookDelivery]:
        with self.world.host.database.read() as db:
            return list(db.query(WebhookDelivery))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    world = World(tmp_path / "home")
    yield Scene(world, monkeypatch)
    world.host.database.close()


def test_all_that_happens_in_the_registry_is_told(scene: Scene) -> None:
    scene.ask("POST", "registered-models/create", {"name": "m", "tags": [{"key": "a", "value": "b"}]})
    scene.ask("POST", "model-versions/create", {"name": "m", "source": "s3://bucket/m"})
    scene.ask("POST", "model-versions/set-tag", {"name": "m", "version": "1", "key": "k", "value": "v"})
    scene.ask("DELETE", "model-versions/delete-tag", {"name": "m", "version": "1", "key": "k"})
    scene.ask("POST", "registered-models/alias", {"name": "m", "alias": "champion", "version": "1"})
    scene.ask("DELETE", "registered-models/alias", {"name": "m", "alias": "champion"})
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    scene.ask("POST", "registered-models/create", {"name": "p", "tags": prompt})
    scene.ask("POST", "registered-models/set-tag", {"name": "p", "key": "k", "value": "v"})
    scene.step()
    told = [
        (body["entity"], body["action"], body["data"])
        for _, body, _, _ in sorted(scene.sent, key=lambda s: s[1]["timestamp"])
    ]
    assert told[0] == ("registered_model", "created", {"name": "m", "tags": {"a": "b"}, "description": None})
    assert told[1][:2] == ("model_version", "created") and told[1][2]["source"] == "s3://bucket/m"
    assert told[2] == ("model_version_tag", "set", {"name": "m", "version": "1", "key": "k", "value": "v"})
    assert told[3] == ("model_version_tag", "deleted", {"name": "m", "version": "1", "key": "k"})
    assert told[4] == ("model_version_alias", "created", {"name": "m", "alias": "champion", "version": "1"})
    assert told[5] == ("model_version_alias", "deleted", {"name": "m", "alias": "champion"})
    assert [t[:2] for t in told[6:]] == [("prompt", "created"), ("prompt_tag", "set")]
    assert scene.waiting() == []


def test_the_signature_is_mlflows(scene: Scene) -> None:
    scene.ask("POST", "registered-models/create", {"name": "m"})
    scene.step()
    ((_, _, body, headers),) = scene.sent
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(b"s3cret", signed, hashlib.sha256).digest()).decode()
    assert headers["X-MLflow-Signature"] == f"v1,{digest}"


def test_the_secret_is_sealed_and_never_told(scene: Scene) -> None:
    assert "s3cret" not in json.dumps(
        [scene.hook, scene.ask("GET", "webhooks"), scene.ask("GET", f"webhooks/{scene.hook['webhook_id']}")]
    )
    with scene.world.host.database.read() as db:
        (row,) = db.query(Webhook)
    assert "s3cret" not in str(row.secret) and scene.world.host.vault.unseal(str(row.secret)) == "s3cret"


@pytest.mark.parametrize("status", [0, 503, 429])
def test_what_did_not_arrive_is_sent_again_once(scene: Scene, status: int) -> None:
    scene.status = status
    scene.ask("POST", "registered-models/create", {"name": "m"})
    scene.step()
    (row,) = scene.waiting()
    assert row.attempts == 1 and row.state == "waiting" and row.problem
    scene.sent.clear()
    scene.step()  # not yet
    assert scene.sent == []
    scene.status = 200
    scene.step(later_ms=20_000)
    assert len(scene.sent) == 1 and scene.sent[0][3]["X-MLflow-Delivery-Id"] == row.uuid and scene.waiting() == []


def test_it_is_given_up_in_the_end(scene: Scene) -> None:
    scene.status = 500
    scene.ask("POST", "registered-models/create", {"name": "m"})
    for hour in range(loop.TRIES + 3):
        scene.step(later_ms=hour * 3_600_000)
    (row,) = scene.waiting()
    assert row.state == "failed" and row.attempts == loop.TRIES
    scene.step(later_ms=loop.KEEP_MS + 10**9)
    scene.ask("POST", "registered-models/create", {"name": "n"})
    scene.step(later_ms=loop.KEEP_MS + 10**9)
    assert row.uuid not in [other.uuid for other in scene.waiting()]


def test_a_refusal_of_the_other_side_is_final(scene: Scene) -> None:
    scene.status = 404
    scene.ask("POST", "registered-models/create", {"name": "m"})
    scene.step()
    assert [row.state for row in scene.waiting()] == ["failed"]


def test_a_disabled_one_hears_nothing(scene: Scene) -> None:
    scene.ask("PATCH", f"webhooks/{scene.hook['webhook_id']}", {"status": "DISABLED"})
    scene.ask("POST", "registered-models/create", {"name": "m"})
    assert scene.waiting() == []


def test_trying_it_out(scene: Scene) -> None:
    path = f"webhooks/{scene.hook['webhook_id']}/test"
    told = scene.ask("POST", path, {"event": {"entity": "PROMPT", "action": "CREATED"}})["result"]
    assert told == {"success": True, "response_status": 200, "response_body": "thanks"}
    assert scene.sent[0][1]["entity"] == "prompt" and set(scene.sent[0][1]["data"]) == {"name", "tags", "description"}
    scene.status = 0
    assert scene.ask("POST", path)["result"]["success"] is False


@pytest.mark.parametrize(
    "change",
    [{"name": "-x"}, {"url": "http://example.org"}, {"url": "https://10.0.0.1"}, {"events": [{"entity": "X", "action": "SET"}]},
     {"events": "x"}, {"status": "ON"}, {"secret": "x" * 2000}, {"description": "x" * 5000}],
)  # fmt: skip
def test_what_is_refused_changes_nothing(scene: Scene, change: dict[str, Any]) -> None:
    path = f"webhooks/{scene.hook['webhook_id']}"
    before = scene.ask("GET", path)
    assert scene.ask("PATCH", path, change, 400)["error_code"] == "INVALID_PARAMETER_VALUE"
    assert scene.ask("GET", path) == before
