"""The process beside a run that reads its spool, reduces it, and sends it: `python -m headway.capture.shipper --spool DIR`.

It ends after draining when its standard input ends (a sidecar), or when `--pid` is gone; `--drain` is for afterwards,
`--record` gathers what only this machine can tell and sends nothing. It measures what the run takes of the machine, too.
What it could not send stays in the spool, with what it did send in `shipped.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from headway.capture import batches, system
from headway.capture.drawing import draw
from headway.capture.gathering import gather
from headway.capture.reduce import reduce
from headway.capture.sending import Sender
from headway.capture.wire import Refused, Server, Unreachable
from headway.sdk import address

__all__ = ["main"]

TICK_S = 0.5
SHARE = 10
BACKOFF_S = (1, 2, 4, 8, 15)
PATIENCE_S = 120.0
TELLING = {
    "site",
    "fit",
    "score",
    "validate",
    "round",
    "print",
    "names",
    "args",
    "data",
    "model",
    "cell",
    "figure",
    "log",
    "bar",
    "progress",
    "own",
}


class Reader:
    """The facts of a spool, read on from where it stopped; half-written lines wait."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._offsets: dict[Path, int] = {}
        self.facts: list[dict[str, Any]] = []

    def read(self) -> int:
        """Reads what is new; how many facts that was."""
        count = 0
        for path in sorted(self._spool.glob("facts.*.jsonl")):
            start = self._offsets.get(path, 0)
            try:
                with path.open("rb") as stream:
                    stream.seek(start)
                    data = stream.read()
            except OSError:
                continue
            end = data.rfind(b"\n") + 1
            self._offsets[path] = start + end
            pid = int(path.name.split(".")[1])
            for line in data[:end].splitlines():
                try:
                    fact = json.loads(line)
                except ValueError:
                    continue
                if isinstance(fact, dict) and "k" in fact and "t" in fact:
                    one = UNPACK[fact["k"]](fact) if fact["k"] in UNPACK else [fact]
                    self.facts += [{**f, "_pid": pid} for f in one]
                    count += len(one)
        return count


def _unpacked(fact: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls that were written together, each as a fact of its own."""
    rows = fact.get("r")
    whole = [r for r in rows if isinstance(r, list) and len(r) == 5] if isinstance(rows, list) else []
    return [{"t": t, "k": kind, "s": site, "v": values, "n": names} for t, kind, site, values, names in whole]


UNPACK = {"rows": _unpacked, "batch": batches.unpacked}


class Shipper:
    """Follows one spool."""

    def __init__(self, spool: Path, server: Server, run_id: str | None) -> None:
        self._spool = spool
        self.reader = Reader(spool)
        self.sender = Sender(server, spool, run_id)
        self._next = 0.0
        self._failures = 0
        self._fresh = False

    def tick(self) -> None:
        """Sends what is new, now and then: reducing takes at most a tenth of the time."""
        self._fresh = self.reader.read() > 0 or self._fresh
        now = time.monotonic()
        if now < self._next or not self._telling():
            return
        try:
            self.sender.open_run(self._start())
            if self._fresh:
                self.sender.live(reduce(self.reader.facts))
            self.sender.system()
            self._fresh, self._failures = False, 0
        except (Unreachable, Refused):
            self._failures += 1
            self._next = time.monotonic() + BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
            return
        self._next = time.monotonic() + max(TICK_S, SHARE * (time.monotonic() - now))

    def finish(self, patience: float) -> bool:
        """Sends everything; False when the server stayed away for `patience` seconds, or would not have the run."""
        deadline = time.monotonic() + patience
        attempt = 0
        while True:
            try:
                self._finish()
                return True
            except Refused as error:
                print(f"capture: the server refused the run's record: {error}", file=sys.stderr)
                return False
            except Unreachable as error:
                wait = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                attempt += 1
                if time.monotonic() + wait > deadline:
                    print(f"capture: the server is away ({error}); the spool is kept for --drain", file=sys.stderr)
                    return False
                time.sleep(wait)

    def _finish(self) -> None:
        self.reader.read()
        if not (self._telling() or self.sender.sent.created or system.seen(self._spool)):
            return
        start = self._start()
        draw(self._spool / "figures", str(start.get("exe") or sys.executable))
        record = reduce(self.reader.facts)
        self.sender.open_run(start)
        self.sender.live(record)
        self.sender.all(record)
        self.sender.system(last=True)
        self.sender.git(str(start.get("cwd") or "."))
        failed = any(f["k"] == "error" for f in self.reader.facts)
        self.sender.close_run(failed, self.reader.facts[-1]["t"] if self.reader.facts else int(time.time() * 1000))
        self.sender.sent.finished = True
        self.sender.save()
        for sent in ("models", "figures"):  # the server has them now; the facts stay, they are small
            shutil.rmtree(self._spool / sent, ignore_errors=True)

    def _telling(self) -> bool:
        return any(f["k"] in TELLING for f in self.reader.facts)

    def _start(self) -> dict[str, Any]:
        starts = [f for f in self.reader.facts if f["k"] == "start"]
        return next(
            (f for f in starts if f.get("role") == "main"), starts[0] if starts else {"t": int(time.time() * 1000)}
        )


def _follow(spool: Path, shipper: Shipper | None, pid: int | None) -> None:
    """Until the end is told: the process is gone, or standard input ends."""
    sampler = system.Sampler(spool, pid)
    watch = [] if pid is not None else [sys.stdin.fileno()]
    while True:
        ready = select.select(watch, [], [], TICK_S)[0] if watch else []
        if not watch:
            time.sleep(TICK_S)
        if ready and not os.read(ready[0], 65536):
            return
        if pid is not None and not address.alive(pid):
            return
        sampler.tick()
        if shipper is not None:
            shipper.tick()


def _record(spool: Path) -> int:
    """Keep, beside the facts, what could not be told elsewhere or later."""
    reader = Reader(spool)
    reader.read()
    if reader.facts:
        start = next((f for f in reader.facts if f["k"] == "start"), {})
        draw(spool / "figures", str(start.get("exe") or sys.executable))
        gather(spool, reduce(reader.facts), str(start.get("cwd") or "."))
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m headway.capture.shipper", description=__doc__)
    parser.add_argument("--spool", required=True, type=Path, help="the folder of facts (HEADWAY_SPOOL of the run)")
    parser.add_argument("--pid", type=int, help="end when this process is gone")
    parser.add_argument("--drain", action="store_true", help="send what is left, and end")
    parser.add_argument(
        "--record", action="store_true", help="send nothing; make the spool fit to be sent from elsewhere"
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_S, help="seconds to wait for a server that is away, at the end"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all was sent, 1 something stays in the spool, 2 usage."""
    options = _options(argv)
    url = os.environ.get("HEADWAY_URL")
    if not url and not options.record:
        print("capture: HEADWAY_URL is not set: it is the server's address", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end is ours
    shipper = None
    if not options.record:
        server = Server(str(url), os.environ.get("HEADWAY_TOKEN_FILE"), os.environ.get("HEADWAY_PROJECT"))
        shipper = Shipper(options.spool, server, os.environ.get("HEADWAY_RUN"))
    if not options.drain:
        _give_way()
        _follow(options.spool, shipper, options.pid)
    if shipper is None:
        return _record(options.spool)
    return 0 if shipper.finish(options.patience) else 1


def _give_way() -> None:
    """The program's processors are the program's."""
    try:
        os.nice(5)
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
