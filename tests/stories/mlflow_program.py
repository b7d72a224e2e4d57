"""What people do with MLflow's client, in one unchanged program: nothing in it knows headway. Each step is told by name.

Runs with any release since 2.22, against `MLFLOW_TRACKING_URI`; `bench/clients.py` does so with several. Prints one JSON object.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable

import mlflow
from mlflow import MlflowClient
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
X, y = load_iris(return_X_y=True, as_frame=True)
NEEDS = ["scikit-learn"]  # said, so that MLflow doesn't import it all again in another process to find out
client = MlflowClient()
name = f"story {mlflow.__version__} {time.time_ns()}"
done: list[str] = []
failed: dict[str, str] = {}


def step(does: Callable[[], None]) -> None:
    try:
        does()
        done.append(does.__name__)
    except Exception as error:
        failed[does.__name__] = f"{type(error).__name__}: {error}"[:500]


experiment = mlflow.set_experiment(name).experiment_id
with mlflow.start_run(run_name="first") as first:
    mlflow.log_params({"lr": 0.1, "kind": "x"})
    mlflow.set_tag("team", "ü")


@step
def histories_and_files() -> None:
    with mlflow.start_run(run_id=first.info.run_id):
        for at in range(10):
            mlflow.log_metric("loss", 1 / (at + 1), step=at)
        mlflow.log_metrics({"nan": float("nan"), "inf": float("inf")})
        mlflow.log_text("hello", "notes/a.txt")
    assert [point.step for point in client.get_metric_history(first.info.run_id, "loss")] == list(range(10))
    assert mlflow.artifacts.load_text(f"runs:/{first.info.run_id}/notes/a.txt") == "hello"


@step
def nested_runs() -> None:
    with mlflow.start_run() as outer, mlflow.start_run(nested=True) as inner:
        mlflow.log_metric("x", 1)
    assert client.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id


@step
def async_logging() -> None:
    with mlflow.start_run() as run:
        for at in range(50):
            mlflow.log_metric("k", at, step=at, synchronous=False)
        mlflow.flush_async_logging()
    assert len(client.get_metric_history(run.info.run_id, "k")) == 50


@step
def system_metrics() -> None:
    mlflow.set_system_metrics_sampling_interval(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        deadline = time.monotonic() + 60
        while not any(key.startswith("system/") for key in client.get_run(run.info.run_id).data.metrics):
            assert time.monotonic() < deadline
            time.sleep(0.2)


@step
def search() -> None:
    found = mlflow.search_runs(
        [experiment], filter_string="metrics.loss < 0.5 and params.kind = 'x'", order_by=["metrics.loss DESC"]
    )
    assert list(found.run_id) == [first.info.run_id]
    assert [one.name for one in mlflow.search_experiments(filter_string=f"name = '{name}'")] == [name]


@step
def datasets() -> None:
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(X, name="iris"), context="training")
    assert client.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset.name == "iris"


@step
def autolog() -> None:
    mlflow.sklearn.autolog()
    try:
        with mlflow.start_run() as run:
            LogisticRegression(max_iter=300).fit(X, y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    data = client.get_run(run.info.run_id).data
    assert "training_accuracy_score" in data.metrics
    assert data.params["max_iter"] == "300"
    assert len(mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model").predict(X[:2])) == 2


@step
def registry() -> None:
    with mlflow.start_run() as run:
        fitted = LogisticRegression(max_iter=300).fit(X, y)
        mlflow.sklearn.log_model(fitted, "model", input_example=X[:2], pip_requirements=NEEDS)
    mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    client.set_registered_model_alias(name, "champion", "1")
    client.transition_model_version_stage(name, "1", "Production")
    client.set_model_version_tag(name, "1", "reviewed", "yes")
    client.update_model_version(name, "1", "the first")
    for address in (f"models:/{name}@champion", f"models:/{name}/Production", f"models:/{name}/1"):
        assert len(mlflow.pyfunc.load_model(address).predict(X[:2])) == 2
    assert [str(one.version) for one in client.search_model_versions(f"name='{name}'")] == ["1"]
    assert client.get_latest_versions(name, ["Production"])[0].description == "the first"


@step
def evaluate() -> None:
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(LogisticRegression(max_iter=300).fit(X, y), "model", pip_requirements=NEEDS)
        mlflow.models.evaluate(info.model_uri, X.assign(target=y), targets="target", model_type="classifier",
                               evaluator_config={"log_explainer": False})  # fmt: skip
    assert "accuracy_score" in client.get_run(run.info.run_id).data.metrics


@step
def tracing() -> None:
    @mlflow.trace
    def outer(x: int) -> int:
        return inner(x) + 1

    @mlflow.trace(span_type="TOOL")
    def inner(x: int) -> int:
        return x * 2

    outer(3)
    mlflow.flush_trace_async_logging()
    found = mlflow.search_traces(experiment_ids=[experiment])
    trace_id = found.iloc[0].get("trace_id") or found.iloc[0].get("request_id")
    assert [span.name for span in mlflow.get_trace(trace_id).data.spans] == ["outer", "inner"]


@step
def prompts() -> None:
    home = mlflow.genai if hasattr(getattr(mlflow, "genai", None), "register_prompt") else mlflow
    title = f"p{time.time_ns()}"
    home.register_prompt(name=title, template="Hi {{x}}", commit_message="one")
    assert home.load_prompt(f"prompts:/{title}/1").format(x="you") == "Hi you"


@step
def deleted_and_restored() -> None:
    client.delete_run(first.info.run_id)
    assert client.get_run(first.info.run_id).info.lifecycle_stage == "deleted"
    client.restore_run(first.info.run_id)


print(json.dumps({"version": mlflow.__version__, "done": done, "failed": failed}))
