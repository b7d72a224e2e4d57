"""Every endpoint of the MLflow protocol, asked by everybody: its catch-all routes hide them from the table of routes.

Experiments, runs, logged models and registered models of another project must look as if they did not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from headway.tracking.wire import call
from tests.scene import Scene, make
from tests.test_routes_roles import ASKERS, Asker, expected
from tests.world import world as open_world

RUN = {"run_id": "{run_id}"}
EXPERIMENT = {"experiment_id": "{experiment_id}"}
MODEL = {"name": "{model}"}
VERSION = {"name": "{model}", "version": "1"}
TAG = {"key": "k", "value": "v"}

LOGGED = '{"artifact_path": "m", "flavors": {}, "run_id": "{run_id}", "utc_time_created": "2026-01-01 00:00:00.000000"}'

PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": EXPERIMENT}
INFO = {"trace_id": "tr-new", "trace_location": PLACE, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
SAID = {"assessment_name": "a", "feedback": {"value": True}, "source": {"source_type": "HUMAN"}}
SCOPE = {"experiment_ids": ["{experiment_id}"]}
COUNT = {"view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}],
         "dimensions": ["trace_status"]}  # fmt: skip
SCORER = EXPERIMENT | {"name": "{scorer}"}
HOOK = {"name": "h", "url": "https://example.org", "events": [{"entity": "PROMPT", "action": "CREATED"}]}

# (method, path) -> (verb, arguments). A verb `any` is for endpoints that search: they answer, with what one may see.
NEEDS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("POST", "experiments/create"): ("run", {"name": "new"}),
    ("GET", "experiments/get"): ("view", EXPERIMENT),
    ("GET", "experiments/get-by-name"): ("view", {"experiment_name": "train.py"}),
    ("GET", "experiments/search"): ("view", {"max_results": 5}),
    ("POST", "experiments/search"): ("view", {"max_results": 5}),
    ("POST", "experiments/update"): ("edit", EXPERIMENT | {"new_name": "other"}),
    ("POST", "experiments/delete"): ("edit", EXPERIMENT),
    ("POST", "experiments/restore"): ("edit", EXPERIMENT),
    ("POST", "experiments/set-experiment-tag"): ("run", EXPERIMENT | TAG),
    ("POST", "experiments/delete-experiment-tag"): ("run", EXPERIMENT | {"key": "k"}),
    ("POST", "experiments/search-datasets"): ("any", {"experiment_ids": ["{experiment_id}"]}),
    ("POST", "runs/create"): ("run", EXPERIMENT),
    ("GET", "runs/get"): ("view", RUN),
    ("POST", "runs/search"): ("any", {"experiment_ids": ["{experiment_id}"]}),
    ("POST", "runs/update"): ("run", RUN | {"run_name": "n"}),
    ("POST", "runs/delete"): ("run", RUN),
    ("POST", "runs/restore"): ("run", RUN),
    ("POST", "runs/log-metric"): ("run", RUN | {"key": "m", "value": 1.0, "timestamp": 1}),
    ("POST", "runs/log-parameter"): ("run", RUN | TAG),
    ("POST", "runs/log-batch"): ("run", RUN | {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]}),
    ("POST", "runs/log-inputs"): ("run", RUN | {"datasets": []}),
    ("POST", "runs/log-model"): ("run", RUN | {"model_json": LOGGED}),
    ("POST", "runs/outputs"): ("run", RUN | {"models": []}),
    ("POST", "runs/set-tag"): ("run", RUN | TAG),
    ("POST", "runs/delete-tag"): ("run", RUN | {"key": "k"}),
    ("GET", "metrics/get-history"): ("view", RUN | {"metric_key": "loss"}),
    ("GET", "metrics/get-history-bulk"): ("view", RUN | {"metric_key": "loss"}),
    ("GET", "metrics/get-history-bulk-interval"): ("view", {"run_ids": "{run_id}", "metric_key": "loss"}),
    ("GET", "artifacts/list"): ("view", RUN),
    ("GET", "get-artifact"): ("view", RUN | {"path": "a"}),
    ("POST", "upload-artifact"): ("run", {"run_uuid": "{run_id}", "path": "a"}),
    ("POST", "logged-models"): ("run", EXPERIMENT | {"name": "m"}),
    ("POST", "logged-models/search"): ("any", {"experiment_ids": ["{experiment_id}"]}),
    ("POST", "registered-models/create"): ("edit", {"name": "new"}),
    ("GET", "registered-models/get"): ("view", MODEL),
    ("GET", "registered-models/search"): ("view", {}),
    ("PATCH", "registered-models/update"): ("edit", MODEL | {"description": "d"}),
    ("POST", "registered-models/rename"): ("edit", MODEL | {"new_name": "other"}),
    ("DELETE", "registered-models/delete"): ("edit", MODEL),
    ("POST", "registered-models/set-tag"): ("edit", MODEL | TAG),
    ("DELETE", "registered-models/delete-tag"): ("edit", MODEL | {"key": "k"}),
    ("GET", "registered-models/alias"): ("view", MODEL | {"alias": "champion"}),
    ("POST", "registered-models/alias"): ("edit", VERSION | {"alias": "candidate"}),
    ("DELETE", "registered-models/alias"): ("edit", MODEL | {"alias": "champion"}),
    ("GET", "registered-models/get-latest-versions"): ("view", MODEL),
    ("POST", "registered-models/get-latest-versions"): ("view", MODEL),
    ("POST", "model-versions/create"): ("edit", MODEL | RUN | {"source": "runs:/{run_id}/model"}),
    ("GET", "model-versions/get"): ("view", VERSION),
    ("GET", "model-versions/get-download-uri"): ("view", VERSION),
    ("GET", "model-versions/search"): ("view", {}),
    ("PATCH", "model-versions/update"): ("edit", VERSION | {"description": "d"}),
    ("POST", "model-versions/transition-stage"): ("edit", VERSION | {"stage": "Staging"}),
    ("DELETE", "model-versions/delete"): ("edit", VERSION),
    ("POST", "model-versions/set-tag"): ("edit", VERSION | TAG),
    ("DELETE", "model-versions/delete-tag"): ("edit", VERSION | {"key": "k"}),
    ("POST", "traces"): ("run", {"trace": {"trace_info": INFO}}),
    ("PATCH", "traces/{trace_id}"): ("run", {"timestamp_ms": 5, "status": "OK"}),
    ("GET", "traces/{trace_id}/info"): ("view", {}),
    ("GET", "traces/{trace_id}"): ("view", {}),
    ("GET", "traces/get"): ("view", {"trace_id": "{trace_id}"}),
    ("GET", "traces/batchGet"): ("any", {"trace_ids": "{trace_id}"}),
    ("POST", "traces/batchGetInfos"): ("any", {"trace_ids": ["{trace_id}"]}),
    ("POST", "traces/search"): ("any", {"locations": [PLACE]}),
    ("GET", "traces"): ("any", {"experiment_ids": "{experiment_id}"}),
    ("GET", "get-trace-artifact"): ("view", {"request_id": "{trace_id}"}),
    ("PATCH", "traces/{trace_id}/tags"): ("run", TAG),
    ("DELETE", "traces/{trace_id}/tags"): ("run", {"key": "mlflow.traceName"}),
    ("POST", "traces/delete-traces"): ("run", EXPERIMENT | {"request_ids": ["{trace_id}"]}),
    ("POST", "traces/link-to-run"): ("run", RUN | {"trace_ids": ["{trace_id}"]}),
    ("POST", "traces/link-prompts"): ("run", {"trace_id": "{trace_id}", "prompt_versions": []}),
    ("POST", "traces/{trace_id}/assessments"): ("run", {"assessment": SAID}),
    ("GET", "traces/{trace_id}/assessments/{assessment_id}"): ("view", {}),
    ("PATCH", "traces/{trace_id}/assessments/{assessment_id}"): ("run", {"assessment": {"rationale": "r"}}),
    ("DELETE", "traces/{trace_id}/assessments/{assessment_id}"): ("run", {}),
    ("POST", "traces/metrics"): ("any", SCOPE | COUNT),
    ("POST", "traces/calculate-filter-correlation"): (
        "figures",
        SCOPE | {"filter_string1": "name = 'a'", "filter_string2": "name = 'b'"},
    ),
    ("POST", "datasets/create"): ("run", {"name": "d"}),
    ("GET", "datasets/{dataset_id}"): ("view", {}),
    ("DELETE", "datasets/{dataset_id}"): ("forget", {}),
    ("POST", "datasets/search"): ("view", {}),
    ("GET", "datasets/search"): ("view", {}),
    ("PATCH", "datasets/{dataset_id}/tags"): ("run", {"tags": "{}"}),
    ("DELETE", "datasets/{dataset_id}/tags/{key}"): ("run", {}),
    ("POST", "datasets/{dataset_id}/records"): ("run", {"records": "[]"}),
    ("GET", "datasets/{dataset_id}/records"): ("view", {}),
    ("DELETE", "datasets/{dataset_id}/records"): ("run", {"dataset_record_ids": []}),
    ("GET", "datasets/{dataset_id}/experiment-ids"): ("view", {}),
    ("POST", "datasets/{dataset_id}/add-experiments"): ("run", {"experiment_ids": ["{experiment_id}"]}),
    ("POST", "datasets/{dataset_id}/remove-experiments"): ("run", {"experiment_ids": ["{experiment_id}"]}),
    ("POST", "issues"): ("run", EXPERIMENT | {"name": "i"}),
    ("GET", "issues/{issue_id}"): ("view", {}),
    ("PATCH", "issues/{issue_id}"): ("run", {"status": "resolved"}),
    ("POST", "issues/search"): ("view", {}),
    ("POST", "scorers/register"): ("run", SCORER | {"serialized_scorer": '{"name": "polite"}'}),
    ("GET", "scorers/list"): ("view", EXPERIMENT),
    ("GET", "scorers/versions"): ("view", SCORER),
    ("GET", "scorers/get"): ("view", SCORER),
    ("DELETE", "scorers/delete"): ("run", SCORER),
    ("GET", "scorers/online-configs"): ("any", {"scorer_ids": ["s"]}),
    ("PUT", "scorers/online-config"): ("run", SCORER),
    ("POST", "webhooks"): ("own", HOOK),
    ("GET", "webhooks"): ("edit", {}),
    ("GET", "webhooks/{webhook_id}"): ("edit", {}),
    ("PATCH", "webhooks/{webhook_id}"): ("own", {"description": "d"}),
    ("DELETE", "webhooks/{webhook_id}"): ("own", {}),
    ("POST", "webhooks/{webhook_id}/test"): ("own", {"event": {"entity": "PROMPT", "action": "EXCEEDED"}}),
    ("GET", "workspaces"): ("any", {}),
    ("GET", "workspaces/{slug}"): ("view", {}),
    ("GET", "logged-models/{model_id}"): ("view", {}),
    ("PATCH", "logged-models/{model_id}"): ("run", {"status": "LOGGED_MODEL_READY"}),
    ("DELETE", "logged-models/{model_id}"): ("run", {}),
    ("PATCH", "logged-models/{model_id}/tags"): ("run", {"tags": [TAG]}),
    ("DELETE", "logged-models/{model_id}/tags/{key}"): ("run", {}),
    ("POST", "logged-models/{model_id}/params"): ("run", {"params": [TAG]}),
    ("GET", "logged-models/{model_id}/artifacts/directories"): ("view", {}),
    ("GET", "logged-models/{model_id}/artifacts/files"): ("view", {"artifact_file_path": "MLmodel"}),
}
# What an endpoint is asked for that nobody has: the same shapes, with ids of nothing.
NOTHING = {
    "slug": "no-such-project",
    "run_id": "0" * 32,
    "experiment_id": "987654321",
    "model": "no-such-model",
    "model_id": "m-" + "0" * 32,
    "trace_id": "tr-" + "0" * 32,
    "assessment_id": "a-nothing",
    "dataset_id": "d-nothing",
    "issue_id": "iss-nothing",
    "webhook_id": "nothing",
    "scorer": "nothing",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_world(tmp_path_factory.mktemp("mlflow") / "home") as world:
        yield make(world)


@pytest.fixture(scope="module")
def clients(scene: Scene) -> dict[str, TestClient]:
    """All of them programs with a token, in the scene's project as their workspace."""
    world = scene.world
    other = world.project("Elsewhere", scene.people["owner"])
    made = {}
    for asker in ASKERS:
        who = scene.people["admin" if asker.admin else asker.role or "outsider"]
        token = world.token(who, scope=asker.scope or "all", project_id=other.id if asker.elsewhere else None)
        made[asker.name] = world.client(token=token)
        made[asker.name].headers["x-mlflow-workspace"] = scene.project.slug
    made["stranger"] = world.client()
    logged = made["owner"].post(
        "/api/2.0/mlflow/logged-models", json={"experiment_id": scene.objects["experiment_id"], "name": "m"}
    )
    scene.objects |= {"model_id": logged.json()["model"]["info"]["model_id"], "key": "k"}
    scene.keep()
    return made


