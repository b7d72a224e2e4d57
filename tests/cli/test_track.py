"""`headway track`: a program outside the platform runs as without us, and leaves the record that a run on it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headway.capture.reduce import reduce
from headway.capture.shipper import Reader

from .conftest import Cli

TRAIN = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, default=0.1)
options = parser.parse_args()
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge
X, y = load_iris(return_X_y=True)
model = Ridge(alpha=options.alpha).fit(X, y)
print("score", model.score(X, y))
sys.exit(int(sys.stdin.read() or 0))
"""

PROGRAMS = {
    "exit status": ["-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"],
    "standard input": ["-c", "import sys; print(sys.stdin.read()[::-1], sys.stdin.isatty())"],
    "killed by itself": ["-c", "import os; print('x', flush=True); os.kill(os.getpid(), 15)"],
    "aborted": ["-X", "faulthandler", "-c", "import os; os.abort()"],
    "an error": ["-c", "raise ValueError('no')"],
    "start": [
        "-c",
        "import sys; print('sitecustomize' in sys.modules, [p for p in sys.path if 'entry' in p], sys.argv)",
        "a b",
    ],
    "isolated": ["-I", "-c", "import sys; print(sys.flags.isolated)"],
    "optimized": ["-O", "-c", "import sys; assert False; print(sys.flags.optimize, __debug__)"],
    "errors of warnings": ["-W", "error", "-c", "import warnings; warnings.warn('w')"],
}


@pytest.fixture
def lone(tmp_path: Path) -> Cli:
    """The commands where no headway runs."""
    return Cli(tmp_path / "home", tmp_path / "work")


def spool_facts(folder: Path) -> list[dict[str, Any]]:
    reader = Reader(folder)
    reader.read()
    return reader.facts


def plain(lone: Cli, words: list[str], given: str = "") -> tuple[int, str, str]:
    done = subprocess.run(words, input=given, capture_output=True, text=True, env=lone.env, cwd=lone.work, check=False)
    return done.returncode, done.stdout, _same(done.stderr)


def _same(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same(lone: Cli, name: str) -> None:
    words = [sys.executable, *PROGRAMS[name]]
    wanted = plain(lone, words, "abc")
    done = lone("track", "--to", "facts", "--", *words, input="abc")
    assert (done.returncode, done.stdout, _same(done.stderr)) == wanted
    [folder] = (lone.work / "facts").iterdir()
    told = json.loads((folder / "spool" / "ended.json").read_text())
    assert (told["signal"] or told["exit_code"]) == abs(wanted[0])


def test_a_program_that_is_not_there(lone: Cli) -> None:
    done = lone("track", "--to", "facts", "--", "no-such-program")
    assert (done.returncode, done.stdout) == (127, "")
    assert "no-such-program" in done.stderr


def test_no_program_is_a_usage_error(lone: Cli) -> None:
    assert lone("track").returncode == 2


def test_open_files_and_signals_reach_the_program(lone: Cli) -> None:
    program = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), os._exit(5)))
