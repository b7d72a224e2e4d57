"""Tracking beside `mlflow server`, in one run: start, memory, logging, search, charts. Prints ratios.

    python bench/tracking.py [--runs 10000] [--points 1000000] [--rounds 3] [--only headway,mlflow,mlflow-1] [--json FILE]

`mlflow` is `mlflow server` as it comes, `mlflow-1` is `--workers 1` (with more, each keep-alive answer of its uvicorn waits
some 40 ms for a delayed acknowledgement, which is not work). All use SQLite in a fresh folder. Calls go through the official
client where a user's would (`client`), and over plain HTTP until the last byte where a page's would (`http`). Servers take turns
within each round, so that a noisy neighbour meets all; medians are printed, and the server's own CPU time, the steadiest figure.
No two searches of a round ask for the same.

Both are filled with the same runs. headway is filled over its REST API. mlflow takes some 6 runs a second that way, so its
database is written directly (the tables its own store writes); its long series likewise. Every answer is checked: the page
of a search must name the same runs in the same order on all servers, a chart must have about 1,000 points. A chart is asked for
in three ways: as the first one since the server began, after a write to its run, and again as it was asked before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import starting
from starting import free_port, launch

API = "/api/2.0/mlflow/"
FILTER, ORDER = "metrics.acc > 0.9 and params.lr = '0.01'", ["metrics.acc DESC"]
EPOCH = 1_700_000_000_000
LEAST_S = 0.5
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One server under test."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    start_s: float
    token: str = ""
    experiment: str = ""
    series_run: str = ""
    found: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    def http(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=600)

    def client(self) -> Any:
        from mlflow import MlflowClient

        os.environ["MLFLOW_TRACKING_TOKEN"] = self.token
        return MlflowClient(tracking_uri=self.url)

    def tree(self) -> list[int]:
        """The process and all below it."""
        below: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    below.setdefault(parent, []).append(int(entry.name))
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += below.get(pid, [])
        return found

    def cpu_s(self) -> float:
        total = 0.0
        for pid in self.tree():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(map(int, fields[11:13])) / TICK
        return total

    def memory_mb(self) -> tuple[float, float, int]:
        """(resident, proportional, processes): a page shared by several processes counts in full, or in parts."""
        rss = pss = count = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    rss += int(line.split()[1]) if line.startswith("Rss:") else 0
                    pss += int(line.split()[1]) if line.startswith("Pss:") else 0
                count += 1
        return rss / 1024, pss / 1024, count

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def start(name: str, folder: Path) -> Server:
    """Start a server and wait until it answers."""
    home, port = folder / name, free_port()
    home.mkdir()
    env = os.environ | starting.QUIET
    ours = name == "headway"
    argv = starting.headway(home, port) if ours else starting.mlflow(home, port, one_worker=name == "mlflow-1")
    url = f"http://127.0.0.1:{port}"
    process, seconds = launch(argv, env, home, url)
    server = Server(name, url, process, home, seconds)
    if ours:
        server.token = json.loads((home / "cli.json").read_text())["token"]
    return server


# ------------------------------------------------------------------ filling
def run_of(i: int) -> tuple[dict[str, str], dict[str, float]]:
    """The parameters and metrics of run `i`: 20 and 20, the same for every server."""
    rng = random.Random(i)
    params = {f"p{j}": f"v{rng.randrange(50)}" for j in range(19)} | {"lr": rng.choice(["0.1", "0.01", "0.001"])}
    metrics = {f"m{j}": round(rng.gauss(0, 1), 6) for j in range(19)} | {"acc": round(rng.random(), 6)}
    return params, metrics


def point(j: int) -> float:
    return math.sin(j / 1e4) + 1


def fill(server: Server, runs: int, points: int) -> float:
    """Put the same runs and one long series into a server; returns the seconds it took."""
    began = time.perf_counter()
    with server.http() as http:
        if server.name == "headway":
            http.post("/api/v1/projects", json={"name": "Bench"}).raise_for_status()
        made = _ok(http.post(API + "experiments/create", json={"name": "bench"}))
        server.experiment = made["experiment_id"]
        if server.name == "headway":
            _fill_http(server, http, runs, points)
        else:
            _fill_sql(server, runs, points)
    return time.perf_counter() - began


def _fill_http(server: Server, http: httpx.Client, runs: int, points: int) -> None:
    def create(body: dict[str, Any]) -> str:
        answer = http.post(API + "runs/create", json={"experiment_id": server.experiment} | body).raise_for_status()
        return str(answer.json()["run"]["info"]["run_id"])

    for i in range(runs):
        params, metrics = run_of(i)
        run = create({"start_time": EPOCH + i * 1000, "run_name": f"run-{i:06d}"})
        body = {
            "run_id": run,
            "params": [{"key": k, "value": v} for k, v in params.items()],
            "metrics": [{"key": k, "value": v, "timestamp": EPOCH + i, "step": 0} for k, v in metrics.items()],
        }
        http.post(API + "runs/log-batch", json=body).raise_for_status()
        http.post(API + "runs/update", json={"run_id": run, "status": "FINISHED", "end_time": EPOCH + i * 1000 + 1})
    server.series_run = create({"start_time": 1, "run_name": "long"})
    for start_ in range(0, points, 1000):
        metrics_ = [
            {"key": "loss", "value": point(j), "timestamp": EPOCH + j, "step": j} for j in range(start_, start_ + 1000)
        ]
        answer = http.post(API + "runs/log-batch", json={"run_id": server.series_run, "metrics": metrics_})
        answer.raise_for_status()


def _fill_sql(server: Server, runs: int, points: int) -> None:
    number = int(server.experiment)
    with contextlib.closing(sqlite3.connect(server.folder / "mlflow.db", timeout=60)) as db:

        def put(table: str, rows: Iterator[dict[str, Any]]) -> None:
            batch: list[dict[str, Any]] = []
            for row in rows:
                batch.append(row)
                if len(batch) == 5000:
                    _insert(db, table, batch)
                    batch = []
            _insert(db, table, batch)

        ids = [uuid.uuid4().hex for _ in range(runs + 1)]
        server.series_run = ids[-1]

        def run_rows() -> Iterator[dict[str, Any]]:
            for i, run in enumerate(ids):
                began = EPOCH + i * 1000 if i < runs else 1
                yield {"run_uuid": run, "name": f"run-{i:06d}", "source_type": "UNKNOWN", "source_name": "",
                       "entry_point_name": "", "user_id": "bench", "status": "FINISHED", "start_time": began,
                       "end_time": began + 1, "source_version": "",
                       "lifecycle_stage": "active", "experiment_id": number,
                       "artifact_uri": f"mlflow-artifacts:/{number}/{run}/artifacts"}  # fmt: skip

        def metric_rows() -> Iterator[dict[str, Any]]:
            for i, run in enumerate(ids[:-1]):
                for key, value in run_of(i)[1].items():
                    yield {"key": key, "value": value, "timestamp": EPOCH + i, "step": 0, "is_nan": 0, "run_uuid": run}

        def series_rows(of: range) -> Iterator[dict[str, Any]]:
            for j in of:
                yield {
                    "key": "loss",
                    "value": point(j),
                    "timestamp": EPOCH + j,
                    "step": j,
                    "is_nan": 0,
                    "run_uuid": ids[-1],
                }

        put("runs", run_rows())
        put(
            "params",
            ({"key": k, "value": v, "run_uuid": r} for i, r in enumerate(ids[:-1]) for k, v in run_of(i)[0].items()),
        )
        put("metrics", metric_rows())
        put("latest_metrics", metric_rows())
        put("tags", ({"key": "mlflow.runName", "value": f"run-{i:06d}", "run_uuid": r} for i, r in enumerate(ids)))
        put("metrics", series_rows(range(points)))
        put("latest_metrics", series_rows(range(points - 1, points)))
        db.execute("ANALYZE")
        db.commit()


def _insert(db: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        marks = ", ".join(f":{name}" for name in names)
        db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
        db.commit()


# ------------------------------------------------------------------ measuring
def timed(server: Server, what: str, work: Callable[[], Any], count: int) -> Any:
    """Run `work` at least `count` times and for `LEAST_S` (the kernel counts CPU time in ticks of 10 ms); its durations and the
    server's CPU time are noted under `what`. Returns its last answer."""
    work()
    before, answer, start_, done = server.cpu_s(), None, time.perf_counter(), 0
    while done < count or time.perf_counter() - start_ < LEAST_S:
        answer = once(server, what, work)
        done += 1
    server.cpu[what] = server.cpu.get(what, 0.0) + (server.cpu_s() - before) * 1e3
    return answer


