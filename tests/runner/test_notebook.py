"""The notebook runner with real kernels: what it keeps, how it ends, and what happens when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from headway.runner.kernel import start_time

Json = dict[str, Any]


def notebook(cells: list[str | tuple[str, list[str]]]) -> Json:
    made = []
    for number, cell in enumerate(cells):
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        made.append({"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": tags} if tags else {}, "source": source,
                     "outputs": [], "execution_count": None})  # fmt: skip
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class Run:
    """A run folder and the runner on it."""

    def __init__(self, folder: Path, cells: list[str | tuple[str, list[str]]], **settings: object) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "in.ipynb").write_text(json.dumps(notebook(cells)))
        (folder / "run.json").write_text(json.dumps({"python": sys.executable, "cwd": str(folder)} | settings))

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "headway.runner.notebook", str(self.folder)]
        env = {
            name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"
        }  # ipykernel looks at it
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)

    def finish(self) -> int:
        runner = self.start()
        said, _ = runner.communicate(timeout=120)
        assert said == b"", said.decode()
        return runner.returncode

    @property
    def result(self) -> Json:
        return json.loads((self.folder / "result.json").read_text())

    @property
    def out(self) -> Json:
        text = (self.folder / "out.ipynb").read_text()
        nbformat.validate(nbformat.reads(text, as_version=4))
        return json.loads(text)

    def outputs(self, cell: int) -> list[Json]:
        return self.out["cells"][cell]["outputs"]

    def text(self, cell: int, name: str = "stdout") -> str:
        return "".join(output["text"] for output in self.outputs(cell) if output.get("name") == name)

    def wait_events(self, wanted: Callable[[bytes], bool], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                if wanted((self.folder / "events.jsonl").read_bytes()):
                    return
            except FileNotFoundError:
                pass
            assert time.monotonic() < until, "the log did not come that far"
            time.sleep(0.005)

    @property
    def kernel(self) -> Json:
        return json.loads((self.folder / "kernel.json").read_text())


def test_what_a_notebook_shows_is_kept(tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run",
        [
            "print('one')\nimport sys; print('two', file=sys.stderr)\n1 + 1",
            "from IPython.display import *\nhandle = display('first', display_id=True)\nHTML('<b>bold</b>')",
            "for i in range(100):\n    clear_output(wait=True)\n    print(i)",
            "handle.update('second')",
            "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()",
            "from tqdm import tqdm\nfor _ in tqdm(range(1000), mininterval=0): pass",
            "from tqdm.auto import tqdm\nfor _ in tqdm(range(10)): pass",
            "import os; os.system('echo from a child; echo oops >&2')\nprint('after')",
            ("1 / 0", ["raises-exception"]),
            ("print('never')", ["skip-execution"]),
            "",
            "print('x' * 3_000_000)",
        ],
    )
    assert run.finish() == 0
    assert run.result == {"status": "finished", "cause": "", "cell": None, "error": {}}
    assert [output["output_type"] for output in run.outputs(0)] == ["stream", "stream", "execute_result"]
    assert run.outputs(0)[2]["data"] == {"text/plain": "2"} and run.text(0, "stderr") == "two\n"
    assert run.outputs(1)[0]["data"] == {"text/plain": "'second'"}, "an update reaches a cell that is done"
    assert run.outputs(1)[1]["data"]["text/html"] == "<b>bold</b>"
    assert run.text(2) == "99\n" and len(run.outputs(2)) == 1
    assert run.outputs(4)[0]["data"]["image/png"].startswith("iVBOR")
    bar = run.text(5, "stderr")
    assert "100%" in bar and bar.count("\n") == 1 and len(bar) < 300
    widget = run.outputs(6)[0]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    states = run.out["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    children = states[widget]["state"]["children"]
    assert any(states[child[10:]]["state"].get("value") == 10.0 for child in children)
    assert "from a child" in run.text(7) and "after" in run.text(7)
    assert run.outputs(8)[0]["ename"] == "ZeroDivisionError"
    assert run.outputs(9) == [] and run.outputs(10) == []
    assert run.text(11) == "x" * 3_000_000 + "\n"
    assert max(map(len, (run.folder / "events.jsonl").read_bytes().splitlines())) < 400_000


@pytest.mark.parametrize(
    ("cells", "code", "status", "cause"),
    [
        (["x = 1", "raise ValueError('bad column\\nmore')"], 1, "failed", "ValueError: bad column in cell 2"),
        (["raise KeyError()"], 1, "failed", "KeyError in cell 1"),
        (["1 +"], 1, "failed", "SyntaxError: invalid syntax"),
        (["name = input('your name? ')"], 1, "failed", "nobody to answer input()"),
        (
            ["import os; print('before', flush=True)", "os.kill(os.getpid(), 9)"],
            3,
            "kernel_died",
            "(signal 9, SIGKILL) in cell 2",
        ),
        (["import os; os._exit(7)"], 3, "kernel_died", "ended by itself (exit code 7) in cell 1"),
    ],
)
def test_how_it_ends_is_told_in_words(tmp_path: Path, cells: list[str], code: int, status: str, cause: str) -> None:
    run = Run(tmp_path / "run", [*cells, "print('must not run')"])
    assert run.finish() == code
    assert run.result["status"] == status and cause in run.result["cause"]
    assert "must not run" not in json.dumps([cell["outputs"] for cell in run.out["cells"]])
    if status == "kernel_died" and len(cells) == 2:
        assert run.text(0) == "before\n"


def test_an_environment_that_cannot_run_notebooks(tmp_path: Path) -> None:
    run = Run(tmp_path / "a", ["1"], python="/nowhere/python")
    assert run.finish() == 2
    assert "can't be started: No such file or directory: /nowhere/python" in run.result["cause"]
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} -I -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    run = Run(tmp_path / "b", ["1"], python=str(tmp_path / "python"))
    assert run.finish() == 2
    assert run.result["cause"] == "the environment has no ipykernel; add ipykernel to it to run notebooks"


def test_a_cell_that_takes_too_long_is_interrupted_and_said(tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run", ["print('a')", "import time\nprint('b', flush=True)\ntime.sleep(600)"], cell_timeout_s=1.0
    )
    assert run.finish() == 124
    assert run.result["cause"] == "cell 2 ran longer than its 1 s"
    assert run.text(1) == "b\n" and run.outputs(1)[-1]["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_interrupt_keeps_what_there_is_and_leaves_nothing_behind(tmp_path: Path, stubborn: bool) -> None:
    source = "import signal, time\nprint('up', flush=True)\n"
    source += "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if stubborn else ""
    run = Run(tmp_path / "run", [source + "time.sleep(600)"])
    runner = run.start()
    run.wait_events(lambda log: b'"up' in log)
    kernel = run.kernel
    runner.send_signal(signal.SIGINT)
    if stubborn:
        runner.send_signal(signal.SIGTERM)
    runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert run.result["status"] == "interrupted" and run.text(0) == "up\n"
    assert start_time(kernel["pid"]) == 0 and not Path(kernel["sockets"]).exists()


TICKS = 8
TICKING = "import time\nfor i in range({ticks}):\n    print('{name}', i, flush=True)\n    time.sleep(0.05)"


def test_a_runner_killed_twenty_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    cells = [TICKING.format(name=f"cell{n}", ticks=25) for n in range(4)]
    run = Run(tmp_path / "run", [*cells, "count = globals().get('count', 0) + 1\nprint(count)"])
    kills = 0
    runner = run.start()
    for target in range(5, 105, 5):
        run.wait_events(lambda log, target=target: log.count(b'"text": "cell') >= target)
        assert runner.poll() is None
        runner.kill()
        runner.communicate()
        kills += 1
        before = run.kernel
        assert start_time(before["pid"]) == before["start"], "the kernel lives on"
        runner = run.start()
    runner.communicate(timeout=60)
    assert (kills, runner.returncode) == (20, 0)
    for number in range(4):
        assert run.text(number) == "".join(f"cell{number} {i}\n" for i in range(25))
    assert run.text(4) == "1\n"
    assert len((run.folder / "cursor.jsonl").read_text().splitlines()) == 5


def test_a_note_whose_request_never_left_is_sent_again(tmp_path: Path) -> None:
    """The crash between note and send, made exactly: the note is written by hand, for a kernel that waits."""
    run = Run(tmp_path / "run", ["open('ran', 'a').write('one ')", "open('ran', 'a').write('two ')"])
    source = (
        "import os, sys\nfrom pathlib import Path\nfrom headway.runner import kernel, notebook\n"
        "real, sent = kernel.Kernel.send, []\n"
        "def send(self, message, **more):\n"
        "    sent.append(message) if message['msg_type'] == 'execute_request' else None\n"
        "    if len(sent) == 2: os.kill(os.getpid(), 9)\n"
        "    real(self, message, **more)\n"
        "kernel.Kernel.send = send\n"
        f"notebook.execute(Path({str(run.folder)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == -9
    assert len((run.folder / "cursor.jsonl").read_text().splitlines()) == 2
    assert run.finish() == 0
    assert (run.folder / "ran").read_text() == "one two "


def test_the_same_message_twice_runs_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", ["open('ran', 'a').write('once ')", "print('end')"])
    source = (
        "from pathlib import Path\nfrom headway.runner import kernel, notebook\nreal = kernel.Kernel.send\n"
        "def send(self, message, **more):\n"
        "    real(self, message, **more)\n"
        "    real(self, message, **more) if message['msg_type'] == 'execute_request' else None\n"
        "kernel.Kernel.send = send\n"
        f"notebook.execute(Path({str(run.folder)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
    assert (run.folder / "ran").read_text() == "once "
    assert run.text(1) == "end\n"


def test_a_torn_note_and_a_torn_line_are_no_events(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", ["print('one')", TICKING.format(name="two", ticks=40)])
    runner = run.start()
    run.wait_events(lambda log: log.count(b'"text": "two') >= 3)
    runner.kill()
    runner.communicate()
    with (run.folder / "cursor.jsonl").open("ab") as file:
        file.write(b'{"cell": 2, "msg": {"hea')
    os.kill(run.kernel["pid"], signal.SIGKILL)
    with (run.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"k": "stream", "p": "')
    assert run.finish() == 3
    assert run.result["cause"] == "the kernel died in cell 2"
    assert run.text(0) == "one\n" and run.text(1).startswith("two 0\ntwo 1\ntwo 2\n")


def test_a_runner_on_a_finished_folder_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", ["1 / 0"])
    assert run.finish() == 1
    before = (run.folder / "out.ipynb").read_bytes()
    assert run.finish() == 1
    assert (run.folder / "out.ipynb").read_bytes() == before
    subprocess.run([sys.executable, "-m", "headway.runner.notebook", "--assemble", str(run.folder)], check=True)
    assert (run.folder / "out.ipynb").read_bytes() == before


def test_output_of_threads_and_forked_children_is_kept(tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run",
        [
            "import multiprocessing as mp, threading\n"
            "def say(n): print('child', n, flush=True)\n"
            "ctx = mp.get_context('fork')\nps = [ctx.Process(target=say, args=(n,)) for n in range(4)]\n"
            "for p in ps: p.start()\nfor p in ps: p.join()\n"
            "ts = [threading.Thread(target=lambda n=n: print('thread', n)) for n in range(4)]\n"
            "for t in ts: t.start()\nfor t in ts: t.join()",
        ],
    )
    assert run.finish() == 0
    said = "".join(f"child {n}\n" for n in range(4)) + "".join(f"thread {n}\n" for n in range(4))
    assert sorted(run.text(0)) == sorted(said), (
        "processes write at once, so pieces may stand in any order; none is missing"
    )


def test_200_mb_of_output_within_bounded_memory(tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run",
        ["line = 'x' * 99\nfor i in range(20):\n    print('\\n'.join([line] * 100_000))\nprint('END')"],
    )
    source = (
        "import sys\nfrom pathlib import Path\nfrom headway.runner.notebook import execute\n"
        f"code = execute(Path({str(run.folder)!r}))\n"
        # getrusage would do no good: it counts what the parent had when it forked
        "peak = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200
    assert (run.folder / "events.jsonl").stat().st_size > 200_000_000
    text = run.text(0)
    assert text.endswith("END\n") and "characters are left out here" in text and len(text) < 11_000_000
