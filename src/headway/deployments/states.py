"""How a revision goes: asked -> environment -> proving -> starting -> live -> retired; or failed, with the reason. Pure."""

from __future__ import annotations

ASKED, ENVIRONMENT, PROVING, STARTING = "asked", "environment", "proving", "starting"
LIVE, FAILED, RETIRED = "live", "failed", "retired"

UNDER_WAY = frozenset({ASKED, ENVIRONMENT, PROVING, STARTING})
RUNS = frozenset({STARTING, LIVE})  # its replicas are wanted
OVER = frozenset({FAILED, RETIRED})

WORDS = {
    ASKED: "fetching the model",
    ENVIRONMENT: "building its environment",
    PROVING: "replaying the recorded examples",
    STARTING: "starting",
    LIVE: "live",
    FAILED: "failed",
    RETIRED: "stopped, can be rolled back to",
}


def unproved(cause: str, log: str) -> tuple[str, str]:
    """(reason, hint) of a proof that left no verdict, by how its process ended."""
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")[:300]
    match cause:
        case "out_of_memory":
            return "The model ran out of memory while it was loaded.", "Give it a machine with more memory."
        case "timed_out":
            return (
                "The model took more than ten minutes to load and answer its examples.",
                "Is it waiting for something?",
            )
        case "cancelled":
            return "The proof was cancelled.", "Deploy again."
        case "killed" | "lost":
            return "The process crashed while it loaded the model or answered its examples.", last or "Deploy again."
    return "The proof stopped without a verdict.", last or "Its log may tell. Deploy again."


def endpoint_state(revisions: list[tuple[str, int]]) -> str:
    """The word for an endpoint, from its revisions' (state, weight), newest first: live, deploying, failed or stopped."""
    if any(state == LIVE and weight > 0 for state, weight in revisions):
        return LIVE
    if any(state in UNDER_WAY for state, _ in revisions):
        return "deploying"
    if revisions and revisions[0][0] == FAILED:
        return FAILED
    return "stopped"
