"""What capture costs a program: paired, interleaved runs of the same program plainly, under capture, and under mlflow.autolog().

    python bench/overhead.py [--rounds 7] [--only TEXT] [--seconds 8] [--json FILE]

Each round runs every way once, in an order that turns, so that what else the machine does falls on all of them alike. CPU is
that of the program's process alone (user and system); the shipper is another process, and has a line of its own. mlflow logs to
a SQLite file that was made before, with `log_models=False`. Without mlflow in this interpreter its lines are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

SOURCE = Path(__file__).resolve().parent.parent / "src"
START = """import os, sys
if os.environ.get("HEADWAY_SPOOL"):
    sys.path.append(os.environ["HEADWAY_RUNTIME"])
    import headway.boot
    headway.boot.boot()
elif os.environ.get("BENCH_AUTOLOG"):
    import mlflow
    mlflow.autolog(log_models=False, silent=True)
"""
PROGRAMS = {
    "nothing": "pass\n",
    "100,000 prints": "for step in range(100_000):\n    loss = 1 / (step + 1)\n    print(step, loss)\n",
    "1,000,000 prints": "for step in range(1_000_000):\n    loss = 1 / (step + 1)\n    print(step, loss)\n",
    "5 fits of scikit-learn": """
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score
X, y = load_digits(return_X_y=True)
for n in range(5):
    model = RidgeClassifier(alpha=1 + n).fit(X, y)
    print("accuracy", accuracy_score(y, model.predict(X)))
""",
    "a long loop": """
import os, time
import numpy as np
rng = np.random.default_rng(0)
w, X = np.zeros(400), rng.normal(size=(400, 400))
rate, step = 0.001, 0
end = time.process_time() + float(os.environ["BENCH_SECONDS"])
losses = []
steps = 0
while time.process_time() < end:
    for _ in range(20):
        error = X @ w - 1
        w -= rate * X.T @ error / 400
    loss = float((error ** 2).mean())
    losses.append(loss)
    steps += 1
    if steps % 10 == 0:
        print(f"step {steps} loss {loss:.5f}")
import sys
sys.stderr.write(f"steps {steps}\\n")
""",
}


@dataclass
class Cost:
    """One run: seconds of processor and of the clock, MiB at its highest, and steps done in a fixed time (0: no such program)."""

    cpu: float
    wall: float
    memory: float
    steps: int


def run(program: Path, way: str, folder: Path, seconds: float) -> Cost:
    spool = folder / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON", "MLFLOW", "BENCH"))}
    env |= {
        "PYTHONPATH": str(folder / "site"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "BENCH_SECONDS": str(seconds),
    }
    if way == "capture":
        env |= {"HEADWAY_SPOOL": str(spool), "HEADWAY_RUNTIME": str(SOURCE)}
    elif way == "autolog":
        env |= {
            "BENCH_AUTOLOG": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
    with (folder / "err").open("wb") as err, Path(os.devnull).open("wb") as out:
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, str(program)], env=env, cwd=folder, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "err").read_text(errors="replace")
    if child.returncode:
        raise SystemExit(f"{program.name} under {way} ended with {child.returncode}:\n{text[-2000:]}")
    steps = int(text.rsplit("steps ", 1)[1].split()[0]) if "steps " in text else 0
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, steps)


@contextmanager
def server(answer_s: float) -> Iterator[str]:
    """A server that takes its time over every answer, and then says 503: a tracking server in trouble."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(answer_s)
            self.send_response(503)
            self.end_headers()

        do_GET = do_PUT = do_PATCH = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def shipping(folder: Path, program: Path, url: str) -> dict[str, float]:
    """The same program with a shipper beside it: the program's processor time, and the shipper's."""
    spool = folder / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON", "BENCH"))}
    ours = {"HEADWAY_SPOOL": str(spool), "HEADWAY_RUNTIME": str(SOURCE), "HEADWAY_URL": url, "HEADWAY_RUN": "r"}
    side = subprocess.Popen(
        [sys.executable, "-S", "-m", "headway.capture.shipper", "--spool", str(spool), "--patience", "0"],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env | ours | {"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    theirs = env | ours | {"PYTHONPATH": str(folder / "site"), "BENCH_SECONDS": "4"}
    child = subprocess.Popen([sys.executable, str(program)], env=theirs, cwd=folder, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
    began = time.perf_counter()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert side.stdin is not None
    side.stdin.close()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    side.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = sum(path.stat().st_size for path in spool.glob("facts.*.jsonl"))
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "facts": facts,
            "shipper": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}  # fmt: skip


def measure(
    name: str, program: Path, ways: list[str], folder: Path, rounds: int, seconds: float
) -> dict[str, dict[str, float]]:
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for way in ways:
        run(program, way, folder, min(seconds, 1))  # what is compiled and cached at a first run
    for number in range(rounds):
        turned = ways[number % len(ways) :] + ways[: number % len(ways)]
        for way in turned:
            costs[way].append(run(program, way, folder, seconds))
    found = {}
    for way, seen in costs.items():
        found[way] = {
            field: statistics.median(getattr(c, field) for c in seen) for field in ("cpu", "wall", "memory", "steps")
        }
        pairs = [(c.cpu - p.cpu, c.wall - p.wall) for c, p in zip(seen, costs["plain"], strict=True)]
        found[way] |= {
            "more_cpu": statistics.median(p[0] for p in pairs),
            "more_wall": statistics.median(p[1] for p in pairs),
        }
    _show(name, found)
    return found


def _show(name: str, found: dict[str, dict[str, float]]) -> None:
    plain = found["plain"]
    for way, cost in found.items():
        more = (
            ""
            if way == "plain"
            else f"  cpu {1000 * cost['more_cpu']:+8.1f} ms  wall {1000 * cost['more_wall']:+8.1f} ms"
        )
        if way != "plain":
            share = plain["steps"] / cost["steps"] - 1 if cost["steps"] else cost["more_cpu"] / plain["cpu"]
            more += f"  {100 * share:+6.1f} %  memory {cost['memory'] - plain['memory']:+6.1f} MiB"
        print(
            f"{name:24} {way:8} cpu {1000 * cost['cpu']:8.1f} ms  wall {1000 * cost['wall']:8.1f} ms{more}", flush=True
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=8.0, help="processor seconds of the long loop")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ways = ["plain", "capture"] + (["autolog"] if importlib.util.find_spec("mlflow") else [])
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="headway-overhead-") as name:
        folder = Path(name)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(START)
        for title, source in PROGRAMS.items():
            program = folder / f"{'_'.join(title.replace(',', '').split())}.py"
            program.write_text(source)
            if options.only in title:
                rounds = options.rounds if title in ("nothing", "100,000 prints") else min(3, options.rounds)
                results[title] = measure(title, program, ways, folder, rounds, options.seconds)
        if options.only in "a slow server":
            loop = folder / "a_long_loop.py"
            for label, seconds in (("a server that is dead", 0.0), ("a slow server", 2.0)):
                with server(seconds) as url:
                    told = shipping(folder, loop, url if seconds else "http://127.0.0.1:9")
                results[label] = told
                kept = f"{told['facts'] / 1024:.0f} KiB of facts kept, shipper {1000 * told['shipper']:.0f} ms of CPU"
                print(f"{label:24} cpu {1000 * told['cpu']:8.1f} ms  wall {1000 * told['wall']:8.1f} ms  {kept}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
