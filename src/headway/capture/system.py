"""What a run takes of its machine, over time: processor, memory, disk, network and GPU of its tree of processes.

Read from outside, by the shipper: it costs the program nothing. Linux's /proc and NVIDIA's NVML where there are such; elsewhere
nothing is measured, and nothing fails.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

__all__ = ["FILE", "Sampler", "described", "machine", "seen"]

FILE = "system.jsonl"
FIRST_S = 0.3
# How long between two looks, by how long the run has gone on: a day is some 4,000 points.
PACE = ((300.0, 1.0), (3600.0, 5.0), (float("inf"), 20.0))
IDLE_S = 60.0
MOST = 600
_MB = 1 / (1 << 20)
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

Values = dict[str, float]


class Sampler:
    """Looks at the processes of one spool now and then, and appends what it saw to `system.jsonl` there."""

    def __init__(self, spool: Path, pid: int | None = None) -> None:
        self._spool = spool
        self._pid = pid
        self._began = time.monotonic()
        self._next = self._began + FIRST_S
        self._before: tuple[float, dict[int, tuple[int, int, int]], tuple[int, int]] | None = None
        self._last: tuple[float, Values] | None = None
        self._gpus = _Gpus()
        self._machine = False

    def tick(self) -> None:
        """One look, if it is time. Never raises."""
        now = time.monotonic()
        if now < self._next:
            return
        pace = next(every for until, every in PACE if now - self._began < until)
        self._next = now + pace
        try:
            self._look(now)
        except (OSError, ValueError, IndexError):
            return

    def _look(self, now: float) -> None:
        root = self._pid or _main(self._spool)
        tree = _tree(root) if root else []
        if not tree:
            return
        used = {pid: found for pid in tree if (found := _used(pid)) is not None}
        values: Values = {"memory_mb": round(sum(_memory(pid, pid == root) for pid in tree) * _MB, 2)}
        if not values["memory_mb"]:
            return  # a zombie, or a kernel's thread that has this number now
        network = _network(root)
        if self._before is not None:
            seconds = max(now - self._before[0], 1e-3)
            values |= _rates(self._before[1], used, seconds)
            for name, old, new in zip(("received", "sent"), self._before[2], network, strict=True):
                values[f"network_{name}_mb_per_s"] = round(max(0, new - old) * _MB / seconds, 4)
        self._before = (now, used, network)
        values |= self._gpus.values()
        if self._last is not None and now - self._last[0] < IDLE_S and _alike(values, self._last[1]):
            return
        self._last = (now, values)
        self._append({"t": int(time.time() * 1000), "v": values})

    def _append(self, line: dict[str, Any]) -> None:
        lines = [line]
        if not self._machine:
            lines.insert(0, {"t": line["t"], "machine": machine() | self._gpus.described()})
            self._machine = True
        data = "".join(json.dumps(one) + "\n" for one in lines).encode()
        with (self._spool / FILE).open("ab") as stream:
            stream.write(data)


def seen(spool: Path) -> bool:
    """Whether anything was measured so far."""
    return any(isinstance(line.get("v"), dict) for line in _lines(spool))


def _series(lines: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """`{"cpu_percent": [(milliseconds, value), ...]}`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        values = line.get("v")
        if isinstance(values, dict):
            for name, value in values.items():
                found.setdefault(name, []).append((line["t"], value))
    return found


