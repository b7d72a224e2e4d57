"""What the gateway counts: requests, errors and a latency histogram for each revision, in all and by the minute.

Pure: the gateway adds, a thread writes the summary to a file, pages read the file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

BOUNDS_S = tuple(0.0001 * 1.3**i for i in range(54))  # 0.1 ms to 2 minutes, each 30 % above the last
PROMETHEUS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MINUTES = 360


@dataclass
class Histogram:
    """Counts by bucket; `quantile` is right within the bucket's 30 %."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def quantile(self, q: float) -> float | None:
        """Seconds below which a share `q` of the requests stayed; None without requests."""
        wanted = q * sum(self.counts)
        seen = 0
        for i, count in enumerate(self.counts):
            if count and (seen := seen + count) >= wanted:
                low = BOUNDS_S[i - 1] if i else 0.0
                high = BOUNDS_S[i] if i < len(BOUNDS_S) else BOUNDS_S[-1]
                return low + (high - low) * (1 - (seen - wanted) / count)
        return None


@dataclass
class Minute:
    """One minute of one revision."""

    start: int  # epoch minutes
    requests: int = 0
    refused: int = 0  # 4xx
    errors: int = 0  # 5xx
    latency: Histogram = field(default_factory=Histogram)

    def row(self) -> list[Any]:
        """[minute, requests, 4xx, 5xx, p50 ms, p99 ms]."""
        return [
            self.start,
            self.requests,
            self.refused,
            self.errors,
            *(_ms(self.latency.quantile(q)) for q in (0.5, 0.99)),
        ]


@dataclass
class Counter:
    """One revision of one endpoint."""

    statuses: dict[int, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    past: deque[list[Any]] = field(default_factory=lambda: deque(maxlen=MINUTES))  # rows of minutes that are over
    _now: Minute | None = None

    def add(self, status: int, seconds: float, minute: int) -> None:
        """Counts one answered request."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        current = self._now
        if current is None or current.start != minute:
            if current is not None:
                self.past.append(current.row())
            current = self._now = Minute(minute)
        current.requests += 1
        if status >= 500:
            current.errors += 1
        elif status >= 400:
            current.refused += 1
        self.latency.add(seconds)
        current.latency.add(seconds)

    def to_json(self) -> dict[str, Any]:
        rows = [*self.past] if self._now is None else [*self.past, self._now.row()]
        return {
            "statuses": {str(k): v for k, v in sorted(self.statuses.items())},
            "total_s": round(self.latency.total_s, 6),
            "buckets": self.latency.counts,
            "p50_ms": _ms(self.latency.quantile(0.5)),
            "p99_ms": _ms(self.latency.quantile(0.99)),
            "minutes": rows,
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Counter:
        """Goes on where an earlier process stopped. Raises KeyError, TypeError or ValueError for anything else."""
        counts = [int(n) for n in value["buckets"]]
        if len(counts) != len(BOUNDS_S) + 1:
            raise ValueError("other buckets")
        histogram = Histogram(counts, float(value["total_s"]))
        return Counter(
            {int(k): int(v) for k, v in value["statuses"].items()}, histogram, deque(value["minutes"], MINUTES)
        )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def prometheus(counters: Iterable[tuple[str, str, int, Counter]], in_flight: dict[tuple[str, str], int]) -> str:
    """The text of `/metrics`; `counters` gives (project, endpoint, revision, Counter)."""
    lines = ["# TYPE headway_requests_total counter"]
    found = list(counters)
    for project, name, revision, counter in found:
        labels = f'project="{project}",endpoint="{name}",revision="{revision}"'
        lines += [f'headway_requests_total{{{labels},status="{s}"}} {n}' for s, n in sorted(counter.statuses.items())]
    lines.append("# TYPE headway_request_seconds histogram")
    for project, name, revision, counter in found:
        labels = f'project="{project}",endpoint="{name}",revision="{revision}"'
        for bound in PROMETHEUS_S:
            below = sum(counter.latency.counts[: bisect_left(BOUNDS_S, bound) + (bound in BOUNDS_S)])
            lines.append(f'headway_request_seconds_bucket{{{labels},le="{bound:g}"}} {below}')
        total = sum(counter.latency.counts)
        lines.append(f'headway_request_seconds_bucket{{{labels},le="+Inf"}} {total}')
        lines.append(f"headway_request_seconds_sum{{{labels}}} {counter.latency.total_s:.6f}")
        lines.append(f"headway_request_seconds_count{{{labels}}} {total}")
    lines.append("# TYPE headway_in_flight gauge")
    lines += [
        f'headway_in_flight{{project="{p}",endpoint="{n}"}} {count}' for (p, n), count in sorted(in_flight.items())
    ]
    return "\n".join(lines) + "\n"