def ask(client: TestClient, key: tuple[str, str], objects: dict[str, str], **headers: str) -> Response:
    method, path = key
    values = _filled(NEEDS[key][1], objects)
    url = f"/api/2.0/mlflow/{_filled(path, objects)}"
    if method == "GET":
        return client.request(method, url, params=values, headers=headers)
    if path == "upload-artifact":
        return client.request(method, url, params=values, content=b"x", headers=headers)
    return client.request(method, url, json=values, headers=headers)


def _filled(values: Any, objects: dict[str, str]) -> Any:
    if isinstance(values, dict):
        return {name: _filled(value, objects) for name, value in values.items()}
    if isinstance(values, list):
        return [_filled(value, objects) for value in values]
    return re.sub(r"\{(\w+)\}", lambda m: objects[m[1]], values) if isinstance(values, str) else values


def test_every_endpoint_says_who_may_use_it(scene: Scene) -> None:
    def shape(path: str) -> str:
        return re.sub(r"\(\?P<\w+>[^)]*\)|\{\w+\}", "{}", path).replace("\\", "")

    served = set(call.EXACT) | {(method, shape(pattern.pattern)) for method, pattern, _ in call.PATTERNS}
    assert served == {(method, shape(path)) for method, path in NEEDS}


@pytest.mark.parametrize("key", NEEDS, ids=" ".join)
def test_endpoint(key: tuple[str, str], scene: Scene, clients: dict[str, TestClient]) -> None:
    verb = NEEDS[key][0]
    if key[0] != "GET":
        scene.restore()
    assert ask(clients["stranger"], key, scene.objects).status_code == 401
    for asker in ASKERS:
        answer = ask(clients[asker.name], key, scene.objects)
        problem = _judge(verb, asker, answer, lambda one=asker: ask(clients[one.name], key, scene.objects | NOTHING))
        assert not problem, f"{key} for {asker.name}: {problem}"
        if key[0] != "GET" and answer.status_code < 300:
            scene.restore()


