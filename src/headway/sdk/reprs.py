"""How runs look in a notebook: small tables without colours of their own, so that they fit any theme. Everything is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

MOST = 8
_MARKS = {"finished": "✓", "failed": "✗", "running": "●", "queued": "○"}


def run(found: Any) -> str:
    """A run: how it went, its main numbers, and where its page is."""
    name = found.name or found.run_id[:8]
    head = f"<b>{link(found.url, name)}</b> {escape(_MARKS.get(found.status, '·'))} {escape(found.status)}"
    cause = f"<div>{escape(found.cause[:200])}</div>" if found.cause and not found.ok else ""
    return f"<div>{head}{cause}{_pairs('metrics', found.metrics)}{_pairs('params', found.params)}</div>"


def runs(found: Sequence[Any], most: int = 20) -> str:
    """Runs as a table: those of their metrics and parameters that several have."""
    metrics, params = _common(run.metrics for run in found), _common(run.params for run in found)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("run", "status", *metrics, *params))
    rows = []
    for one in found[:most]:
        cells = [link(one.url, one.name or one.run_id[:8]), escape(one.status)]
        cells += [escape(number(one.metrics.get(name))) for name in metrics]
        cells += [escape(number(one.params.get(name))) for name in params]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = f"<div>and {len(found) - most} more</div>" if len(found) > most else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"


def link(url: str, text: str) -> str:
    """A link, if the address is one of the web."""
    if urlsplit(url).scheme not in ("http", "https"):
        return escape(text)
    return f'<a href="{escape(url, quote=True)}" target="_blank" rel="noopener">{escape(text)}</a>'


def number(value: Any) -> str:
    """A value, short."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.5g}"
    return str(value)[:60]


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    shown = "".join(
        f"<tr><td>{escape(name[:60])}</td><td>{escape(number(value))}</td></tr>"
        for name, value in list(values.items())[:MOST]
    )
    more = f"<tr><td>and {len(values) - MOST} more</td><td></td></tr>" if len(values) > MOST else ""
    return f"<table><thead><tr><th>{title}</th><th></th></tr></thead><tbody>{shown}{more}</tbody></table>"


def _common(found: Iterable[Mapping[str, Any]]) -> list[str]:
    seen: dict[str, int] = {}
    for values in found:
        for name in values:
            seen[name] = seen.get(name, 0) + 1
    return sorted(seen, key=lambda name: (-seen[name], name))[:5]