def once(server: Server, what: str, work: Callable[[], Any]) -> Any:
    """The answer of `work`; how long it took is noted."""
    began = time.perf_counter()
    answer = work()
    server.found.setdefault(what, []).append((time.perf_counter() - began) * 1e3)
    return answer


def measure(server: Server, runs: int, points: int) -> dict[str, Any]:
    """One round. Returns what must be equal on all servers."""
    from mlflow.entities import Metric

    client = server.client()
    run = client.create_run(server.experiment, start_time=2, tags={"bench": "1"}).info.run_id
    count = iter(range(10**9))
    batch = [Metric(f"b{j % 10}", j * 0.5, EPOCH + j, j) for j in range(1000)]
    timed(server, "log_metric, client", lambda: client.log_metric(run, "m", 1.5, step=next(count)), 60)
    timed(server, "log_batch of 1,000, client", lambda: client.log_batch(run, metrics=batch), 6)
    timed(server, "get_run, client", lambda: client.get_run(run), 30)
    search = {"experiment_ids": [server.experiment], "filter": FILTER, "order_by": ORDER, "max_results": 100}
    other = iter(range(10**9))

    def next_search() -> dict[str, Any]:
        return search | {"filter": f"metrics.acc > {0.9 - next(other) / 1e3:.3f} and params.lr = '0.01'"}

    latest = {"experiment_ids": [server.experiment], "max_results": 100}
    chart: dict[str, Any] = {"run_ids": server.series_run, "metric_key": "loss", "max_results": 1000}
    with server.http() as http:
        timed(
            server,
            f"search of {runs:,} runs, http",
            lambda: _got(http.post(API + "runs/search", json=next_search())),
            8,
        )
        timed(server, "latest 100 runs, http", lambda: _got(http.post(API + "runs/search", json=latest)), 8)
        found = _ok(http.post(API + "runs/search", json=search))
        path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
        what, draw = f"chart of {points:,} points", lambda: _got(http.get(path, params=chart))
        if f"{what}, first, http" not in server.found:  # nothing of the series was read since the server began
            once(server, f"{what}, first, http", draw)
        for n in range(3):  # nothing that was kept of its last answer holds any more
            tag = {"run_id": server.series_run, "key": "note", "value": str(n)}
            http.post(API + "runs/set-tag", json=tag).raise_for_status()
            once(server, f"{what}, after a write to its run, http", draw)
        timed(server, f"{what}, asked again, http", draw, 3)
        drawn = _ok(http.get(path, params=chart))
    timed(server, f"search of {runs:,} runs, client",
          lambda: client.search_runs([server.experiment], FILTER, order_by=ORDER, max_results=100), 4)  # fmt: skip
    client.delete_run(run)
    names = [one["info"]["run_name"] for one in found["runs"]]
    return {"search": names, "points": min(1000, len(drawn["metrics"]))}


