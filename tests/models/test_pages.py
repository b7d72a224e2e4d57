"""Pages and JSON routes of models, as a browser and a program get them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from headway.models import bundles, service
from headway.tracking import artifacts, experiments, logged_models
from headway.tracking import service as tracking
from tests.world import World, world

BAD = "<script>alert(1)</script>"
MANIFEST = """
flavors:
  sklearn: {pickled_model: model.pkl, sklearn_version: 1.7.0}
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}
signature:
  inputs: '[{"name": "age", "type": "long", "required": true}, {"name": "<script>alert(1)</script>", "type": "string", "required": false}]'
  outputs: '[{"type": "double", "required": true}]'
"""  # noqa: E501
EXAMPLES = {
    "inputs": {"columns": ["age", "b"], "data": [[3, BAD], [4, None]]},
    "predictions": [0.5, 0.75],
    "method": "predict",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with world(tmp_path_factory.mktemp("models")) as made:
        ada = made.user("ada")
        project = made.project("Churn", ada, viewer="vera")
        with made.host.database.write() as db:
            experiment = experiments.ensure(db, project.id, "train.ipynb")
            run = tracking.create_run(db, ada, project_id=project.id, experiment_id=experiment.id)
            model = logged_models.create(db, ada, experiment.id, name="clf", source_run=run.uuid)
            empty = logged_models.create(db, ada, experiment.id, name="empty", source_run=run.uuid)
        files = {"MLmodel": MANIFEST, "headway_examples.json": json.dumps(EXAMPLES), "requirements.txt": "numpy==2.0\n",
                 "model.pkl": "not a pickle"}  # fmt: skip
        for path, content in files.items():
            blob = made.host.blobs.put(content.encode())
            with made.host.database.write() as db:
                artifacts.put(db, model.uuid, path, blob)
        yield {"world": made, "ada": ada, "vera": made.user("vera"), "eve": made.user("eve"), "slug": project.slug,
               "project": project, "model": model.uuid, "empty": empty.uuid, "run": run.uuid}  # fmt: skip


def get(site: dict[str, Any], path: str, who: str = "ada", status: int = 200) -> str:
    answer = site["world"].client(site[who], page=True).get(f"/p/{site['slug']}/{path}")
    assert answer.status_code == status, answer.text[:500]
    assert BAD not in answer.text and not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", answer.text)
    return str(answer.text)


def made(world_: World, site: dict[str, Any], name: str) -> service.Version:
    with world_.host.database.write() as db:
        return service.register(db, site["ada"], site["project"], name, logged_model_id=site["model"])


def test_register_look_and_alias_on_pages(site: dict[str, Any]) -> None:
    ada = site["world"].client(site["ada"])
    base = f"/p/{site['slug']}/models"
    answer = ada.post(f"{base}/register", data={"name": "paged", "model_id": site["model"], "description": BAD})
    assert answer.status_code == 303 and answer.headers["location"] == f"{base}/paged/1"
    text = get(site, "models/paged/1")
    for said in (
        "age",
        "long",
        "0.75",
        "numpy==2.0",
        "model.pkl",
        "load_model",
        "Deploy",
        "sklearn",
        "3.11.7",
    ):
        assert said in text
    assert ada.post(f"{base}/paged/1/do/alias", data={"alias": "champion"}).status_code == 303
    assert ada.post(f"{base}/paged/1/do/alias", data={"alias": "v2"}).status_code == 400
    assert (
        "champion" in get(site, "models")
        and "paged" in get(site, "models?q=PAG")
        and "No model has" in get(site, "models?q=zz")
    )
    assert "champion" in get(site, "models/paged")
    assert ada.post(f"{base}/paged/1/do/describe", data={"description": "the first"}).status_code == 303
    assert "the first" in get(site, "models/paged/1")
    assert ada.post(f"{base}/paged/do/rename", data={"new_name": "renamed model"}).status_code == 303
    get(site, "models/paged/1", status=404)
    assert "the first" in get(site, "models/renamed%20model/1")
    download = ada.get(f"{base}/renamed%20model/1/files/model.pkl")
    assert download.content == b"not a pickle" and "attachment" in download.headers["content-disposition"]
    assert ada.post(f"{base}/renamed%20model/1/do/unalias", data={"alias": "champion"}).status_code == 303
    assert ada.post(f"{base}/renamed%20model/1/do/delete").status_code == 303
    assert "No versions yet" in get(site, "models/renamed%20model")
    assert ada.post(f"{base}/renamed%20model/do/delete").status_code == 303
    get(site, "models/renamed%20model", status=404)


def test_json_routes(site: dict[str, Any]) -> None:
    http = site["world"].client(token=site["world"].token(site["ada"], scope="all"))
    base = f"/api/v1/projects/{site['slug']}/models"
    first = http.post(base, json={"name": "api", "model_id": site["model"]})
    assert first.status_code == 201 and first.json()["version"] == 1 and first.json()["run_id"] == site["run"]
    assert http.put(f"{base}/api/aliases/champion", json={"version": 1}).json()["aliases"] == ["champion"]
    assert http.put(f"{base}/api/aliases/champion", json={"version": 9}).status_code == 404
    for version in ("1", "champion", "latest"):
        found = http.get(f"{base}/api/versions/{version}").json()
        assert found["version"] == 1 and [f["name"] for f in found["signature"]["inputs"]] == ["age", BAD]
        assert found["example"]["dataframe_split"]["columns"] == ["age", "b"] and len(found["files"]) == 4
    assert http.get(f"{base}/api/versions/latest/files/requirements.txt").text == "numpy==2.0\n"
    assert http.get(f"{base}/api/versions/1/files/..%2fx").status_code in (400, 404)
    assert "api" in [m["name"] for m in http.get(base, params={"filter": "name LIKE 'a%'"}).json()["models"]]
    assert http.get(base, params={"filter": "nonsense"}).status_code == 400
    assert http.patch(f"{base}/api", json={"description": "d", "name": "api2"}).json()["name"] == "api2"
    assert http.post(base, json={"name": "x", "model_id": site["empty"]}).status_code == 422
    assert http.post(base, json={"name": "x"}).status_code == 400
    assert http.post(base, json={"name": "a/b", "model_id": site["model"]}).status_code == 400
    assert http.post(base, json={"name": "x", "run_id": "0" * 32}).status_code == 404
    assert "x" not in [m["name"] for m in http.get(base).json()["models"]]
    assert http.delete(f"{base}/api2/versions/1").status_code == 204
    assert http.delete(f"{base}/api2").status_code == 204


def test_references_files_and_folders(site: dict[str, Any], tmp_path: Any) -> None:
    w = site["world"]
    one, two = made(w, site, "refs"), made(w, site, "refs")
    with w.host.database.read() as db:
        assert service.by_ref(db, site["ada"], site["project"], "refs").id == two.id
        assert service.by_ref(db, site["ada"], site["project"], "refs/1").id == one.id
        assert [path for path, _, _ in service.bundle_files(db, one)] == sorted(
            ["MLmodel", "headway_examples.json", "model.pkl", "requirements.txt"]
        )
    with w.host.database.write() as db:
        service.set_alias(db, site["ada"], site["project"].id, "refs", "champion", 1)
    with w.host.database.read() as db:
        assert service.by_ref(db, site["ada"], site["project"], "refs").id == one.id
        assert service.by_ref(db, site["ada"], site["project"], "refs@champion").id == one.id
    service.materialize(w.host, one, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "requirements.txt").read_text() == "numpy==2.0\n"


def test_roles(site: dict[str, Any]) -> None:
    version = made(site["world"], site, "roles")
    vera, eve = site["world"].client(site["vera"]), site["world"].client(site["eve"])
    base = f"/p/{site['slug']}/models"
    assert "Alias" not in get(site, "models/roles/1", who="vera")
    assert vera.post(f"{base}/roles/1/do/alias", data={"alias": "champion"}).status_code == 403
    assert vera.post(f"{base}/register", data={"name": "x", "model_id": site["model"]}).status_code == 403
    for path in ("", "/roles", "/roles/1", "/roles/1/files/MLmodel"):
        assert eve.get(base + path).status_code == 404
    for path in ("", "/roles", "/roles/versions/1", "/roles/versions/1/files/MLmodel"):
        assert eve.get(f"/api/v1/projects/{site['slug']}/models{path}").status_code == 404
    assert version.number == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "names no flavor"), ("[", "can't be read"), ("a: 1", "names no flavor"), ("flavors: {}", "names no flavor"),
     ("!!python/object:os.system {}", "can't be read"), ("[" * 5000, "can't be read")],
)  # fmt: skip
def test_broken_manifests_say_so(text: str, says: str) -> None:
    with pytest.raises(bundles.BundleError, match=says):
        bundles.read_manifest(text)
