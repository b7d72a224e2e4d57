"""kill -9 of the server in the middle of runs, twenty times at counted events: nothing lost, nothing doubled, nothing untrue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.runs.tables import Execution

from .conftest import Bench, lives

DRIVER = Path(__file__).with_name("driver.py")
TICKS = 110


class Driver:
    """The server that is killed. A process that has everything imported forks it."""

    def __init__(self, bench: Bench) -> None:
        argv = [sys.executable, str(DRIVER), str(bench.host.settings.home), bench.host.settings.database]
        self._forker = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = 0

    def start(self) -> None:
        assert self._forker.stdin is not None and self._forker.stdout is not None
        self._forker.stdin.write("start\n")
        self._forker.stdin.flush()
        self.pid = int(self._forker.stdout.readline())

    def kill(self) -> None:
        assert lives(self.pid), "the server died by itself"
        os.kill(self.pid, signal.SIGKILL)
        wait(lambda: not lives(self.pid), "its death")

    def close(self) -> None:
        if lives(self.pid):
            self.kill()
        self._forker.communicate("")


@pytest.fixture
def driver(bench: Bench) -> Iterator[Driver]:
    driver = Driver(bench)
    driver.start()
    yield driver
    driver.close()


def wait(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.005)


def count(path: Path, mark: bytes) -> int:
    return path.read_bytes().count(mark) if path.exists() else 0


def test_twenty_kills_of_the_server(bench: Bench, driver: Driver) -> None:
    ticking = "import time\nfor i in range({n}):\n    print('{name}', i, flush=True)\n    time.sleep(0.06)\n"
    script = bench.submit(bench.script(ticking.format(name="tick", n=TICKS) + "open('once', 'a').write('x')", "t.py"))
    cells = [ticking.format(name="tick", n=TICKS // 2)] * 2
    notebook = bench.submit(bench.notebook(*cells, "open('once', 'a').write('x')", name="n.ipynb"))
    output, log = bench.place(script) / "output.log", bench.place(notebook) / "events.jsonl"
    for target in range(5, 105, 5):
        wait(
            lambda target=target: count(output, b"tick") >= target or count(log, b'"text": "tick') >= target,
            f"tick {target}",
        )
        driver.kill()
        driver.start()
    runs: list[Execution] = []

    def over() -> bool:
        runs[:] = [bench.row(script), bench.row(notebook)]
        return all(row.over for row in runs)

    wait(over, "the end of both")
    assert [(row.status, row.cause, row.attempt) for row in runs] == [("finished", "", 1)] * 2
    assert output.read_text() == "".join(f"tick {i}\n" for i in range(TICKS))
    out = json.loads((bench.place(notebook) / "out.ipynb").read_text())
    for cell in out["cells"][:2]:
        assert "".join(one["text"] for one in cell["outputs"]) == "".join(f"tick {i}\n" for i in range(TICKS // 2))
    for run_id in (script, notebook):
        assert (bench.place(run_id) / "work" / "once").read_text() == "x"
        assert json.loads((bench.place(run_id) / "process.json").read_text())["starts"] == 1


def test_a_server_killed_at_any_moment_of_a_submission(bench: Bench, driver: Driver) -> None:
    """Short runs, and a server that is killed as soon as it has begun with each: every run happens once."""
    bench.script("open('once', 'a').write('x')\nprint('done')", "short.py")
    ids = []
    for at in range(12):
        run_id = bench.submit("short.py")
        ids.append(run_id)
        place = bench.place(run_id)
        marks = [
            place,
            place / "work",
            place / "token",
            place / "spec.json",
            place / "process.json",
            place / "exit.json",
        ]
        mark = marks[at % 6]
        wait(lambda mark=mark, run_id=run_id: mark.exists() or bench.row(run_id).over, "the server to begin")
        driver.kill()
        driver.start()
    wait(lambda: all(bench.row(run_id).over for run_id in ids), "all runs")
    assert {bench.row(run_id).status for run_id in ids} == {"finished"}
    for run_id in ids:
        assert (bench.place(run_id) / "work" / "once").read_text() == "x"
        assert bench.output(run_id) == "done\n"


def test_what_ended_while_the_server_was_down_is_known_when_it_is_up(bench: Bench, driver: Driver) -> None:
    good = bench.submit(bench.script("import time; print('up', flush=True); time.sleep(1); print('end')", "good.py"))
    bad = bench.submit(
        bench.script("import time; print('up', flush=True); time.sleep(1); raise KeyError('x')", "bad.py")
    )
    lost = bench.submit(bench.script("import time; print('up', flush=True); time.sleep(600)", "lost.py"))
    object.__setattr__(bench.host.settings, "slots", 3)
    wait(lambda: all(count(bench.place(one) / "output.log", b"up") for one in (good, bad)), "the first two")
    driver.kill()
    wait(lambda: all((bench.place(one) / "exit.json").exists() for one in (good, bad)), "both ends")
    driver.start()
    wait(lambda: count(bench.place(lost) / "output.log", b"up"), "the third")
    process = json.loads((bench.place(lost) / "process.json").read_text())
    driver.kill()
    for pid in (process["shim"]["pid"], process["pid"]):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    wait(lambda: not lives(process["pid"]), "its death")
    driver.start()
    wait(lambda: all(bench.row(one).over for one in (good, bad, lost)), "all verdicts")
    assert bench.row(good).status == "finished"
    assert (bench.row(bad).status, bench.row(bad).cause) == ("failed", "KeyError: 'x' (bad.py, line 1)")
    assert (bench.row(lost).status, bench.row(lost).cause) == ("lost", "its supervisor was killed")
