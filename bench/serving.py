"""One model, three servers, side by side in one run: `mlflow models serve`, a bare FastAPI app, and headway.

    python bench/serving.py [--rounds 3] [--seconds 4] [--connections 1,16,64] [--json FILE]

headway is measured through its gateway with the key check and the prediction log on. The model is scikit-learn's
GradientBoostingClassifier (100 trees) on breast_cancer, 30 named columns; a request is one row in MLflow's
`dataframe_split`; `rows=1000` sends a thousand. The servers take turns within each round, so that a noisy neighbour
meets all; medians and ratios are printed. Needs `wrk`, mlflow, fastapi and scikit-learn; listens on loopback only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starting import free_port

KEY = "hw_bench"
GOALS = {("mlflow", 64): 400, ("fastapi", 64): 24, ("mlflow", 1): 16, ("fastapi", 1): 1.5}
LUA = """
wrk.method = "POST"
local file = io.open("%(body)s", "rb"); wrk.body = file:read("*a"); file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(key)s"
done = function(summary, latency)
  io.write(string.format('\\n@@{"requests":%%d,"us":%%d,"p50":%%f,"p99":%%f,"bad":%%d}\\n', summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.errors.status + summary.errors.connect
    + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
FASTAPI = """
import os, warnings
import joblib, numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

warnings.simplefilter("ignore")
model = joblib.load(os.environ["MODEL"])

class Split(BaseModel):
    columns: list[str]
    data: list[list[float]]

class Body(BaseModel):
    dataframe_split: Split

app = FastAPI()

@app.post("/invocations")
def invocations(body: Body):
    split = body.dataframe_split
    order = [split.columns.index(c) for c in model.feature_names_in_]
    return {"predictions": model.predict(np.asarray(split.data)[:, order]).tolist()}
"""


@dataclass
class Server:
    """One contestant: its address, and the processes whose CPU time counts as its own."""

    name: str
    url: str
    pids: list[int]
    start_s: float


def prepare(folder: Path) -> None:
    """Trains the model and saves it for each server, and the request bodies."""
    import joblib
    import mlflow
    import sklearn
    from mlflow.models import infer_signature
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    from headway import bundle

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = GradientBoostingClassifier(random_state=0).fit(X, y)
    signature = infer_signature(X, model.predict(X))
    mlflow.sklearn.save_model(model, str(folder / "mlflow"), signature=signature, serialization_format="cloudpickle")
    joblib.dump(model, folder / "model.joblib")
    flavors = bundle.flavors("sklearn", "model.pkl", version=sklearn.__version__, python=sys.version.split()[0])
    manifest = bundle.Manifest(flavors, bundle.infer(X, model.predict(X)))

    def save(into: Path) -> None:
        shutil.copy(folder / "mlflow" / "model.pkl", into / "model.pkl")

    bundle.write(folder / "bundle", manifest, save, examples=bundle.record(X, model.predict(X)))
    (folder / "app.py").write_text(FASTAPI)
    rows = X.to_numpy().tolist() * 2
    for count in (1, 1000):
        body = {"dataframe_split": {"columns": list(X.columns), "data": rows[:count]}}
        (folder / f"rows{count}.json").write_text(json.dumps(body))
        (folder / f"rows{count}.lua").write_text(LUA % {"body": folder / f"rows{count}.json", "key": KEY})


def start(folder: Path, processes: list[subprocess.Popen[bytes]]) -> list[Server]:
    """Starts the three; gives them once each has answered a request."""
    ports = [free_port() for _ in range(3)]
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MODEL": str(folder / "model.joblib"),
    }
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    python = sys.executable

    def run(*argv: str) -> int:
        log = (folder / "servers.log").open("ab")
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True, cwd=folder)
        processes.append(process)
        return process.pid

    def mlflow() -> list[int]:
        model = str(folder / "mlflow")
        return [
            run(
                "mlflow",
                "models",
                "serve",
                "-m",
                model,
                "-h",
                "127.0.0.1",
                "-p",
                str(ports[0]),
                "--env-manager",
                "local",
            )
        ]

    def fastapi() -> list[int]:
        where = ("--app-dir", str(folder), "--port", str(ports[1]), "--no-access-log", "--log-level", "warning")
        return [run(python, "-m", "uvicorn", *where, "app:app")]

    def headway() -> list[int]:
        home = folder / "home"
        write_routes(home)
        replica = run(
            python, "-m", "headway.modelserver", "serve", "--socket", str(home / "r1"), str(folder / "bundle")
        )
        return [replica, run(python, "-m", "headway.deployments.gateway", "--home", str(home), "--port", str(ports[2]))]

    paths = ["/invocations", "/invocations", "/endpoints/bench/model/invocations"]
    found = []
    for name, begin, port, path in zip(
        ("mlflow", "fastapi", "headway"), (mlflow, fastapi, headway), ports, paths, strict=True
    ):
        found.append(begin_one(name, begin, f"http://127.0.0.1:{port}{path}", folder))
    return found


