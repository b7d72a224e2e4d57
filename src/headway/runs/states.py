"""The states of a run, and how the end of a process becomes a status and a cause in words. Pure.

queued -> running -> finished | failed | cancelled | timed_out | out_of_memory | killed | lost
queued -> failed | cancelled
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUEUED, RUNNING = "queued", "running"
FINISHED, FAILED, CANCELLED = "finished", "failed", "cancelled"
TIMED_OUT, OUT_OF_MEMORY, KILLED, LOST = "timed_out", "out_of_memory", "killed", "lost"
LIVE = (QUEUED, RUNNING)
ENDS = (FINISHED, FAILED, CANCELLED, TIMED_OUT, OUT_OF_MEMORY, KILLED, LOST)

MOVES: dict[str, frozenset[str]] = {
    QUEUED: frozenset({RUNNING, FAILED, CANCELLED, LOST}),
    RUNNING: frozenset(ENDS),
} | dict.fromkeys(ENDS, frozenset())

MLFLOW = {
    QUEUED: "SCHEDULED", RUNNING: "RUNNING", FINISHED: "FINISHED", FAILED: "FAILED", CANCELLED: "KILLED", TIMED_OUT: "FAILED",
    OUT_OF_MEMORY: "FAILED", KILLED: "KILLED", LOST: "FAILED",
}  # fmt: skip

_ERROR = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?([A-Za-z_]\w*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)?)(?:: (.*))?$"
)
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+)')
_ANSI = re.compile(r"\x1b\[[0-9;:]*m")


@dataclass(frozen=True)
class Ended:
    """What is known of a process that is over. `tail` is the end of what it printed, `result` the notebook runner's word."""

    cause: str
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    memory_kills: int = 0
    tail: str = ""
    result: Mapping[str, Any] | None = None
    memory_mb: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A final status, its cause in words, and what failed (`ename`, `evalue`, `cell`, `file`, `line`; empty if nothing did)."""

    status: str
    cause: str = ""
    error: Mapping[str, Any] | None = None


def may_move(before: str, after: str) -> bool:
    """Whether a run may go from one status to another."""
    return after in MOVES[before]


def verdict(ended: Ended) -> Verdict:
    """How the run ended. The limits and the person come first: what the program then still said is only a consequence."""
    where = f" in cell {ended.result['cell']}" if ended.result and ended.result.get("cell") else ""
    if ended.cause == "cancelled":
        return Verdict(CANCELLED, "cancelled")
    if ended.cause == "timed_out":
        return Verdict(TIMED_OUT, f"ran longer than its limit of {_seconds(ended.timeout_s)}{where}")
    if ended.cause == "out_of_memory":
        limit = f"its limit of {ended.memory_mb} MiB" if ended.memory_mb else "what the machine has"
        return Verdict(OUT_OF_MEMORY, f"needed more memory than {limit}{where}")
    if ended.cause == "lost":
        return Verdict(LOST, ended.detail or "nobody knows how it ended")
    if ended.cause == "killed":
        return Verdict(KILLED, ended.detail or f"killed by signal {ended.signal}")
    return _notebook(ended, ended.result) if ended.result else _script(ended)


def _notebook(ended: Ended, result: Mapping[str, Any]) -> Verdict:
    status, cause = str(result.get("status", "")), str(result.get("cause", ""))
    error = dict(result.get("error") or {}) | {"cell": result.get("cell")}
    if status == "finished":
        return Verdict(FINISHED)
    if status == "timed_out":
        return Verdict(TIMED_OUT, cause)
    if status == "interrupted":
        return Verdict(KILLED, "interrupted by a signal from outside")
    if status == "kernel_died":
        if ended.memory_kills:
            where = f" in cell {result['cell']}" if result.get("cell") else ""
            return Verdict(
                OUT_OF_MEMORY, f"the machine ran out of memory{where}, and the kernel was killed for it", error
            )
        exited = error.get("exit_code")
        return Verdict(FAILED if isinstance(exited, int) and exited >= 0 else KILLED, cause, error)
    if error.get("ename") == "MemoryError":
        return Verdict(OUT_OF_MEMORY, cause, error)
    return Verdict(FAILED, cause or "failed", error)


def _script(ended: Ended) -> Verdict:
    if ended.exit_code == 0:
        return Verdict(FINISHED)
    error = last_error(ended.tail)
    if error.get("ename") == "MemoryError":
        return Verdict(OUT_OF_MEMORY, _sentence(error), error)
    if error.get("ename"):
        return Verdict(FAILED, _sentence(error), error)
    last = next((line for line in reversed(_ANSI.sub("", ended.tail).splitlines()) if line.strip()), "")
    code = f"exit code {ended.exit_code}"
    return Verdict(FAILED, f"{last.strip()[:500]} ({code})" if last else code, {})


def last_error(text: str) -> dict[str, Any]:
    """The last traceback at the end of a program's output: `ename`, `evalue`, `file`, `line`; empty if there is none."""
    lines = _ANSI.sub("", text).splitlines()
    start = next(
        (i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("Traceback (most recent call last)")), None
    )
    if start is None:
        return {}
    frame: dict[str, Any] = {}
    for line in lines[start + 1 :]:
        if place := _FRAME.match(line):
            if not _library(place[1]):
                frame = {"file": place[1], "line": int(place[2])}
        elif line and not line[0].isspace() and (found := _ERROR.match(line)):
            return {"ename": found[1], "evalue": found[2] or ""} | frame
    return {}


def _library(file: str) -> bool:
    return "/site-packages/" in file or "/lib/python" in file or file.startswith("<frozen")


def _sentence(error: Mapping[str, Any]) -> str:
    said = f"{error['ename']}: {str(error['evalue'])[:500]}" if error.get("evalue") else str(error["ename"])
    return f"{said} ({str(error['file']).rsplit('/', 1)[-1]}, line {error['line']})" if error.get("file") else said


def _seconds(value: float | None) -> str:
    if not value:
        return "time"
    if value < 120:
        return f"{value:g} s"
    return f"{value / 60:g} min" if value < 7200 else f"{value / 3600:g} h"
