"""Does capture change what programs do? Runs each script of a folder plainly and captured, side by side on two cores.

    python bench/fidelity.py FOLDER [--python PY] [--match TEXT] [--timeout S] [--budget S] [--json OUT]

Compared are the exit status, standard output, standard error, and the state of the random number generators at the end
(random, numpy, torch). A script that differs runs twice more plainly: what differs between plain runs is set aside as a
script that varies by itself; so are the parts of a line that tell time or a memory address. Seeds are pinned from outside
for all runs. A script that fails plainly for want of a download or a package, or takes too long, is "not run". With `--json`
what the file has is not run again: the bench goes on where it was stopped. Exit status 1 means that some script differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from capture import SEEDS

SOURCE = Path(__file__).resolve().parent.parent / "src"
# Runs last at exit: it was registered first.
ENTRY = """
import atexit, os, sys
def _streams():
    import hashlib
    found = {}
    if "random" in sys.modules:
        found["random"] = hashlib.sha256(repr(sys.modules["random"].getstate()).encode()).hexdigest()[:12]
    if "numpy.random" in sys.modules:
        found["numpy"] = hashlib.sha256(repr(sys.modules["numpy.random"].get_state()).encode()).hexdigest()[:12]
    if "torch" in sys.modules and hasattr(sys.modules["torch"], "get_rng_state"):
        found["torch"] = hashlib.sha256(bytes(sys.modules["torch"].get_rng_state().tolist())).hexdigest()[:12]
    with open(_told, "w") as stream:
        stream.write(repr(sorted(found.items())))
_told = os.environ.pop("FIDELITY_STREAMS", "")  # the program's own process tells, none that it starts
if _told:
    atexit.register(_streams)
if os.environ.get("HEADWAY_SPOOL"):
    sys.path.append(os.environ["HEADWAY_RUNTIME"])
    import headway.boot
    headway.boot.boot()
