"""Servers that benchmarks start: each in a session of its own, waited for until it answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
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
