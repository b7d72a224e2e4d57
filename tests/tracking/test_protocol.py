"""The protocol by hand: exact errors, hostile paths and sources, streams and ranges, other people's objects."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.tracking.serving import Server

API = "/api/2.0/mlflow/"
INVALID = (400, "INVALID_PARAMETER_VALUE")
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


@pytest.fixture
def http(server: Server) -> Any:
    headers = {"authorization": f"Bearer {server.token}", "x-mlflow-workspace": server.project.slug}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def run(http: httpx.Client) -> dict[str, Any]:
    answer = http.post(API + "runs/create", json={"experiment_id": "0", "start_time": "5", "tags": []})
    found: dict[str, Any] = answer.json()["run"]["info"]
    return found


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


def test_shapes_of_a_run(http: httpx.Client, run: dict[str, Any]) -> None:
    assert run["run_id"] == run["run_uuid"] and run["start_time"] == 5 and "end_time" not in run
    body = {"run_id": run["run_id"], "metrics": [{"key": "a", "value": "NaN", "timestamp": "7", "step": "3"},
                                                  {"key": "b", "value": "-Infinity", "timestamp": 8}]}  # fmt: skip
    assert http.post(API + "runs/log-batch", json=body).json() == {}
    got = http.get(API + "runs/get", params={"run_id": run["run_id"]}).json()["run"]
    assert got["data"]["metrics"] == [{"key": "a", "value": "NaN", "timestamp": 7, "step": 3},
                                      {"key": "b", "value": "-Infinity", "timestamp": 8, "step": 0}]  # fmt: skip
    assert "params" not in got["data"] and got["inputs"] == {}
    assert http.post("/ajax-api/2.0/mlflow/runs/search", json={"experiment_ids": ["99999"]}).json() == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": "x", "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": True, "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": -1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": 2**63}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1, "timestamp": 1, "step": 1.5}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "../m", "value": 1, "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "<script>", "value": 1, "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "RUN", "key": "m" * 251, "value": 1, "timestamp": 1}, *INVALID),
        ("runs/log-metric", {"run_id": "0" * 32, "key": "m", "value": 1, "timestamp": 1}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("runs/log-parameter", {"run_id": "RUN", "key": "p", "value": "x" * 6001}, *INVALID),
        ("runs/log-parameter", {"run_id": "RUN", "key": "p", "value": "\0"}, *INVALID),
        ("runs/set-tag", {"run_id": "RUN", "key": "t", "value": 41}, *INVALID),
        ("runs/log-batch", {"run_id": "RUN", "metrics": {}}, *INVALID),
        ("runs/log-batch", {"run_id": "RUN", "metrics": [3]}, *INVALID),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": f"p{i}", "value": ""} for i in range(101)]}, *INVALID),
        ("runs/update", {"run_id": "RUN", "status": "GONE"}, *INVALID),
        ("runs/search", {"experiment_ids": ["0"], "filter": "name;drop"}, *INVALID),
        ("runs/search", {"experiment_ids": ["0"], "order_by": ["secret"]}, *INVALID),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "bm8="}, *INVALID),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 0}, *INVALID),
        ("runs/search", {"experiment_ids": ["x"]}, *INVALID),
        ("experiments/create", {"name": "e", "artifact_location": "file:///data/../etc"}, *INVALID),
        ("experiments/create", {"name": "e", "artifact_location": "s3://b/%252e%252e/x"}, *INVALID),
        ("experiments/create", {"name": "e", "artifact_location": "http://evil/#x"}, *INVALID),
        ("experiments/create", {"name": "e", "artifact_location": "mlflow-artifacts:/../x"}, *INVALID),
        ("experiments/create", {"name": "e", "artifact_location": "mlflow-artifacts://evil@host/x"}, *INVALID),
        ("experiments/create", {}, *INVALID),
        ("runs/nothing", {}, 404, "ENDPOINT_NOT_FOUND"),
        ("scorer/invoke", {}, 501, "NOT_IMPLEMENTED"),
        ("gateway/endpoints/create", {}, 501, "NOT_IMPLEMENTED"),
        ("workspaces", {"name": "w"}, 501, "NOT_IMPLEMENTED"),
    ],
)  # fmt: skip
def test_refusals(
    http: httpx.Client, run: dict[str, Any], path: str, body: dict[str, Any], status: int, code: str
) -> None:
    body = {key: run["run_id"] if value == "RUN" else value for key, value in body.items()}
    answer = http.post(API + path, json=body)
    assert said(answer) == (status, code)
    assert "Traceback" not in answer.text and answer.json()["message"]
    data = http.get(API + "runs/get", params={"run_id": run["run_id"]}).json()["run"]["data"]
    assert set(data) == {"tags"}


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000], ids=range(7)
)
def test_bodies_that_are_no_request(http: httpx.Client, content: bytes) -> None:
    answer = http.post(API + "runs/log-batch", content=content, headers={"content-type": "application/json"})
    assert said(answer) == (400, "INVALID_PARAMETER_VALUE")
    answer = http.post(API + "runs/log-batch", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 400


HOSTILE = [
    "../../etc/passwd",
    "..%2f..%2fetc",
    "%2e%2e%2fx",
    "%252e%252e%252fx",
    "..\\..\\x",
    "C:\\x",
    "C:x",
    "\\\\srv\\x",
    "/etc/passwd",
    "~/x",
    "a\0b",
    "x" * 4097,
    "CON",
    "aux.txt",
    "a/../b",
    "a//b",
    "./a",
    "a/.",
    "a#b",
    "a?b",
    "dir/ ",
    "tab\there",
    "a" * 256,
]


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_paths_are_refused_everywhere(
    server: Server, http: httpx.Client, run: dict[str, Any], path: str
) -> None:
    from urllib.parse import quote

    base = f"{FILES}0/{run['run_id']}/artifacts/"
    for method in ("PUT", "GET", "DELETE"):
        target = httpx.URL(server.url).copy_with(raw_path=(base + quote(path, safe="%")).encode())
        answer = http.request(method, target, content=b"x" if method == "PUT" else None)
        assert said(answer) == (400, "INVALID_PARAMETER_VALUE"), (method, answer.text)
    for url, name in ((API + "artifacts/list", "path"), ("/ajax-api/2.0/mlflow/get-artifact", "path")):
        answer = http.get(url, params={"run_id": run["run_id"], name: path})
        assert answer.status_code == 400
    assert "files" not in http.get(API + "artifacts/list", params={"run_id": run["run_id"]}).json()


def test_a_file_goes_up_and_comes_down_in_pieces(http: httpx.Client, run: dict[str, Any]) -> None:
    base = f"{FILES}0/{run['run_id']}/artifacts"
    content = bytes(range(256)) * 12_000  # 3 MB: three pieces
    assert (
        http.put(
            f"{base}/dir/big.bin", content=iter([content[i : i + 50_000] for i in range(0, len(content), 50_000)])
        ).json()
        == {}
    )
    answer = http.get(f"{base}/dir/big.bin")
    assert answer.content == content and answer.headers["content-length"] == str(len(content))
    assert (
        answer.headers["x-content-type-options"] == "nosniff" and "attachment" in answer.headers["content-disposition"]
    )
    for asked, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, len(content)),
        ("bytes=-7", len(content) - 7, len(content)),
    ):
        part = http.get(f"{base}/dir/big.bin", headers={"range": asked})
        assert (part.status_code, part.content) == (206, content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(content)}"
    assert http.get(f"{base}/dir/big.bin", headers={"range": f"bytes={len(content)}-"}).status_code == 416
    assert http.get(f"{base}/dir/big.bin", headers={"range": "lines=1-2"}).status_code == 200
    assert http.get(f"{base}/dir/big.bin", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert http.head(f"{base}/dir/big.bin").headers["content-length"] == str(len(content))
    listed = http.get(API + "artifacts/list", params={"run_id": run["run_id"], "path": "dir"}).json()
    assert listed["files"] == [{"path": "dir/big.bin", "is_dir": False, "file_size": len(content)}]
    assert (
        http.get(FILES.rstrip("/"), params={"path": f"0/{run['run_id']}/artifacts/dir"}).json()["files"][0]["path"]
        == "big.bin"
    )
    assert said(http.put(f"{base}/dir/big.bin/x", content=b"1")) == (400, "INVALID_PARAMETER_VALUE")
    assert said(http.put(f"{base}/dir", content=b"1")) == (400, "INVALID_PARAMETER_VALUE")
    assert http.delete(f"{base}/dir").json() == {}
    assert said(http.get(f"{base}/dir/big.bin")) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_other_peoples_objects_look_like_none_at_all(server: Server, http: httpx.Client, run: dict[str, Any]) -> None:
    eve = server.world.user("eve")
    server.world.project(f"Eve {uuid.uuid4().hex[:6]}", eve)
    stranger = httpx.Client(
        base_url=server.url, headers={"authorization": f"Bearer {server.world.token(eve, scope='all')}"}
    )
    experiment = http.post(API + "experiments/create", json={"name": uuid.uuid4().hex}).json()["experiment_id"]
    model = http.post(API + "logged-models", json={"experiment_id": experiment}).json()["model"]["info"]["model_id"]
    http.put(f"{FILES}0/{run['run_id']}/artifacts/a.txt", content=b"secret")
    nobody, no_model, no_number = "0" * 32, "m-" + "0" * 32, "987654321"

    def asks(run_id: str, model_id: str, number: str) -> list[tuple[str, str, dict[str, Any]]]:
        body: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", API + "runs/log-metric", {"run_id": run_id, "key": "m", "value": 1, "timestamp": 1}),
            ("POST", API + "runs/log-batch", {"run_id": run_id}),
            ("POST", API + "runs/log-parameter", {"run_id": run_id, "key": "a", "value": "b"}),
            ("POST", API + "runs/set-tag", {"run_id": run_id, "key": "a", "value": "b"}),
            ("POST", API + "runs/delete-tag", {"run_id": run_id, "key": "mlflow.runName"}),
            ("POST", API + "runs/update", {"run_id": run_id, "status": "KILLED"}),
            ("POST", API + "runs/delete", {"run_id": run_id}),
            ("POST", API + "runs/restore", {"run_id": run_id}),
            ("POST", API + "runs/log-inputs", {"run_id": run_id}),
            ("POST", API + "runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id}]}),
            ("POST", API + "runs/create", {"experiment_id": number}),
            ("POST", API + "experiments/update", {"experiment_id": number, "new_name": "mine"}),
            ("POST", API + "experiments/delete", {"experiment_id": number}),
            ("POST", API + "experiments/restore", {"experiment_id": number}),
            ("POST", API + "experiments/set-experiment-tag", {"experiment_id": number, "key": "a", "value": "b"}),
            ("POST", API + "logged-models", {"experiment_id": number}),
            ("PATCH", API + f"logged-models/{model_id}", {"status": 2}),
            ("DELETE", API + f"logged-models/{model_id}", {}),
            ("PATCH", API + f"logged-models/{model_id}/tags", {"tags": [{"key": "a", "value": "b"}]}),
            ("POST", API + f"logged-models/{model_id}/params", {"params": [{"key": "a", "value": "b"}]}),
        ]
        gets = [
            API + f"runs/get?run_id={run_id}", API + f"metrics/get-history?run_id={run_id}&metric_key=m",
            API + f"metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=m", API + f"artifacts/list?run_id={run_id}",
            API + f"get-artifact?run_id={run_id}&path=a.txt", API + f"experiments/get?experiment_id={number}",
            API + f"logged-models/{model_id}", API + f"logged-models/{model_id}/artifacts/directories",
            f"{FILES}0/{run_id}/artifacts/a.txt", f"{FILES.rstrip('/')}?path=0/{run_id}/artifacts",
        ]  # fmt: skip
        return body + [("GET", url, {}) for url in gets]

    pairs = zip(asks(run["run_id"], model, experiment), asks(nobody, no_model, no_number), strict=True)
    for (method, url, body), (_, other_url, other_body) in pairs:
        content = (
            {"content": json.dumps(body), "headers": {"content-type": "application/json"}} if method != "GET" else {}
        )
        foreign = stranger.request(method, url, **content)
        if method != "GET":
            content["content"] = json.dumps(other_body)
        missing = stranger.request(method, other_url, **content)
        assert foreign.status_code == missing.status_code == 404, (url, foreign.text)
        for mine, theirs in ((run["run_id"], nobody), (model, no_model), (experiment, no_number)):
            foreign_text = foreign.text.replace(mine, theirs)
            if foreign_text == missing.text:
                break
        assert foreign_text == missing.text, url
    stranger.put(f"{FILES}0/{run['run_id']}/artifacts/b.txt", content=b"x")
    assert stranger.post(API + "runs/search", json={"experiment_ids": [experiment, "0"]}).json().get("runs") is None
    assert [f["path"] for f in http.get(API + "artifacts/list", params={"run_id": run["run_id"]}).json()["files"]] == [
        "a.txt"
    ]
    stranger.close()


def test_roles_and_strangers(server: Server, run: dict[str, Any]) -> None:
    vera, project = server.world.user(f"vera{uuid.uuid4().hex[:6]}"), server.project
    from headway.people import members

    with server.world.host.database.write() as db:
        members.add(db, project.id, vera.user_id, "viewer")
    token = server.world.token(vera, scope="all")
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {token}"}) as viewer:
        assert viewer.get(API + "runs/get", params={"run_id": run["run_id"]}).status_code == 200
        body = {"run_id": run["run_id"], "key": "m", "value": 1, "timestamp": 1}
        assert said(viewer.post(API + "runs/log-metric", json=body)) == (403, "PERMISSION_DENIED")
        assert said(viewer.post(API + "registered-models/create", json={"name": "x"})) == (403, "PERMISSION_DENIED")
    with httpx.Client(base_url=server.url) as nobody:
        assert said(nobody.get(API + "runs/get", params={"run_id": run["run_id"]})) == (401, "UNAUTHENTICATED")
        assert nobody.get("/api/3.0/mlflow/server-info").json()["workspaces_enabled"] is True
        bad = nobody.get(API + "experiments/search", headers={"authorization": "Bearer hw_wrong"})
        assert said(bad) == (401, "UNAUTHENTICATED")


def test_workspaces_are_projects(server: Server, http: httpx.Client) -> None:
    other = server.world.project(f"Other {uuid.uuid4().hex[:6]}", server.who)
    name = uuid.uuid4().hex
    there = {"X-MLFLOW-WORKSPACE": other.slug}
    number = http.post(API + "experiments/create", json={"name": name}, headers=there).json()["experiment_id"]
    found = http.get(API + "experiments/get-by-name", params={"experiment_name": name}, headers=there)
    assert found.json()["experiment"]["experiment_id"] == number
    assert http.get(API + "experiments/get-by-name", params={"experiment_name": name}).status_code == 404
    assert other.slug in {w["name"] for w in http.get("/api/3.0/mlflow/workspaces").json()["workspaces"]}
    assert http.get(API + "experiments/search", headers={"X-MLFLOW-WORKSPACE": "none-such"}).status_code == 404


def test_what_is_not_served_says_what_to_do(server: Server) -> None:
    from headway.tracking.wire import unserved

    for area in unserved._AREAS:
        told = unserved.refusal("POST", area)
        assert told is not None and told.status == 501 and area in told.message and told.hint
    assert unserved.refusal("POST", "runs/nonsense") is None


def test_addresses_of_parts_and_downloads_are_signed(server: Server) -> None:
    client = server.world.client(token=server.token)
    stranger = server.world.client()
    run = client.post("/api/2.0/mlflow/runs/create", json={}).json()["run"]["info"]["run_id"]
    root, folder = "/api/2.0/mlflow-artifacts", f"0/{run}/artifacts"
    assert stranger.post(f"{root}/mpu/create/{folder}", json={"path": "a.bin", "num_parts": 2}).status_code == 401
    made = client.post(f"{root}/mpu/create/{folder}", json={"path": "/tmp/a.bin", "num_parts": 2}).json()
    upload, urls = made["upload_id"], [part["url"].partition("8640")[2] for part in made["credentials"]]
    tags = [stranger.put(url, content=data).headers["etag"] for url, data in zip(urls, (b"one", b"two"), strict=True)]
    forged = [
        urls[0].replace("/1?", "/2?"),
        urls[0][:-1] + ("0" if urls[0][-1] != "0" else "1"),
        urls[0].partition("?")[0],
    ]
    assert [stranger.put(url, content=b"x").status_code for url in forged] == [403, 403, 403]
    parts = [{"part_number": n, "etag": tag} for n, tag in enumerate(tags, 1)]
    done = {"path": "/tmp/a.bin", "upload_id": upload, "parts": parts}
    assert client.post(f"{root}/mpu/complete/{folder}", json=done | {"path": "other.bin"}).status_code == 404
    assert (
        client.post(f"{root}/mpu/complete/{folder}", json=done | {"parts": [parts[0] | {"etag": "x"}]}).status_code
        == 400
    )
    assert client.post(f"{root}/mpu/complete/{folder}", json=done).status_code == 200
    assert client.get(f"{root}/artifacts/{folder}/a.bin").content == b"onetwo"
    told = client.get(f"{root}/presigned/{folder}/a.bin").json()
    assert told["file_size"] == 6 and stranger.get(f"{root}/presigned/{folder}/a.bin").status_code == 401
    url = told["url"].partition("8640")[2]
    assert stranger.get(url, headers={"range": "bytes=3-5"}).content == b"two"
    assert stranger.get(url.replace("a.bin", "b.bin")).status_code == 403
    assert stranger.get(url.replace("/signed/", "/signed/9")).status_code == 403
    assert client.post(f"{root}/mpu/abort/{folder}", json=done).status_code == 200
