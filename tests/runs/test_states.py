"""States and verdicts: pure tables."""

from __future__ import annotations

import pytest

from headway.runs import states
from headway.runs.states import Ended

TRACE = 'Traceback (most recent call last):\n  File "/w/train.py", line 7, in <module>\n    f()\n'
LIBRARY = '  File "/e/lib/python3.11/site-packages/pandas/core.py", line 900, in get\n    raise KeyError(x)\n'


def _failed(cause: str, **error: str) -> dict:
    return {"status": "failed", "cause": cause, "error": error}


def _died(cause: str, exit_code: int) -> dict:
    return {"status": "kernel_died", "cause": cause, "error": {"exit_code": exit_code}}


def test_only_known_moves() -> None:
    for before in states.MOVES:
        for after in (*states.LIVE, *states.ENDS):
            assert states.may_move(before, after) == (
                (before == "queued" and after in ("running", "failed", "cancelled", "lost"))
                or (before == "running" and after in states.ENDS)
            )
    assert set(states.MLFLOW) == {*states.LIVE, *states.ENDS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("no error here: at all", {}),
        (TRACE + "ValueError: bad", {"ename": "ValueError", "evalue": "bad", "file": "/w/train.py", "line": 7}),
        (TRACE + LIBRARY + "KeyError: 'x'", {"ename": "KeyError", "evalue": "'x'", "file": "/w/train.py", "line": 7}),
        (
            TRACE + "pkg.errors.MyError: odd: text",
            {"ename": "MyError", "evalue": "odd: text", "file": "/w/train.py", "line": 7},
        ),
        (TRACE + "KeyboardInterrupt", {"ename": "KeyboardInterrupt", "evalue": "", "file": "/w/train.py", "line": 7}),
        (
            "old\n" + TRACE + "A: 1\n\nDuring handling of it\n\n" + TRACE + "B: 2\n",
            {"ename": "B", "evalue": "2", "file": "/w/train.py", "line": 7},
        ),
        ("\x1b[31m" + TRACE + "E: 1\x1b[0m", {"ename": "E", "evalue": "1", "file": "/w/train.py", "line": 7}),
        ("Traceback (most recent call last):\n  cut", {}),
    ],
)
def test_the_last_error_of_an_output(text: str, expected: dict) -> None:
    assert states.last_error(text) == expected


@pytest.mark.parametrize(
    ("ended", "status", "cause"),
    [
        (Ended("exited", 0), "finished", ""),
        (Ended("exited", 0, tail=TRACE + "ValueError: caught and printed"), "finished", ""),
        (Ended("exited", 1, tail=TRACE + "MemoryError"), "out_of_memory", "MemoryError (train.py, line 7)"),
        (Ended("cancelled", 0), "cancelled", "cancelled"),
        (Ended("cancelled", 1, tail=TRACE + "KeyboardInterrupt"), "cancelled", "cancelled"),
        (Ended("timed_out", timeout_s=90), "timed_out", "ran longer than its limit of 90 s"),
        (Ended("timed_out", timeout_s=600, result={"cell": 4}), "timed_out", "ran longer than its limit of 10 min in cell 4"),
        (Ended("out_of_memory", memory_mb=512), "out_of_memory", "needed more memory than its limit of 512 MiB"),
        (Ended("out_of_memory"), "out_of_memory", "needed more memory than what the machine has"),
        (Ended("killed", signal=9, detail="killed by signal 9 (SIGKILL)"), "killed", "killed by signal 9 (SIGKILL)"),
        (Ended("lost", detail="the machine was restarted while it ran"), "lost", "the machine was restarted while it ran"),
        (Ended("exited", 0, result={"status": "finished"}), "finished", ""),
        (Ended("exited", 1, result=_failed("E: x in cell 2", ename="E")), "failed", "E: x in cell 2"),
        (Ended("exited", 1, result={"status": "failed", "cause": "MemoryError in cell 2", "error": {"ename": "MemoryError"}}),
         "out_of_memory", "MemoryError in cell 2"),
        (Ended("exited", 3, result=_died("the kernel was killed", -9)), "killed", "the kernel was killed"),
        (Ended("exited", 3, result={"status": "kernel_died", "cause": "it ended by itself", "error": {"exit_code": 7}}),
         "failed", "it ended by itself"),
        (Ended("exited", 3, memory_kills=1, result=_died("killed", -9) | {"cell": 5}),
         "out_of_memory", "the machine ran out of memory in cell 5, and the kernel was killed for it"),
        (Ended("exited", 130, result={"status": "interrupted"}), "killed", "interrupted by a signal from outside"),
        (Ended("exited", 2, result={"status": "no_kernel", "cause": "no ipykernel"}), "failed", "no ipykernel"),
    ],
)  # fmt: skip
def test_verdicts(ended: Ended, status: str, cause: str) -> None:
    found = states.verdict(ended)
    assert (found.status, found.cause) == (status, cause)