def write_routes(home: Path) -> None:
    from headway.deployments.snapshot import write_atomic
    from headway.deployments.traffic import WHOLE, Endpoint, Key, Replica, Revision, Routes

    revision = Revision(1, WHOLE, (Replica("r1", str(home / "r1")),))
    endpoint = Endpoint("e1", "bench", "model", (revision,))
    key = Key("k1", frozenset({"e1"}))
    routes = Routes(1, {"bench/model": endpoint}, {hashlib.sha256(KEY.encode()).hexdigest(): key})
    write_atomic(home / "gateway" / "routes.json", routes.to_json())


def begin_one(name: str, begin: Callable[[], list[int]], url: str, folder: Path) -> Server:
    started = time.perf_counter()
    pids = begin()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, (folder / "rows1.json").read_bytes(), headers)
    answer = None
    while time.perf_counter() - started < 120:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
                break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    if answer is None or answer["predictions"] != [0]:
        raise SystemExit(f"{name} did not answer as it should: {answer}; see {folder}/servers.log")
    return Server(name, url, pids, time.perf_counter() - started)


def tree(pids: list[int]) -> list[int]:
    """The processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = list(pids)
    while todo:
        found.append(pid := todo.pop())
        todo += children.get(pid, [])
    return found


def cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in tree(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: list[int]) -> float:
    """Proportional set size: pages that processes share are counted once."""
    total = 0
    for pid in tree(pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(server: Server, connections: int, seconds: int, folder: Path, rows: int) -> dict[str, float]:
    before = cpu_s(server.pids)
    threads = 1 if connections < 16 else 2
    argv = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s"]
    argv += ["-s", str(folder / f"rows{rows}.lua"), server.url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("@@"))[2:])
    cpu = cpu_s(server.pids) - before
    rate = told["requests"] / (told["us"] / 1e6)
    return {
        "rate": rate,
        "p50": told["p50"],
        "p99": told["p99"],
        "bad": told["bad"],
        "cpu_us": cpu / max(1, told["requests"]) * 1e6,
    }


def report(results: dict[tuple[str, int, int], list[dict[str, float]]], servers: list[Server]) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = []
    print(
        f"\n{'':9}{'rows':>5}{'conn':>6}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>9}{'bad':>5}   headway is (rounds)"
    )
    for (name, rows, connections), found in results.items():
        middle = {k: statistics.median(f[k] for f in found) for k in found[0]}
        ours = results["headway", rows, connections]
        # A server that answered nothing in a round on a busy machine: the ratio is not a number then.
        ratios = [
            mine["rate"] / other["rate"] if other["rate"] else float("inf")
            for mine, other in zip(ours, found, strict=True)
        ]
        ratio = statistics.median(ratios)
        goal = GOALS.get((name, connections)) if rows == 1 else None
        told = "" if name == "headway" else f"{ratio:7.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"
        told += f"   goal {goal}x: {'met' if ratio >= goal else 'MISSED'}" if goal else ""
        print(
            f"{name:9}{rows:5}{connections:6}{middle['rate']:9.0f}{middle['p50']:9.2f}{middle['p99']:9.2f}"
            f"{middle['cpu_us']:9.0f}{middle['bad']:5.0f}   {told}"
        )
        table.append({"server": name, "rows": rows, "connections": connections, **middle, "ratio": ratio, "goal": goal})
    for server in servers:
        print(f"{server.name}: first answer after {server.start_s:.1f} s, {memory_mb(server.pids):.0f} MB (PSS)")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as name:
        folder = Path(name)
        prepare(folder)
        try:
            servers = start(folder, processes)
            results: dict[tuple[str, int, int], list[dict[str, float]]] = {}
            plan = [(1, int(c)) for c in args.connections.split(",")] + [(1000, 4)]
            for turn in range(args.rounds):
                print(f"round {turn + 1} of {args.rounds}", flush=True)
                for rows, connections in plan:
                    for server in servers:
                        measure(server, connections, 1, folder, rows)
                        found = measure(server, connections, args.seconds, folder, rows)
                        results.setdefault((server.name, rows, connections), []).append(found)
            table = report(results, servers)
            if args.json:
                args.json.write_text(json.dumps(table, indent=1))
        finally:
            for process in processes:
                try:
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait(timeout=10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
