"""A project with one of everything in it, for tests that walk over all routes; and a way back to that state."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.engines.host import Host
from headway.environments import service as environments
from headway.models import webhooks
from headway.models.tables import Alias, ModelVersion, RegisteredModel
from headway.people import cache, members, tokens
from headway.people.rules import Who
from headway.people.tables import User
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import schedules
from headway.runs import service as runs
from headway.traces import assessments, datasets, issues, scorers
from headway.traces import service as traces
from headway.traces.spans import SpanData
from headway.tracking import experiments
from headway.tracking import service as tracking
from headway.tracking.store.record import Metric
from tests.world import World

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@dataclass
class Scene:
    """`objects` are what a route's path may name, by the parameter's name; `people` is who plays which part."""

    world: World
    project: Project
    people: dict[str, Who]
    objects: dict[str, str]
    _kept: Path = field(init=False)

    def __post_init__(self) -> None:
        self._kept = self.world.host.settings.home / "kept.db"
        self.keep()

    @property
    def _database(self) -> Path:
        return self.world.host.settings.home / "headway.db"

    def keep(self) -> None:
        """What there is now is what `restore` brings back."""
        if self.world.host.database.sqlite:
            self._copy(self._database, self._kept)

    def restore(self) -> None:
        """Everything as it was when the scene was made, or last kept."""
        self._copy(self._kept, self._database)
        cache.of(self.world.host.database.engine).clear()
        write_files(self.world, self.project)

    def _copy(self, source: Path, target: Path) -> None:
        # As a transaction of SQLite's own, so that connections that are still open see it happen.
        self.world.host.database.group(lambda _: None)  # what was queued is committed
        with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target, timeout=30)) as to:
            to.execute("PRAGMA synchronous=OFF")
            from_.backup(to)


def write_files(world: World, project: Project) -> None:
    """The project's files, as they are at the beginning."""
    folder = projects.folder(world.host, project)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    (folder / "note.ipynb").write_text(NOTEBOOK)
    (folder / "plot.png").write_bytes(b"png")


def make(world: World, name: str = "Churn") -> Scene:
    """A project of its owner with a viewer, an expert and an editor, a run, an environment, a model, an endpoint, a schedule."""
    owner = world.user("olga")
    project = world.project(name, owner, viewer="vera", expert="xenia", editor="ed")
    write_files(world, project)
    people = {"owner": owner, "admin": world.user("root", admin=True), "outsider": world.user("mallory")}
    people |= {role: world.user(who) for role, who in (("viewer", "vera"), ("expert", "xenia"), ("editor", "ed"))}
    objects = {"slug": project.slug, "path": "train.py", "user_id": people["viewer"].user_id}
    host = world.host
    with host.database.write() as db:
        owner_row = db.get(User, owner.user_id)
        assert owner_row is not None
        execution = runs.submit(db, host, owner, project, "train.py")
        tracking.log_batch(db, execution.run_id, [Metric("loss", 1.0, now_ms())], [("lr", "0.1")], who=owner)
        facts = tracking.facts(db, owner, execution.run_id)
        objects |= {
            "run_id": execution.run_id,
            "experiment_id": str(facts.experiment_id),
            "number": str(facts.experiment_id),
        }
        objects["environment_id"] = environments.ask(db, owner, project, "numpy\n").id
        objects["schedule_id"] = schedules.add(db, host, owner, project, "train.py", "0 6 * * *").id
        objects["token_id"] = tokens.create(db, owner, "mine")[0].id
        members.invite(db, owner, host, project.id, "viewer")
        objects["invitation"] = members.invitations(db, owner, project.id)[0].id
        objects |= _model(db, project, execution.run_id)
        objects |= _endpoint(db, project, owner, objects)
        objects |= _trace(db, host, project, owner, int(objects["experiment_id"]))
    return Scene(world, project, people, objects)


def _trace(db: Session, host: Host, project: Project, owner: Who, experiment_id: int) -> dict[str, str]:
    experiment = experiments.get(db, owner, experiment_id)
    span = SpanData(trace="a" * 32, id="b" * 16, name="answer", start_ns=1, end_ns=2)
    (trace_id,) = traces.log_spans(db, owner, experiment, [span])
    told = {"name": "quality", "kind": "feedback", "value": True, "source_type": "HUMAN"}
    judged = assessments.create(db, owner, trace_id, told)
    dataset = datasets.create(db, owner, project.id, "questions", {}, [experiment_id])
    issue = issues.create(db, owner, experiment, {"name": "slow"})
    scorer, _ = scorers.register(db, experiment, "polite", '{"name": "polite"}')
    webhook = webhooks.create(
        db, host, owner, project.id, {"name": "ci", "url": "https://example.org/x", "events": ["model_version.created"]}
    )
    return {"trace_id": trace_id, "assessment_id": judged.uuid, "dataset_id": dataset.uuid, "issue_id": issue.uuid,
            "webhook_id": webhook.uuid, "scorer": scorer.name}  # fmt: skip


def _model(db: Session, project: Project, run_id: str) -> dict[str, str]:

    moment = now_ms()
    model = RegisteredModel(project_id=project.id, name="churn", created_at=moment, updated_at=moment)
    db.add(model)
    db.flush()
    version = ModelVersion(uuid="v-" + new_id(), model_id=model.id, project_id=project.id, number=1, run_uuid=run_id,
                           created_at=moment, updated_at=moment)  # fmt: skip
    db.add_all([version, Alias(model_id=model.id, alias="champion", number=1)])
    db.flush()
    return {"model": "churn", "version": "1", "version_id": version.uuid, "alias": "champion"}


def _endpoint(db: Session, project: Project, owner: Who, objects: dict[str, str]) -> dict[str, str]:

    moment = now_ms()
    endpoint = Endpoint(id=new_id(), project_id=project.id, slug=project.slug, name="churn", created_by=owner.user_id,
                        created_at=moment)  # fmt: skip
    db.add(endpoint)
    db.flush()
    revision = Revision(id=new_id(), endpoint_id=endpoint.id, number=1, version_id=objects["version_id"], model="churn",
                        version="1", state="live", weight=10_000, intent=10_000, created_by=owner.user_id,
                        created_name=owner.name, created_at=moment, live_at=moment)  # fmt: skip
    key = EndpointKey(id=new_id(), endpoint_id=endpoint.id, name="k", digest="d" * 64, hint="dddd", created_by=owner.user_id,
                      created_name=owner.name, created_at=moment)  # fmt: skip
    db.add_all([revision, key])
    db.flush()
    return {"name": "churn", "key_id": key.id, "endpoint": "churn"}
