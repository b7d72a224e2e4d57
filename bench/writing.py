"""Writing runs beside `mlflow server`, a server that answers nothing, and the trackers that write in process. One run, by turns.

    python bench/writing.py [--rounds 2] [--seconds 1.5] [--only headway,mlflow,mlflow-1,headway-pg,mlflow-pg] [--peers FOLDER]

`mlflow` is `mlflow server` as it comes (4 workers), `mlflow-1` is `--workers 1`: with more, each keep-alive answer of its uvicorn
waits some 40 ms for a delayed acknowledgement, which is no work. `-pg` are the same on a PostgreSQL that this script starts
(mlflow with one worker); the CPU time of PostgreSQL itself is in neither. `null` answers `{}` at once, over sockets with
TCP_NODELAY: what remains there is the client's own work, the floor of every row that says `client`. Rows that say `wire` are
requests over a plain socket, without MLflow's client. All calls are durable once answered, except where a peer says otherwise.

Servers take turns within each round, so a noisy neighbour meets all. Printed are medians, the server's CPU time a call (all
processes of the server, read from /proc; the steadiest figure), and ratios. At the end the histories are read back and counted:
a server that lost or doubled a point fails the run. Aim and trackio are installed into environments of their own (`--peers`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import starting
from starting import free_port, launch

from headway.sdk.client import Client
from headway.sdk.points import Columns
from headway.sdk.runs import Runs
from tracking import API, EPOCH, Server

KINDS = ("headway", "mlflow", "mlflow-1", "headway-pg", "mlflow-pg")
PAIRS = (("headway", "mlflow"), ("headway", "mlflow-1"), ("headway-pg", "mlflow-pg"))
BATCH, WRITERS = 1000, 16
SERIES, PIECE = 1_000_000, 50_000
NULL = """
import asyncio, sys
class Null(asyncio.Protocol):
    def connection_made(self, transport): self.out, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        while True:
            head, found, rest = self.data.partition(b"\\r\\n\\r\\n")
            if not found: return
            length = next((int(l.split(b":")[1]) for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length:")), 0)
            if len(rest) < length: return
            self.data = rest[length:]
            self.out.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Null, "127.0.0.1", int(sys.argv[1]))  # asyncio sets TCP_NODELAY on such sockets
    await server.serve_forever()
asyncio.run(main())
"""
AIM = """
import json, sys, tempfile, time
from aim import Run
n = int(sys.argv[1])
run = Run(repo=tempfile.mkdtemp(), system_tracking_interval=None, log_system_params=False)
run.track(0.5, name="warm", step=0)
began, cpu = time.perf_counter(), time.process_time()
for i in range(n): run.track(i * 0.5, name="m", step=i)
called = time.perf_counter() - began
run.close()
print(json.dumps({"call": called / n * 1e3, "all": time.perf_counter() - began, "cpu": (time.process_time() - cpu) / n * 1e3}))
"""
TRACKIO = """
import contextlib, json, os, sys, tempfile, time
os.environ["TRACKIO_DIR"] = tempfile.mkdtemp()
import trackio
n = int(sys.argv[1])
with contextlib.redirect_stdout(sys.stderr):
    trackio.init(project="bench")
    trackio.log({"warm": 0.5}, step=0)
    began, cpu = time.perf_counter(), time.process_time()
    for i in range(n): trackio.log({"m": i * 0.5}, step=i)
    called = time.perf_counter() - began
    trackio.finish()
    took, spent = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps({"call": called / n * 1e3, "all": took, "cpu": spent / n * 1e3}))
