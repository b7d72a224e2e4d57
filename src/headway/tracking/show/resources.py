"""What a run took of its machine: `headway/system.json` as capture writes it; `system/` metrics are MLflow's own monitor's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from headway.engines.host import Host
from headway.errors import NotFound
from headway.tracking import artifacts, limits
from headway.tracking.show.loose import mapping, parsed

FILE = "headway/system.json"
_MOST = 4 << 20
_UNITS = (("_percent", "%"), ("_mb_per_s", "MB/s"), ("_mb", "MB"), ("_watts", "W"), ("_w", "W"), ("_celsius", "°C"))
_SHORT = {"cpu": "CPU", "gpu": "GPU"}


def told(db: Session, host: Host, run_id: str) -> dict[str, dict[str, Any]]:
    """`{"machine": {...}, "use": {name: {"mean", "max"}}, "series": {name: {"t": [ms], "v": [...]}}}`, each perhaps empty."""
    try:
        file = artifacts.find(db, run_id, FILE)
        found = parsed(host.blobs.read(file.sha256)) if file.size <= _MOST else {}
    except NotFound:
        found = {}
    parts = {name: mapping(found.get(name)) for name in ("machine", "use", "series")}
    parts["machine"] = {k: v for k, v in parts["machine"].items() if isinstance(v, str | int | float)}
    parts["use"] = {k: mapping(v) for k, v in parts["use"].items()}
    parts["series"] = {k: mapping(v) for k, v in parts["series"].items()}
    return parts


def measured(db: Session, run_id: str) -> bool:
    """Whether there is anything to show."""
    try:
        return bool(artifacts.find(db, run_id, FILE))
    except NotFound:
        return False


def line(
    series: Mapping[str, Any], name: str, *, began: int, x: str, low: float | None, high: float | None
) -> dict[str, Any]:
    """A series as charts ask for it. `x`: "time" (milliseconds) or "relative" (since the run began); both bound by `low`, `high`.

    Raises `NotFound` where it was not measured.
    """
    times, values = _numbers(series.get("t")), _numbers(series.get("v"))
    if not times:
        raise NotFound(f"'{name}' was not measured in this run.")
    origin = 0 if x == "time" else began
    kept = [
        (t - origin, v if math.isfinite(v) else None)
        for t, v in zip(times, values, strict=False)
        if (low is None or t - origin >= low) and (high is None or t - origin <= high)
    ]
    return {"x": x, "series": [{"name": name, "x": [t for t, _ in kept], "y": [v for _, v in kept]}]}


def label(key: str) -> str:
    """A measured thing as people write it: `disk_read_mb_per_s` is `Disk read, MB/s`."""
    name, unit = key.removeprefix(limits.SYSTEM), ""
    for end, its in _UNITS:
        if name.endswith(end):
            name, unit = name.removesuffix(end), f", {its}"
            break
    words = [_SHORT.get(word, word) for word in name.replace("/", "_").split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:] + unit


def _numbers(value: Any) -> Sequence[float]:
    return [float(v) for v in value if isinstance(v, int | float)] if isinstance(value, list) else []
