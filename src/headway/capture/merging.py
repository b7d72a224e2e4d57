"""Several sources' views of one metric become one, under its best name, with all of them as witnesses."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from headway.capture.lexicon import words

if TYPE_CHECKING:
    from headway.capture.apart import Apart

__all__ = ["Candidate", "as_metric", "merged", "named", "series_key", "value_key"]

# Which source is trusted most for a value: the call itself, then the name, then the printed text.
TRUST = {
    "own": -1,
    "round": 0,
    "loss": 0,
    "fit": 1,
    "validate": 1,
    "score": 2,
    "names": 3,
    "plot": 4,
    "print": 5,
    "log": 5,
    "bar": 5,
    "cell": 6,
    "file": 7,
}

# Names that say only that something is a result: another one, of nearly the same rank, says more.
_GENERIC = frozenset(("score", "scores", "metric", "metrics", "result", "results", "value", "values"))

_FOREIGN = r"[^A-Za-z0-9_.\- /]+"

# Sources that are a call of a library: each is a result of its own.
CALLS = {"score", "validate", "fit"}


@dataclass(eq=False)
class Candidate:
    """One source's view of a metric: its points, what it could be called, and the keys that tie it to others."""

    source: str
    file: str
    line: int
    expression: str
    points: list[tuple[int | None, float, int]] = field(default_factory=list)  # step, value, milliseconds
    names: list[tuple[int, str]] = field(default_factory=list)  # rank (less is better), name
    keys: set[Any] = field(default_factory=set)
    exact: bool = True
    training: int | None = None
    qualifier: str = ""
    series: bool = False
    part_of: str = ""  # the name of the series that it is one value of: `costs[0]`
    version: Any = None  # which run of a cell its points are of
    site: int | None = None  # of the fit whose rounds its points are
    told: int = 0  # how many points earlier runs have left

    def again(self, version: Any) -> None:
        """A cell that is run again: its single results follow the earlier ones, its series take their place."""
        if self.version is not None and version != self.version:
            if len(self.points) - self.told > 1:
                self.points.clear()
            self.told = len(self.points)
        self.version = version

    def add(self, step: int | None, value: Any, when: int) -> None:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.points.append((step, float(value), when))

    def name(self, rank: int, name: str) -> None:
        if len(found := words(name)) == 1 and found[0] in _GENERIC and rank > 0:
            rank += 4
        if clean := _clean(name):
            self.names.append((rank, clean))

    def witness(self) -> dict[str, Any]:
        return {"source": self.source, "file": self.file, "line": self.line, "expression": self.expression[:200]}


def _clean(name: str) -> str:
    """A name as every store of metrics takes it: `tree, tuned (1)` -> `tree tuned 1`, `R^2` -> `R_2`."""
    beside_space = rf"{_FOREIGN}(?= |$)|(?<= ){_FOREIGN}"
    return re.sub(_FOREIGN, "_", re.sub(beside_space, "", name)).strip("_ ./-")[:120]


