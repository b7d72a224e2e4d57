"""Schedules: a notebook or script again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.errors import Conflict, NotFound
from headway.sdk.client import Client, part

Json = dict[str, Any]


class Schedules:
    """The schedules of one project."""

    def __init__(self, client: Client, project: str) -> None:
        self.client = client
        self.base = f"/api/v1/projects/{part(project)}/schedules"

    def add(self, path: str, cron: str, *, zone: str = "UTC", name: str = "", params: Mapping[str, Any] | None = None,
            memory_mb: int | None = None, timeout_s: float | None = None, cpu: float | None = None) -> Json:  # fmt: skip
        """Run a notebook or script of the project at the times of `cron` (five fields, or @daily...) in an IANA zone."""
        body = {"path": path, "cron": cron, "zone": zone, "name": name, "params": dict(params or {}),
                "memory_mb": memory_mb, "timeout_s": timeout_s, "cpu": cpu}  # fmt: skip
        found: Json = self.client.post(self.base, body)
        return found

    def all(self) -> list[Json]:
        """The project's schedules, the next one first."""
        found: list[Json] = self.client.get(self.base)["schedules"]
        return found

    def find(self, said: str) -> Json:
        """A schedule by its id or name. Raises `NotFound`, or `Conflict` where two have the name."""
        known = self.all()
        found = [one for one in known if one["id"] == said] or [one for one in known if one["name"] == said]
        if not found:
            raise NotFound(f"There is no schedule '{said}'.", hint="headway schedule list")
        if len(found) > 1:
            raise Conflict(f"{len(found)} schedules are named '{said}'.", hint="Give the id: headway schedule list")
        return found[0]

    def pause(self, schedule_id: str) -> Json:
        """Let it rest."""
        found: Json = self.client.post(f"{self.base}/{part(schedule_id)}/pause", again=True)
        return found

    def resume(self, schedule_id: str) -> Json:
        """Let it fire again, from now on."""
        found: Json = self.client.post(f"{self.base}/{part(schedule_id)}/resume", again=True)
        return found

    def remove(self, schedule_id: str) -> None:
        """Delete it; its runs stay."""
        self.client.delete(f"{self.base}/{part(schedule_id)}")