os.write(WRITE, b"ready")
signal.pause()
""".strip()
    read, write = os.pipe()
    words = ["track", "--to", "facts", "--", sys.executable, "-c", program.replace("WRITE", str(write))]
    started = subprocess.Popen([sys.executable, "-m", "headway", *words], env=lone.env, cwd=lone.work, text=True,
                               pass_fds=[write], stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
    os.close(write)
    assert os.read(read, 5) == b"ready"
    os.close(read)
    started.send_signal(signal.SIGTERM)
    assert started.communicate(timeout=60)[0] == "told\n"
    assert started.returncode == 5


def test_a_sitecustomize_of_the_users_own_still_runs(lone: Cli) -> None:
    (lone.work / "theirs").mkdir()
    (lone.work / "theirs" / "sitecustomize.py").write_text("import builtins\nbuiltins.theirs = __name__\n")
    words = [sys.executable, "-c", "import sitecustomize; print(theirs, sitecustomize.__file__)"]
    done = lone("track", "--to", "facts", "--", *words, PYTHONPATH=str(lone.work / "theirs"))
    assert done.stdout == f"sitecustomize {lone.work}/theirs/sitecustomize.py\n"


def test_modules_children_and_ranks_are_one_record(lone: Cli) -> None:
    (lone.work / "pkg").mkdir()
    (lone.work / "pkg" / "__init__.py").touch()
    (lone.work / "pkg" / "train.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'other.py'])\nloss = float('0.25')\nprint('loss', loss)\n"
    )
    (lone.work / "other.py").write_text("other_loss = float('0.5')\nprint('other_loss', other_loss)\n")
    lone.ok("track", "--to", "module", "--", sys.executable, "-m", "pkg.train")
    [folder] = (lone.work / "module").iterdir()
    assert reduce(spool_facts(folder / "spool"))["metrics"].keys() == {"loss"}
    ranks = f"RANK=1 {sys.executable} other.py & wait; RANK=0 {sys.executable} -m pkg.train"
    lone.ok("track", "--to", "ranks", "--", "sh", "-c", ranks)
    [folder] = (lone.work / "ranks").iterdir()
    assert reduce(spool_facts(folder / "spool"))["metrics"].keys() == {"loss"}


def test_a_notebook_that_is_run_is_a_record_of_its_kernel(lone: Cli) -> None:
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "id": "a",
              "source": "loss = float('0.125')\nprint('loss', loss)"}]  # fmt: skip
    book = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "p"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (lone.work / "n.ipynb").write_text(json.dumps(book))
    words = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", "n.ipynb"]
    said = lone.ok("track", "--to", "facts", "--", *words)
    assert "loss 0.125" in said
    [folder] = (lone.work / "facts").iterdir()
    [kernel] = folder.glob("spool-*")
    assert reduce(spool_facts(kernel))["metrics"]["loss"]["points"][0][1] == 0.125


def test_without_a_server_the_record_is_kept_and_sent_later(cli: Cli, tmp_path: Path) -> None:
    work = tmp_path / "away"
    work.mkdir()
    (work / "train.py").write_text(TRAIN)
    words = ["track", "--", sys.executable, "train.py", "--alpha", "2.5"]
    done = cli(*words, input="3", cwd=work, HEADWAY_URL="http://127.0.0.1:9", HEADWAY_HOME=str(tmp_path / "home"))
    assert (done.returncode, done.stdout.split()[0]) == (3, "score")
    assert "127.0.0.1:9" in done.stderr
    found = cli.json("track", "--send", str(tmp_path / "home" / "tracked"))
    assert [run["sent"] for run in found["runs"]] == [True]
    run = cli.json("runs", "show", found["runs"][0]["run_id"])
    assert (run["status"], run["params"]["alpha"]) == ("failed", "2.5")
    assert run["metrics"]["score"] > 0.9
    assert len(run["models"]) == 1
    assert cli.json("track", "--send", str(tmp_path / "home" / "tracked")) == found  # once is enough


def test_the_programs_own_mlflow_calls_land_in_the_same_run(cli: Cli, tmp_path: Path) -> None:
    work = tmp_path / "mine"
    work.mkdir()
    (work / "train.py").write_text(
        TRAIN.replace("sys.exit", "import mlflow\nmlflow.log_metric('by_hand', 0.75)\nsys.exit")
    )
    before = {run["run_id"] for run in cli.json("runs", "list", "--limit", "500")["runs"]}
    done = cli("track", "--experiment", "elsewhere", "--", sys.executable, "train.py", cwd=work)
    assert done.returncode == 0, done.stderr
    [made] = {run["run_id"] for run in cli.json("runs", "list", "--limit", "500")["runs"]} - before
    run = cli.json("runs", "show", made)
    assert run["status"] == "finished"
    assert {"by_hand", "score"} <= run["metrics"].keys()
    assert not [name for name in run["metrics"] if name.startswith("system/")]  # in headway/system.json
