"""The sample project is what it says: unmodified code, real data, and it runs clean."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

import headway.home

SAMPLE = Path(headway.home.__file__).parent / "sample"
TRACKING = re.compile(r"\b(headway|mlflow|wandb|clearml|neptune|tensorboard|log_metric|log_param|autolog)\b")


def cells(kind: str = "code") -> list[dict[str, Any]]:
    found = json.loads((SAMPLE / "train.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "sample"))


def test_no_line_tracks_anything() -> None:
    assert not TRACKING.search((SAMPLE / "train.py").read_text(encoding="utf-8"))
    for cell in cells():
        assert not TRACKING.search("".join(cell["source"]))


def test_the_notebook_is_clean_and_can_be_parametrised() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
    assert [cell["metadata"] for cell in cells() if cell["metadata"]] == [{"tags": ["parameters"]}]
    assert len(cells("markdown")) >= 8


def test_the_data_is_the_whole_of_it() -> None:
    with (SAMPLE / "cars.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 406
    assert sum(row["Miles_per_Gallon"] == "" for row in rows) == 8
    assert sum(row["Horsepower"] == "" for row in rows) == 6
    assert {row["Origin"] for row in rows} == {"USA", "Europe", "Japan"}


def test_the_script_runs_without_a_warning(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "train.py", "--lr", "0.1", "--trees", "60"], cwd=folder, text=True,
                          capture_output=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rmse = re.search(r"^rmse: ([\d.]+)$", done.stdout, flags=re.M)
    assert rmse is not None
    assert float(rmse[1]) < 5


def test_the_notebook_runs_from_top_to_bottom(folder: Path) -> None:
    """Every cell, in a real kernel: nothing fails, nothing is said on standard error, and the trees beat the mean."""
    sockets = tempfile.TemporaryDirectory(prefix="hw")  # a socket's path must be short
    manager = KernelManager(transport="ipc", ip=f"{sockets.name}/k")
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    printed: list[str] = []
    problems: list[Any] = []
    pictures = 0

    def heard(message: dict[str, Any]) -> None:
        nonlocal pictures
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            (printed if content["name"] == "stdout" else problems).append(content["text"])
        elif kind == "error":
            problems.append(content)
        elif kind == "display_data":
            pictures += "image/png" in content["data"]

    try:
        client.wait_for_ready(timeout=60)
        for cell in cells():
            source = "".join(cell["source"]).replace("search_rounds = 16", "search_rounds = 2")
            client.execute_interactive(source, output_hook=heard, timeout=120)
            assert not problems, (cell["id"], problems)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        sockets.cleanup()
    assert pictures == 3
    rmse = dict(re.findall(r"^(.+): rmse=([\d.]+)", "".join(printed), flags=re.M))
    assert set(rmse) == {"always the mean", "ridge", "random forest", "boosted trees", "boosted, tuned", "by hand"}
    assert all(
        float(value) < 4 < float(rmse["always the mean"]) for name, value in rmse.items() if name != "always the mean"
    )
