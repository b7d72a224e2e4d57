"""Does capture change what programs do? Runs each script of a folder plainly and captured, side by side on two cores.

    python bench/fidelity.py FOLDER [--suite SUITE] [--python PY] [--match TEXT] [--timeout S] [--budget S] [--json OUT]

Compared are the exit status, standard output, standard error, and the state of the random number generators at the end
(random, numpy, torch). A script that differs runs again captured, and twice more plainly, each alone: what two programs
side by side take from each other (a port) counts no more, and what differs between plain runs is set aside as a
script that varies by itself; so are the parts of a line that tell time or a memory address. Seeds are pinned from outside
for all runs. A script that fails plainly for want of a download or a package, or takes too long, is "not run". With `--json`
what the file has is not run again: the bench goes on where it was stopped. Exit status 1 means that some script differs.

With `--suite` the programs are the open items of SUITE/capture_corpus.json, and FOLDER holds their sources, one folder a
repository (owner+name), as for bench/capture.py. Of notebooks every output of every cell is compared, figures by their bytes.
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
from typing import Any

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
# Runs a notebook in a kernel of its own and prints what its cells show.
NOTEBOOK = """
import hashlib, sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
book.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
NotebookClient(book, timeout=None, allow_errors=True, resources={"metadata": {"path": "."}}).execute()
for cell in book.cells:
    for output in cell.get("outputs", []):
        print("---", cell.get("execution_count"), output.output_type, output.get("name", ""))
        print(output.get("text", ""), *output.get("traceback", []), sep="\\n")
        for kind, value in sorted(output.get("data", {}).items()):
            print(kind, hashlib.sha256(value.encode()).hexdigest() if kind.startswith("image/") else value)
"""
_TOO_LONG = (-signal.SIGXCPU, -signal.SIGKILL)
_WANTING = re.compile(
    r"URLError|HTTPError|RemoteDisconnected|ConnectionError|gaierror|unreachable|ModuleNotFoundError|not found in|No such file"
)


@dataclass(frozen=True)
class Program:
    """What to run: a script or notebook of a folder that is copied whole. Paths are relative to that folder."""

    name: str
    folder: Path
    script: Path
    where: Path  # the working directory
    arguments: tuple[str, ...] = ()
    imports: tuple[Path, ...] = ()  # folders for PYTHONPATH

    def command(self, python: str) -> list[str]:
        script = os.path.relpath(self.script, self.where)
        if self.script.suffix == ".ipynb":
            return [python, "-E", "-c", NOTEBOOK, script]  # -E: what PYTHONPATH starts is meant for the kernel
        return [python, script, *self.arguments]


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
    streams: str = ""  # the plain run's generators and their states
    facts: int = 0
    notes: list[str] = field(default_factory=list)


class Pairs:
    """Runs programs in two places, whose paths are of one length, and told as one. Each run has a new copy of the folder."""

    def __init__(self, python: str, timeout: float) -> None:
        self.python, self.timeout = python, timeout
        self.base = Path(tempfile.mkdtemp(prefix="headway-fidelity-"))
        (self.base / "site").mkdir()
        (self.base / "site" / "sitecustomize.py").write_text(SEEDS + ENTRY)

    def run(self, program: Program, name: str, spool: Path | None) -> Ran:
        home = self.base / name
        streams = home / "streams"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(program.folder, home / "work", symlinks=True, ignore_dangling_symlinks=True)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HEADWAY"))}
        if program.script.suffix == ".py":
            keep["MPLBACKEND"] = "Agg"
        keep |= {
            "PYTHONPATH": os.pathsep.join(
                map(str, [self.base / "site", *(home / "work" / p for p in program.imports)])
            ),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
        }
        keep |= {"FIDELITY_STREAMS": str(streams), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
        if spool is not None:
            shutil.rmtree(spool, ignore_errors=True)
            keep |= {"HEADWAY_SPOOL": str(spool), "HEADWAY_RUNTIME": str(SOURCE)}
        command, where = program.command(self.python), home / "work" / program.where
        with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
            began = time.monotonic()
            child = subprocess.Popen(command, cwd=where, env=keep, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            # Seconds of CPU, so that a busy machine makes no difference.
            resource.prlimit(child.pid, resource.RLIMIT_CPU, (int(self.timeout), int(self.timeout) + 5))
            code, cpu = _wait(child, began + 10 * self.timeout)
        told, wrong = ((home / n).read_text(errors="replace").replace(str(home), "HERE") for n in ("out", "err"))
        return Ran(code, told, wrong, streams.read_text() if streams.exists() else "", time.monotonic() - began, cpu)

    def pair(self, program: Program) -> Row:
        spool = self.base / "spool"
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(self.run, program, "plain", None)
            other = pool.submit(self.run, program, "watch", spool)
            plain, watched = one.result(), other.result()
        row = Row(program.name, "same", [plain.code, watched.code], *_differences(plain, watched))
        row.seconds = [round(plain.seconds, 2), round(watched.seconds, 2)]
        row.cpu = [round(plain.cpu, 2), round(watched.cpu, 2)]
        row.streams = plain.streams
        row.facts = sum(p.read_text(errors="replace").count("\n") for p in spool.glob("facts.*"))
        row.notes = _notes(spool)
        why = _not_run(plain)
        if why and (plain.code == watched.code or plain.code in _TOO_LONG):
            row.verdict, row.first = "not run", why
        elif row.differs:
            self._again(row, plain, program)
        return row

    def _again(self, row: Row, plain: Ran, program: Program) -> None:
        """Sets aside what differs without capture's doing."""
        alone = _differences(plain, self.run(program, "watch", self.base / "spool"))
        row.differs, row.first = ([d for d in row.differs if d in alone[0]], alone[1] or row.first)
        for place in ("plain", "watch"):
            if row.differs:
                varies, _ = _differences(plain, self.run(program, place, None))
                row.differs = [d for d in row.differs if d not in varies]
        row.verdict = "differs" if row.differs else "varies"


