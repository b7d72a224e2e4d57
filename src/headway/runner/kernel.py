"""One kernel, as the runner sees it: started in a session of its own, found again after the runner was killed, talked to.

Its connection is ipc sockets in a short folder of mode 0700. What it shows is read from the log, never from its sockets.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headway.runner import kernelside

Json = dict[str, Any]


def read_json(path: Path) -> Json:
    """The object in a file, {} if there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Json) -> None:
    """Write whole or not at all, durably."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def start_time(pid: int) -> int:
    """When a process started, in ticks since boot; 0 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[19]) if fields[0] not in ("Z", "X") else 0


def kernel_program() -> str:
    """The script that is the kernel: from the runtime folder, so that capture and the kernel see one copy of headway."""
    runtime = os.environ.get("HEADWAY_RUNTIME")
    path = Path(runtime, "headway", "runner", "kernelside.py") if runtime else Path(kernelside.__file__)
    return str(path if path.exists() else kernelside.__file__)


class Kernel:
    """The kernel of a run folder. `start` or `attach`, then `send` and `replies`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_json(folder / "kernel.json")
        self._child: subprocess.Popen[bytes] | None = None
        self._session: Any = None
        self._shell: Any = None
        self._control: Any = None

    @property
    def existed(self) -> bool:
        """Whether this run has had its kernel."""
        return bool(self.record)

    def alive(self) -> bool:
        """Whether the kernel's process lives."""
        if self._child is not None:
            self._child.poll()  # else it stays as a zombie
        return bool(self.record) and start_time(self.record["pid"]) == self.record["start"]

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal, where this runner was its parent."""
        return self._child.poll() if self._child is not None else None

    def start(self, python: str, cwd: str, events: Path) -> None:
        """Start the process. It is on record before it runs any code of its own, so no kernel is ever forgotten."""
        sockets = Path(tempfile.mkdtemp(prefix="hw-", dir=_short_folder()))
        connection = {"transport": "ipc", "ip": str(sockets / "k"), "key": secrets.token_hex(32), "kernel_name": "python3",
                      "signature_scheme": "hmac-sha256", "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4,
                      "hb_port": 5}  # fmt: skip
        write_json(self.folder / "connection.json", connection)
        (self.folder / "connection.json").chmod(0o600)
        env = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
        env["HEADWAY_EVENTS"] = str(events)
        record = self.folder / "kernel.json"

        def put_on_record() -> None:
            pid = os.getpid()
            write_json(record, {"pid": pid, "start": start_time(pid), "sockets": str(sockets)})

        argv = [python, kernel_program(), "-f", str(self.folder / "connection.json")]
        with (self.folder / "kernel.log").open("ab") as log:  # what the kernel says before and after it is a kernel
            self._child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True, preexec_fn=put_on_record)  # fmt: skip
        self.record = read_json(record)

    def connect(self) -> None:
        """Open the sockets, of a kernel that was just started or of one that was found."""
        import zmq
        from jupyter_client.session import Session

        connection = read_json(self.folder / "connection.json")
        self._session = Session(key=connection["key"].encode(), signature_scheme=connection["signature_scheme"])
        context: Any = zmq.Context.instance()
        for name in ("shell", "control"):
            socket = context.socket(zmq.DEALER)
            socket.linger = 1000
            socket.connect(f"ipc://{connection['ip']}-{connection[name + '_port']}")
            setattr(self, f"_{name}", socket)

    def message(self, kind: str, content: Json) -> Json:
        """A request that can be written down and sent again, byte for byte: a kernel runs the same message only once."""
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        header = {"msg_id": secrets.token_hex(16), "username": "headway", "session": secrets.token_hex(16), "date": date,
                  "msg_type": kind, "version": "5.4"}  # fmt: skip
        return {"header": header, "msg_id": header["msg_id"], "msg_type": kind, "parent_header": {}, "metadata": {},
                "content": content}  # fmt: skip

    def send(self, message: Json, *, control: bool = False) -> None:
        """Send a request."""
        self._session.send(self._control if control else self._shell, dict(message))

    def replies(self, timeout_ms: int) -> set[str]:
        """Ids of the requests that were answered on the shell channel; waits until one is, or the time is over."""
        import zmq

        answered: set[str] = set()
        while self._shell.poll(0 if answered else timeout_ms):
            with contextlib.suppress(ValueError, zmq.ZMQError):
                _, frames = self._session.feed_identities(self._shell.recv_multipart())
                answered.add(str(json.loads(frames[2]).get("msg_id", "")))
        return answered

    def interrupt(self) -> None:
        """As Ctrl-C in a terminal: the kernel and what it started in the foreground."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.alive():
                os.killpg(self.record["pid"], signal.SIGINT)

    def shut_down(self, patience_s: float) -> None:
        """Ask it to end, so that its `atexit` runs; then TERM, then KILL."""
        if self.alive() and self._control is not None:
            self.send(self.message("shutdown_request", {"restart": False}), control=True)
            self._wait(patience_s)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.alive():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.record["pid"], number)
                self._wait(2.0)
        self.tidy()

    def tidy(self) -> None:
        """Remove the sockets of a kernel that is gone."""
        if self.record.get("sockets") and not self.alive():
            shutil.rmtree(self.record["sockets"], ignore_errors=True)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            time.sleep(0.01)


def _short_folder() -> str:
    """Where UNIX sockets can have names that are short enough: 107 bytes at most."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if candidate and len(candidate) < 70 and os.access(candidate, os.W_OK):
            return candidate
    return "/tmp" if sys.platform != "win32" else tempfile.gettempdir()  # noqa: S108
