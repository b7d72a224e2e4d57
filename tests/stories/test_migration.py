"""Somebody who has used MLflow for years: the script unchanged, the old store by one command; then MLflow's own client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served

pytestmark = [pytest.mark.story, pytest.mark.timeout(600)]

SCRIPT = """
import sys
import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

mlflow.set_experiment("iris")
X, y = load_iris(return_X_y=True, as_frame=True)
for C in map(float, sys.argv[1:]):
    with mlflow.start_run(run_name=f"C={C}"):
        mlflow.log_param("C", C)
        model = LogisticRegression(C=C, max_iter=500).fit(X, y)
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + C), step=step)
        mlflow.log_metric("accuracy", model.score(X, y))
        info = mlflow.sklearn.log_model(model, name="model", registered_model_name="iris", serialization_format="pickle")
        mlflow.log_text("notes", "notes.txt")
"""
LOOK = """
import mlflow
from mlflow import MlflowClient

best = mlflow.search_runs(experiment_names=["iris"], filter_string="metrics.accuracy > 0.5", order_by=["metrics.accuracy DESC"])
assert sorted(best["params.C"]) == ["0.01", "1.0", "10.0"], best
client = MlflowClient()
for run_id in best["run_id"]:
    assert [point.step for point in client.get_metric_history(run_id, "loss")] == list(range(20))
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes.txt") == "notes"
versions = sorted(int(v.version) for v in client.search_model_versions("name='iris'"))
assert versions == [1, 2, 3], versions
model = mlflow.pyfunc.load_model("models:/iris/1")
assert len(model.predict([[5.1, 3.5, 1.4, 0.2]])) == 1
print("the same client, the same answers")
"""


def mlflow_program(code: str, folder: Path, *args: str, **environ: str) -> str:
    """A program as its owner runs it: nothing of headway in its environment but what is said here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "MLFLOW_"))}
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(code)
    env = kept | {"MLFLOW_DISABLE_TELEMETRY": "true"} | environ
    command = [sys.executable, "-W", "ignore", "train.py", *args]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_somebody_moves_in_from_mlflow(served: Served, tmp_path: Path) -> None:
    project: str = served.json("project", "create", "Moving in")["slug"]
    theirs = tmp_path / "theirs"
    mlflow_program(SCRIPT, theirs, "0.01", "1.0", MLFLOW_TRACKING_URI=f"sqlite:///{theirs}/mlflow.db")

    plan = served.json("import", "mlruns", str(theirs), "--dry-run", "--project", project)
    assert (plan["runs"], plan["registered_models"]) == (2, 1)
    moved = served.json("import", "mlruns", str(theirs), "--project", project)
    assert (moved["runs"], moved["versions"], moved["wrong"], moved["left"]) == (2, 2, [], [])

    here = {"MLFLOW_TRACKING_URI": served.url, "MLFLOW_TRACKING_TOKEN": token(served, project)}
    mlflow_program(SCRIPT, theirs, "10.0", **here)  # the same script, two variables
    assert "the same answers" in mlflow_program(LOOK, tmp_path / "look", **here)

    listed = served.json("runs", "list", "--project", project, "--filter", "metrics.accuracy > 0.5")["runs"]
    assert {run["params"]["C"] for run in listed} == {"0.01", "1.0", "10.0"}
    out = tmp_path / "out"
    left = served.json("export", "mlruns", str(out), "--project", project)
    assert (left["runs"], left["versions"], left["left"]) == (3, 3, [])
    old = {"MLFLOW_TRACKING_URI": f"file://{out}", "MLFLOW_ALLOW_FILE_STORE": "true"}
    assert "the same answers" in mlflow_program(LOOK, tmp_path / "look", **old)  # and out again


def test_an_unchanged_program_of_all_that_the_client_does(served: Served, tmp_path: Path) -> None:
    """Autologging, files, asynchronous logging, the machine's metrics, data, models logged, registered, loaded and evaluated,
    traces, prompts: the program that `bench/clients.py` runs with other releases of the client."""
    project: str = served.json("project", "create", "All of MLflow")["slug"]
    program = (Path(__file__).parent / "mlflow_program.py").read_text()
    here = {"MLFLOW_TRACKING_URI": served.url, "MLFLOW_TRACKING_TOKEN": token(served, project)}
    told = json.loads(mlflow_program(program, tmp_path / "mine", **here).splitlines()[-1])
    assert told["failed"] == {}
    assert len(told["done"]) == 12
    page = served.json("runs", "list", "--project", project, "--filter", "params.kind = 'x'")["runs"]
    assert [run["name"] for run in page] == ["first"]


def token(served: Served, project: str) -> str:
    """A token of this one project, as its settings page would make it."""
    made: dict[str, Any] = served.json("token", "create", "laptop", "--project", project)
    return str(made["token"])


def test_a_backup_becomes_a_server_that_serves(served: Served, tmp_path: Path) -> None:
    """Taken while it runs, restored beside it: the new one starts, and takes nothing from the old one."""
    made = served.json("backup", str(tmp_path / "today.tar.gz"))
    assert made["key"] is True
    assert served.json("backup", str(tmp_path / "today.tar.gz"), "--verify")["verified"] is True
    home = tmp_path / "again" / "home"
    assert served.json("restore", str(tmp_path / "today.tar.gz"), "--home", str(home))["holds"]["projects"] >= 1
    again = served.cli("restore", str(tmp_path / "today.tar.gz"), "--home", str(home), check=False)
    assert again.returncode == 1
    assert "is not empty" in again.stderr
    restored = Served(home, HEADWAY_DEFAULT_REQUIREMENTS="six").start()
    try:
        before, after = (one.json("project", "list")["projects"] for one in (served, restored))
        assert [one["slug"] for one in after] == [one["slug"] for one in before]
        with restored.client() as there, served.client() as here:
            assert there.get("/api/v1/me").json() == here.get("/api/v1/me").json()
        assert served.json("status")["url"] == served.url  # it runs still
    finally:
        restored.stop()
