"""The states of a run in the words of badges. Pure."""

from __future__ import annotations

from typing import Protocol

STATES = {"RUNNING": "running", "SCHEDULED": "queued", "FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
CAUSES = frozenset({"cancelled", "timed_out", "out_of_memory", "killed", "lost"})


class Ended(Protocol):
    """What has MLflow's `status` and the platform's `cause`."""

    @property
    def status(self) -> str: ...
    @property
    def cause(self) -> str: ...


def state(run: Ended) -> str:
    """The platform's cause where it knows one, else the status."""
    if run.status in ("FAILED", "KILLED") and run.cause in CAUSES:
        return run.cause
    return STATES.get(run.status, run.status.lower())


def cause(run: Ended) -> str:
    """Why a run ended, where that is a sentence and not a state."""
    return "" if run.cause in CAUSES else run.cause
