"""The shim: starts one process, keeps its limits and writes down how it ended.

Run by path (`python -I -S shim.py FOLDER`) so that it starts in tens of milliseconds; standard library only. It reads
`FOLDER/spec.json`, detaches itself, and leaves `process.json`, `output.log`, `exit.json` and `done.json` in the folder.
It returns to its caller (exit status 0) as soon as the process runs, or prints why it could not start.

What it promises:
- One process for one folder: a second shim on a folder that was used does nothing.
- No process without a record: the child waits until `process.json` is on disk before it runs.
- A child never outlives its shim unseen (`PR_SET_PDEATHSIG`), and what the child leaves behind is ended with it (the shim
  is a child subreaper), so a status read from the folder is true.
- INT, TERM and HUP of the server's group do not end it. A folder that is removed ends it, as `cancel` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import sys
import time
from typing import Any

TICK_S, LOOK_S, LOOK_LIMITED_S = 0.1, 1.0, 0.2
"""How often it looks while it ends something; at the `cancel` file and the tree's memory; where memory has a limit."""
NUDGE = signal.SIGHUP  # makes it look at once; a shim of an older headway, which may still be there, ignores it
LEFTOVER_S = 2.0
"""What processes left behind by the child get between TERM and KILL."""
TERM_S = 5.0
"""The longest time between TERM and KILL when a process is stopped."""
DISK_FULL_S = 600.0
"""How long the shim goes on trying to write how the process ended."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PAGE = os.sysconf("SC_PAGE_SIZE")

Json = dict[str, Any]


def write_json(path: str, value: Json) -> None:
    """Write atomically and durably: temporary file, fsync, rename, fsync of the folder."""
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(value).encode()
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)  # noqa: PTH105 - pathlib costs a third of the start
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    os.fsync(folder)
    os.close(folder)


def write_when_possible(path: str, value: Json) -> None:
    """`write_json`, tried again while the disk is full: how a process ended must not be lost."""
    until = time.monotonic() + DISK_FULL_S
    while True:
        try:
            return write_json(path, value)
        except OSError as error:
            print(f"cannot write {path}: {error}", file=sys.stderr, flush=True)
            if time.monotonic() > until:
                raise
            time.sleep(1)


def read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when there is no such process or it is a zombie."""
    fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in ("Z", "X") else 0


def boot_id() -> str:
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return []
    return [int(child) for t in threads for child in read_text(f"/proc/{pid}/task/{t}/children").split()]


def descendants(root: int, *, but: int = 0) -> list[int]:
    """All living processes below `root`, without the tree of `but`."""
    found, queue = [], [root]
    while queue:
        for child in _children(queue.pop()):
            if child != but:
                found.append(child)
                queue.append(child)
    return [pid for pid in found if start_time(pid)]


def memory_bytes(pids: list[int], limit: int) -> int:
    """What the processes hold together. Pages shared between them count once where that decides about the limit."""
    resident = 0
    for pid in pids:
        fields = read_text(f"/proc/{pid}/statm").split()
        resident += int(fields[1]) * _PAGE if len(fields) > 1 else 0
    if not limit or resident <= limit or len(pids) < 2:
        return resident
    proportional = 0
    for pid in pids:
        fields = read_text(f"/proc/{pid}/smaps_rollup").partition("\nPss:")[2].split()
        proportional += int(fields[0]) * 1024 if fields else 0
    return proportional or resident


def kernel_kills() -> int:
    """How many processes the kernel killed for memory, in our control group where that can be read, else on this machine."""
    files = []
    for line in read_text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            files.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    for name in [*files, "/proc/vmstat"]:
        for row in read_text(name).splitlines():
            key, _, value = row.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            print(f"may not signal process {pid}", file=sys.stderr, flush=True)


def _limit_child(limits: Json) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.get("memory_mb"):
        # The second line: one allocation far beyond the limit fails at once, before the next look at the tree could see it.
        most = (2 * int(limits["memory_mb"]) + 1024) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("500")  # when the machine runs out of memory, the kernel should take this, not the platform


