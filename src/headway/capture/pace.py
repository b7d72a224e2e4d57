"""How many lines are looked at: all of them up to a pace that no chart needs, and a share of those of a loop that is faster.

A line that is looked at costs a loop about as much as printing it. So there are so many tokens at once, and so many more at
each round of the writer (100 ms). Where they are spent, of a line that came often already only every 32nd is looked at;
where even passing over takes too much, the hook is taken out until the next round, which then comes soon: only there
a rare line may be missed.
"""

from __future__ import annotations

import time

from headway.capture.guard import GRACE_NS, SHARE, STARTED_NS

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from headway.capture.guard import Source
    from headway.capture.sites import Site

__all__ = ["EVERY", "HOT", "THIN_AFTER", "Pace", "keep"]

BURST, REFILL, LEAST = 2_000, 300, 20
PATIENCE = 2_000  # calls that are passed over in one round before the hook is taken out
EVERY = 31  # of calls that are passed over one of 32 is looked at (a mask)
HOT = 500  # a line that came so often may be passed over
PASSED_NS = 200  # what a call costs that is passed over
ROUND_NS = 100_000_000
SOON_S = 0.025  # when the next round is wanted while a hook is out

# After so many calls of one site only every second, then fourth... is kept: a chart needs no more points.
THIN_AFTER = 20_000


class Pace:
    """The tokens of one process."""

    __slots__ = ("_granted", "_sources", "_used_ns", "hot", "left", "out", "passable")

    def __init__(self) -> None:
        self.left = BURST  # tokens
        self.passable = self._granted = PATIENCE
        self.hot: dict[int, CodeType] = {}  # where calls that came often are, by their place in the code
        self.out: list[Callable[[], None]] = []  # puts a hook in again that was taken out
        self._used_ns = time.process_time_ns()
        self._sources: list[Source] = []

    def watch(self, source: Source) -> None:
        """This source's cost slows the pace, before its budget would end it."""
        self._sources.append(source)

    def round(self) -> float | None:
        """A round of the writer: tokens by the processor time that the program had, fewer for sources near their budget.

        Gives the seconds after which the next one is wanted, None where it does not matter.
        """
        used = time.process_time_ns()
        share = min((used - self._used_ns) / ROUND_NS, 1.0)
        self._used_ns = used
        if self._sources:
            self._sources[0].spent_ns += (self._granted - self.passable) * PASSED_NS
        budget = GRACE_NS + SHARE * (time.perf_counter_ns() - STARTED_NS)
        dear = any(source.spent_ns > budget / 2 for source in self._sources)
        self.left = min(max(self.left, 0) + max(LEAST, 0 if dear else int(REFILL * share)), BURST)
        self.passable = self._granted = PATIENCE // 4 if dear else max(PATIENCE // 4, int(PATIENCE * share))
        if not self.out:
            return None
        while self.out:
            self.out.pop()()
        return SOON_S


def keep(site: Site) -> bool:
    """Whether this call of a site is one of those that are kept."""
    count = site.count
    return count <= THIN_AFTER or count % (1 << (count // THIN_AFTER).bit_length()) == 0
