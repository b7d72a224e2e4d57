"""This machine as an engine: one shim for each process, and status from what the shim wrote.

Nothing is kept in this process's memory: any server on the same home, now or after a restart, reads the same truth from the
folders. The index (`processes/<key>.json` in the home) finds a folder by its key.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psutil

from headway.engines import shim
from headway.engines.base import Node, Spec, Status, child_environment
from headway.engines.ends import Ends
from headway.errors import BadInput, HeadwayError, StorageFull, Unavailable
from headway.settings import Settings

_START_S = 30.0
_MARK = "HEADWAY_PROCESS"


class LocalEngine:
    """Processes of this machine, kept below one home folder; a handle is the process's folder."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self.index = settings.path("processes")
        self._ends = Ends()

    def submit(self, spec: Spec) -> str:
        """See `Engine.submit`. Takes tens of milliseconds: it returns when the process is running, or was before."""
        _check(spec)
        known = _read(self._entry(spec.key)).get("folder")
        folder = Path(known) if known else Path(spec.folder)
        if not (folder / "process.json").exists() and not (folder / "exit.json").exists():
            try:
                self._prepare(folder, spec)
            except OSError as error:
                raise StorageFull(f"The record of the process can't be written: {error.strerror}.") from error
            _start(folder)
        return str(folder)

    def status(self, handle: str) -> Status:
        """See `Engine.status`."""
        folder = Path(handle)
        if ended := _read(folder / "exit.json"):
            return _ended(folder, ended)
        record = _read(folder / "process.json")
        if not record:
            waiting = (folder / "spec.json").exists()
            return (
                Status("queued")
                if waiting
                else Status("lost", "lost", settled=True, detail="There is no record of it.")
            )
        if alive(record.get("shim", {}), record):
            return Status("running", started_at=record.get("started_at"))
        return self._bury(folder, record)

    def cancel(self, handle: str, grace_s: float | None = None) -> None:
        """See `Engine.cancel`. The shim sees the file; it is there for it even if it only starts later."""
        folder = Path(handle)
        if folder.is_dir() and not (folder / "exit.json").exists() and not (folder / "cancel").exists():
            shim.write_json(str(folder / "cancel"), {} if grace_s is None else {"grace_s": grace_s})
            _nudge(_read(folder / "process.json").get("shim", {}))

    def watch(self, handle: str, call: Callable[[], None]) -> bool:
        """See `Engine.watch`. The process and its shim are waited for, whichever ends first."""
        record = _read(Path(handle) / "process.json")
        both = [(int(p.get("pid") or 0), int(p.get("start") or 0)) for p in (record, record.get("shim", {}))]
        return self._ends.watch(handle, both, call)

    def logs(self, handle: str, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """See `Engine.logs`."""
        try:
            with (Path(handle) / "output.log").open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def resources(self) -> list[Node]:
        """See `Engine.resources`."""
        memory = psutil.virtual_memory()
        cores = len(os.sched_getaffinity(0))
        return [Node(os.uname().nodename, cores, memory.total >> 20, memory.available >> 20)]

    def forget(self, handle: str) -> None:
        """See `Engine.forget`."""
        if key := _read(Path(handle) / "spec.json").get("key"):
            self._entry(key).unlink(missing_ok=True)

    def _entry(self, key: str) -> Path:
        return self.index / (quote(key, safe="") + ".json")

    def _prepare(self, folder: Path, spec: Spec) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.index.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = child_environment(spec.env) | {_MARK: str(folder)}
        if spec.limits.cpu:
            threads = str(max(1, round(spec.limits.cpu)))
            env = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads) | env
        if not (folder / "spec.json").exists():
            shim.write_json(str(folder / "spec.json"), spec.as_dict() | {"env": env})
        shim.write_json(str(self._entry(spec.key)), {"folder": str(folder)})

    def _bury(self, folder: Path, record: dict[str, Any]) -> Status:
        """The shim is gone and did not say how the process ended: end what is left of it and write `lost`, once."""
        with _lock(folder) as ours:
            ended = _read(folder / "exit.json")
            if ended:
                return _ended(folder, ended)
            if not ours:  # another server is burying it this moment
                return Status("running", started_at=record.get("started_at"))
            _kill_marked(folder)
            ended = {
                "cause": "lost",
                "started_at": record.get("started_at"),
                "ended_at": time.time_ns() // 1_000_000,
                "detail": _why_lost(record),
            }
            try:
                shim.write_json(str(folder / "exit.json"), ended)
            except OSError:
                return Status(
                    "lost", "lost", started_at=record.get("started_at"), settled=True, detail=_why_lost(record)
                )
        return _ended(folder, ended)

    def list(self, prefix: str = "") -> list[tuple[str, str, Status]]:
        """See `Engine.list`."""
        found = []
        for entry in sorted(self.index.glob("*.json")) if self.index.is_dir() else []:
            key = unquote(entry.stem)
            if key.startswith(prefix) and (folder := _read(entry).get("folder")):
                found.append((key, str(folder), self.status(str(folder))))
        return found


