"""What Home shows: what needs somebody, what runs now, where they left off, and the steps of the first hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines.host import Host
from headway.home import look
from headway.home.look import EndpointLine, RunLine
from headway.people import guard
from headway.people.rules import DEPLOY, OWN, VIEW, Who
from headway.people.tables import Member
from headway.projects import files
from headway.projects import service as projects_service
from headway.projects.tables import Project

_DAY_MS = 86_400_000
_BAD = ("failed", "timed_out", "out_of_memory", "killed", "lost")
RECENT, NOTEBOOKS = 6, 5


@dataclass(frozen=True)
class Need:
    """Something that waits for a person: what it is, why, and where it is settled."""

    state: str
    title: str
    text: str
    url: str
    project: Project
    action: str
    at: int | None


@dataclass(frozen=True)
class Notebook:
    """A notebook of a project, changed at a time (milliseconds)."""

    project: Project
    path: str
    changed_at: int


@dataclass(frozen=True)
class Step:
    """A step of the first hour. `note` says how it is done, `action` is the word on its button."""

    title: str
    note: str
    done: bool
    url: str
    action: str


@dataclass
class Home:
    """All that the page needs."""

    projects: list[Project]
    needs: list[Need] = field(default_factory=list)
    running: list[RunLine] = field(default_factory=list)
    recent: list[RunLine] = field(default_factory=list)
    endpoints: list[EndpointLine] = field(default_factory=list)
    notebooks: list[Notebook] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def first_hour(self) -> bool:
        """Whether the steps are still worth showing."""
        return any(not step.done for step in self.steps)


def home(db: Session, host: Host, who: Who) -> Home:
    """What `who` sees first."""
    mine = projects_service.visible(db, who, verb=VIEW)
    endpoints = look.endpoints(db, host, mine)
    found = Home(mine, endpoints=endpoints)
    found.needs = needs(db, mine, endpoints)
    found.running = running(db, mine)
    found.recent = [run for run in look.runs(db, mine, limit=RECENT + 6) if run.state not in ("running", "queued")][
        :RECENT
    ]
    found.notebooks = notebooks(host, mine)
    found.steps = steps(db, who, found)
    return found


def needs(db: Session, projects: Sequence[Project], endpoints: Sequence[EndpointLine]) -> list[Need]:
    """Runs whose newest try failed, endpoints whose newest revision did, environments that could not be built."""
    waiting = [
        Need("failed", f"{line.endpoint.name}: revision {line.newest.number} did not go live", line.newest.reason, line.url,
             line.project, "See why", line.newest.ended_at or line.newest.created_at)
        for line in endpoints if line.newest is not None and line.failed_lately
    ]  # fmt: skip
    waiting += [
        Need("degraded", f"{line.endpoint.name}: requests fail", f"{line.traffic.failed} of {line.traffic.hour} in the last hour",
             line.url, line.project, "Look", now_ms())
        for line in endpoints if line.traffic.failing
    ]  # fmt: skip
    waiting += [
        Need("failed", "The environment could not be built", row.message, f"/p/{project.slug}/environments", project, "See why",
             row.ended_at or row.created_at)
        for project, row in look.failed_environments(db, projects)
    ]  # fmt: skip
    waiting += [
        Need(line.state, line.title, line.cause, line.url, line.project, "Look", line.run.end_time or line.run.start_time)
        for line in look.latest_of_each(db, projects, since=now_ms() - 14 * _DAY_MS) if line.state in _BAD
    ]  # fmt: skip
    return sorted(waiting, key=lambda need: -(need.at or 0))[:12]


def running(db: Session, projects: Sequence[Project]) -> list[RunLine]:
    """What runs or waits for its turn, with how long its like takes."""
    return look.with_expectations(db, look.runs(db, projects, limit=20, states=("RUNNING", "SCHEDULED")))


def notebooks(host: Host, projects: Sequence[Project], limit: int = NOTEBOOKS) -> list[Notebook]:
    """The notebooks that were changed last, of at most twenty projects."""
    found = [
        Notebook(project, entry.path, entry.modified_at)
        for project in projects[:20]
        for entry in _files(host, project)
        if entry.name.endswith(".ipynb")
    ]
    return sorted(found, key=lambda one: -one.changed_at)[:limit]


def _files(host: Host, project: Project) -> list[files.Entry]:
    folder: Path = projects_service.folder(host, project)
    return list(files.walk(folder, limit=500))


def steps(db: Session, who: Who, found: Home) -> list[Step]:
    """The first hour, ticked by what has really happened."""
    oldest = sorted(found.projects, key=lambda project: project.created_at)
    first = next((p for p in oldest if guard.may(db, who, DEPLOY, p.id)), None)
    if first is None:
        return []
    base = f"/p/{first.slug}"
    ran = look.runs(db, found.projects, limit=1, states=("FINISHED",))
    live = [line for line in found.endpoints if line.state == "live"]
    several = next((line for line in live if len(line.endpoint.revisions) > 1), None)
    invited = who.admin or guard.may(db, who, OWN, first.id)
    run, endpoint = (ran[0].url if ran else ""), (live[0].url if live else "")
    made = [
        Step(
            "Run a notebook",
            "There is nothing to set up, and no tracking line to write.",
            bool(ran),
            f"{base}/notebooks",
            "Open notebooks",
        ),
        Step(
            "Deploy its model",
            "From the run's page, in one click. It is proved before it gets traffic.",
            bool(live),
            run or f"{base}/runs",
            "Open the run" if run else "Open runs",
        ),
        Step(
            "Ask it for a prediction",
            "From its form, or with one of the snippets beside it.",
            any(line.traffic.ever for line in found.endpoints),
            f"{endpoint}/use" if endpoint else f"{base}/endpoints",
            "Try it" if endpoint else "Open endpoints",
        ),
        Step(
            "Put a second version beside it",
            "Deploy again, shift traffic to it, and roll back with a click.",
            several is not None,
            endpoint or f"{base}/endpoints",
            "Open the endpoint" if endpoint else "Open endpoints",
        ),
    ]
    if invited:
        others = any(len(people) > 1 for people in _members(db, found.projects[:20]))
        made.append(
            Step("Bring somebody in", "With a link; you say what they may do.", others, f"{base}/people", "Invite")
        )
    return made


def _members(db: Session, projects: Sequence[Project]) -> list[list[str]]:
    found: dict[str, list[str]] = {project.id: [] for project in projects}
    for project_id, user_id in db.execute(
        select(Member.project_id, Member.user_id).where(Member.project_id.in_(found))
    ):
        found[project_id].append(user_id)
    return list(found.values())
