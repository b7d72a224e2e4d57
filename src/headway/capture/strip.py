"""The strip under a training cell: its metrics, what changed since the last time, and where the record is.

It is a message of its own after the cell's output (`text/html`, `text/plain`), told from the facts of the cell; no name of the
user's is read or set. Off: `HEADWAY_STRIP=off`, a cell tagged `no-strip`, a muted cell, or one whose output is captured.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["Strips"]

METRICS = 4
KEPT = 200
_LOWER = ("loss", "error", "mse", "mae", "rmse", "deviance", "perplexity", "hinge", "brier", "entropy", "distance")


class Strips:
    """The trainings of one kernel, each with the results of its versions."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._facts: list[tuple[str, dict[str, Any]]] = []
        self._versions: dict[str, list[dict[str, float]]] = {}

    @staticmethod
    def wanted() -> bool:
        """Whether there is somebody to read it: in a notebook that is worked with, not in a run of one."""
        said = os.environ.get("HEADWAY_STRIP", "").lower()
        return (
            bool(os.environ.get("HEADWAY_URL"))
            and not os.environ.get("HEADWAY_RUN")
            and said not in ("off", "0", "no", "false")
        )

    def note(self, kind: str, fact: dict[str, Any]) -> None:
        """One fact of the running cell."""
        if len(self._facts) < KEPT or kind == "fit":
            self._facts.append((kind, fact))

    def begin(self) -> None:
        """A cell begins."""
        self._facts.clear()

    def end(self, cell: str) -> dict[str, Any] | None:
        """What to show under the cell that ended: a MIME bundle; None if nothing was trained. `cell` is what tells it apart."""
        fits = [f for k, f in self._facts if k == "fit" and not f.get("failed") and f.get("type") != "helper"]
        if not fits:
            return None
        title = str(fits[-1].get("inner") or fits[-1].get("cls") or "model")
        metrics = _metrics(self._facts)
        before = self._versions.setdefault(f"{cell}:{title}", [])
        rows = [(name, value, *_compared(name, value, before)) for name, value in list(metrics.items())[:METRICS]]
        before.append(metrics)
        return _bundle(title, len(fits), len(before), rows, self._links())

    def _links(self) -> list[tuple[str, str]]:
        url, project = os.environ.get("HEADWAY_URL", "").rstrip("/"), os.environ.get("HEADWAY_PROJECT", "")
        if not url or not project:
            return []
        base = f"{url}/p/{project}/runs"
        run = _run_of(self._session.spool.folder)
        return [("Run", f"{base}/{run}"), ("Deploy", f"{base}/{run}#models")] if run else [("Runs", base)]


def _metrics(facts: list[tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """The results of a cell's facts, the last of each name."""
    found: dict[str, float] = {}
    for kind, fact in facts:
        if kind == "score":
            name = str(fact.get("meaning") or fact.get("fn") or "score").removesuffix("_score") or "score"
            value: Any = fact.get("v")
            found |= value if isinstance(value, dict) else {name: value}
        elif kind == "validate" and isinstance(fact.get("scores"), dict):
            for name, values in fact["scores"].items():
                numbers = [v for v in values if _is_number(v)] if isinstance(values, list) else []
                if numbers and "time" not in name:
                    found[f"cv {name}"] = sum(numbers) / len(numbers)
        elif kind == "round" and isinstance(fact.get("w"), dict):
            found |= fact["w"]
        elif kind == "fit" and _is_number((fact.get("search") or {}).get("best_score")):
            found["best score"] = fact["search"]["best_score"]
    return {str(k): float(v) for k, v in found.items() if _is_number(v)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _compared(name: str, value: float, before: list[dict[str, float]]) -> tuple[str, str]:
    """(the difference to the last version, how it stands to the best one), "" where there is none."""
    known = [m[name] for m in before if name in m]
    if not known:
        return "", ""
    small = name.lower()
    best = (min if any(word in small for word in _LOWER) else max)(known)
    better = value < best if best == min(known) and any(word in small for word in _LOWER) else value > best
    return (
        f"{value - known[-1]:+.4g}",
        "best so far" if better else "as the best" if value == best else f"best {best:.4g}",
    )


def _run_of(spool: str) -> str:
    """The run that the shipper made of this kernel, "" before its first fact was sent."""
    try:
        with open(f"{spool}/shipped.json", encoding="utf-8") as stream:
            text = stream.read()
    except OSError:
        return ""
    import json

    run = json.loads(text).get("run_id")
    return run if isinstance(run, str) and run.isalnum() else ""


def _bundle(
    title: str, fits: int, version: int, rows: list[tuple[str, float, str, str]], links: list[tuple[str, str]]
) -> dict[str, Any]:
    from html import escape

    times = f" · {fits} fits" if fits > 1 else ""
    head = f"{title}{times} · version {version}"
    told = [f"{name} {value:.4g}" + (f" ({change}, {rank})" if change else "") for name, value, change, rank in rows]
    text = " | ".join([head, *told, *(f"{label}: {url}" for label, url in links[:1])])
    cells = "".join(
        f'<span style="white-space:nowrap">{escape(name)} <b style="font-variant-numeric:tabular-nums">{value:.4g}</b>'
        + (f' <span style="opacity:.7">{escape(change)}, {escape(rank)}</span>' if change else "")
        + "</span>"
        for name, value, change, rank in rows
    )
    anchors = "".join(
        f'<a href="{escape(url)}" target="_blank" rel="noopener" style="color:var(--jp-content-link-color,#3355cc)">{label}</a>'
        for label, url in links
    )
    style = (
        "display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;padding:4px 8px;margin:2px 0;border-radius:4px;"
        "border:1px solid var(--jp-border-color2,#ddd);font:12px/1.5 var(--jp-ui-font-family,sans-serif);"
        "color:var(--jp-ui-font-color1,inherit)"
    )
    html = f'<div style="{style}" class="headway-strip"><b>{escape(head)}</b>{cells}{anchors}</div>'
    return {"text/html": html, "text/plain": text}
