"""How a run ended, in words, and what a person can do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ending:
    """`title` and `text` say what happened, `advice` what to do next; `tone` is that of a notice."""

    title: str
    text: str
    advice: str
    tone: str = "bad"


_ENDINGS = {
    "out_of_memory": (
        "It ran out of memory", "The platform ended it when all its processes together held more than they may.",
        "Run it again with a higher memory limit, or with less data at once. Resources shows how the memory grew.",
    ),
    "timed_out": (
        "It took longer than it may", "The time limit ended it.",
        "Run it again with a longer limit. What it had logged by then is kept.",
    ),
    "killed": (
        "It was killed", "Something outside of headway sent it a signal: another program, or the machine when it ran short.",
        "Look at the last lines of its output, and at the machine's memory at that time; then run it again.",
    ),
    "lost": (
        "It was lost", "Its process disappeared, and nothing tells how: the machine may have been switched off.",
        "What it had logged by then is kept. Run it again.",
    ),
    "cancelled": ("It was cancelled", "Somebody ended it.", "What it had logged by then is kept."),
    "failed": (
        "It failed", "The code ended with an error.",
        "The output shows the error where it happened. Mend the file, then run it again.",
    ),
}  # fmt: skip


def ending(state: str, cause: str, *, ours: bool) -> Ending | None:
    """What to say over a run that did not finish; None for one that did. `ours`: headway ran it and has its output."""
    if state not in _ENDINGS:
        return None
    title, text, advice = _ENDINGS[state]
    if cause:
        text = cause
    if not ours and state == "failed":
        advice = "It ran somewhere else: what it printed stayed there."
        text = cause or "The program that logged it said that it failed."
    return Ending(title, text, advice, "info" if state == "cancelled" else "bad")
