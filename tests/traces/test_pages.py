"""Pages of traces, and OTLP's own route: who may, what is shown, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from headway.traces.tables import Span, Trace
from headway.tracking import experiments
from headway.tracking.store import purge
from headway.tracking.tables import Artifact
from tests.traces.test_otlp import JSON, TRACE, protobuf
from tests.world import World

ID = f"tr-{TRACE}"


class Scene:
    """A project with one trace of two spans, the inner one failed, told over OTLP."""

    def __init__(self, world: World) -> None:
        self.world, self.who = world, world.user("ada")
        self.project = world.project("Churn", self.who, viewer="vera")
        with world.host.database.write() as db:
            self.experiment = str(experiments.ensure(db, self.project.id, "assistant").id)
        self.token = world.token(self.who, scope="all")
        root = {"parentSpanId": "", "spanId": "00f067aa0ba902b7", "name": "answer <b>", "startTimeUnixNano": "500",
                "endTimeUnixNano": "4000000", "status": {"code": 1}, "attributes": [
                    {"key": "mlflow.spanInputs", "value": {"stringValue": "<script>alert(1)</script>"}},
                    {"key": "session.id", "value": {"stringValue": "s1"}},
                    {"key": "mlflow.traceRequestId", "value": {"stringValue": ID}}]}  # fmt: skip
        told = json.loads(json.dumps(JSON))
        spans = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
        spans.append(spans[0] | root)
        self.body = json.dumps(told).encode()
        assert self.send(self.body).status_code == 200

    def send(self, body: bytes, kind: str = "application/json", token: str | None = "", **headers: str) -> Any:
        client = self.world.client(token=self.token if token == "" else token)
        told = {"content-type": kind, "x-mlflow-experiment-id": self.experiment} | headers
        return client.post("/v1/traces", content=body, headers={k: v for k, v in told.items() if v})

    def get(self, path: str, who: str = "ada") -> Any:
        return self.world.client(self.world.user(who), page=True).get(f"/p/{self.project.slug}/{path}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = World(tmp_path_factory.mktemp("traces") / "home")
    yield Scene(world)
    world.host.database.close()


def test_the_table(scene: Scene) -> None:
    page = scene.get("traces")
    assert page.status_code == 200 and "answer &lt;b&gt;" in page.text and "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert ID in scene.get("traces?q=GET").text and ID in scene.get("traces?session=s1").text
    assert "No trace matches" in scene.get("traces?q=nothing+of+the+kind").text
    assert ID in scene.get("traces?q=span.status+%3D+'ERROR'").text
    assert "can&#39;t be read" in scene.get("traces?q=span.size+%3D+'x'").text
    assert "No traces yet" in scene.world.client(scene.who, page=True).get(
        f"/p/{scene.world.project('Empty', scene.who).slug}/traces"
    ).text  # fmt: skip


def test_one_trace(scene: Scene) -> None:
    page = scene.get(f"traces/{ID}")
    assert page.status_code == 200 and "<script>alert" not in page.text and "GET /" in page.text
    inner = scene.get(f"traces/{ID}?span=b7ad6b7169203331").text
    assert "broken" in inner and "This span failed" in inner
    assert scene.get("traces/tr-nothing").status_code == 404
    assert scene.get(f"traces/{ID}", who="mallory").status_code == 404


def test_feedback_of_a_person(scene: Scene) -> None:
    client = scene.world.client(scene.who, page=True)
    base = f"/p/{scene.project.slug}/traces/{ID}"
    assert client.post(f"{base}/feedback", data={"value": "no", "rationale": "too long"}).status_code == 303
    page = scene.get(f"traces/{ID}").text
    assert "too long" in page and "quality" in page
    assert client.post(f"{base}/feedback", data={"value": "perhaps"}).status_code == 400
    assert (
        scene.world.client(scene.world.user("vera"), page=True)
        .post(f"{base}/feedback", data={"value": "no"})
        .status_code
        == 403
    )


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"token": None}, 401), ({"token": "hw_wrong"}, 401), ({"kind": "text/plain"}, 400), ({"body": b"junk"}, 400),
        ({"x-mlflow-experiment-id": ""}, 400), ({"x-mlflow-experiment-id": "99999"}, 404), ({"content-encoding": "br"}, 400),
        ({"content-encoding": "gzip"}, 400),
    ],
)  # fmt: skip
def test_what_is_refused(scene: Scene, told: dict[str, Any], status: int) -> None:
    answer = scene.send(told.pop("body", scene.body), **told)
    assert answer.status_code == status and answer.json()["error_code"]


def test_both_forms_are_taken(scene: Scene) -> None:
    answer = scene.send(protobuf(), kind="application/x-protobuf")
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["content-type"] == "application/x-protobuf"


def test_nobody_writes_into_a_trace_of_another_project(scene: Scene) -> None:
    mallory = scene.world.user("mallory")
    other = scene.world.project("Other", mallory)
    with scene.world.host.database.write() as db:
        experiment = str(experiments.ensure(db, other.id, "x").id)
    answer = scene.send(
        scene.body, token=scene.world.token(mallory, scope="all"), **{"x-mlflow-experiment-id": experiment}
    )
    assert answer.status_code == 404 and "not found" in answer.json()["message"]


def test_a_run_links_to_its_traces(scene: Scene) -> None:
    client = scene.world.client(token=scene.token)
    run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": scene.experiment}).json()["run"]["info"][
        "run_id"
    ]
    assert "?run=" not in scene.get(f"runs/{run}").text
    assert scene.send(scene.body, **{"x-mlflow-run-id": run}).status_code == 200
    assert f"traces?run={run}" in scene.get(f"runs/{run}").text and ID in scene.get(f"traces?run={run}").text


def test_an_experiment_that_is_removed_takes_its_traces_and_their_files_along(scene: Scene) -> None:
    with scene.world.host.database.write() as db:
        number = experiments.ensure(db, scene.project.id, "short-lived").id
    body = scene.body.replace(ID.encode(), f"tr-{'1' * 32}".encode())
    assert scene.send(body, **{"x-mlflow-experiment-id": str(number)}).status_code == 200
    client = scene.world.client(token=scene.token)
    file = f"/api/2.0/mlflow-artifacts/artifacts/{number}/traces/tr-{'1' * 32}/artifacts/picture.png"
    assert client.put(file, content=b"png").status_code == 200 and client.get(file).content == b"png"
    with scene.world.host.database.write() as db:
        purge.experiment(db, number)
    with scene.world.host.database.read() as db:
        left = [db.scalar(select(func.count()).select_from(t)) for t in (Trace, Span)]
        assert left == [1, 2] and not db.scalar(select(Artifact).where(Artifact.owner.startswith("tr-")))