def described(spool: Path) -> dict[str, Any]:
    """`system.json`: the machine, the mean and the highest of each series, and at most 600 points of each (`t` in ms).

    Of neighbours that are left out the highest stays, so no peak is hidden. {} where nothing was measured.
    """
    lines = _lines(spool)
    told: dict[str, Any] = next((line["machine"] for line in lines if "machine" in line), {})
    found = _series(lines)
    if not told and not found:
        return {}
    use = {
        name: {"mean": round(sum(v for _, v in points) / len(points), 3), "max": max(v for _, v in points)}
        for name, points in found.items()
    }
    series = {
        name: dict(zip("tv", map(list, zip(*_thin(points), strict=True)), strict=True))
        for name, points in found.items()
    }
    return {"machine": told, "use": use, "series": series}


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    stride = -(-len(points) // MOST)
    return [max(points[at : at + stride], key=lambda point: point[1]) for at in range(0, len(points), stride)]


def machine() -> dict[str, Any]:
    """What this machine is, without anything that names its people."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"host": platform.node(), "system": platform.system(), "release": platform.release(),
                             "architecture": platform.machine(), "cores": cores, "cores_total": os.cpu_count()}  # fmt: skip
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            found["processor"] = line.partition(":")[2].strip()
            break
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            found["memory_mb"] = int(line.split()[1]) // 1024
            break
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        found["memory_limit_mb"] = int(limit) >> 20
    return found


# -- /proc


def _main(spool: Path) -> int:
    """The first process of the run."""
    text = _text(str(spool / "main.pid")).strip()
    if text.isdigit():
        return int(text)
    pids = [p.name.split(".")[1] for p in spool.glob("facts.*.jsonl")]
    return min((int(p) for p in pids if p.isdigit()), default=0)


def _tree(root: int) -> list[int]:
    """A process and all below it; [] when it is gone."""
    if not Path(f"/proc/{root}").exists():
        return []
    found: list[int] = []
    waiting = [root]
    while waiting and len(found) < 2000:
        pid = waiting.pop()
        found.append(pid)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            waiting += [int(p) for p in _text(f"/proc/{pid}/task/{thread}/children").split()]
    return found


def _used(pid: int) -> tuple[int, int, int] | None:
    """Ticks of processor time (of children that were waited for, too), bytes read, bytes written; None when it is gone."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 15:
        return None
    io = dict(line.partition(":")[::2] for line in _text(f"/proc/{pid}/io").splitlines())
    read, written = (int(io.get(name, "0")) for name in ("read_bytes", "write_bytes"))
    return int(fields[11]) + int(fields[12]), read, written


def _rates(before: dict[int, tuple[int, int, int]], now: dict[int, tuple[int, int, int]], seconds: float) -> Values:
    sums = [0, 0, 0]
    for pid, found in now.items():
        old = before.get(pid, (0, 0, 0))
        for position in range(3):
            sums[position] += max(0, found[position] - old[position])
    return {
        "cpu_percent": round(100 * sums[0] / _TICK / seconds, 1),
        "disk_read_mb_per_s": round(sums[1] * _MB / seconds, 4),
        "disk_write_mb_per_s": round(sums[2] * _MB / seconds, 4),
    }


def _memory(pid: int, whole: bool) -> int:
    """Bytes in memory; of children without what they share with others."""
    fields = _text(f"/proc/{pid}/statm").split()
    if len(fields) < 3:
        return 0
    return (int(fields[1]) - (0 if whole else int(fields[2]))) * _PAGE


def _network(pid: int) -> tuple[int, int]:
    """Bytes received and sent by the machine (or the container) that a process is in; its own are not counted by Linux."""
    received = sent = 0
    for line in _text(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() != "lo" and len(fields) > 8:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def _alike(now: Values, before: Values) -> bool:
    """Whether nothing has changed that a chart would show: an idle notebook is not recorded every second."""
    return now.keys() == before.keys() and all(
        abs(v - before[k]) <= 0.01 * max(abs(before[k]), 1.0) for k, v in now.items()
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _lines(spool: Path) -> list[dict[str, Any]]:
    found = []
    for line in _text(str(spool / FILE)).splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("t"), int):
            found.append(value)
    return found


# -- NVIDIA


class _Gpus:
    """The GPUs that NVML tells of (https://docs.nvidia.com/deploy/nvml-api/), all where CUDA_VISIBLE_DEVICES names none."""

    def __init__(self) -> None:
        self._library: Any = None
        self._devices: list[tuple[int, Any]] = []
        if Path("/dev/nvidiactl").exists():
            try:
                self._open()
            except (OSError, AttributeError, ValueError):
                self._library = None

    def _open(self) -> None:
        import ctypes

        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return
        count = ctypes.c_uint()
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        visible = [int(w) for w in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if w.strip().isdigit()]
        for index in range(min(count.value, 16)):
            handle = ctypes.c_void_p()
            if (not visible or index in visible) and library.nvmlDeviceGetHandleByIndex_v2(
                index, ctypes.byref(handle)
            ) == 0:
                self._devices.append((index, handle))
        self._library = library

    def values(self) -> Values:
        """`gpu_percent`, `gpu_memory_mb`, `gpu_power_w`, `gpu_celsius`; of several GPUs `gpu0_percent`, `gpu1_percent`..."""
        found: Values = {}
        if self._library is None:
            return found
        import ctypes

        for index, handle in self._devices:
            prefix = "gpu" if len(self._devices) == 1 else f"gpu{index}"
            rates, memory, one = (ctypes.c_uint * 2)(), (ctypes.c_ulonglong * 3)(), ctypes.c_uint()
            if self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)) == 0:
                found[f"{prefix}_percent"] = float(rates[0])
            if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
                found[f"{prefix}_memory_mb"] = round(memory[2] * _MB, 1)
            if self._library.nvmlDeviceGetPowerUsage(handle, ctypes.byref(one)) == 0:
                found[f"{prefix}_power_w"] = round(one.value / 1000, 1)
            if self._library.nvmlDeviceGetTemperature(handle, 0, ctypes.byref(one)) == 0:
                found[f"{prefix}_celsius"] = float(one.value)
        return found

    def described(self) -> dict[str, Any]:
        """The GPUs' names and memory, and the driver."""
        if self._library is None or not self._devices:
            return {}
        import ctypes

        found = []
        for _, handle in self._devices:
            name, memory = ctypes.create_string_buffer(96), (ctypes.c_ulonglong * 3)()
            self._library.nvmlDeviceGetName(handle, name, 96)
            self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            found.append({"name": name.value.decode("utf-8", "replace"), "memory_mb": int(memory[0]) >> 20})
        driver = ctypes.create_string_buffer(80)
        self._library.nvmlSystemGetDriverVersion(driver, 80)
        return {"gpus": found, "driver": driver.value.decode("utf-8", "replace")}
