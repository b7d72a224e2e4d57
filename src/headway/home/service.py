"""What the first start makes: the sample project."""

from __future__ import annotations

import logging
from importlib.resources import files as resources
from importlib.resources.abc import Traversable

from sqlalchemy import select

from headway.engines.host import Host
from headway.people import service as people
from headway.projects import files
from headway.projects import service as projects
from headway.projects.tables import Project

log = logging.getLogger("headway.home")

SAMPLE_NAME = "Sample project"
SAMPLE_TEXT = "A real data set, a notebook and a script, without a line of tracking. Change what you like."


def first_start(host: Host) -> None:
    """Make the sample project, once: on a server that never had a project. Does nothing at any later start."""
    sample = resources("headway.home") / "sample"
    if not host.settings.sample or not sample.is_dir():
        return
    with host.database.write() as db:
        if db.scalar(select(Project.id).limit(1)) is not None:
            return
        owner = people.as_who(people.ensure_owner(db))
        project = projects.create(db, owner, SAMPLE_NAME, SAMPLE_TEXT)
    root = projects.folder(host, project)
    for parts, content in _contents(sample, ()):
        files.write(root, parts, content)
    log.info("the sample project is in %s", root)


def _contents(folder: Traversable, above: tuple[str, ...]) -> list[tuple[tuple[str, ...], bytes]]:
    found: list[tuple[tuple[str, ...], bytes]] = []
    for item in sorted(folder.iterdir(), key=lambda one: one.name):
        parts = (*above, item.name)
        if item.is_dir():
            found += [] if item.name == "__pycache__" else _contents(item, parts)
        else:
            found.append((parts, item.read_bytes()))
    return found
