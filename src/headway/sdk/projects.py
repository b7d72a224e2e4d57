"""Which project is meant when nobody says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headway.errors import NotFound
from headway.sdk import address
from headway.sdk.client import Client


def choose(
    client: Client,
    said: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    note: Callable[[str], None] | None = None,
) -> str:
    """The slug of the project that is meant: said, `HEADWAY_PROJECT`, the project whose folder the working directory is, the
    first that was made. `note` hears of a choice among several. Raises `NotFound` if there is none.
    """
    environ = os.environ if environ is None else environ
    named = said or environ.get("HEADWAY_PROJECT") or of_folder(Path.cwd(), environ)
    if named:
        return named
    found: list[dict[str, Any]] = client.get("/api/v1/projects")["projects"]
    if not found:
        raise NotFound("There is no project yet.", hint="Make one: headway project create NAME")
    first = min(found, key=lambda project: (project.get("created_at") or 0, project["slug"]))
    if len(found) > 1 and note is not None:
        note(f"Project {first['slug']} (the first of {len(found)}; choose with --project or HEADWAY_PROJECT).")
    return str(first["slug"])


def of_folder(folder: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """The project whose folder this is, on the machine that keeps it."""
    projects = address.home(environ) / "projects"
    try:
        parts = folder.resolve().relative_to(projects.resolve()).parts
    except ValueError:
        return None
    return parts[0] if parts else None
