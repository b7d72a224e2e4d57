"""Code that logs by itself: its names win, and what it put into the run is not put there again."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from headway.capture.wording import unsaid

from .conftest import PYTHON, Run

LOOP = """
    losses = []
    for step in range(4):
        loss = 1 / (step + 3)
        losses.append(loss)
        LOG
        print('loss', loss)
"""
TOOLS = {
    "mlflow": (
        "import mlflow\nmlflow.set_tracking_uri('sqlite:///own.db')",
        "mlflow.log_metric('train/my_loss', loss, step=step)",
    ),
    "tensorboardX": (
        "from tensorboardX import SummaryWriter\nw = SummaryWriter('tb')",
        "w.add_scalar('train/my_loss', loss, step)",
    ),
    "wandb": ("import wandb\nr = wandb.init(mode='offline')", "r.log({'train/my_loss': loss}, step=step)"),
    "clearml": (
        "from clearml import Task\nTask.set_offline(True)\n"
        "t = Task.init('p', 't', auto_connect_frameworks=False, auto_resource_monitoring=False)\nt.connect({'lr': 0.5})",
        "t.get_logger().report_scalar('train', 'my_loss', loss, step)",
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_their_names_win(run: Run, tool: str) -> None:
    looked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({tool!r}) is None)"
    if subprocess.run([PYTHON, "-c", looked], check=False).returncode:
        pytest.skip(f"{tool} is not installed")
    start, call = TOOLS[tool]
    done = run(
        start + LOOP.replace("\n    ", "\n").replace("LOG", call),
        env={"MLFLOW_RUN_ID": "", "WANDB_SILENT": "true", "CLEARML_OFFLINE_MODE": "1"},
    )
    assert done.code == 0, done.err
    assert set(done.metrics) == {"train/my_loss"}
    assert done.metrics["train/my_loss"] == pytest.approx([1 / 3, 1 / 4, 1 / 5, 1 / 6])


def test_what_is_in_the_run_is_not_sent_again() -> None:
    def metric(*sources: str) -> dict[str, Any]:
        return {"points": [], "witnesses": [{"source": s} for s in sources]}

    metrics = {"mine": metric("own", "print"), "other": metric("print")}
    assert set(unsaid({"metrics": metrics, "logged_here": True})) == {"other"}
    assert set(unsaid({"metrics": metrics, "logged_here": False})) == {"mine", "other"}
