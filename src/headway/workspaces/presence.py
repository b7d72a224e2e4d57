"""Who uses a workspace: browsers as the gate sees them, kernels as Jupyter says. A workspace that nobody uses is stopped.

JupyterLab asks for something every few seconds while a tab is open, so "nobody asked for hours" means that every tab is closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpcore

from headway.clock import now_ms
from headway.engines.host import Host
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.workspaces import process, service

HOUR_MS = 3_600_000
_ANSWER_S = 5.0
_PLATFORM = Who("headway", "headway")


@dataclass
class _Seen:
    """When browsers last asked for each workspace (ms, by project), since the table was told."""

    at: dict[str, int] = field(default_factory=dict)


def seen(host: Host, project_id: str) -> None:
    """A browser asked for something. Kept in memory; `take` brings it to the table now and then."""
    host.own(_Seen).at[project_id] = now_ms()


def take(host: Host) -> dict[str, int]:
    """When each workspace was last asked (ms), since the last call."""
    mine = host.own(_Seen)
    found, mine.at = mine.at, {}
    return found


def idle(found: Iterable[tuple[Project, int]], now: int, hours: int) -> list[Project]:
    """Those that no browser has asked for `hours`; none if `hours` is 0. Pure."""
    return [project for project, used_at in found if hours and now - used_at > hours * HOUR_MS]


def busy(host: Host, project: Project) -> bool:
    """Whether one of its kernels works. One that can't be asked counts as working: nothing is stopped by mistake."""
    target = service.target(host, _PLATFORM, project)
    headers = [("Host", "localhost"), *target.headers.items()]
    url = f"http://localhost{process.base_url(project)}api/kernels"
    limits = dict.fromkeys(("connect", "read", "write", "pool"), _ANSWER_S)
    try:
        with httpcore.ConnectionPool(uds=str(target.socket)) as pool:
            answer = pool.request("GET", url, headers=headers, extensions={"timeout": limits})
        return answer.status != 200 or any(kernel["execution_state"] == "busy" for kernel in json.loads(answer.content))
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ValueError, KeyError):
        return True