def _got(answer: httpx.Response) -> bytes:
    """What came over the wire. What it costs the asker to read the JSON is not the server's."""
    return answer.raise_for_status().content


def _ok(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()


def expected(runs: int) -> list[str]:
    """The names that the search must find, worked out without any server."""
    found = [(i, m["acc"]) for i in range(runs) for p, m in [run_of(i)] if m["acc"] > 0.9 and p["lr"] == "0.01"]
    return [f"run-{i:06d}" for i, _ in sorted(found, key=lambda one: -one[1])[:100]]


def report(
    servers: list[Server], memory: dict[str, tuple[float, float, int]], filled: dict[str, float]
) -> dict[str, Any]:
    """Print the table; returns it for `--json`."""
    first, others = servers[0], servers[1:]
    rows: list[tuple[str, dict[str, float], str]] = [
        ("start until /health", {s.name: s.start_s * 1e3 for s in servers}, "ms"),
        ("resident memory", {s.name: memory[s.name][0] for s in servers}, "MB"),
        ("proportional memory", {s.name: memory[s.name][1] for s in servers}, "MB"),
    ]
    for what in first.found:
        rows.append((what, {s.name: statistics.median(s.found[what]) for s in servers}, "ms"))
        if what in first.cpu:
            rows.append(("  server CPU a call", {s.name: s.cpu[what] / len(s.found[what]) for s in servers}, "ms"))
    print(f"\n{'':60s}" + "".join(f"{s.name:>16s}" for s in servers) + "".join(f"{'÷ ' + s.name:>14s}" for s in others))
    for label, values, unit in rows:
        line = "".join(f"{values[s.name]:>13.1f} {unit}" for s in servers)
        ratios = "".join(f"{values[s.name] / max(values[first.name], 0.05):>13.1f}x" for s in others)
        print(f"{label:60s}{line}{ratios}")
    processes = ", ".join(f"{name} {m[2]}" for name, m in memory.items())
    seconds = ", ".join(f"{name} {s:.0f}" for name, s in filled.items())
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"\nprocesses: {processes}; filled in s: {seconds}; {load}")
    table: dict[str, Any] = {}
    last = ""
    for label, values, unit in rows:
        key = f"{last}: {label.strip()}" if label.startswith(" ") else label
        last = last if label.startswith(" ") else label
        table[f"{key} ({unit})"] = values
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="headway,mlflow,mlflow-1")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}
    folder = Path(tempfile.mkdtemp(prefix="bench-tracking-"))
    servers: list[Server] = []
    try:
        for name in args.only.split(","):
            servers.append(start(name, folder))
        filled = {s.name: fill(s, args.runs, args.points) for s in servers}
        time.sleep(5)  # headway folds what was just logged; mlflow has nothing to do
        memory = {s.name: s.memory_mb() for s in servers}
        wanted = expected(args.runs)
        for _ in range(args.rounds):
            for server in servers:
                answers = measure(server, args.runs, args.points)
                if answers["search"] != wanted or answers["points"] < min(900, args.points):
                    pairs = enumerate(zip(answers["search"], wanted, strict=False))
                    wrong = [(at, got, want) for at, (got, want) in pairs if got != want]
                    what = f"{len(answers['search'])} runs for {len(wanted)}, differences {wrong[:3]}"
                    raise SystemExit(f"{server.name} answered wrongly: {what}; {answers['points']} points")
        table = report(servers, memory, filled)
        if args.json:
            args.json.write_text(json.dumps(table, indent=1))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
