"""Run a notebook: `python -m headway.runner.notebook RUNDIR`.

Reads `in.ipynb` and `run.json` {python, cwd, cell_timeout_s}; leaves `out.ipynb` and `result.json`. Sends one cell at a time,
notes it in `cursor.jsonl` first, and follows the log until the kernel says that the cell is done. Killed and started again on
the same folder, it goes on with the same kernel: a cell is never run twice, an output never lost.

Exit status: 0 all cells ran, 1 a cell failed, 2 the kernel could not start, 3 the kernel died, 124 a cell took too long,
130 interrupted.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.runner.assemble import assemble
from headway.runner.kernel import Kernel, read_json, write_json
from headway.transcript.log import Reader, parse

Json = dict[str, Any]

START_S = 300.0
INTERRUPT_S = 5.0
SHUTDOWN_S = 15.0
SYNC_S = 1.0
_CODES = {"finished": 0, "failed": 1, "no_kernel": 2, "kernel_died": 3, "timed_out": 124, "interrupted": 130}
_NO_INPUT = "a run has nobody to answer input(); take the value from a parameter, e.g. a cell tagged 'parameters'"


@dataclass
class Outcome:
    """How the run, or one cell, ended. `cell` counts the code cells from 1, as `In [n]` does."""

    status: str = "finished"
    cause: str = ""
    cell: int | None = None
    error: Json = field(default_factory=dict)


class Interrupted(BaseException):
    """Somebody wants the run to end."""


class NotebookRun:
    """One run folder, from wherever it was left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = read_json(folder / "run.json")
        self.kernel = Kernel(folder)
        self.reader = Reader(folder / "events.jsonl")
        self.cursor = folder / "cursor.jsonl"
        self.interrupted = self.hurry = False
        self._synced = 0.0
        self._first_cells: list[int] = []

    def run(self) -> Outcome:
        """Run what has not run yet."""
        cells = _code_cells(read_json(self.folder / "in.ipynb"))
        self._first_cells = [number for number, _ in cells]
        sent = self._sent()
        if self.kernel.existed:
            self.kernel.connect()
        else:
            trouble = self._start()
            if trouble:
                return trouble
        for position, (number, cell) in enumerate(cells):
            if position < len(sent) - 1:
                continue
            resumed = sent[position]["msg"] if position < len(sent) else None
            if resumed is None and not self.kernel.alive():
                return self._dead(None)
            outcome = self._cell(number, cell, resumed)
            if outcome.status != "finished" and not _may_fail(cell, outcome):
                return outcome
        return Outcome()

    def _start(self) -> Outcome | None:
        python, cwd = str(self.settings.get("python", sys.executable)), str(self.settings.get("cwd", self.folder))
        try:
            self.kernel.start(python, cwd, self.reader.path)
        except OSError as error:
            return Outcome(
                "no_kernel", f"the environment's Python can't be started: {error.strerror}: {error.filename}"
            )
        self.kernel.connect()
        asked = self.kernel.message("kernel_info_request", {})
        self.kernel.send(asked)
        until = time.monotonic() + START_S
        while asked["msg_id"] not in self.kernel.replies(50):
            self._check_interrupt()
            if not self.kernel.alive():
                return Outcome("no_kernel", self._why_no_kernel())
            if time.monotonic() > until:
                return Outcome("no_kernel", f"the kernel did not answer within {START_S:.0f} s")
        return None

    def _why_no_kernel(self) -> str:
        if self.kernel.exit_code == 86:
            return "the environment has no ipykernel; add ipykernel to it to run notebooks"
        try:
            said = (self.folder / "kernel.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            said = []
        return f"the kernel ended while it started: {said[-1][:500] if said else 'it said nothing'}"

    def _sent(self) -> list[Json]:
        notes = [parsed for line in Reader(self.cursor).lines() if (parsed := _note(line))]
        whole = Reader(self.cursor)
        for _ in whole.lines():
            pass
        if self.cursor.exists() and self.cursor.stat().st_size > whole.offset:
            os.truncate(self.cursor, whole.offset)  # a note that a kill cut off was not sent
        return notes

    def _cell(self, number: int, cell: Json, resumed: Json | None) -> Outcome:
        source = "".join(cell["source"]) if isinstance(cell["source"], list) else str(cell["source"])
        if resumed is None:
            content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                       "stop_on_error": True}  # fmt: skip
            message = self.kernel.message("execute_request", content)
            self._note({"cell": number, "msg": message})
            self.kernel.send(message)
        else:
            message = resumed
        return self._follow(number, message, resumed is not None)

    def _note(self, note: Json) -> None:
        with self.cursor.open("ab") as file:
            file.write(json.dumps(note).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _follow(self, number: int, message: Json, resumed: bool) -> Outcome:
        """Read the log until the kernel is through with the cell."""
        ordinal = self._ordinal(number)
        timeout = float(self.settings.get("cell_timeout_s") or 0)
        until = time.monotonic() + timeout if timeout else None
        watch = _Watch(message["msg_id"])
        probe = self._probe() if resumed else None
        wait_ms, looked = 50, time.monotonic()
        while True:
            for line in self.reader.lines():
                watch.see(line)
                if watch.idle:
                    self._sync(force=True)
                    return watch.outcome(ordinal)
            self._sync()
            try:
                self._check_interrupt()
            except Interrupted:
                self._stop_cell(watch)
                raise
            answered = self.kernel.replies(wait_ms)
            wait_ms = 2 if message["msg_id"] in answered else min(wait_ms * 2, 50)
            if probe and probe in answered:
                probe = self._resend(message, watch)
            if time.monotonic() - looked > 0.25:
                looked = time.monotonic()
                if not self.kernel.alive() and not self._more_to_read():
                    return self._dead(ordinal)
            if until and time.monotonic() > until:
                self._stop_cell(watch)
                return Outcome("timed_out", f"cell {ordinal} ran longer than its {timeout:g} s", ordinal)

    def _probe(self) -> str:
        """A question the kernel answers once it is through with what it was sent before."""
        asked = self.kernel.message("kernel_info_request", {})
        self.kernel.send(asked)
        return str(asked["msg_id"])

    def _resend(self, message: Json, watch: _Watch) -> str | None:
        """The probe was answered: if the kernel has still not begun the cell, the last runner was killed before it was sent.

        The same bytes are sent, so a kernel that has them after all refuses the second copy.
        """
        for line in self.reader.lines():
            watch.see(line)
        if not watch.busy and not watch.probed_twice:
            watch.probed_twice = True
            return self._probe()  # sockets are served in turn: after a second answer nothing older can be waiting
        if not watch.busy:
            self.kernel.send(message)
        return None

    def _more_to_read(self) -> bool:
        try:
            return self.reader.path.stat().st_size > self.reader.offset and any(
                True for _ in Reader(self.reader.path, self.reader.offset).lines()
            )
        except FileNotFoundError:
            return False

    def _stop_cell(self, watch: _Watch) -> None:
        self.kernel.interrupt()
        until = time.monotonic() + INTERRUPT_S
        while not watch.idle and time.monotonic() < until and self.kernel.alive() and not self.hurry:
            self.kernel.replies(20)
            for line in self.reader.lines():
                watch.see(line)

    def _check_interrupt(self) -> None:
        if self.interrupted:
            raise Interrupted

    def _dead(self, ordinal: int | None) -> Outcome:
        code = self.kernel.exit_code
        how = f"was killed (signal {-code}, {signal.Signals(-code).name})" if code is not None and code < 0 else "died"
        if code is not None and code >= 0:
            how = f"ended by itself (exit code {code})"
        where = f" in cell {ordinal}" if ordinal else ""
        return Outcome("kernel_died", f"the kernel {how}{where}", ordinal, {"exit_code": code})

    def _sync(self, force: bool = False) -> None:
        """The log to the disk: each second, and at the end of each cell. What was written survives a power cut."""
        if force or time.monotonic() - self._synced > SYNC_S:
            self._synced = time.monotonic()
            try:
                fd = os.open(self.reader.path, os.O_RDONLY)
            except FileNotFoundError:
                return
            os.fdatasync(fd)
            os.close(fd)

    def _ordinal(self, number: int) -> int:
        return self._first_cells.index(number) + 1 if number in self._first_cells else number + 1


class _Watch:
    """What the log says about one request. Only the few lines that matter are parsed."""

    def __init__(self, msg_id: str) -> None:
        self.mark = msg_id.encode()
        self.busy = self.idle = self.probed_twice = False
        self.error: Json = {}

    def see(self, line: bytes) -> None:
        if not line.startswith((b'{"k": "status"', b'{"k": "error"')) or self.mark not in line:
            return
        event = parse(line)
        if event is None or event.get("p", "").encode() != self.mark:
            return
        if event["k"] == "error":
            self.error = event["c"]
        else:
            self.busy = True
            self.idle = event["c"].get("execution_state") == "idle"

    def outcome(self, ordinal: int) -> Outcome:
        if not self.error:
            return Outcome()
        name, text = str(self.error.get("ename", "Error")), str(self.error.get("evalue", ""))
        if name == "StdinNotImplementedError":
            return Outcome(
                "failed", f"{name}: {_NO_INPUT} (cell {ordinal})", ordinal, {"ename": name, "evalue": _NO_INPUT}
            )
        first = text.strip().splitlines()[0] if text.strip() else ""
        cause = f"{name}: {first[:500]} in cell {ordinal}" if first else f"{name} in cell {ordinal}"
        return Outcome("failed", cause, ordinal, {"ename": name, "evalue": text[:2000]})


def _note(line: bytes) -> Json | None:
    try:
        note = json.loads(line)
        return note if isinstance(note["cell"], int) and note["msg"]["header"]["msg_id"] else None
    except (ValueError, KeyError, TypeError):
        return None


def _code_cells(notebook: Json) -> list[tuple[int, Json]]:
    """(number in the notebook, cell) of the cells to run: code that is not empty and not tagged `skip-execution`."""
    return [
        (number, cell)
        for number, cell in enumerate(notebook.get("cells", []))
        if cell.get("cell_type") == "code"
        and "".join(cell.get("source", "")).strip()
        and "skip-execution" not in _tags(cell)
    ]


def _tags(cell: Json) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def _may_fail(cell: Json, outcome: Outcome) -> bool:
    return outcome.status == "failed" and "raises-exception" in _tags(cell)


def execute(folder: Path) -> int:
    """Run the folder to its end and write down how it ended; the exit status."""
    run = NotebookRun(folder)

    def interrupt(number: int, _: Any) -> None:
        run.hurry = run.hurry or number == signal.SIGTERM
        run.interrupted = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        outcome = run.run()
    except Interrupted:
        outcome = Outcome("interrupted", "interrupted")
    run.kernel.shut_down(0.5 if run.hurry else 2.0 if outcome.status in ("interrupted", "timed_out") else SHUTDOWN_S)
    run._sync(force=True)
    assemble(folder)
    result = {"status": outcome.status, "cause": outcome.cause, "cell": outcome.cell, "error": outcome.error}
    write_json(folder / "result.json", result)
    return _CODES[outcome.status]


def main(argv: list[str]) -> int:
    """The entry: one runner a folder at a time."""
    arguments = [argument for argument in argv[1:] if not argument.startswith("-")]
    if len(arguments) != 1:
        print("usage: python -m headway.runner.notebook [--assemble] RUNDIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).absolute()
    if "--assemble" in argv:
        Kernel(folder).tidy()
        assemble(folder)
        return 0
    lock = os.open(folder / "runner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # a runner that was killed has let go of it
    known = read_json(folder / "result.json")
    return _CODES[known["status"]] if known else execute(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