def _judge(verb: str, asker: Asker, answer: Response, of_nothing: Any) -> str:
    got = answer.status_code
    sees = "view" in asker.verbs and asker.sees
    if verb == "figures":  # counts only what one may see
        return "" if got in (403, 404) or answer.json()["total_count"] == int(sees) else answer.text
    if verb == "forget":  # idempotent: what isn't there, or isn't one's own, is left alone
        verb = "run" if asker.sees else "any"
    if verb == "any":
        found = answer.json() if got == 200 else {}
        lists = {"runs", "models", "datasets", "traces", "trace_infos", "data_points"} & set(found)
        leak = not sees and "workspaces" not in answer.text and bool(lists) and any(found.values())
        return "" if got in (200, 403, 404) and not leak else f"got {got}: {answer.text[:300]}"
    wanted = expected(verb, asker)
    if wanted == "may":
        may = got not in (401, 403) and (got < 500 or got == 501)  # what is not served says so to those who may
        return "" if may else f"expected that this is allowed, got {got}: {answer.text[:300]}"
    if wanted == "403":
        return "" if got == 403 else f"expected 403, got {got}: {answer.text[:300]}"
    nothing = of_nothing()
    if got != 404 or nothing.status_code != 404:
        return f"expected 404 for a foreign and a missing one, got {got} and {nothing.status_code}: {answer.text[:300]}"
    return "" if answer.json().get("error_code") == nothing.json().get("error_code") else "the error codes differ"


@pytest.mark.parametrize(
    "key",
    [k for k, (_, values) in NEEDS.items() if re.search(r"\{(run_id|experiment_id|model_id)\}", f"{k} {values}")],
    ids=" ".join,
)
def test_an_outsiders_own_workspace_opens_no_foreign_object(
    key: tuple[str, str], scene: Scene, clients: dict[str, TestClient]
) -> None:
    """The ids are what counts: naming a workspace of one's own must not make a foreign run or experiment visible."""
    scene.restore()
    mallory = scene.people["outsider"]
    own = scene.world.project("Mallory", mallory)
    client = scene.world.client(token=scene.world.token(mallory))
    client.headers["x-mlflow-workspace"] = own.slug
    foreign, nothing = ask(client, key, scene.objects), ask(client, key, scene.objects | NOTHING)
    assert foreign.status_code == nothing.status_code
    strip = lambda text: re.sub("|".join(map(re.escape, [*scene.objects.values(), *NOTHING.values()])), "", text)  # noqa: E731
    assert strip(foreign.text) == strip(nothing.text)