def programs(folder: Path, suite: Path | None, match: str) -> list[Program]:
    """The scripts of a folder; with a suite its open items, whose sources the folder holds."""
    if suite is None:
        scripts = [p.relative_to(folder) for p in sorted(folder.rglob("*.py")) if not p.name.startswith("_")]
        found = [Program(str(p), folder, p, p.parent) for p in scripts]
    else:
        items = json.loads((suite / "capture_corpus.json").read_text())["items"]
        found = [_item(folder, item) for item in items if item["split"] == "open"]
    return [p for p in found if match in p.name]


def _item(corpus: Path, item: dict[str, Any]) -> Program:
    """An item of bench/capture.py's suite; `copy` is the part of its repository that it needs."""
    part = item["copy"]

    def within(path: str) -> Path:
        return Path(os.path.relpath(path, part))

    return Program(
        item["item"],
        corpus / item["repo"].replace("/", "+") / part,
        within(item["path"]),
        within(item["cwd"]),
        tuple(item.get("args", ())),
        tuple(within(p) for p in item.get("pythonpath", ())),
    )


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
    parser.add_argument("--suite", type=Path, help="a folder with capture_corpus.json: its open items are run")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--match", default="", help="only programs whose name has this text")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of CPU for one run")
    parser.add_argument("--budget", type=float, default=1e9, help="start no script after so many seconds")
    parser.add_argument(
        "--json", type=Path, help="a file that gets one JSON object a script; what it has is not run again"
    )
    options = parser.parse_args()
    found = programs(options.folder.resolve(), options.suite, options.match)
    rows = [Row(**json.loads(line)) for line in options.json.read_text().splitlines()] if _has(options.json) else []
    done = {row.script for row in rows}
    pairs = Pairs(str(Path(shutil.which(options.python) or options.python).absolute()), options.timeout)
    started = time.monotonic()
    for program in found:
        if program.name in done:
            continue
        if time.monotonic() - started > options.budget:
            break
        row = pairs.pair(program)
        rows.append(row)
        told = f"{row.verdict:8} {row.script}  {row.code}  cpu {row.cpu}  {' '.join(row.differs)}  {row.first}"
        print(told + "".join(f"\n         ! {n}" for n in row.notes), flush=True)
        if options.json:
            with options.json.open("a") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    shutil.rmtree(pairs.base, ignore_errors=True)
    counts = {v: sum(r.verdict == v for r in rows) for v in ("same", "differs", "varies", "not run")}
    print(f"{len(rows)} of {len(found)} programs: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    return 1 if counts["differs"] else 0


def _has(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    sys.exit(main())