def _exec(spec: Json, argv: list[str], out: int, stdin: int, go: int, libc: Any) -> None:
    """In the forked child: never returns. With `libc` its life is bound to the shim's."""
    parent = os.getppid()
    try:
        os.setsid()
        if libc:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent or os.read(go, 1) != b"g":
            os._exit(70)  # the shim is gone, and there is no record of us
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(stdin, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        env = dict(spec["env"])
        for name, path in spec.get("secrets", {}).items():
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                env[name] = file.read()
        os.chdir(spec["cwd"])
        _limit_child(spec.get("limits", {}))
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start: {error.strerror}: {error.filename or argv[0]}\n".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)
    except BaseException as error:
        os.write(2, f"cannot start: {error}\n".encode())
        os._exit(126)


class Shim:
    """One folder's shim. `run()` returns when all is over and written."""

    def __init__(self, folder: str, spec: Json, libc: Any) -> None:
        self.folder, self.spec, self.libc = folder, spec, libc
        limits = spec.get("limits", {})
        self.limit = int(limits.get("memory_mb") or 0) * 1024 * 1024
        self.look_s = LOOK_LIMITED_S if self.limit else LOOK_S
        self.timeout = float(limits.get("timeout_s") or 0)
        self.grace = float(spec.get("grace_s", 10.0))
        self.respawns = int(spec.get("respawn", 0))
        self.starts = 0
        self.child = self.sidecar = self.sidecar_stdin = 0
        self.child_status: int | None = None
        self.sidecar_status: int | None = None
        self.cause = ""
        self.stage, self.next_stage_at = 0, 0.0
        self.peak = 0
        self.kills_seen = self.kills_lately = self.kills_at_start = kernel_kills()
        self.looked_at = 0.0
        self.started_ms, self.began = time.time_ns() // 1_000_000, time.monotonic()

    def spawn(self, argv: list[str], log: str, stdin: int, record: bool) -> int:
        out = os.open(f"{self.folder}/{log}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            # A sidecar whose shim is gone reads the end of its input and finishes what it has; the child must not go on.
            _exec(self.spec, argv, out, stdin, wait, self.libc if record else None)
        os.close(wait)
        os.close(out)
        try:
            if record:
                self._record(pid)
            os.write(go, b"g")
        finally:
            os.close(go)
        return pid

    def _record(self, pid: int) -> None:
        value = {
            "key": self.spec["key"],
            "shim": {"pid": os.getpid(), "start": start_time(os.getpid())},
            "pid": pid, "start": start_time(pid), "session": pid, "boot": boot_id(),
            "started_at": self.started_ms, "starts": self.starts + 1,
        }  # fmt: skip
        write_json(f"{self.folder}/process.json", value)

    def start(self) -> None:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.child = self.spawn(self.spec["argv"], "output.log", null, record=True)
        os.close(null)
        self.starts += 1

    def start_sidecar(self) -> None:
        if not self.spec.get("sidecar"):
            return
        stdin, self.sidecar_stdin = os.pipe()
        self.sidecar = self.spawn(self.spec["sidecar"], "sidecar.log", stdin, record=False)
        os.close(stdin)

    def reap(self, rest: float) -> None:
        """Rest until a signal comes, then take the exit status of all that ended: child, sidecar, orphans that came to us."""
        signal.sigtimedwait({signal.SIGCHLD, NUDGE}, rest)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.child_status = status
                self.peak = max(self.peak, usage.ru_maxrss * 1024)
            elif pid == self.sidecar:
                self.sidecar_status = status

    def tree(self) -> list[int]:
        return descendants(os.getpid(), but=self.sidecar)

    def stop(self, cause: str, stage: int, grace: float | None = None) -> None:
        self.cause = self.cause or cause
        self.grace = self.grace if grace is None else grace
        if stage > self.stage:
            self.stage = stage
            if stage == 1:
                first = signal.SIGTERM if self.spec.get("stop_signal") == "TERM" else signal.SIGINT
                try:
                    os.killpg(self.child, first)
                except (ProcessLookupError, PermissionError):
                    send([self.child], first)
                self.next_stage_at = time.monotonic() + self.grace
            elif stage == 2:
                send(self.tree(), signal.SIGTERM)
                self.next_stage_at = time.monotonic() + min(self.grace, TERM_S)
        if self.stage == 3:
            send(self.tree(), signal.SIGKILL)

    def look(self) -> None:
        """One look at the clock, the `cancel` file and the memory; goes on with a stop that has begun."""
        now = time.monotonic()
        if self.stage in (1, 2) and now >= self.next_stage_at:
            self.stop(self.cause, self.stage + 1)
        elif self.stage == 3:
            self.stop(self.cause, 3)
        if not self.cause:
            if os.path.exists(f"{self.folder}/cancel") or not os.path.exists(self.folder):  # noqa: PTH110
                self.stop("cancelled", 1, self._asked_grace())
            elif self.timeout and now - self.began > self.timeout:
                self.stop("timed_out", 1)
        if now - self.looked_at >= self.look_s * 0.9:
            self.looked_at = now
            held = memory_bytes(self.tree(), self.limit)
            self.peak = max(self.peak, held)
            if self.limit and held > self.limit:
                self.stop("out_of_memory", 3)
            if self.child_status is None:
                self.kills_lately, self.kills_seen = self.kills_seen, kernel_kills()

    def _asked_grace(self) -> float | None:
        try:
            return float(json.loads(read_text(f"{self.folder}/cancel") or "{}").get("grace_s", self.grace))
        except (ValueError, AttributeError, TypeError):
            return None

    def wait_child(self) -> None:
        while self.child_status is None:
            rest = TICK_S if self.cause else self.look_s
            if self.timeout and not self.cause:
                rest = max(0.0, min(rest, self.began + self.timeout - time.monotonic()))
            self.reap(rest)
            if self.child_status is None:
                self.look()

    def wait_leftovers(self) -> None:
        """End what the child left behind: a process of a job that is over would hold its memory, ports and files for ever."""
        until = 0.0
        while left := self.tree():
            now = time.monotonic()
            if not until:
                send(left, signal.SIGKILL if self.stage == 3 else signal.SIGTERM)
                until = now + LEFTOVER_S
            elif now > until:
                send(left, signal.SIGKILL)
            self.reap(TICK_S)

    def wait_sidecar(self) -> None:
        if not self.sidecar:
            return
        os.close(self.sidecar_stdin)
        until = time.monotonic() + float(self.spec.get("sidecar_s", 60.0))
        while self.sidecar_status is None:
            self.reap(TICK_S)
            if time.monotonic() > until:
                send([self.sidecar, *descendants(self.sidecar)], signal.SIGKILL)

    def run(self) -> None:
        while True:
            self.wait_child()
            assert self.child_status is not None
            killed = os.WIFSIGNALED(self.child_status) and not self.cause
            out_of_memory = (
                killed and os.WTERMSIG(self.child_status) == signal.SIGKILL and kernel_kills() > self.kills_lately
            )
            if not killed or out_of_memory or self.starts > self.respawns:
                break
            time.sleep(min(0.05 * self.starts, 1.0))
            self.child_status = None
            self.start()
        self.wait_leftovers()
        write_when_possible(f"{self.folder}/exit.json", self.ending())
        self.wait_sidecar()
        sidecar = None if self.sidecar_status is None else os.waitstatus_to_exitcode(self.sidecar_status)
        write_when_possible(f"{self.folder}/done.json", {"sidecar": sidecar, "ended_at": time.time_ns() // 1_000_000})

    def ending(self) -> Json:
        assert self.child_status is not None
        code = os.waitstatus_to_exitcode(self.child_status)
        number = -code if code < 0 else 0
        by_kernel = number == signal.SIGKILL and kernel_kills() > self.kills_lately
        cause = self.cause or ("out_of_memory" if by_kernel else "killed" if number else "exited")
        return {
            "cause": cause,
            "exit_code": None if number else code,
            "signal": number or None,
            "started_at": self.started_ms,
            "ended_at": time.time_ns() // 1_000_000,
            "peak_memory_mb": round(self.peak / 1024 / 1024, 1),
            "memory_kills": kernel_kills() - self.kills_at_start,
            "starts": self.starts,
        }


def _detach(folder: str) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, NUDGE):
        signal.signal(number, lambda *_: None)  # what is ignored would never wake sigtimedwait
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, NUDGE})
    null = os.open("/dev/null", os.O_RDONLY)
    log = os.open(f"{folder}/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _serve(folder: str, say: int) -> None:
    """In the detached process. Writes `ok` or the reason to `say` once, and closes it."""
    lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(say, b"ok")  # another shim holds this folder: the process was started before
        return
    if os.path.exists(f"{folder}/process.json") or os.path.exists(f"{folder}/exit.json"):  # noqa: PTH110
        os.write(say, b"ok")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    shim = Shim(folder, json.loads(read_text(f"{folder}/spec.json")), libc)
    shim.start()
    shim.start_sidecar()
    os.write(say, b"ok")
    os.close(say)
    shim.run()


def main(argv: list[str]) -> int:
    folder = os.path.abspath(argv[1])  # noqa: PTH100
    hear, say = os.pipe()
    if os.fork():
        os.close(say)
        word = b""
        while part := os.read(hear, 4096):
            word += part
        if word == b"ok":
            return 0
        sys.stderr.write(word.decode(errors="replace") or "the shim ended before it could start the process")
        return 1
    os.close(hear)
    try:
        _detach(folder)
        _serve(folder, say)
    except BaseException as error:
        print(f"shim: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            os.write(say, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
