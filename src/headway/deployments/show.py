"""Endpoints as JSON and as snippets: what the API, the pages and the CLI tell of them."""

from __future__ import annotations

import json
from typing import Any

from headway.deployments import service, states
from headway.deployments.rollout import serving
from headway.deployments.snapshot import read_json
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.engines.host import Host


def url_of(host: Host, endpoint: Endpoint) -> str:
    """Where the endpoint answers."""
    return f"{host.settings.gateway_url}/endpoints/{endpoint.slug}/{endpoint.name}"


def endpoint_json(host: Host, endpoint: Endpoint, stats: dict[str, Any] | None = None) -> dict[str, Any]:
    """The endpoint with its revisions, newest first. `revision` is the one that serves, else the newest."""
    current = serving(service.known(endpoint))
    newest = endpoint.revisions[0].number if endpoint.revisions else None
    found = stats if stats is not None else stats_of(host, endpoint)
    return {
        "name": endpoint.name,
        "url": url_of(host, endpoint),
        "state": service.state_of(endpoint),
        "revision": newest if current is None else current.number,
        "revisions": [revision_json(r, found.get(str(r.number))) for r in endpoint.revisions],
        "page": f"{host.settings.url}/p/{endpoint.slug}/endpoints/{endpoint.name}",
        "project": endpoint.slug,
        "public": endpoint.public,
        "created_at": endpoint.created_at,
    }


def revision_json(row: Revision, stats: dict[str, Any] | None = None) -> dict[str, Any]:
    """One revision; `weight` is its share of the traffic in percent."""
    counted = stats or {}
    statuses = counted.get("statuses", {})
    return {
        "number": row.number,
        "state": row.state,
        "weight": row.weight / 100,
        "model": row.model,
        "version": row.version,
        "run_id": row.run_id,
        "reason": row.reason,
        "hint": row.hint,
        "replicas": row.replicas,
        "proof": json.loads(row.verdict) if row.verdict else None,
        "environment_id": row.environment_id,
        "created_by": row.created_name,
        "created_at": row.created_at,
        "live_at": row.live_at,
        "requests": sum(statuses.values()),
        "errors": sum(n for status, n in statuses.items() if int(status) >= 500),
        "p50_ms": counted.get("p50_ms"),
        "p99_ms": counted.get("p99_ms"),
    }


def key_json(row: EndpointKey) -> dict[str, Any]:
    """A key without its secret."""
    return {
        "id": row.id,
        "name": row.name,
        "ends_with": row.hint,
        "created_by": row.created_name,
        "created_at": row.created_at,
    }


def stats_of(host: Host, endpoint: Endpoint) -> dict[str, Any]:
    """What the gateway counted, by revision number; empty while it has counted nothing."""
    stats = read_json(host.settings.path("gateway", "stats.json"))
    counters = stats.get("counters") if isinstance(stats, dict) else None
    found = counters.get(endpoint.id) if isinstance(counters, dict) else None
    return found if isinstance(found, dict) else {}


def series(stats: dict[str, Any], what: str, now_minute: int, minutes: int = 60) -> dict[str, Any]:
    """The last hour by the minute for a chart: `requests` (a second), `latency` (p50 and p99, ms) or `errors` (a minute)."""
    first = now_minute - minutes + 1
    x = [(first + i) * 60_000 for i in range(minutes)]
    found = []
    for number in sorted(stats, key=int):
        rows = {int(row[0]): row for row in stats[number].get("minutes", []) if row[0] >= first}
        if not rows:
            continue
        name = f"revision {number}" if int(number) else "no revision"

        def column(place: int, scale: float = 1.0, empty: float | None = 0.0, rows: dict[int, Any] = rows) -> list[Any]:
            values = (rows[first + i][place] if first + i in rows else empty for i in range(minutes))
            return [None if v is None else v / scale for v in values]

        if what == "latency":
            found.append({"name": f"{name} p50", "x": x, "y": column(4, 1.0, None)})
            found.append({"name": f"{name} p99", "x": x, "y": column(5, 1.0, None)})
        elif what == "errors":
            refused, failed = column(2), column(3)
            found.append({"name": f"{name} refused (4xx)", "x": x, "y": refused})
            found.append({"name": f"{name} failed (5xx)", "x": x, "y": failed})
        else:
            found.append({"name": name, "x": x, "y": column(1, 60.0)})
    return {"series": found, "x": "time"}


def steps(row: Revision) -> list[tuple[str, str, str]]:
    """The way of a revision for the kit's `steps`: (name, state, note)."""
    names = [
        (states.ASKED, "Fetch the model"),
        (states.ENVIRONMENT, "Build its environment"),
        (states.PROVING, "Prove it on its recorded examples"),
        (states.STARTING, "Start a replica"),
        (states.LIVE, "Live"),
    ]
    order = [state for state, _ in names]
    if row.state == states.FAILED:
        at = order.index(row.failed_in) if row.failed_in in order else 0
    elif row.state == states.RETIRED:
        at = len(order)
    else:
        at = order.index(row.state)
    found = []
    for i, (state, name) in enumerate(names):
        told = "done" if i < at or row.state == states.LIVE else "queued"
        if i == at and row.state == states.FAILED:
            told = "failed"
        elif i == at and row.state != states.LIVE:
            told = "running"
        found.append((name, told, states.WORDS[state] if told == "running" else ""))
    return found


def payload_of(row: Revision | None) -> Any:
    """A request body that works: the recorded example's first row, else a body with the model's columns."""
    summary = service.summary_of(row) if row is not None else {}
    example = summary.get("example")
    if isinstance(example, dict) and isinstance(split := example.get("dataframe_split"), dict) and split.get("data"):
        return {"dataframe_split": {"columns": split.get("columns"), "data": split["data"][:1]}}
    if isinstance(example, dict) and isinstance(example.get("inputs"), list):
        return {"inputs": example["inputs"][:1]}
    if example:
        return example
    inputs = [f for f in summary.get("inputs", []) if "tensor-spec" not in f]
    if inputs:
        return {"dataframe_split": {"columns": [f.get("name") for f in inputs], "data": [[_blank(f) for f in inputs]]}}
    return {"inputs": [[0.0]]}


def _blank(field: dict[str, Any]) -> Any:
    return {"string": "", "boolean": False, "datetime": "2026-01-01T00:00:00"}.get(str(field["type"]), 0)
