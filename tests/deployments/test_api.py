"""Endpoints over JSON and on pages: what each may, what each says, and the way in through the main address."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from headway.deployments import service
from headway.deployments.platform import platform_key
from tests.deployments.platform import Platform
from tests.modelserver.bundles import constant

API = "/api/v1/projects/demo/endpoints"
PAGES = "/p/demo/endpoints"
ROW = {"inputs": [[1.0]]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One endpoint `churn` with a live revision, and a failed one on top."""
    folder = tmp_path_factory.mktemp("api")
    made = Platform(folder / "home")
    try:
        assert made.settled(made.deploy(made.version(constant(folder / "b1", 1.0)))).state == "live"
        assert made.settled(made.deploy(made.version(constant(folder / "b2", 2.0, "sauce")))).state == "failed"
        yield made
    finally:
        made.close()


@pytest.fixture
def ada(platform: Platform) -> TestClient:
    return platform.client(platform.ada)


def test_show_and_list_hold_the_words_that_scripts_rely_on(platform: Platform, ada: TestClient) -> None:
    told = ada.get(f"{API}/churn").json()
    assert (told["name"], told["state"], told["revision"]) == ("churn", "live", 1)
    assert told["url"] == f"http://127.0.0.1:{platform.host.settings.gateway_port}/endpoints/demo/churn"
    assert [(r["number"], r["state"], r["weight"]) for r in told["revisions"]] == [
        (2, "failed", 0.0),
        (1, "live", 100.0),
    ]
    assert "'sauce'" in told["revisions"][0]["reason"]
    assert told["revisions"][1]["proof"]["examples"] == 3
    assert [e["name"] for e in ada.get(API).json()["endpoints"]] == ["churn"]


def test_deploying_a_run_registers_its_model_once(platform: Platform, ada: TestClient, tmp_path: Path) -> None:
    run_id = platform.run_with_models(constant(tmp_path / "b", 5.0), name="forest")
    answers = [ada.post(API, json={"run_id": run_id, "name": "from-run"}) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 202]
    first, second = (a.json() for a in answers)
    assert (first["deployed"], second["deployed"]) == (1, 2)
    assert {(r["model"], r["version"], r["run_id"]) for r in second["revisions"]} == {("forest", "1", run_id)}
    assert ada.delete(f"{API}/from-run").json() == {"name": "from-run", "removed": True}
    assert ada.get(f"{API}/from-run").status_code == 404


def test_a_run_with_several_models_is_asked_which(platform: Platform, ada: TestClient, tmp_path: Path) -> None:
    run_id = platform.run_with_models(constant(tmp_path / "a", 1.0), constant(tmp_path / "b", 2.0))
    answer = ada.post(API, json={"run_id": run_id, "name": "which"})
    assert answer.status_code == 422
    choices = re.findall(r"m-[0-9a-f]{32}", answer.json()["error"]["hint"])
    assert len(choices) == 2
    assert ada.post(API, json={"run_id": run_id, "name": "which", "choice": choices[1]}).status_code == 202
    assert ada.delete(f"{API}/which").status_code == 200


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("nothing", {}, 400, "Say what to deploy"),
    ("no such model", {"model": "none"}, 404, "not found"),
    ("no such version", {"model": "churn/99"}, 404, "not found"),
    ("no such run", {"run_id": "f" * 32}, 404, "not found"),
    ("an unknown field", {"model": "churn", "replica": 2}, 422, "replica"),
    ("a name that can't be", {"model": "churn", "name": "A B"}, 422, "can't be an endpoint's name"),
    ("half the traffic of nothing", {"model": "churn", "canary": 150}, 422, "between 0 and 100"),
    ("too many replicas", {"model": "churn", "replicas": 1000}, 422, "1 to 16"),
]


