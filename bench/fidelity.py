"""Does capture change what programs do? Runs each script of a folder plainly and captured, one after the other.

    python bench/fidelity.py FOLDER [--python PY] [--match TEXT] [--every N] [--timeout S] [--budget S] [--json OUT]

Compared are the exit status, standard output, standard error, and the state of the random number generators at the end
(random, numpy, torch). A script whose two plain runs differ from each other is set aside as one that varies by itself;
so are the parts of a line that tell time or a memory address. Seeds are pinned from outside for both runs. Exit status 1
means that some script differs.
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
    with open(os.environ["FIDELITY_STREAMS"], "w") as stream:
        stream.write(repr(sorted(found.items())))
if os.environ.get("FIDELITY_STREAMS") and "joblib" not in " ".join(sys.orig_argv):
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
    """What the pair of runs of one script showed."""

    script: str
    verdict: str  # same, differs, varies, failed
    code: list[int | str]
    differs: list[str] = field(default_factory=list)
    first: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    facts: int = 0
    notes: list[str] = field(default_factory=list)


class Pairs:
    """Runs scripts in copies of their folder."""

    def __init__(self, folder: Path, python: str, timeout: float) -> None:
        self.folder, self.python, self.timeout = folder, python, timeout
        self.base = Path(tempfile.mkdtemp(prefix="headway-fidelity-"))
        (self.base / "site").mkdir()
        (self.base / "site" / "sitecustomize.py").write_text(SEEDS + ENTRY)
        for name in ("plain", "captured"):
            shutil.copytree(folder, self.base / name / "work", symlinks=True, ignore_dangling_symlinks=True)

    def run(self, script: Path, captured: bool) -> Ran:
        """Both runs see the same paths: the copy is moved to one place for the time it runs."""
        home, place = self.base / ("captured" if captured else "plain") / "work", self.base / "here"
        home.rename(place)
        streams, spool = self.base / "streams", self.base / "spool"
        streams.unlink(missing_ok=True)
        shutil.rmtree(spool, ignore_errors=True)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HEADWAY"))}
        keep |= {
            "PYTHONPATH": str(self.base / "site"),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
        }
        keep |= {"FIDELITY_STREAMS": str(streams), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
        if captured:
            keep |= {"HEADWAY_SPOOL": str(spool), "HEADWAY_RUNTIME": str(SOURCE)}
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        where = place / script.relative_to(self.folder)
        try:
            done = subprocess.run(
                [self.python, where.name], cwd=where.parent, env=keep, capture_output=True, text=True, errors="replace",
                timeout=20 * self.timeout, check=False, stdin=subprocess.DEVNULL, preexec_fn=self._limit,
            )  # fmt: skip
            code: int | str = done.returncode
            out, err = done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, out, err = "timeout", "", ""
        finally:
            place.rename(home)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ran(code, out, err, streams.read_text() if streams.exists() else "", time.monotonic() - started, cpu)

    def _limit(self) -> None:
        """So many seconds of CPU, so that a busy machine makes no difference."""
        resource.setrlimit(resource.RLIMIT_CPU, (int(self.timeout), int(self.timeout) + 5))

    def pair(self, script: Path) -> Row:
        plain = self.run(script, captured=False)
        if plain.code in ("timeout", -signal.SIGXCPU):
            return Row(str(script.relative_to(self.folder)), "failed", [plain.code], ["takes too long"])
        captured = self.run(script, captured=True)
        row = Row(
            str(script.relative_to(self.folder)), "same", [plain.code, captured.code], *_differences(plain, captured)
        )
        row.seconds = [round(plain.seconds, 2), round(captured.seconds, 2)]
        row.cpu = [round(plain.cpu, 2), round(captured.cpu, 2)]
        row.facts = sum(p.read_text(errors="replace").count("\n") for p in (self.base / "spool").glob("facts.*"))
        row.notes = _notes(self.base / "spool")
        if row.differs:
            again, _ = _differences(plain, self.run(script, captured=False))
            row.verdict = "differs" if set(row.differs) - set(again) else "varies"
        return row


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
    parser.add_argument("--every", type=int, default=1, help="only each N-th script")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of CPU for one run")
    parser.add_argument("--budget", type=float, default=1e9, help="start no script after so many seconds")
    parser.add_argument("--json", type=Path, help="a file that gets one JSON object a script")
    options = parser.parse_args()
    scripts = [
        p for p in sorted(options.folder.rglob("*.py")) if options.match in str(p) and not p.name.startswith("_")
    ]
    pairs = Pairs(options.folder.resolve(), options.python, options.timeout)
    rows: list[Row] = []
    started = time.monotonic()
    for script in scripts[:: options.every]:
        if time.monotonic() - started > options.budget:
            break
        row = pairs.pair(script.resolve())
        rows.append(row)
        told = f"{row.verdict:8} {row.script}  {row.code}  cpu {row.cpu}  {' '.join(row.differs)}  {row.first}"
        print(told + "".join(f"\n         ! {n}" for n in row.notes), flush=True)
        if options.json:
            with options.json.open("a") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    shutil.rmtree(pairs.base, ignore_errors=True)
    counts = {v: sum(r.verdict == v for r in rows) for v in ("same", "differs", "varies", "failed")}
    print(f"{len(rows)} of {len(scripts)} scripts: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    return 1 if counts["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
