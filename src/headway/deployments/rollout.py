"""Who gets how much traffic: promote, canary, roll back. Pure functions over what is known of each revision.

Weights are in hundredths of a percent and sum to `WHOLE` as soon as one revision is live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headway.deployments import states
from headway.deployments.traffic import WHOLE
from headway.errors import Conflict, Unprocessable

KEPT_WARM = 1


@dataclass(frozen=True)
class Known:
    """A revision as the rollout sees it. `promoted_at`: when it last got all traffic, None if never."""

    number: int
    state: str
    weight: int = 0
    promoted_at: int | None = None


def serving(revisions: Sequence[Known]) -> Known | None:
    """The one that has most of the traffic."""
    live = [r for r in revisions if r.state == states.LIVE and r.weight > 0]
    return max(live, key=lambda r: (r.weight, -r.number), default=None)


def promote(revisions: Sequence[Known], number: int) -> dict[int, int]:
    """All traffic to one revision. Raises Conflict unless it is live."""
    _live(revisions, number)
    return {r.number: WHOLE if r.number == number else 0 for r in revisions}


def canary(revisions: Sequence[Known], number: int, share: int) -> dict[int, int]:
    """`share` of the traffic to one revision, the rest to the one that has most now. Raises Conflict, Unprocessable."""
    if not 0 <= share <= WHOLE:
        raise Unprocessable("A canary takes between 0 and 100 % of the traffic.", field="percent")
    _live(revisions, number)
    stable = serving([r for r in revisions if r.number != number])
    if stable is None:
        return promote(revisions, number)
    weights = dict.fromkeys((r.number for r in revisions), 0)
    weights[number] = share
    weights[stable.number] = WHOLE - share
    return weights


def rollback_target(revisions: Sequence[Known]) -> Known:
    """Where one click leads: away from a canary to the revision that stands, else to the last one before it.

    Raises Conflict where there is nothing to go back to.
    """
    current = serving(revisions)
    newest = max((r.number for r in revisions if r.state == states.LIVE and r.weight > 0), default=0)
    if current is not None and newest > current.number:
        return current
    earlier = [r for r in revisions if r.promoted_at is not None and (current is None or r.number < current.number)]
    usable = [r for r in earlier if r.state in (states.LIVE, states.RETIRED, states.STARTING)]
    if not usable:
        raise Conflict(
            "There is no earlier revision to roll back to.", hint="Deploy the version that you want instead."
        )
    return max(usable, key=lambda r: r.number)


def superfluous(revisions: Sequence[Known]) -> list[int]:
    """Live revisions without traffic that need not stay warm: all but the last that had it, for a roll back at once."""
    idle = [r for r in revisions if r.state == states.LIVE and r.weight == 0]
    idle.sort(key=lambda r: (r.promoted_at or 0, r.number), reverse=True)
    return [r.number for r in idle[KEPT_WARM:]]


def _live(revisions: Sequence[Known], number: int) -> Known:
    found = next((r for r in revisions if r.number == number), None)
    if found is None:
        raise Conflict(f"There is no revision {number}.")
    if found.state != states.LIVE:
        raise Conflict(
            f"Revision {number} is {found.state}, not live.", hint="Wait until it is, or look at why it is not."
        )
    return found
