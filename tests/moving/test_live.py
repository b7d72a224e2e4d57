"""A store moved out of a running `mlflow server`, and an export opened by one: all that the official client reads is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import free_port
from tests.moving.stores import everything, fill, long_series
from tests.moving.test_importing import same
from tests.served import Served, until
from tests.stories.test_migration import token

pytestmark = [pytest.mark.story, pytest.mark.timeout(300)]
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}


@contextmanager
def mlflow_server(folder: Path, backend: str) -> Iterator[str]:
    """MLflow's own server, in a process of its own, its artifacts behind its proxy."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [Path(sys.executable).parent / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", backend, "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=os.environ | QUIET, start_new_session=True
        )
    try:
        until(lambda: _answers(url, process), 120, f"mlflow server, see {folder}/server.log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "mlflow server ended"
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Any]]]:
    """A running MLflow server that was in use, and all that the official client reads of it."""
    folder = tmp_path_factory.mktemp("theirs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
        with mlflow_server(folder, f"sqlite:///{folder}/mlflow.db") as url:
            fill(url, folder, "日本語: 'x' \"y\" #%?&")
            long_series(url, "long", 10_000)
            yield url, everything(url)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A headway of its own: ids of runs are there once on a server."""
    server = Served(tmp_path / "home", HEADWAY_DEFAULT_REQUIREMENTS="six").start()
    yield server
    server.stop()


def ours(served: Served, project: str) -> dict[str, Any]:
    """All that the official client reads of a project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_TOKEN", token(served, project))
        return everything(served.url)


def test_from_a_running_mlflow_server_and_back(served: Served, theirs: Any, tmp_path: Path) -> None:
    url, before = theirs
    project: str = served.json("project", "create", "From their server")["slug"]
    plan = served.json("import", "mlruns", url, "--dry-run", "--project", project)
    assert (plan["experiments"], plan["runs"], plan["logged_models"], plan["registered_models"]) == (3, 3, 1, 3)

    told = served.cli("import", "mlruns", url, "--project", project)
    assert "Imported: 3 runs in 3 experiments" in told.stdout and "10,3" in told.stdout
    assert "traces" in told.stdout and "Every run was compared" in told.stdout
    assert "gone: it is deleted" in told.stdout and "1 runs of" in told.stdout
    after = ours(served, project)
    same(after["experiments"], before["experiments"])
    same(after["models"], before["models"])

    again = served.json("import", "mlruns", url, "--project", project)
    nothing = ("runs", "points", "files", "logged_models", "traces", "versions")
    assert [again[name] for name in nothing] == [0] * len(nothing)
    assert (again["runs_there"], again["traces_there"], again["wrong"]) == (3, 2, [])
    same(ours(served, project), after)

    out = tmp_path / "out"
    written = served.json("export", "mlruns", str(out), "--project", project)
    assert (written["runs"], written["traces"], written["left"]) == (3, 2, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
        with mlflow_server(tmp_path / "back", out.as_uri()) as back:
            found = everything(back)
    same(found["experiments"], before["experiments"])
    same(found["models"], before["models"])


def test_an_import_that_was_killed_goes_on(served: Served, theirs: Any) -> None:
    """`kill -9` of the importing process as soon as something of it is there; the same command makes it whole."""
    url, before = theirs
    project: str = served.json("project", "create", "Killed")["slug"]
    command = [Path(sys.executable).parent / "headway", "import", "mlruns", url, "--project", project]
    process = subprocess.Popen(command, env=served.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with served.client() as client:
        search = f"/api/v1/projects/{project}/runs/table"
        until(lambda: process.poll() is not None or client.get(search).json()["run_id"], what="a first run")
    process.kill()
    process.wait()
    whole = served.json("import", "mlruns", url, "--project", project)
    assert (whole["wrong"], whole["runs"] + whole["runs_there"]) == ([], 3)
    after = ours(served, project)
    same(after["experiments"], before["experiments"])
    same(after["models"], before["models"])
