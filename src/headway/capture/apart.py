"""What tells two metrics of one name apart: the model that each is of, or the setting in which their models differ. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from headway.capture.merging import Candidate

__all__ = ["Apart"]


# Settings that make no other model.
_SILENT = frozenset(
    ("random_state", "seed", "n_jobs", "nthread", "verbose", "scoring", "estimator", "cv", "refit", "steps")
)


class Apart:
    """Knows the trainings of a run, and which of them a metric belongs to."""

    def __init__(self, trainings: Iterable[dict[str, Any]], sites: dict[int, int]) -> None:
        """`trainings` as the reduction keeps them; `sites`: the training at each fit's site."""
        self._by_id = {t["id"]: t for t in trainings if t["type"] != "helper"}
        self._sites = sites
        self._fits = sorted((f["t"], t["id"]) for t in self._by_id.values() for f in t["fits"])

    def training(self, group: list[Candidate]) -> dict[str, Any] | None:
        """The training that a metric is of: that of its model, or of its fit's own rounds, else the latest before it."""
        told = next((c.training for c in group if c.training is not None), None)
        if told is None:
            told = next((self._sites[c.site] for c in group if c.site in self._sites), None)
        if told is None:
            began = min(c.points[0][2] for c in group)
            told = next((one for when, one in reversed(self._fits) if when <= began), None)
        return self._by_id.get(told) if told is not None else None

    def names(self, group: list[Candidate], others: list[list[Candidate]]) -> list[str]:
        """What to add to a name that `others` have, best first: `SVC`, `C_100`."""
        mine = self.training(group)
        theirs = [t for t in map(self.training, others) if t is not None]
        if mine is None or not theirs:
            return []
        title = _title(mine)
        same = [t for t in theirs if _title(t) == title and t is not mine]
        if same and all(t["class"] != mine["class"] for t in same):  # one model, searched in two ways
            return [str(mine["class"])]
        settings = _settings(mine, same[0]) if same else ""
        if all(_title(t) == title for t in theirs):
            return [settings] if settings else []
        return [title] + ([f"{title} {settings}"] if settings else [])


def _title(training: dict[str, Any]) -> str:
    return str(training.get("inner") or training["class"])


def _settings(mine: dict[str, Any], other: dict[str, Any]) -> str:
    """At most two settings of a training of one configuration that another of the same class has otherwise."""
    if len({repr(f["params"]) for f in mine["fits"]}) > 1:
        return ""
    ours, theirs = (t["fits"][-1]["params"] for t in (mine, other))
    plain = {
        k.rsplit("__", 1)[-1]: v for k, v in ours.items() if isinstance(v, (int, float, str)) and theirs.get(k) != v
    }
    told = [f"{k}_{v}" for k, v in plain.items() if k not in _SILENT and "param" not in k and len(str(v)) <= 20]
    return re.sub(r"[^A-Za-z0-9_.\- ]+", "_", " ".join(told[:2]))