@pytest.mark.parametrize(("body", "status", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_can_not_be_deployed(ada: TestClient, body: dict[str, Any], status: int, message: str) -> None:
    answer = ada.post(API, json=body)
    assert answer.status_code == status, answer.text
    assert message.lower() in answer.json()["error"]["message"].lower()
    assert len(ada.get(API).json()["endpoints"]) == 1


WRONG: list[tuple[str, str, Any, int]] = [
    ("POST", "/churn/promote", {"revision": 2}, 409),
    ("POST", "/churn/promote", {"revision": 9}, 404),
    ("POST", "/churn/rollback", {}, 409),
    ("POST", "/churn/rollback", {"revision": 2}, 409),
    ("POST", "/churn/canary", {"revision": 1, "percent": 200}, 422),
    ("POST", "/churn/canary", {"revision": 2, "percent": 10}, 409),
    ("POST", "/churn/scale", {"replicas": 0}, 422),
    ("POST", "/churn/revisions/1/cancel", None, 409),
    ("POST", "/churn/keys", {"name": " "}, 422),
    ("DELETE", "/churn/keys/none", None, 404),
    ("GET", "/churn/logs?revision=9", None, 404),
    ("GET", "/churn/logs?kind=secret", None, 422),
    ("GET", "/none", None, 404),
    ("POST", "/none/promote", {}, 404),
    ("DELETE", "/none", None, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), WRONG)
def test_what_can_not_be_done(ada: TestClient, method: str, path: str, body: Any, status: int) -> None:
    answer = ada.request(method, API + path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert ada.get(f"{API}/churn").json()["revisions"][1]["weight"] == 100.0


EVERY: list[tuple[str, str, Any]] = [
    ("GET", API, None),
    ("GET", f"{API}/churn", None),
    ("GET", f"{API}/churn/keys", None),
    ("GET", f"{API}/churn/logs", None),
    ("GET", f"{API}/churn/predictions", None),
    ("POST", API, {"model": "churn"}),
    ("POST", f"{API}/churn/promote", {"revision": 1}),
    ("POST", f"{API}/churn/canary", {"revision": 1, "percent": 100}),
    ("POST", f"{API}/churn/rollback", {}),
    ("POST", f"{API}/churn/scale", {"replicas": 1}),
    ("POST", f"{API}/churn/revisions/2/cancel", None),
    ("POST", f"{API}/churn/keys", {"name": "k"}),
    ("DELETE", f"{API}/churn/keys/none", None),
    ("DELETE", f"{API}/churn", None),
    ("GET", PAGES, None),
    ("GET", f"{PAGES}/churn", None),
    ("GET", f"{PAGES}/churn/use", None),
    ("GET", f"{PAGES}/churn/keys", None),
    ("GET", f"{PAGES}/churn/logs", None),
    ("GET", f"{PAGES}/churn/predictions", None),
    ("GET", f"{PAGES}/churn/settings", None),
    ("GET", f"{PAGES}/churn/state", None),
    ("GET", f"{PAGES}/churn/series/requests", None),
    ("GET", "/p/demo/deploy?model=churn/1", None),
]


@pytest.mark.parametrize(("method", "path", "body"), EVERY)
def test_every_route_checks_who_may(platform: Platform, method: str, path: str, body: Any) -> None:
    stranger = platform.client().request(method, path, json=body)
    assert stranger.status_code == 401
    foreign = platform.client(platform.mallory).request(method, path, json=body)
    missing = platform.client(platform.mallory).request(method, path.replace("demo", "no-such-project"), json=body)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    if "json" in foreign.headers["content-type"]:
        assert foreign.json() == missing.json()
    looks = platform.client(platform.vera).request(method, path, json=body)
    assert looks.status_code == (200 if method == "GET" and "/deploy" not in path else 403)


def test_a_cookie_without_its_token_changes_nothing(platform: Platform) -> None:
    client = platform.client(platform.ada)
    del client.headers["x-csrf-token"]
    for method, path, body in EVERY:
        if method != "GET":
            assert client.request(method, path, json=body).status_code == 403
    assert client.post("/endpoints/demo/churn/invocations", json=ROW).status_code == 403


# ---- the main address ----


def test_predictions_on_the_main_address(platform: Platform) -> None:
    path = "/endpoints/demo/churn/invocations"
    answer = platform.client(platform.vera).post(path, json=ROW)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [1.0]})
    assert answer.headers["x-headway-prediction-id"]
    assert platform.client().post(path, json=ROW).status_code == 401
    assert platform.client(platform.mallory).post(path, json=ROW).status_code == 404
    assert platform.client(token="hwe_unknown").post(path, json=ROW).status_code == 401
    mine = platform.token(platform.ada, scope="read")
    theirs = platform.token(platform.mallory)
    platform.until(lambda: platform.client(token=mine).post(path, json=ROW).status_code == 200, "the token")
    assert platform.client(token=theirs).post(path, json=ROW).status_code == 401
    assert platform.client(platform.ada).get("/endpoints/demo/churn/openapi.json").json()["openapi"] == "3.1.0"
    assert platform_key(platform.host) not in answer.text


def test_a_key_works_until_it_is_revoked(platform: Platform, ada: TestClient) -> None:
    made = ada.post(f"{API}/churn/keys", json={"name": "shop"}).json()
    assert made["key"].startswith("hwe_")
    listed = ada.get(f"{API}/churn/keys").text
    assert made["key"] not in listed
    assert made["ends_with"] in listed
    shop = platform.client(token=made["key"])
    path = "/endpoints/demo/churn/invocations"
    platform.until(lambda: shop.post(path, json=ROW).status_code == 200, "the key")
    assert shop.get(f"{API}/churn").status_code == 401  # it opens the endpoint and nothing else
    assert ada.delete(f"{API}/churn/keys/{made['id']}").json()["revoked"]
    platform.until(lambda: shop.post(path, json=ROW).status_code == 401, "the end of the key")


def test_logs_hold_the_verdict_of_the_failed_one(ada: TestClient) -> None:
    assert '"ok": false' in ada.get(f"{API}/churn/logs").text
    assert "ready on" in ada.get(f"{API}/churn/logs?revision=1&kind=replica").text


# ---- pages ----


def test_every_page_shows(platform: Platform) -> None:
    browser = platform.client(platform.ada, page=True)
    for method, path, _ in EVERY:
        if method == "GET" and not path.startswith(("/api", f"{PAGES}/churn/series")):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert "<script>" not in answer.text
            assert "style=" not in answer.text
    overview = browser.get(f"{PAGES}/churn").text
    assert "never went live" in overview
    assert "&#39;sauce&#39;" in overview
    assert (
        platform.client(platform.vera, page=True).get(f"{PAGES}/churn/settings").text.count("Delete this endpoint") == 0
    )


def test_an_empty_list_leads_on(platform: Platform) -> None:
    platform.project("Empty", platform.ada)
    assert "No endpoint yet" in platform.client(platform.ada, page=True).get("/p/empty/endpoints").text


def test_deploy_takes_two_clicks_from_a_run(platform: Platform, tmp_path: Path) -> None:
    run_id = platform.run_with_models(constant(tmp_path / "b", 5.0), name="two clicks")
    browser = platform.client(platform.ada, page=True)
    asked = browser.post("/p/demo/deploy", data={"run_id": run_id})
    assert asked.status_code == 200
    assert 'value="two-clicks"' in asked.text
    assert platform.client(platform.ada).get(f"{API}/two-clicks").status_code == 404  # nothing is written yet
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    done = browser.post("/p/demo/deploy", data=fields | {"name": "two-clicks"})
    assert (done.status_code, done.headers["location"]) == (303, f"{PAGES}/two-clicks")
    again = browser.post("/p/demo/deploy", data=fields | {"name": "Not A Name"})
    assert again.status_code == 422
    assert "can&#39;t be an endpoint&#39;s name" in again.text
    gone = browser.post(f"{PAGES}/two-clicks/remove")
    assert (gone.status_code, gone.headers["location"]) == (303, PAGES)


def test_try_it_shows_the_answer_and_the_error(platform: Platform) -> None:
    browser = platform.client(platform.vera, page=True)
    good = browser.post(f"{PAGES}/churn/try", data={"body": json.dumps(ROW)})
    assert good.status_code == 200
    assert "Revision 1" in good.text
    bad = browser.post(f"{PAGES}/churn/try", data={"body": '{"inputs": [["x"]]}'})
    assert "expected float64, got text" in bad.text
    broken = browser.post(f"{PAGES}/churn/try", data={"body": "{"})
    assert "This is not JSON" in broken.text


def test_a_key_is_shown_once(platform: Platform) -> None:
    browser = platform.client(platform.ada, page=True)
    made = browser.post(f"{PAGES}/churn/keys", data={"key_name": "page"})
    [secret] = set(re.findall(r"hwe_[\w-]{43}", made.text))
    assert secret not in browser.get(f"{PAGES}/churn/keys").text
    assert browser.post(f"{PAGES}/churn/keys", data={"key_name": ""}).status_code == 422
    with platform.host.database.write() as db:
        for key in service.keys(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn")):
            service.revoke_key(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn"), key.id)


def test_the_pages_actions_lead_back_with_a_word(platform: Platform) -> None:
    browser = platform.client(platform.ada, page=True)
    for action, data in (
        ("promote", {"revision": 1}),
        ("canary", {"revision": 1, "percent": 100}),
        ("scale", {"replicas": 1}),
    ):
        answer = browser.post(f"{PAGES}/churn/{action}", data=data)
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith(f"{PAGES}/churn")
    assert browser.post(f"{PAGES}/churn/rollback").status_code == 409
    assert browser.post(f"{PAGES}/churn/cancel", data={"revision": 1}).status_code == 409