"""
# What no two runs share: times, addresses, process numbers, the folder of the run.
_VARYING = re.compile(
    r"0x[0-9a-f]{6,}|\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ms|us|µs|s|sec|secs|seconds?|minutes?|it/s|s/it)\b"
    r"|(?:time|elapsed|duration|took|in|runtime)\D{0,12}\d+\.\d+(?:e-?\d+)?|\d\d:\d\d(?::\d\d(?:\.\d+)?)?|\[\d+/\d+[^\]]*\]",
    re.IGNORECASE,
)
_TOO_LONG = (-signal.SIGXCPU, -signal.SIGKILL)
_WANTING = re.compile(
    r"URLError|HTTPError|RemoteDisconnected|ConnectionError|gaierror|unreachable|ModuleNotFoundError|not found in|No such file"
)


@dataclass
class Ran:
    """One run of one script."""

    code: int | str
    out: str
    err: str
    streams: str
    seconds: float
    cpu: float


@dataclass
class Row:
    """What the runs of one script showed."""

    script: str
    verdict: str  # same, differs, varies, not run
    code: list[int | str]
    differs: list[str] = field(default_factory=list)
    first: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    facts: int = 0
    notes: list[str] = field(default_factory=list)


class Pairs:
    """Runs scripts in two copies of their folder, whose paths are of one length, and told as one."""

    def __init__(self, folder: Path, python: str, timeout: float) -> None:
        self.folder, self.python, self.timeout = folder, python, timeout
        self.base = Path(tempfile.mkdtemp(prefix="headway-fidelity-"))
        (self.base / "site").mkdir()
        (self.base / "site" / "sitecustomize.py").write_text(SEEDS + ENTRY)
        for name in ("plain", "watch"):
            shutil.copytree(folder, self.base / name / "work", symlinks=True, ignore_dangling_symlinks=True)

    def run(self, script: Path, name: str, spool: Path | None) -> Ran:
        home = self.base / name
        streams = home / "streams"
        streams.unlink(missing_ok=True)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HEADWAY"))}
        keep |= {
            "PYTHONPATH": str(self.base / "site"),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
        }
        keep |= {"FIDELITY_STREAMS": str(streams), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
        if spool is not None:
            shutil.rmtree(spool, ignore_errors=True)
            keep |= {"HEADWAY_SPOOL": str(spool), "HEADWAY_RUNTIME": str(SOURCE)}
        where = home / "work" / script.relative_to(self.folder)
        with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
            began = time.monotonic()
            child = subprocess.Popen(
                [self.python, where.name], cwd=where.parent, env=keep, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
            # Seconds of CPU, so that a busy machine makes no difference.
            resource.prlimit(child.pid, resource.RLIMIT_CPU, (int(self.timeout), int(self.timeout) + 5))
            code, cpu = _wait(child, began + 10 * self.timeout)
        told, wrong = ((home / n).read_text(errors="replace").replace(str(home), "HERE") for n in ("out", "err"))
        return Ran(code, told, wrong, streams.read_text() if streams.exists() else "", time.monotonic() - began, cpu)

    def pair(self, script: Path) -> Row:
        name, spool = str(script.relative_to(self.folder)), self.base / "spool"
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(self.run, script, "plain", None)
            other = pool.submit(self.run, script, "watch", spool)
            plain, watched = one.result(), other.result()
        row = Row(name, "same", [plain.code, watched.code], *_differences(plain, watched))
        row.seconds = [round(plain.seconds, 2), round(watched.seconds, 2)]
        row.cpu = [round(plain.cpu, 2), round(watched.cpu, 2)]
        row.facts = sum(p.read_text(errors="replace").count("\n") for p in spool.glob("facts.*"))
        row.notes = _notes(spool)
        why = _not_run(plain)
        if why and (plain.code == watched.code or plain.code in _TOO_LONG):
            row.verdict, row.first = "not run", why
        elif row.differs:
            for place in ("plain", "watch"):
                again, _ = _differences(plain, self.run(script, place, None))
                row.differs = [d for d in row.differs if d not in again]
            row.verdict = "differs" if row.differs else "varies"
        return row


def _wait(child: subprocess.Popen[bytes], until: float) -> tuple[int | str, float]:
    """The exit status, "timeout" where it had to be killed; and the processor seconds of the process itself."""
    while True:
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, used.ru_utime + used.ru_stime
        if time.monotonic() > until:
            child.kill()
            until = float("inf")
        time.sleep(0.02)


def _not_run(plain: Ran) -> str:
    """Why the plain run tells nothing; "" when it does."""
    if plain.code in _TOO_LONG:
        return "takes too long"
    last = plain.err.strip().splitlines()[-1:] if plain.code else []
    return last[0][:200] if last and _WANTING.search(last[0]) else ""


def _notes(spool: Path) -> list[str]:
    """What capture itself says went wrong or was left out."""
    found = []
    for path in spool.glob("facts.*"):
        for line in path.read_text(errors="replace").splitlines():
            fact = json.loads(line)
            if fact["k"] == "note":
                found.append(str(fact["text"]))
            elif fact["k"] == "unsaved":
                found.append(f"{fact['cls']} not saved: {fact['why']}")
            elif fact["k"] == "end":
                found += [f"{k} failed: {v}" for k, v in {**(fact.get("errors") or {})}.items()]
                found += [f"{k} off: {v}" for k, v in {**(fact.get("off") or {})}.items()]
    return found


def _differences(plain: Ran, captured: Ran) -> tuple[list[str], str]:
    found, first = [], ""
    for name in ("code", "out", "err", "streams"):
        one, other = getattr(plain, name), getattr(captured, name)
        if name in ("out", "err"):
            one, other = _VARYING.sub("#", one), _VARYING.sub("#", other)
        if one != other:
            found.append(name)
            lines = [
                p
                for p in zip((str(one) + "\n").splitlines(), (str(other) + "\n").splitlines(), strict=False)
                if p[0] != p[1]
            ]
            first = first or (
                f"{name}: {lines[0][0][:150]!r} -> {lines[0][1][:150]!r}" if lines else f"{name}: its length"
            )
    return found, first


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--match", default="", help="only scripts whose path has this text")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of CPU for one run")
    parser.add_argument("--budget", type=float, default=1e9, help="start no script after so many seconds")
    parser.add_argument(
        "--json", type=Path, help="a file that gets one JSON object a script; what it has is not run again"
    )
    options = parser.parse_args()
    folder = options.folder.resolve()
    scripts = [p for p in sorted(folder.rglob("*.py")) if options.match in str(p) and not p.name.startswith("_")]
    rows = [Row(**json.loads(line)) for line in options.json.read_text().splitlines()] if _has(options.json) else []
    done = {row.script for row in rows}
    pairs = Pairs(folder, options.python, options.timeout)
    started = time.monotonic()
    for script in scripts:
        if str(script.relative_to(folder)) in done:
            continue
        if time.monotonic() - started > options.budget:
            break
        row = pairs.pair(script)
        rows.append(row)
        told = f"{row.verdict:8} {row.script}  {row.code}  cpu {row.cpu}  {' '.join(row.differs)}  {row.first}"
        print(told + "".join(f"\n         ! {n}" for n in row.notes), flush=True)
        if options.json:
            with options.json.open("a") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    shutil.rmtree(pairs.base, ignore_errors=True)
    counts = {v: sum(r.verdict == v for r in rows) for v in ("same", "differs", "varies", "not run")}
    print(f"{len(rows)} of {len(scripts)} scripts: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    return 1 if counts["differs"] else 0


def _has(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    sys.exit(main())