"""


# ------------------------------------------------------------------ servers
@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of our own on a UNIX socket; yields its URL with {name} for the database."""
    found = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if found is None:
        raise FileNotFoundError("PostgreSQL is not installed")
    place = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    as_user: list[str] = []
    if os.getuid() == 0:
        os.chown(place, pwd.getpwnam("postgres").pw_uid, -1)
        as_user = ["runuser", "-u", "postgres", "--"]
    run: dict[str, Any] = {"check": True, "cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*as_user, found / "initdb", "-D", place / "data", "-A", "trust", "-U", "bench"], **run)
    options = f"-k {place} -c listen_addresses=''"
    subprocess.run(
        [*as_user, found / "pg_ctl", "-D", place / "data", "-o", options, "-l", place / "log", "-w", "start"], **run
    )
    try:
        for kind in ("headway", "mlflow"):
            subprocess.run([found / "createdb", "-h", place, "-U", "bench", kind], **run)
        yield f"postgresql+psycopg://bench@/{{name}}?host={place}"
    finally:
        subprocess.run([*as_user, found / "pg_ctl", "-D", place / "data", "-m", "immediate", "stop"], **run)
        shutil.rmtree(place, ignore_errors=True)


def start(name: str, folder: Path, pg: str) -> Server:
    """Start a server and wait until it answers."""
    home, port = folder / name, free_port()
    home.mkdir()
    kind = name.removesuffix("-pg")
    env = os.environ | starting.QUIET
    argv: list[Any]
    if name == "null":
        argv = [sys.executable, "-c", NULL, port]
    elif kind == "headway":
        argv = starting.headway(home, port)
        env |= {"HEADWAY_DATABASE_URL": pg.format(name="headway")} if name != kind else {}
    else:
        store = pg.format(name="mlflow") if name.endswith("-pg") else ""
        argv = starting.mlflow(home, port, store=store, one_worker=name != "mlflow")
    url = f"http://127.0.0.1:{port}"
    process, seconds = launch(argv, env, home, url)
    server = Server(name, url, process, home, seconds)
    if kind == "headway":
        server.token = json.loads((home / "cli.json").read_text())["token"]
        with server.http() as http:
            http.post("/api/v1/projects", json={"name": "Bench"}).raise_for_status()
    if name != "null":
        with server.http() as http:
            server.experiment = http.post(API + "experiments/create", json={"name": "writing"}).json()["experiment_id"]
            server.series_run = make_run(server, http)
    return server


def make_run(server: Server, http: httpx.Client) -> str:
    answer = http.post(API + "runs/create", json={"experiment_id": server.experiment, "start_time": EPOCH})
    return str(answer.raise_for_status().json()["run"]["info"]["run_id"])


def remove(folder: Path) -> None:
    """Remove the homes; a gateway that outlived its server sees it, and ends, perhaps after one more file of its own."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(1)
        if not folder.exists():
            return


class Wire:
    """Requests over one plain socket."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._head = (
            f"Host: {host}:{port}\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        )
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""

    def post(self, what: str, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self._socket.sendall(
            f"POST {API}{what} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n".encode() + data
        )
        while b"\r\n\r\n" not in self._data:
            self._data += self._read()
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        length = next(int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:"))
        while len(self._data) < length:
            self._data += self._read()
        answer, self._data = self._data[:length], self._data[length:]
        if b" 200 " not in head[:15]:
            raise SystemExit(f"{what}: {head[:100]!r} {answer[:300]!r}")

    def _read(self) -> bytes:
        found = self._socket.recv(1 << 16)
        if not found:
            raise SystemExit("the server closed the connection")
        return found

    def close(self) -> None:
        self._socket.close()


# ------------------------------------------------------------------ measuring
class Bench:
    """What was measured: durations (ms) and CPU (ms a call) by row and server."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.times: dict[str, dict[str, list[float]]] = {}
        self.cpu: dict[str, dict[str, list[float]]] = {}
        self.counts: dict[str, int] = {}  # points that were logged as "m", by server

    def timed(self, server: Server, row: str, work: Callable[[int], Any], least: int = 5) -> int:
        """Call `work(i)` for some seconds, at least so often; returns how often."""
        work(-1)
        times = self.times.setdefault(row, {}).setdefault(server.name, [])
        before, began, count = server.cpu_s(), time.perf_counter(), 0
        while count < least or time.perf_counter() - began < self.seconds:
            at = time.perf_counter()
            work(count)
            times.append((time.perf_counter() - at) * 1e3)
            count += 1
        self.cpu.setdefault(row, {}).setdefault(server.name, []).append((server.cpu_s() - before) * 1e3 / count)
        return count + 1

    def client(self, server: Server, round_: int) -> None:
        """Calls through MLflow's own client."""
        from mlflow.entities import Metric

        client = server.client()
        run = server.series_run or "0" * 32
        base = (round_ + 1) * 1_000_000
        logged = self.timed(server, "log_metric, client", lambda i: client.log_metric(run, "m", 0.5, EPOCH, base + i))
        self.counts[server.name] = self.counts.get(server.name, 0) + logged
        self.timed(server, "log_param, client", lambda i: client.log_param(run, f"p{i % 50}", "v"))
        self.timed(server, "set_tag, client", lambda i: client.set_tag(run, f"t{i % 50}", str(i)))
        batch = [Metric(f"b{j % 10}", j * 0.5, EPOCH + j, j) for j in range(BATCH)]
        self.timed(server, "log_batch of 1,000, client", lambda _: client.log_batch(run, metrics=batch))
        if server.name == "null":
            return
        self.timed(server, "get_run, client", lambda _: client.get_run(run))

        def whole(_: int) -> None:
            made = client.create_run(server.experiment).info.run_id
            client.log_batch(made, metrics=batch[:5])
            client.set_terminated(made)

        self.timed(server, "create_run, log_batch of 5, end, client", whole)

    def wire(self, server: Server, round_: int) -> None:
        """log_metric over plain sockets: one, then sixteen at once."""
        line, base = Wire(server), (round_ + 1) * 1_000_000

        def body(step: int, key: str = "w") -> dict[str, Any]:
            return {"run_id": server.series_run, "key": key, "value": 0.5, "timestamp": EPOCH, "step": step}

        self.timed(server, "log_metric, wire", lambda i: line.post("runs/log-metric", body(base + i)))
        line.close()
        stop, counts = threading.Event(), [0] * WRITERS

        def write(number: int) -> None:
            mine = Wire(server)
            while not stop.is_set():
                mine.post("runs/log-metric", body(base + counts[number], f"w{number}"))
                counts[number] += 1
            mine.close()

        before, began = server.cpu_s(), time.perf_counter()
        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        time.sleep(self.seconds)
        stop.set()
        for thread in threads:
            thread.join()
        total, row = sum(counts), f"{WRITERS} writers at once, ms a call, wire"
        self.times.setdefault(row, {}).setdefault(server.name, []).append((time.perf_counter() - began) * 1e3 / total)
        self.cpu.setdefault(row, {}).setdefault(server.name, []).append((server.cpu_s() - before) * 1e3 / total)

    def sdk(self, server: Server) -> None:
        """Our own SDK: one point a call, and a million in columns."""
        with server.http() as http:
            run = make_run(server, http)
        runs = Runs(Client(server.url, server.token), "bench")
        self.timed(server, "log one point, our SDK", lambda i: runs.log(run, {"m": 0.5}, step=i))
        rng = random.Random(1)
        values = [rng.gauss(0, 1) for _ in range(PIECE)]
        before, began = server.cpu_s(), time.perf_counter()
        for at in range(0, SERIES, PIECE):
            steps = range(at, at + PIECE)
            if runs.log_series(run, {"loss": Columns(steps, range(EPOCH + at, EPOCH + at + PIECE), values)}) != PIECE:
                raise SystemExit(f"{server.name} did not take all points")
        took = time.perf_counter() - began
        row = f"{SERIES:,} points in columns, our SDK, µs a point"
        self.times.setdefault(row, {}).setdefault(server.name, []).append(took * 1e6 / SERIES)
        self.cpu.setdefault(row, {}).setdefault(server.name, []).append((server.cpu_s() - before) * 1e6 / SERIES)
        began = time.perf_counter()
        found = runs.series(run, ["loss"])["loss"]
        if list(found.steps) != list(range(SERIES)):
            raise SystemExit(f"{server.name} lost or doubled points")
        row = f"{SERIES:,} points read back, our SDK, µs a point"
        self.times.setdefault(row, {}).setdefault(server.name, []).append((time.perf_counter() - began) * 1e6 / SERIES)

    def check(self, server: Server) -> None:
        """Every point that was acknowledged is there once."""
        client = server.client()
        for key, wanted in (("m", self.counts[server.name]), ("b0", BATCH // 10)):
            found = client.get_metric_history(server.series_run, key)
            if len({(p.step, p.timestamp, p.value) for p in found}) != wanted or len(found) != wanted:
                raise SystemExit(f"{server.name}: {wanted} points of {key} were logged, {len(found)} are there")


def peers(folder: Path) -> dict[str, dict[str, float] | str]:
    """Aim and trackio, each in an environment of its own; why not, where it can't be."""
    found: dict[str, dict[str, float] | str] = {}
    uv = Path(sys.executable).parent / "uv"
    for name, script, count in (("aim", AIM, 10_000), ("trackio", TRACKIO, 10_000)):
        python = folder / name / "bin" / "python"
        try:
            if not python.exists():
                quiet: dict[str, Any] = {"check": True, "capture_output": True, "timeout": 240}
                subprocess.run([uv, "venv", "-q", "--python", "3.11", folder / name], **quiet)
                subprocess.run([uv, "pip", "install", "-q", "--python", python, name], **quiet)
            done = subprocess.run(
                [python, "-c", script, str(count)], capture_output=True, timeout=120, check=True, text=True
            )
            found[name] = json.loads(done.stdout.strip().splitlines()[-1]) | {"count": count}
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = getattr(error, "stderr", "") or str(error)
            found[name] = f"skipped: {str(said).strip().splitlines()[-1][:200] if str(said).strip() else error!r}"
    return found


# ------------------------------------------------------------------ telling
def report(
    bench: Bench, servers: list[Server], memory: dict[str, tuple[float, float, int]], idle: dict[str, float]
) -> str:
    """The tables, as Markdown."""
    names = [s.name for s in servers]
    pairs = [(ours, theirs) for ours, theirs in PAIRS if ours in names and theirs in names]
    heads = ["", *names, *(f"{theirs} ÷ {ours}" for ours, theirs in pairs)]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]

    def add(label: str, values: dict[str, float], digits: int = 1) -> None:
        cells = [f"{values[n]:.{digits}f}" if n in values else "" for n in names]
        ratios = [
            f"{values[theirs] / values[ours]:.1f}×" if values.get(ours) and theirs in values else ""
            for ours, theirs in pairs
        ]
        lines.append("| " + " | ".join([label, *cells, *ratios]) + " |")

    real = [s for s in servers if s.name != "null"]
    add("start until it answers, s", {s.name: s.start_s for s in real})
    add("memory (PSS), MB", {s.name: memory[s.name][1] for s in real}, 0)
    add("memory (RSS), MB", {s.name: memory[s.name][0] for s in real}, 0)
    add("processes", {s.name: memory[s.name][2] for s in real}, 0)
    add("CPU while idle, ms a second", {s.name: idle[s.name] for s in real})
    for row, found in bench.times.items():
        unit = "" if " a call" in row or "µs" in row else ", ms"
        add(row + unit, {name: statistics.median(times) for name, times in found.items()}, 2)
        if row in bench.cpu:
            what = "server CPU a point, µs" if "µs" in row else "server CPU a call, ms"
            add(f"  {what}", {name: statistics.mean(cpu) for name, cpu in bench.cpu[row].items()}, 2)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each row of each server in a round")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / f"headway-bench-peers-{os.getuid()}",
                        help="folder of the environments of Aim and trackio; kept")  # fmt: skip
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_TIMEOUT": "600",
                   "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="bench-writing-"))
    began, bench, servers = time.perf_counter(), Bench(args.seconds), []
    with contextlib.ExitStack() as stack:
        stack.callback(remove, folder)
        wanted, pg = args.only.split(","), ""
        if any(name.endswith("-pg") for name in wanted):
            try:
                pg = stack.enter_context(postgres(folder))
            except (OSError, KeyError, subprocess.SubprocessError) as error:
                print(f"PostgreSQL is skipped: {error}")
                wanted = [name for name in wanted if not name.endswith("-pg")]
        for name in ["null", *wanted]:
            servers.append(start(name, folder, pg))
            stack.callback(servers[-1].stop)
        real = [s for s in servers if s.name != "null"]
        time.sleep(3)
        before = {s.name: s.cpu_s() for s in real}
        time.sleep(5)
        idle = {s.name: (s.cpu_s() - before[s.name]) * 200 for s in real}
        for round_ in range(args.rounds):
            for server in servers:
                bench.client(server, round_)
            for server in real:
                bench.wire(server, round_)
            for server in real:
                if server.name.startswith("headway"):
                    bench.sdk(server)
        memory = {s.name: s.memory_mb() for s in real}
        for server in real:
            bench.check(server)
        others = peers(args.peers)
        table = report(bench, servers, memory, idle)
    print(
        table + "\n\n| in process | ms a call | points a second until durable | CPU a point, ms |\n|---|---:|---:|---:|"
    )
    for name, found in others.items():
        if isinstance(found, str):
            print(f"| {name} | {found} | | |")
        else:
            print(f"| {name} | {found['call']:.3f} | {found['count'] / found['all']:,.0f} | {found['cpu']:.3f} |")
    for name, times in next((t for row, t in bench.times.items() if "in columns" in row), {}).items():
        print(f"| {name}, our SDK in columns of {PIECE:,} | | {1e6 / statistics.median(times):,.0f} | |")
    took = time.perf_counter() - began
    print(
        f"\n{took:.0f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; every history was read back and counted"
    )
    if args.json:
        args.json.write_text(
            json.dumps({"ms": bench.times, "cpu": bench.cpu, "memory": memory, "idle": idle, "peers": others})
        )


if __name__ == "__main__":
    main()
