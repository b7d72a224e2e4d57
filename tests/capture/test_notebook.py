"""A real kernel, cell by cell: results as shown, names at the end of each cell, figures as displayed, opt-outs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from headway.capture.reduce import reduce
from headway.capture.shipper import Reader

from .conftest import BOOT, SOURCE, Done

CELLS = [
    "import numpy as np\nfrom sklearn.datasets import load_iris\nfrom sklearn.metrics import accuracy_score\n"
    "from sklearn.neighbors import KNeighborsClassifier",
    "neighbors = 7\nX, y = load_iris(return_X_y=True)",
    "model = KNeighborsClassifier(n_neighbors=neighbors).fit(X, y)\naccuracy_score(y, model.predict(X))",
    "rate = 0.25\nw = 4.0\nerrors = []\nfor epoch in range(5):\n    w -= rate * w\n    errors.append(abs(w))",
    "# headway: off\nhidden_loss = np.exp(-1.0)\nprint('loss', hidden_loss)",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot(errors)\nplt.show()",
    "def broken():\n    return accuracy_score([1], [1, 2])\nbroken()",
    "print(f'final error: {errors[-1]:.3f}')",
]
TAGGED = "secret_loss = float('0.125')\nprint('loss', secret_loss)"


def execute(client: BlockingKernelClient, code: str, tags: list[str]) -> list[dict[str, Any]]:
    """Runs a cell as a front end does, and waits for its end; its outputs."""
    message = client.session.msg(
        "execute_request",
        {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False},
        metadata={"tags": tags},
    )
    client.shell_channel.send(message)
    outputs = []
    while True:
        answer = client.get_iopub_msg(timeout=60)
        if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return outputs
            outputs.append(answer)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Done, list[list[dict[str, Any]]]]]:
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BOOT)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON"))}
    env |= {"PYTHONPATH": str(folder / "site"), "HEADWAY_SPOOL": str(folder / "spool"), "HEADWAY_RUNTIME": str(SOURCE)}
    manager = KernelManager()
    assert manager.kernel_spec is not None
    manager.kernel_spec.argv = [sys.executable, str(SOURCE / "headway/runner/kernelside.py"), "-f", "{connection_file}"]
    manager.start_kernel(env=env, cwd=str(folder))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    outputs = [execute(client, code, []) for code in CELLS]
    outputs.append(execute(client, TAGGED, ["no-capture"]))
    client.stop_channels()
    manager.shutdown_kernel()
    manager.cleanup_resources()
    yield Done(0, "", "", folder), outputs
    client.context.destroy()


def test_the_value_a_cell_shows_is_a_metric(notebook: Any) -> None:
    done, _ = notebook
    found = done.record["metrics"]["accuracy"]
    assert found["points"][-1][1] == pytest.approx(146 / 150)
    assert {w["source"] for w in found["witnesses"]} == {"score", "cell"}


def test_names_are_looked_at_after_each_cell(notebook: Any) -> None:
    done, _ = notebook
    params = done.params
    assert (params["neighbors"], params["n_neighbors"], params["rate"], params["epochs"]) == (7, 7, 0.25, 5)
    assert done.metrics["errors"] == pytest.approx([3.0, 2.25, 1.6875, 1.265625, 0.94921875])


def test_every_witness_is_a_cell(notebook: Any) -> None:
    done, _ = notebook
    facts = [f for kind in ("params", "metrics") for f in done.record[kind].values()]
    files = {str(w["file"]) for f in facts for w in f["witnesses"]}
    assert facts and all("ipykernel_" in file or not file for file in files), files
    assert not any("kernelside" in str(c["file"]) for c in done.record["code"])


def test_the_model_is_saved_at_the_end_of_its_cell(notebook: Any) -> None:
    done, _ = notebook
    facts = done.facts
    kinds = [(f["k"], f.get("n")) for f in facts if f["k"] in ("cell", "model")]
    assert kinds.index(("model", None)) < kinds.index(("cell", 4))
    assert Path(done.record["models"][0]["folder"], "MLmodel").exists()


def test_cells_that_opt_out_leave_nothing(notebook: Any) -> None:
    done, _ = notebook
    assert "hidden_loss" not in done.text
    assert "secret_loss" not in done.text


def test_figures_are_kept_as_displayed(notebook: Any) -> None:
    done, outputs = notebook
    [figure] = done.record["figures"]
    assert figure["how"] == "display"
    assert Path(figure["path"]).read_bytes().startswith(b"\x89PNG")
    assert any("image/png" in m["content"].get("data", {}) for m in outputs[5])


def test_a_traceback_does_not_show_us(notebook: Any) -> None:
    _, outputs = notebook
    [error] = [m["content"] for m in outputs[6] if m["msg_type"] == "error"]
    assert error["ename"] == "ValueError"
    assert not any("headway" in line for line in error["traceback"])


def test_cells_are_kept_in_the_order_in_which_they_ran(notebook: Any) -> None:
    done, _ = notebook
    assert [c["cell"] for c in done.record["code"] if c["cell"]] == [1, 2, 3, 4, 6, 7, 8]


def test_facts_up_to_now_are_enough_for_a_record(notebook: Any) -> None:
    done, _ = notebook
    reader = Reader(done.spool)
    reader.read()
    for end in range(0, len(reader.facts), 7):
        reduce(reader.facts[:end])
