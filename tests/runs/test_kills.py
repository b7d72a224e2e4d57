"""kill -9 of the server in the middle of runs, at counted events: nothing lost, nothing doubled, nothing untrue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.conftest import PACKAGES, free_port

from .conftest import Bench, lives

DRIVER = Path(__file__).with_name("driver.py")
FORKED_UP = Path(__file__).with_name("forked_up.py")
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
        said = self._forker.stdout.readline()
        self.pid = int(said.split()[0])
        assert self.pid, said

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


class Up:
    """A home, and the `headway up` on it that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work = folder / "home", folder / "work"
        self.work.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "MLFLOW_"))}
        self.env = kept | {
            "HEADWAY_HOME": str(self.home), "HEADWAY_PORT": str(free_port()), "HEADWAY_GATEWAY_PORT": str(free_port()),
            "HEADWAY_SAMPLE": "false", "HEADWAY_DEFAULT_REQUIREMENTS": "ipykernel", "UV_CACHE_DIR": str(PACKAGES),
        }  # fmt: skip
        self._forker = subprocess.Popen(
            [sys.executable, FORKED_UP], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = 0

    start, kill, close = Driver.start, Driver.kill, Driver.close

    def cli(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "headway", *words], env=self.env, cwd=self.work, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def json(self, *words: str) -> Any:
        out, err = (process := self.cli(*words, "--json")).communicate(timeout=120)
        assert process.returncode == 0, err
        return json.loads(out)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    up.start()
    yield up
    up.cli("down").communicate(timeout=60)
    up.close()


def test_twenty_kills_of_headway_up(up: Up) -> None:
    """Two people follow a script and a notebook in their terminals. They notice nothing, and each run happened once."""
    up.json("project", "create", "Long")
    ticking = "import time\nfor i in range({n}):\n    print('tick', i, flush=True)\n    time.sleep(0.06)\n"
    once = "_ = open('once', 'a').write('x')"
    (up.work / "t.py").write_text(ticking.format(n=TICKS) + once)
    book = new_notebook(cells=[new_code_cell(source) for source in (*[ticking.format(n=TICKS // 2)] * 2, once)])
    nbformat.write(book, up.work / "n.ipynb")
    script, notebook = up.cli("run", "t.py"), up.cli("run", "n.ipynb")
    runs = up.home / "runs"

    def told(file: str, mark: bytes) -> int:
        return max((count(path, mark) for path in runs.glob(f"*/a1/{file}")), default=0)

    for target in range(5, 105, 5):
        wait(
            lambda target=target: (
                told("output.log", b"tick") >= target or told("events.jsonl", b'"text": "tick') >= target
            ),
            f"tick {target}",
        )
        up.kill()
        up.start()
    expected = "".join(f"tick {i}\n" for i in range(TICKS))
    half = "".join(f"tick {i}\n" for i in range(TICKS // 2))
    for follower, shown in ((script, expected), (notebook, half * 2)):
        out, err = follower.communicate(timeout=120)
        assert follower.returncode == 0, err
        assert out == shown
    found = up.json("runs", "list")["runs"]
    assert [one["status"] for one in found] == ["finished"] * 2
    for one in found:
        place = runs / one["run_id"] / "a1"
        assert (place / "work" / "once").read_text() == "x"
        assert json.loads((place / "process.json").read_text())["starts"] == 1
        assert not (runs / one["run_id"] / "a2").exists()
        if (place / "out.ipynb").exists():
            cells = json.loads((place / "out.ipynb").read_text())["cells"]
            assert ["".join(o["text"] for o in cell["outputs"]) for cell in cells[:2]] == [half] * 2
        else:
            assert (place / "output.log").read_text() == expected


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