def alive(process: dict[str, Any], record: dict[str, Any] | None = None) -> bool:
    """Whether the process `{pid, start}` lives: a number given to another process, or from before a boot, is not it."""
    boot = (record or process).get("boot")
    pid, start = process.get("pid"), process.get("start")
    if not pid or not start or (boot and boot != shim.boot_id()):
        return False
    return shim.start_time(int(pid)) == int(start)


def _nudge(process: dict[str, Any]) -> None:
    """Have a shim look at its folder now; where that can't be said, it looks every second."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        fd = os.pidfd_open(int(process.get("pid") or 0))
        try:
            if shim.start_time(int(process["pid"])) == process.get("start"):
                signal.pidfd_send_signal(fd, shim.NUDGE)
        finally:
            os.close(fd)


def _check(spec: Spec) -> None:
    if not spec.key or len(quote(spec.key, safe="")) > 240:
        raise BadInput("A process key has 1 to 240 characters.", got=spec.key)
    if not spec.argv:
        raise BadInput("A process needs a program to run.", field="argv")


def _start(folder: Path) -> None:
    argv = [sys.executable, "-I", "-S", shim.__file__, str(folder)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_S, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"The process can't be started now: {error}", hint="Try again in a moment.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"The process can't be started: {said[-1] if said else 'the shim failed'}")


def _ended(folder: Path, ended: dict[str, Any]) -> Status:
    cause = ended.get("cause", "lost")
    settled = (folder / "done.json").exists()
    if not settled:
        record = _read(folder / "process.json")
        settled = not alive(record.get("shim", {}), record)
    return Status(
        "lost" if cause == "lost" else "exited",
        cause,
        exit_code=ended.get("exit_code"),
        signal=ended.get("signal"),
        started_at=ended.get("started_at"),
        ended_at=ended.get("ended_at"),
        peak_memory_mb=ended.get("peak_memory_mb"),
        settled=settled,
        memory_kills=int(ended.get("memory_kills") or 0),
        detail=ended.get("detail") or _why(ended),
    )


def _why(ended: dict[str, Any]) -> str:
    cause, number = ended.get("cause"), ended.get("signal")
    if cause == "killed" and number:
        with contextlib.suppress(ValueError):
            return f"killed by signal {number} ({signal.Signals(number).name})"
    if cause == "exited":
        return f"exit code {ended.get('exit_code')}"
    return ""


def _why_lost(record: dict[str, Any]) -> str:
    if record.get("boot") and record["boot"] != shim.boot_id():
        return "the machine was restarted while it ran"
    return "its supervisor was killed"


def _kill_marked(folder: Path) -> None:
    """KILL every process that carries this folder's mark in its environment, until none is left."""
    mark = f"{_MARK}={folder}".encode()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = [pid for pid in psutil.pids() if pid != os.getpid() and mark in _environ(pid)]
        if not found:
            return
        shim.send(found, signal.SIGKILL)
        time.sleep(0.02)


def _environ(pid: int) -> list[bytes]:
    if not shim.start_time(pid):
        return []
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """The folder's burying lock, without waiting; whether we have it."""
    try:
        fd = os.open(folder / "bury.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HeadwayError(f"The record of a process can't be locked: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
        yield ours
    finally:
        os.close(fd)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
