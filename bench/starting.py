"""Servers that benchmarks start: each in a session of its own, waited for until it answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BIN = Path(sys.executable).parent
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""The environment in which `mlflow server` does only what it is asked for."""


def headway(home: Path, port: int) -> list[Any]:
    """The command that starts headway on a home, at a port, with a gateway of its own and no sample."""
    return [BIN / "headway", "up", "--home", home, "--port", port, "--gateway-port", free_port(), "--no-sample"]


def mlflow(home: Path, port: int, *, store: str = "", one_worker: bool = False) -> list[Any]:
    """The command that starts `mlflow server` as it ships, or with one worker. `store`: else a SQLite file in the home."""
    return [
        BIN / "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--backend-store-uri",
        store or f"sqlite:///{home}/mlflow.db", "--artifacts-destination", home / "artifacts",
        *(("--workers", 1) if one_worker else ()),
    ]  # fmt: skip


def launch(argv: Sequence[Any], env: Mapping[str, str], home: Path, url: str) -> tuple[subprocess.Popen[bytes], float]:
    """The process, and the seconds until its /health answered. Its output goes to `home/log`. Exits if it does not start."""
    began = time.perf_counter()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(a) for a in argv], env=dict(env), stdout=log, stderr=log, start_new_session=True
        )
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return process, time.perf_counter() - began
        if process.poll() is not None or time.perf_counter() - began > 300:
            raise SystemExit(f"{home.name} did not start; see {home}/log")
        time.sleep(0.02)
