"""The official MLflow client, unmodified, against a real server."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import pytest

# What MLflow's own code warns of is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}:mlflow")
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning", "PendingDeprecationWarning")
]


@pytest.fixture
def experiment(mlflow: Any) -> str:
    return str(mlflow.create_experiment(f"e-{uuid.uuid4().hex}", tags={"team": "a"}))


@pytest.fixture
def client(mlflow: Any) -> Any:
    return mlflow.MlflowClient()


def test_a_run_with_everything(mlflow: Any, experiment: str, tmp_path: Path) -> None:
    with mlflow.start_run(experiment_id=experiment, run_name="first", tags={"k": "v"}) as run:
        mlflow.log_params({"lr": 0.1, "depth": 3})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"auc": 0.9, "nan": float("nan"), "inf": float("inf")})
        mlflow.set_tag("note", "ünïcode <b>")
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
    got = mlflow.get_run(run.info.run_id)
    assert got.info.status == "FINISHED" and got.info.run_name == "first" and got.info.end_time >= got.info.start_time
    assert got.data.params == {"lr": "0.1", "depth": "3"}
    assert (
        got.data.metrics["loss"] == 0.2 and math.isnan(got.data.metrics["nan"]) and got.data.metrics["inf"] == math.inf
    )
    assert got.data.tags["note"] == "ünïcode <b>" and got.data.tags["k"] == "v"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(s, 1 / (s + 1)) for s in range(5)]
    assert mlflow.artifacts.load_text(got.info.artifact_uri + "/notes/a.txt") == "hello"
    assert [f.path for f in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["b.json", "notes"]
    assert mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path))
    assert (tmp_path / "notes" / "a.txt").read_text() == "hello"


def test_the_default_experiment_is_there_without_being_made(mlflow: Any) -> None:
    with mlflow.start_run(experiment_id="0") as run:
        pass
    found = mlflow.get_experiment_by_name("Default")
    assert mlflow.get_run(run.info.run_id).info.experiment_id == found.experiment_id


def test_search_grammar(mlflow: Any, client: Any, experiment: str) -> None:
    for i in range(6):
        run = client.create_run(experiment, run_name=f"run-{i}", start_time=1000 + i)
        client.log_batch(
            run.info.run_id,
            metrics=[mlflow.entities.Metric("acc", i / 10 if i != 3 else float("nan"), 1, 0)],
            params=[
                mlflow.entities.Param("lr", ["0.1", "0.01"][i % 2]),
                mlflow.entities.Param("name with space", f"N{i}"),
            ],
            tags=[mlflow.entities.RunTag("owner", f"Ada{i}")] if i < 4 else [],
        )
        client.set_terminated(run.info.run_id, status="FAILED" if i == 5 else "FINISHED", end_time=2000 + i)

    def names(filter_string: str = "", order_by: list[str] | None = None) -> str:
        runs = client.search_runs([experiment], filter_string, order_by=order_by)
        return "".join(r.info.run_name[-1] for r in runs)

    assert names() == "543210"
    assert names("metrics.acc > 0.15") == "542"
    assert names("metrics.acc != 0.1") == "54320"
    assert names("params.lr = '0.1' and metrics.acc >= 0.2") == "42"
    assert names("params.`name with space` LIKE 'N%'") == "543210"
    assert names("params.`name with space` LIKE 'n%'") == ""
    assert names("params.`name with space` ILIKE 'n_'") == "543210"
    assert names("tags.owner = 'Ada2'") == "2"
    assert names("tags.owner IS NULL") == "54"
    assert names("tags.owner IS NOT NULL AND params.lr != '0.1'") == "31"
    assert names("attributes.status = 'FAILED'") == "5"
    assert names("attributes.start_time > 1003 and attributes.end_time <= 2004") == "4"
    assert names("run_name LIKE 'run-%' and run_name != 'run-1'") == "54320"
    assert names("tags.none = 'x'") == "" and names("metrics.none > 0") == ""
    assert names("", ["metrics.acc DESC"]) == "542103"
    assert names("", ["metrics.acc ASC"]) == "012453"
    assert names("metrics.acc < 0.45", ["metrics.acc DESC"]) == "4210"
    assert names("", ["params.lr", "start_time ASC"]) == "135024"
    assert names("", ["tags.owner DESC"]) == "321054"
    assert names("", ["attributes.end_time ASC"]) == "012345"
    ids = [r.info.run_id for r in client.search_runs([experiment], "", order_by=["start_time"])]
    assert names(f"attributes.run_id IN ('{ids[1]}', '{ids[4]}')") == "41"
    assert names(f"run_id NOT IN ('{ids[1]}', '{ids[4]}')") == "5320"


@pytest.mark.parametrize(
    "order",
    [[], ["metrics.acc DESC"], ["params.p"], ["metrics.acc", "params.p DESC"], ["tags.t DESC"], ["end_time DESC"]],
)
def test_pages_give_each_run_once_in_one_order(mlflow: Any, client: Any, experiment: str, order: list[str]) -> None:
    for i in range(13):
        run = client.create_run(experiment, start_time=100 + i // 3)
        metrics = [mlflow.entities.Metric("acc", [float("nan"), 1.0, 2.0][i % 3], 1, 0)] if i % 4 else []
        params = [mlflow.entities.Param("p", str(i % 2))] if i % 5 else []
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        if i % 2:
            client.set_tag(run.info.run_id, "t", str(i % 4))
            client.set_terminated(run.info.run_id, end_time=500 + i % 3)
    whole = [r.info.run_id for r in client.search_runs([experiment], order_by=order)]
    for size in (1, 4, 5):
        paged: list[str] = []
        token = None
        while True:
            page = client.search_runs([experiment], order_by=order, max_results=size, page_token=token)
            paged += [r.info.run_id for r in page]
            token = page.token
            if not token:
                break
        assert paged == whole and len(set(paged)) == 13


def test_params_are_written_once(mlflow: Any, client: Any, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.log_param(run, "a", "1")
    client.log_param(run, "a", "1")
    with pytest.raises(mlflow.exceptions.MlflowException, match="Changing param values is not allowed"):
        client.log_batch(run, params=[mlflow.entities.Param("b", "1"), mlflow.entities.Param("a", "2")])
    assert client.get_run(run).data.params == {"a": "1"}


def test_delete_and_restore(mlflow: Any, client: Any, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    with pytest.raises(mlflow.exceptions.MlflowException, match="must be in the 'active' state"):
        client.log_metric(run, "m", 1)
    assert client.search_runs([experiment]) == []
    assert len(client.search_runs([experiment], run_view_type=mlflow.entities.ViewType.DELETED_ONLY)) == 1
    client.restore_run(run)
    client.log_metric(run, "m", 1)
    client.delete_experiment(experiment)
    assert client.get_experiment(experiment).lifecycle_stage == "deleted"
    client.restore_experiment(experiment)
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_experiments(mlflow: Any, client: Any, experiment: str) -> None:
    got = client.get_experiment(experiment)
    assert got.tags == {"team": "a"} and got.lifecycle_stage == "active"
    client.rename_experiment(experiment, got.name + "-x")
    client.set_experiment_tag(experiment, "team", "b")
    assert client.get_experiment_by_name(got.name + "-x").tags == {"team": "b"}
    with pytest.raises(mlflow.exceptions.MlflowException, match="already exists") as caught:
        client.create_experiment(got.name + "-x")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    found = client.search_experiments(filter_string=f"name LIKE '{got.name}%' AND tags.team = 'b'")
    assert [e.experiment_id for e in found] == [experiment]
    first = client.search_experiments(max_results=1, order_by=["experiment_id ASC"])
    second = client.search_experiments(max_results=1, order_by=["experiment_id ASC"], page_token=first.token)
    assert int(first[0].experiment_id) < int(second[0].experiment_id)
    assert client.get_experiment_by_name("no such name") is None


def test_datasets(mlflow: Any, experiment: str) -> None:
    import pandas as pd

    data = mlflow.data.from_pandas(pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5]}), name="sales", targets="y")
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_input(data, context="training")
    (got,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert got.dataset.name == "sales" and got.dataset.digest == data.digest and "x" in got.dataset.schema
    found = mlflow.search_runs([experiment], "datasets.name = 'sales' and dataset.context ILIKE 'TRAIN%'")
    assert list(found.run_id) == [run.info.run_id]
    assert len(mlflow.search_runs([experiment], "datasets.digest = 'none'")) == 0


def test_async_logging(mlflow: Any, experiment: str) -> None:
    with mlflow.start_run(experiment_id=experiment) as run:
        for i in range(50):
            mlflow.log_metric("m", i, step=i, synchronous=False)
        mlflow.flush_async_logging()
    assert [m.value for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "m")] == list(range(50))
