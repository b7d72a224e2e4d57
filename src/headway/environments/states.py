"""How an environment goes: asked -> locking -> building -> ready, failed or cancelled. Pure."""

from __future__ import annotations

ASKED, LOCKING, BUILDING = "asked", "locking", "building"
READY, FAILED, CANCELLED = "ready", "failed", "cancelled"

UNDER_WAY = frozenset({ASKED, LOCKING, BUILDING})
OVER = frozenset({READY, FAILED, CANCELLED})


def ending(cause: str, signal: int | None) -> tuple[str, str, str]:
    """(state, message, hint) of a build that left no result, by how its process ended."""
    if cause == "cancelled":
        return CANCELLED, "The build was cancelled; nothing of it was kept.", ""
    if cause == "out_of_memory":
        return FAILED, "The build ran out of memory.", "Close something on this machine and try again."
    if cause == "killed":
        told = f"The build was killed (signal {signal}); nothing of it was kept." if signal else "The build was killed."
        return FAILED, told, "Try again."
    if cause == "timed_out":
        return (
            FAILED,
            "The build took too long and was stopped; nothing of it was kept.",
            "Is the package index slow? Try again.",
        )
    if cause == "lost":
        return FAILED, "This machine went down during the build; nothing of it was kept.", "Try again."
    return FAILED, "The build stopped without saying why.", "Its log may tell. Try again."
