"""What a server takes while nobody uses it, beside `mlflow server`: processes, memory, CPU time, and how soon it is there.

    python bench/idle.py [--seconds 60] [--rest 20] [--only headway,mlflow,mlflow-1] [--json FILE]

Each is started on a new home, stopped, and started again: both times are told. After `--rest` seconds its CPU time is counted
over `--seconds`, from /proc, of all its processes: what descends from it, and what it has set apart to outlive it (headway's
gateway and its shim, found by the home on their command lines). Memory is resident, and proportional (a page that several
share counts in parts). They take turns one at a time, so nothing measured shares the machine with another.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import starting
from starting import free_port, launch

from tracking import Server

GOAL_MEMORY, GOAL_START, GOAL_CPU = 5, 10, 3.0


@dataclass
class Idle:
    """One server at rest. MiB, milliseconds of CPU a second."""

    name: str
    first_start_s: float
    start_s: float
    processes: int
    server_mb: float
    resident_mb: float
    proportional_mb: float
    cpu_ms_s: float


class Whole(Server):
    """A server with what it set apart."""

    def tree(self) -> list[int]:
        found = super().tree()
        mark = str(self.folder).encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in [*found, os.getpid()]:
                try:
                    if any(mark in part for part in (entry / "cmdline").read_bytes().split(b"\0")):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


def measure(name: str, folder: Path, seconds: float, rest: float) -> Idle:
    """Start it twice, let it rest, count."""
    home, port = folder / name, free_port()
    home.mkdir()
    env = os.environ | starting.QUIET
    ours = name == "headway"
    argv = starting.headway(home, port) if ours else starting.mlflow(home, port, one_worker=name == "mlflow-1")
    url = f"http://127.0.0.1:{port}"
    process, first = launch(argv, env, home, url)
    Whole(name, url, process, home, first).stop()
    process, again = launch(argv, env, home, url)
    server = Whole(name, url, process, home, again)
    try:
        time.sleep(rest)
        before, began = server.cpu_s(), time.monotonic()
        time.sleep(seconds)
        spent = (server.cpu_s() - before) / (time.monotonic() - began)
        resident, proportional, count = server.memory_mb()
        alone = Server(name, url, process, home, again).memory_mb()[0]
        return Idle(name, first, again, count, alone, resident, proportional, spent * 1000)
    finally:
        server.stop()
        if ours:
            subprocess.run([starting.BIN / "headway", "down", "--home", home], check=False, capture_output=True)


def report(found: list[Idle]) -> None:
    """A table, and headway's part of the others."""
    print(
        f"{'':10} {'start, new home':>16} {'again':>8} {'processes':>10} {'server':>9} {'all, RSS':>9} {'PSS':>9} {'CPU':>10}"
    )
    for one in found:
        print(
            f"{one.name:10} {one.first_start_s:14.1f} s {one.start_s:6.1f} s {one.processes:10d} {one.server_mb:6.0f} MB"
            f" {one.resident_mb:6.0f} MB {one.proportional_mb:6.0f} MB {one.cpu_ms_s:5.1f} ms/s"
        )
    by_name = {one.name: one for one in found}
    ours = by_name.get("headway")
    for other in found:
        if ours is not None and other is not ours:
            print(
                f"\nbeside {other.name}: start {other.start_s / ours.start_s:.1f}x sooner (goal {GOAL_START}), server"
                f" {other.resident_mb / ours.server_mb:.1f}x smaller (goal {GOAL_MEMORY}), with its helpers"
                f" {other.resident_mb / ours.resident_mb:.1f}x, CPU {ours.cpu_ms_s:.1f} ms/s (goal {GOAL_CPU:.0f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rest", type=float, default=20.0)
    parser.add_argument("--only", default="headway,mlflow,mlflow-1")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        found = [measure(name, Path(folder), args.seconds, args.rest) for name in args.only.split(",")]
    report(found)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