def merged(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Candidates that mean the same, best source first, in the order in which they began."""
    groups = _unite(c for c in candidates if c.points)
    groups = [sorted(g, key=lambda c: (TRUST.get(c.source, 9), -len(c.points))) for g in groups]
    return sorted(groups, key=lambda g: min(c.points[0][2] for c in g))


def _unite(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    items = list(candidates)
    parent = list(range(len(items)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    owner: dict[Any, int] = {}
    for index, item in enumerate(items):
        for key in item.keys - _values(item.keys):
            parent[root(index)] = root(owner.setdefault(key, index))
    calls: dict[int, set[tuple[str, int]]] = {}  # of each group: the calls that it comes from
    for index, item in enumerate(items):
        if item.source in CALLS:
            calls.setdefault(root(index), set()).add((item.file, item.line))
    for index, item in enumerate(items):
        for key in {*_values(item.keys), *_value_keys(item)}:
            one, other = root(index), root(owner.setdefault(key, index))
            if one == other:
                continue
            both = key[0] == "value" and calls.get(one) and calls.get(other) and calls[one] != calls[other]
            if both and (_is_fraction(key[1]) or item.expression != items[owner[key]].expression):
                owner[key] = index  # two calls may well find the same: 146 of 150 right is no fingerprint
                continue
            parent[one] = other
            calls[other] = calls.get(one, set()) | calls.get(other, set())
    groups: dict[int, list[Candidate]] = {}
    for index, item in enumerate(items):
        groups.setdefault(root(index), []).append(item)
    return _without_squares(_without_unions(_fold_namesakes(_fold_printed(_fold_excerpts(list(groups.values()))))))


def _values(keys: set[Any]) -> set[Any]:
    return {k for k in keys if k[0] in ("value", "series")}


def _value_keys(item: Candidate) -> set[Any]:
    """The same full-precision value, or the same series, is the same metric, whatever the sources call it."""
    values = [p[1] for p in item.points]
    if len(values) == 1:
        return {value_key(values[0])} if _digits(values[0]) >= 7 else set()
    if any(_digits(v) >= 6 for v in (values[0], values[-1])):
        return {series_key(values)}
    return set()


def _is_fraction(value: float) -> bool:
    """Whether a value is so many of at most a thousand."""
    return abs(value - float(Fraction(value).limit_denominator(1000))) < 1e-9 if math.isfinite(value) else False


def value_key(value: float) -> tuple[Any, ...]:
    return ("value", _rounded(value))


def series_key(values: list[Any]) -> tuple[Any, ...]:
    """What tells a series from others: its length, its first and its last value."""
    return ("series", len(values), _rounded(values[0]), _rounded(values[-1]))


def _rounded(value: float) -> float:
    """Twelve digits: the last ones differ between two ways to take the same mean."""
    return float(f"{value:.12g}")


def _digits(value: float) -> int:
    return len(re.sub(r"\D", "", repr(value).split("e")[0]).strip("0"))


def _fold_namesakes(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """What two sources tell under the same name with the same values is the same; but two calls are two."""
    known: dict[Any, list[Candidate]] = {}
    kept: list[list[Candidate]] = []
    for group in groups:
        names = min((n for c in group for n in c.names), default=None)
        key = names and (
            names[1],
            next((c.qualifier for c in group if c.qualifier), ""),
            [p[1] for p in group[0].points],
        )
        home = known.setdefault(repr(key), group) if key else group
        tell, told = {c.source for c in group}, {c.source for c in home}
        if home is group or tell & told or tell | told <= CALLS:
            kept.append(group)
        else:
            home += group
    return kept


def _fold_excerpts(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """What is shown now and then joins the series that is kept of it: each value shown is one of those, in the same order."""
    whole = [(c, g) for g in groups for c in g if c.source in ("loss", "names") and len(c.points) > 2]
    kept: list[list[Candidate]] = []
    for group in groups:
        item = max(group, key=lambda c: len(c.points))
        home = None
        if item.source not in ("loss", "names") and len(item.points) > 1:
            home = next((g for c, g in whole if g is not group and _within(item, c)), None)
        if home is None:
            kept.append(group)
        else:
            home += group
    return kept


def _within(part: Candidate, series: Candidate) -> bool:
    """Whether the values of one come in the other in the same order: all in full, or rounded where the names are the same."""
    if len(part.points) > len(series.points):
        return False
    rest = iter(series.points)
    if all(_digits(p[1]) >= 7 for p in part.points):  # a number of single precision is shown in eight digits
        return all(any(math.isclose(p[1], q[1], rel_tol=1e-7) for q in rest) for p in part.points)
    names = {n.lower() for _, n in part.names} & {n.lower() for _, n in series.names}
    return bool(names) and len(part.points) > 2 and all(any(_rounds(q[1], p[1]) for q in rest) for p in part.points)


def _fold_printed(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """A rounded print of a value that another group has in full joins it, where their names agree."""
    kept: list[list[Candidate]] = []
    texts = [g for g in groups if all(c.source == "file" for c in g)]
    exact = [g for g in groups if any(c.exact and c.source not in ("print", "log", "bar", "cell", "file") for c in g)]
    for group in groups:
        home = None
        if group not in exact and len(group) == 1:
            item = group[0]
            homes = exact if group not in texts else [g for g in groups if g not in texts]
            home = next((g for g in homes if _rounds_to(g[0], item) and _names_agree(g, item)), None)
        if home is not None:
            home += group
        else:
            kept.append(group)
    return kept


def _without_squares(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """`rmse = sqrt(mean_squared_error(...))`: the call's own value is only a step on the way."""
    roots = {tuple(_rounded(p[1]) for p in c.points) for g in groups for c in g if not {c.source for c in g} & CALLS}
    return [
        g
        for g in groups
        if not {c.source for c in g} <= CALLS
        or not any(tuple(_rounded(math.sqrt(p[1])) if p[1] >= 0 else 0.0 for p in c.points) in roots for c in g)
    ]


def _without_unions(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """A call in a helper that several things are scored by gives what several other metrics hold, one after the other: it is
    no metric beside them."""
    values = [{_rounded(p[1]) for c in g for p in c.points} for g in groups]
    kept = []
    for index, group in enumerate(groups):
        mine = values[index]
        if len(mine) < 2 or not {c.source for c in group} <= CALLS or any(c.qualifier for c in group):
            kept.append(group)
            continue
        parts = [v for n, v in enumerate(values) if n != index and len(v) < len(mine) and v <= mine]
        if len(parts) < 2 or set().union(*parts) != mine:
            kept.append(group)
    return kept


def _rounds_to(full: Candidate, shown: Candidate) -> bool:
    if len(shown.points) == 1 and shown.part_of and full.series and any(n == shown.part_of for _, n in full.names):
        return any(_rounds(p[1], shown.points[0][1]) or p[1] == shown.points[0][1] for p in full.points)
    if len(full.points) != len(shown.points):
        return False
    return all(_rounds(a[1], b[1]) for a, b in zip(full.points[:50], shown.points[:50], strict=True))


def _rounds(full: float, shown: float) -> bool:
    decimals = len(repr(shown).split(".")[1]) if "." in repr(shown) and "e" not in repr(shown) else 0
    return decimals > 0 and (
        abs(full - shown) <= 0.51 * 10**-decimals or abs(full * 100 - shown) <= 0.51 * 10**-decimals
    )


def _names_agree(group: list[Candidate], item: Candidate) -> bool:
    ours = {w for c in group for _, n in c.names for w in words(n)}
    theirs = {w for _, n in item.names for w in words(n)} | set(words(item.expression))
    return bool(ours & theirs) or any(c.file == item.file and abs(c.line - item.line) <= 3 for c in group)


def named(groups: list[list[Candidate]], apart: Apart | None = None) -> dict[str, list[Candidate]]:
    """Each group under its best name; where two compete, what tells them apart is added, else a number."""
    found: dict[str, list[Candidate]] = {}
    alike: dict[str, list[list[Candidate]]] = {}
    for group in groups:
        qualifier = _clean(next((c.qualifier for c in group if c.qualifier), ""))
        names = sorted(((rank, name) for c in group for rank, name in c.names), key=lambda n: n[0])
        base = next(
            (n for _, n in names if not qualifier or any(n == o for c in group if c.qualifier for _, o in c.names)),
            "value",
        )
        options = [f"{base}/{qualifier}" if qualifier else base]
        others = alike.setdefault(options[0], [])
        if options[0] in found:
            told = apart.names(group, others) if apart is not None and not qualifier else []
            options += [f"{options[0]}/{one}" for one in told]
            options += [f"{n}/{qualifier}" if qualifier else n for r, n in names[1:] if r < 40]
            options += [f"{options[0]}_{n}" for n in range(2, 500)]
        others.append(group)
        found[next(o for o in options if o not in found)] = group
    return found


def as_metric(group: list[Candidate]) -> dict[str, Any]:
    best = max(group, key=lambda c: (len(c.points) if c.series or len(c.points) > 1 else 0, c.exact))
    return {
        "points": _ordered(best.points),
        "series": best.series or len(best.points) > 1,
        "witnesses": [c.witness() for c in group],
        "training": next((c.training for c in group if c.training is not None), None),
    }


def _ordered(points: list[tuple[int | None, float, int]]) -> list[list[Any]]:
    """Points with their own steps where those grow, else counted."""
    steps = [p[0] for p in points]
    growing = all(s is not None for s in steps) and all(a < b for a, b in itertools.pairwise(steps))  # type: ignore[operator]
    return [[p[0] if growing else i, p[1], p[2]] for i, p in enumerate(points)]
