"""The registry through the official MLflow client: log, register, alias, load; and what becomes of a version's files."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

import pytest

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning", "PendingDeprecationWarning", "ResourceWarning")
]


@pytest.fixture
def name() -> str:
    return f"model-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris(as_frame=True)
    return LogisticRegression(max_iter=500).fit(data.data, data.target), data.data


def test_log_register_alias_load(mlflow: Any, name: str, fitted: tuple[Any, Any]) -> None:
    model, data = fitted
    mlflow.set_experiment(f"e-{name}")
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model, name="clf", input_example=data.head(3), registered_model_name=name, pip_requirements=["scikit-learn"]
        )
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(name, "champion", "1")
    version = client.get_model_version_by_alias(name, "champion")
    assert version.version == "1" and version.run_id == run.info.run_id
    assert version.source == f"models:/{info.model_id}"
    for uri in (f"models:/{name}@champion", f"models:/{name}/1", f"runs:/{run.info.run_id}/clf", info.model_uri):
        loaded = mlflow.pyfunc.load_model(uri)
        assert list(loaded.predict(data.head(5))) == list(model.predict(data.head(5)))
    assert client.get_logged_model(info.model_id).status.value == "READY"
    assert [m.model_id for m in mlflow.search_logged_models(output_format="list")] == [info.model_id]
    assert [o.model_id for o in client.get_run(run.info.run_id).outputs.model_outputs] == [info.model_id]


def test_a_version_outlives_its_run(mlflow: Any, server: Any, name: str, fitted: tuple[Any, Any]) -> None:
    from headway.tracking.store import purge
    from headway.tracking.tables import Run

    model, data = fitted
    mlflow.set_experiment(f"e-{name}")
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(model, name="clf", registered_model_name=name, pip_requirements=["scikit-learn"])
    with server.world.host.database.write() as db:
        purge.run(db, db.query(Run).filter_by(uuid=run.info.run_id).one().id)
    with pytest.raises(mlflow.exceptions.MlflowException, match="not found"):
        mlflow.get_run(run.info.run_id)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}/1")
    assert list(loaded.predict(data.head(5))) == list(model.predict(data.head(5)))


def test_registry_verbs(mlflow: Any, name: str) -> None:
    client = mlflow.MlflowClient()
    client.create_registered_model(name, tags={"team": "a"}, description="first")
    with pytest.raises(mlflow.exceptions.MlflowException, match="already exists") as caught:
        client.create_registered_model(name)
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    run = client.create_run("0").info.run_id
    client.log_text(run, "{}", "m/MLmodel")
    for i in range(3):
        assert client.create_model_version(name, f"runs:/{run}/m", run_id=run, tags={"i": str(i)}).version == str(i + 1)
    client.update_model_version(name, "2", "better")
    client.set_model_version_tag(name, "2", "ok", "yes")
    assert client.get_model_version(name, "2").description == "better"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.transition_model_version_stage(name, "2", "production")
        client.transition_model_version_stage(name, "3", "Production", archive_existing_versions=True)
        stages = [client.get_model_version(name, str(i)).current_stage for i in (1, 2, 3)]
        assert stages == ["None", "Archived", "Production"]
        assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["3"]
    found = client.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"], max_results=2)
    assert [v.version for v in found] == ["1", "2"]
    rest = client.search_model_versions(
        f"name = '{name}'", order_by=["version_number ASC"], max_results=2, page_token=found.token
    )
    assert [v.version for v in rest] == ["3"]
    assert [v.version for v in client.search_model_versions(f"name='{name}' and tags.ok = 'yes'")] == ["2"]
    assert [v.version for v in client.search_model_versions(f"run_id = '{run}' and version_number = 1")] == ["1"]
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "champion", "3")
    assert client.get_registered_model(name).aliases == {"champion": "3"}
    client.rename_registered_model(name, name + "-x")
    assert client.get_model_version_by_alias(name + "-x", "champion").version == "3"
    client.delete_model_version(name + "-x", "3")
    assert client.get_registered_model(name + "-x").aliases == {}
    assert [m.name for m in client.search_registered_models(f"name LIKE '{name}%' and tags.team = 'a'")] == [
        name + "-x"
    ]
    client.delete_registered_model(name + "-x")
    assert client.search_registered_models(f"name = '{name}-x'") == []


@pytest.mark.parametrize(
    "source", ["file:///etc", "/etc", "http://evil/../x", "s3://b/%2e%2e/x", "../x", "models:/m-1"]
)
def test_sources_that_cannot_be_meant_are_refused(mlflow: Any, name: str, source: str) -> None:
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        client.create_model_version(name, source)
    assert caught.value.get_http_status_code() in (400, 404)
    assert client.search_model_versions(f"name = '{name}'") == []


def test_a_foreign_source_is_noted_and_has_no_files(mlflow: Any, name: str) -> None:
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    version = client.create_model_version(name, "s3://bucket/model")
    assert client.get_model_version_download_uri(name, version.version) == "s3://bucket/model"


def test_autolog_of_sklearn(mlflow: Any, name: str) -> None:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    mlflow.set_experiment(f"e-{name}")
    mlflow.sklearn.autolog(silent=True, log_models=False)
    try:
        with mlflow.start_run() as run:
            RandomForestClassifier(n_estimators=3, random_state=0).fit(*load_iris(return_X_y=True, as_frame=True))
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    got = mlflow.get_run(run.info.run_id)
    assert got.data.params["n_estimators"] == "3" and got.data.metrics["training_score"] > 0.9
    assert len(got.inputs.dataset_inputs) == 1


def test_prompts(mlflow: Any, name: str) -> None:
    mlflow.genai.register_prompt(name, "Say {{what}}")
    assert mlflow.genai.load_prompt(f"prompts:/{name}/1").format(what="hi") == "Say hi"
    assert mlflow.MlflowClient().search_registered_models(f"name = '{name}'") == []


def test_a_version_of_a_run_that_is_not_here_is_noted_and_has_no_files(mlflow: Any, server: Any, name: str) -> None:
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    version = client.create_model_version(name, "runs:/gone/model", run_id="gone")
    assert version.status == "READY" and version.run_id == "gone"
    assert client.get_model_version_download_uri(name, "1") == "runs:/gone/model"
    answer = server.world.client(token=server.token).get(
        f"/api/v1/projects/{server.project.slug}/models/{name}/versions/1"
    )
    assert answer.json()["files"] == [] and answer.json()["problem"] == "This version has no files."
