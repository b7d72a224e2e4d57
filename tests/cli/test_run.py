"""Running files from the command line: parameters, limits, output, ends, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

WORDS = {"run_id", "status", "cause", "params", "metrics", "models", "trainings"}


def script(cli: Cli, name: str, source: str) -> Path:
    """A script in a folder of its own, which is what goes along with it."""
    path = cli.work / name.removesuffix(".py") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return path


def test_a_run_of_the_projects_own_script(cli: Cli, finished: dict[str, Any]) -> None:
    assert finished.keys() >= WORDS
    assert finished["status"] == "finished"
    assert finished["params"]["lr"] == 0.2
    assert 0 < finished["metrics"]["rmse"] < 8
    assert finished["models"]
    shown = cli.json("runs", "show", finished["run_id"])
    assert {name: shown[name] for name in WORDS} == {name: finished[name] for name in WORDS}
    assert cli.json("runs", "show", finished["run_id"][:10])["run_id"] == finished["run_id"]


def test_output_comes_as_it_was_printed(cli: Cli) -> None:
    source = r"import sys; sys.stdout.write('50 %\r100 %\n')" + "\nprint('héllo ✓')\n"
    source += "print('to stderr', file=sys.stderr)\nprint('no end', end='')"
    path = script(cli, "printing.py", source)
    done = cli("run", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "50 %\r100 %\nhéllo ✓\nto stderr\nno end\n"
    run_id = cli.json("runs", "list", "--filter", "tags.`headway.path` LIKE '%printing.py'")["runs"][0]["run_id"]
    assert cli.ok("runs", "logs", run_id) == "50 %\r100 %\nhéllo ✓\nto stderr\nno end"
    assert cli.json("runs", "logs", run_id)["log"].endswith("no end")
    watched = cli("runs", "watch", run_id, "--json")
    assert json.loads(watched.stdout)["status"] == "finished"
    assert "héllo ✓" in watched.stderr


def test_the_folder_goes_along_as_it_was_when_the_run_was_submitted(cli: Cli) -> None:
    path = script(cli, "reading.py", "import beside\nprint(open('data/value.txt').read(), beside.WORD)")
    (path.parent / "data").mkdir(exist_ok=True)
    (path.parent / "data" / "value.txt").write_text("first")
    (path.parent / "beside.py").write_text("WORD = 'beside'")
    first = cli.ok("run", "reading.py", "--detach", cwd=path.parent).strip()
    (path.parent / "data" / "value.txt").write_text("second")
    assert cli.ok("run", "reading.py", cwd=path.parent) == "second beside\n"
    assert cli.json("runs", "watch", first)["status"] == "finished"
    assert cli.ok("runs", "logs", first) == "first beside\n"
    again = cli.ok("runs", "rerun", first).strip()
    assert cli.json("runs", "watch", again)["status"] == "finished"
    assert cli.ok("runs", "logs", again) == "first beside\n"


ENDS: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "error": ("raise ValueError('no such column: prize')", (), "failed", "no such column: prize"),
    "exit": ("raise SystemExit(3)", (), "failed", "exit code 3"),
    "time": ("import time\ntime.sleep(600)", ("--timeout", "1"), "timed_out", "limit of 1 s"),
    "memory": ("x = bytearray(900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(600)",
               ("--memory", "300"), "out_of_memory", "300 MiB"),
    "signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", (), "killed", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_how_runs_end(cli: Cli, case: str) -> None:
    source, options, status, cause = ENDS[case]
    run = cli.json("run", str(script(cli, f"end_{case}.py", source)), *options, code=1)
    assert run["status"] == status
    assert cause in run["cause"]


def test_cancelling(cli: Cli) -> None:
    path = script(cli, "long.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)")
    run_id = cli.ok("run", str(path), "--detach").strip()
    watch = cli.start("runs", "watch", run_id)
    assert watch.stdout is not None
    assert watch.stdout.readline() == "begun\n"
    assert cli.json("runs", "cancel", run_id)["status"] == "cancelled"
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 1
    assert "cancelled" in err
    refused = cli("runs", "cancel", run_id)
    assert refused.returncode == 1
    assert "cancelled already" in refused.stderr


def test_ctrl_c_leaves_the_run_alone(cli: Cli) -> None:
    path = script(cli, "left.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)")
    process = cli.start("run", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    run_id = err.split("headway runs watch ")[1].split()[0]
    assert cli.json("runs", "show", run_id)["status"] == "running"
    assert cli.json("runs", "cancel", run_id)["status"] == "cancelled"


def test_on_a_terminal_a_progress_bar_stays_one_line(cli: Cli) -> None:
    """The carriage returns of a progress bar reach the terminal as they are, and the answer is beside them, not in them."""
    path = script(
        cli, "bar.py", "import sys\nfor i in range(3): sys.stdout.write(f'\\r{i + 1}/3'); sys.stdout.flush()\nprint()"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "headway", "run", str(path)], env=cli.env, cwd=cli.work, stdout=follower,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # fmt: skip
    os.close(follower)
    seen, until = b"", time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                seen += os.read(leader, 4096)
            except OSError:
                break
    assert process.wait(60) == 0
    while select.select([leader], [], [], 0)[0]:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert seen.replace(b"\r\n", b"\n") == b"\r1/3\r2/3\r3/3\n"


NOTEBOOK = {
    "nbformat": 4, "nbformat_minor": 5, "metadata": {},
    "cells": [
        {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": "word = 'default'\ncount = 1",
         "outputs": [], "execution_count": None},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": "print(word * count)\ncount + 1", "outputs": [],
         "execution_count": None},
    ],
}  # fmt: skip


def test_a_notebook(cli: Cli) -> None:
    path = script(cli, "tiny.ipynb", json.dumps(NOTEBOOK))
    assert cli.ok("run", str(path), "-p", "word=ab", "-p", "count=2") == "abab\n3\n"


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such file": (("run", "nowhere.py"), 1, "There is no 'nowhere.py' here, nor in project"),
    "no such path": (("run", "/nowhere/train.py"), 2, "There is no file"),
    "not to be run": (("run", "README.md"), 1, "can't be run"),
    "broken notebook": (("run", "broken.ipynb"), 1, "JSON is broken at line 1, column"),
    "no notebook": (("run", "list.ipynb"), 1, "no list of cells"),
    "parameter without value": (("run", "train.py", "-p", "lr"), 2, "is not NAME=VALUE"),
    "parameter twice": (("run", "train.py", "-p", "lr=1", "-p", "lr=2"), 2, "given twice"),
    "unknown parameter": (("run", "train.py", "-p", "rate=1"), 1, "is not a parameter here; there are: data, lr, depth"),
    "parameter of another type": (("run", "train.py", "-p", "depth=deep"), 1, "'depth' must be a whole number, got 'deep'"),
    "foreign project": (("run", "train.py", "--project", "elsewhere"), 1, "There is no such project"),
    "no environment": (("run", "train.py", "--env", "0" * 32), 1, "There is no"),
    "too little memory": (("run", "train.py", "--memory", "1"), 2, "32"),
    "no such run": (("runs", "show", "0" * 32), 1, "not found"),
    "no such beginning": (("runs", "show", "zzz"), 1, "There is no run 'zzz'"),
    "bad filter": (("runs", "list", "--filter", "metrics.rmse >"), 1, ""),
    "one run to compare": (("runs", "compare", "a"), 2, "two runs or more"),
    "bad cron": (("schedule", "add", "train.py", "often"), 1, "five fields"),
    "bad zone": (("schedule", "add", "train.py", "@daily", "--zone", "Mars"), 1, "no time zone 'Mars'"),
    "no such schedule": (("schedule", "pause", "often"), 1, "no schedule 'often'"),
    "no such model": (("deploy", "nothing"), 1, "not found"),
    "no such endpoint": (("endpoints", "show", "nothing"), 1, "no endpoint 'nothing'"),
    "no endpoint to ask": (("predict", "nothing", "-"), 1, ""),
    "no such alias": (("models", "alias", "nothing", "champion"), 1, "Which version"),
    "no such notebook": (("notebook", "open", "none.ipynb"), 1, "There is no 'none.ipynb'"),
    "unknown command": (("runz",), 2, "runz"),
    "unknown option": (("runs", "list", "--colour"), 2, "--colour"),
    "no such token": (("token", "revoke", "nothing"), 1, "no token 'nothing'"),
    "bad scope": (("token", "create", "x", "--scope", "everything"), 1, "Unknown scope"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(cli: Cli, case: str) -> None:
    args, code, said = REFUSED[case]
    (cli.work / "broken.ipynb").write_text('{"cells": [')
    (cli.work / "list.ipynb").write_text("[]")
    args = tuple(str(cli.work / arg) if arg in ("broken.ipynb", "list.ipynb") else arg for arg in args)
    done = cli(*args, "--json", input='{"inputs": [[1]]}')
    assert done.returncode == code, (done.stdout, done.stderr)
    assert said in " ".join(done.stderr.split())
    if code == 1:
        assert json.loads(done.stdout)["error"]["message"]
    else:
        assert done.stdout == ""


def test_an_unknown_token(cli: Cli) -> None:
    done = cli("runs", "list", HEADWAY_TOKEN="hw_wrong")
    assert done.returncode == 1
    assert "unknown, expired or revoked" in done.stderr


def test_refused_runs_leave_nothing(cli: Cli) -> None:
    before = len(cli.json("runs", "list", "-n", "1000")["runs"])
    for args in (("train.py", "-p", "rate=1"), (str(script(cli, "bad.py", "x").with_suffix(".ipynb")),)):
        assert cli("run", *args).returncode != 0
    assert len(cli.json("runs", "list", "-n", "1000")["runs"]) == before
