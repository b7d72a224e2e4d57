"""Which metric says most about a list of runs. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from headway.tracking import limits

# What people look at first, the most telling first; the words stand for names like `val_accuracy` and `test-f1_macro` too.
_TELLING = ("roc_auc", "auc", "f1", "accuracy", "acc", "r2", "rmse", "mae", "mse", "log_loss", "loss", "error", "score")
_PLACES = ("test", "holdout", "val", "valid", "cv", "")
_JUNK = frozenset({"time", "seconds", "duration", "memory", "cpu", "gpu", "epoch", "step", "lr", "train"})


def choose(metrics: Sequence[Mapping[str, float]]) -> str | None:
    """The metric to show beside these runs: one that most of them have, told by its name; None if there is none at all."""
    counts = Counter(name for one in metrics for name, value in one.items() if math.isfinite(value))
    if not counts:
        return None
    most = max(counts.values())
    common = [name for name, count in counts.items() if count * 2 >= most]
    return min(common, key=lambda name: (_rank(name), -counts[name], name))


def ranked(names: Sequence[str]) -> list[str]:
    """Names of metrics, the most telling first."""
    return sorted(names, key=lambda name: (_rank(name), len(_words(name)), name.lower()))


def varied(names: Sequence[str], most: int) -> list[str]:
    """The most telling of each kind first (one accuracy, one error, one loss), then the rest."""
    order = ranked(names)
    telling = [name for name in order if not _rank(name)[0] and _rank(name)[1] < len(_TELLING)]
    first = {_rank(name)[1]: name for name in reversed(telling)}
    chosen = [name for name in telling if first[_rank(name)[1]] == name][:most]
    return [*chosen, *islice((name for name in order if name not in chosen), most - len(chosen))]


def kin(names: Sequence[str]) -> dict[str, list[str]]:
    """For each name those that tell the same of other things, itself among them: `rmse/ridge`, `rmse/forest`. `acc/train` and
    `acc/test` are no kin."""
    families: dict[Any, list[str]] = {}
    for name in names:
        base, slash, _ = name.partition("/")
        families.setdefault((base, slash, _rank(name)), []).append(name)
    return {name: family for family in families.values() for name in family}


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").replace(" ", "_").replace("/", "_").split("_")


@lru_cache(maxsize=20_000)
def _rank(name: str) -> tuple[int, int, int]:
    words = _words(name)
    plain = f"_{'_'.join(words)}_"
    junk = limits.SYSTEM in name.lower() or not _JUNK.isdisjoint(words) or "_learning_rate_" in plain
    telling = next((at for at, word in enumerate(_TELLING) if f"_{word}_" in plain), len(_TELLING))
    place = next((at for at, word in enumerate(_PLACES) if word in words or not word), len(_PLACES))
    return int(junk), telling, place


def course(values: Sequence[float | None]) -> list[float | None]:
    """The values of runs listed newest first, as a line from the oldest to the newest."""
    return [value if value is not None and math.isfinite(value) else None for value in reversed(values)]
