"""A real server that is paused or killed in the middle of a run: the program does not notice, and no point is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import BIN, Served, until

PROGRAM = """
import sys
for step, line in enumerate(sys.stdin):
    loss = 1 / (step + 1)
    print("loss", loss, flush=True)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "home", HEADWAY_DEFAULT_REQUIREMENTS="six").start()
    yield made
    assert made.process is not None
    if made.process.poll() is None:
        os.kill(made.process.pid, signal.SIGCONT)
    made.stop()


@pytest.mark.parametrize("outage", ["paused", "killed"])
def test_a_server_that_stops_in_the_middle_costs_nothing_and_loses_nothing(served: Served, outage: str) -> None:
    (served.home.parent / "train.py").write_text(PROGRAM)
    command: list[str | Path] = [BIN / "headway", "track", "--", sys.executable, "train.py"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    program = subprocess.Popen(command, env=served.environ, cwd=served.home.parent, **pipes)
    assert program.stdin is not None and program.stdout is not None and served.process is not None

    def steps(first: int, last: int) -> None:
        assert program.stdin is not None and program.stdout is not None
        for step in range(first, last):
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == f"loss {1 / (step + 1)}\n"

    with program, served.client() as client:

        def told() -> list[tuple[int, float]]:
            runs = served.json("runs", "list")["runs"]
            query = {"run_id": runs[0]["run_id"], "metric_key": "loss"} if runs else {}
            found = client.get("/api/2.0/mlflow/metrics/get-history", params=query) if runs else None
            rows = found.json().get("metrics", []) if found is not None and found.status_code == 200 else []
            return [(int(row["step"]), float(row["value"])) for row in rows]

        steps(0, 10)
        until(told, 60, "the first points")
        if outage == "paused":
            os.kill(served.process.pid, signal.SIGSTOP)
        else:
            served.kill()
        steps(10, 30)  # each line is answered, with no server
        if outage == "paused":
            os.kill(served.process.pid, signal.SIGCONT)
        else:
            served.start()
        steps(30, 40)
        program.stdin.close()
        assert program.wait(180) == 0
        assert sorted(told()) == [(step, 1 / (step + 1)) for step in range(40)]
        [run] = served.json("runs", "list")["runs"]
        assert run["status"] == "finished"
