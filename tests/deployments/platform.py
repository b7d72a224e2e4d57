"""A whole server in this process with real engines, whose loops a test steps itself; environments are this one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn

from headway.clock import new_id, now_ms
from headway.deployments import loop, service
from headway.deployments.tables import Endpoint, Revision
from headway.engines import keeper
from headway.environments import loop as environments_loop
from headway.environments.tables import Environment
from headway.models import service as models
from headway.models.service import Version
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.tracking import artifacts, experiments, logged_models
from headway.tracking import service as tracking
from tests.conftest import free_port
from tests.modelserver.bundles import PYTHON
from tests.world import World

ENDED = ("live", "failed", "retired")


class Platform(World):
    """A World with a project `demo` of ada, in which vera looks on, and what it takes to deploy there."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, gateway_port=free_port())
        self.ada = self.user("ada")
        self.project_: Project = self.project("Demo", self.ada, viewer="vera", editor="eddie", expert="xenia")
        self.vera, self.eddie, self.mallory = self.user("vera"), self.user("eddie"), self.user("mallory")
        self._environment()

    def _environment(self) -> None:
        """This very environment, ready for the lock of `bundles.save`: builds are tested with environments."""
        pin = f"scikit-learn=={sklearn.__version__}"
        with self.host.database.write() as db:
            row = Environment(id=new_id(), project_id=self.project_.id, name="here", kind="lock", asked=pin,
                              requirements=json.dumps([pin]), hashes="{}", lock=pin + "\n", hash="0" * 32, folder=sys.prefix,
                              python_version=PYTHON, state="ready", created_at=now_ms())  # fmt: skip
            db.add(row)

    def run_with_models(self, *folders: Path, name: str = "model") -> str:
        """A finished run that left these bundles as logged models; its id."""
        with self.host.database.write() as db:
            experiment = experiments.ensure(db, self.project_.id, "train.ipynb")
            run = tracking.create_run(db, self.ada, project_id=self.project_.id, experiment_id=experiment.id)
            for folder in folders:
                row = logged_models.create(db, self.ada, str(experiment.id), name=name, source_run=run.uuid)
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    artifacts.put(db, row.uuid, str(path.relative_to(folder)), self.host.blobs.put(path))
            return run.uuid

    def version(self, folder: Path, name: str = "churn") -> Version:
        """The bundle as the next version of a model."""
        run_id = self.run_with_models(folder)
        with self.host.database.write() as db:
            return models.register(db, self.ada, self.project_, name, source_run_id=run_id)

    def step(self) -> None:
        """What the server's loops do, once."""
        moment = now_ms()
        environments_loop.step(self.host, moment)
        keeper.step(self.host, moment)
        loop.step(self.host, moment)

    def until(self, ready: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """The first true value of `ready()`, stepping meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step()
            if found := ready():
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s for {what} in vain")

    def deploy(self, version: Version, **kinds: Any) -> str:
        """Asks for a revision; its id."""
        with self.host.database.write() as db:
            return service.deploy(db, kinds.pop("who", self.ada), self.project_, version, **kinds).id

    def revision(self, revision_id: str) -> Revision:
        """As it is now, detached."""
        with self.host.database.read() as db:
            row = db.get_one(Revision, revision_id)
            db.expunge(row)
            return row

    def settled(self, revision_id: str) -> Revision:
        """The revision once it is live, failed or retired."""
        self.until(lambda: self.revision(revision_id).state in ENDED, "the revision")
        return self.revision(revision_id)

    def endpoint(self, name: str = "churn", who: Who | None = None) -> Endpoint:
        """With its revisions, detached."""
        with self.host.database.read() as db:
            found = service.get(db, who or self.ada, self.project_, name)
            _ = [r.number for r in found.revisions]
            db.expunge_all()
            return found

    def close(self) -> None:
        """Ends all that was started."""
        keeper.halt(self.host, ["replica", "gateway", "build"])
        self.host.database.close()
