"""What is to be deployed: a version of a model by its reference, or a model that a run left, registered on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound, Unprocessable
from headway.models import service as models
from headway.models.service import Version
from headway.models.tables import ModelVersion
from headway.people import guard
from headway.people.rules import VIEW, Who
from headway.projects.tables import Project
from headway.tracking import artifacts, logged_models
from headway.tracking import service as tracking
from headway.tracking.store.readout import RunFacts
from headway.tracking.tables import Experiment

_DULL = {"model", "", "estimator", "best_model"}


@dataclass(frozen=True)
class Candidate:
    """One model that a run left: a logged model, or a folder among a run's artifacts. `note` tells it from the others."""

    run_id: str
    label: str
    note: str
    logged_model: str = ""
    path: str = ""

    @property
    def key(self) -> str:
        """What a form posts to say which one."""
        return self.logged_model or f"{self.run_id}:{self.path}"


def of_run(db: Session, who: Who, project: Project, run_id: str) -> list[Candidate]:
    """The models of a run and of its trainings, the run's own first, the newest before the older. Raises NotFound."""
    facts = tracking.facts(db, who, run_id)
    if facts.project_id != project.id:
        raise NotFound("There is no such run in this project.")
    found: list[Candidate] = []
    for run in [facts, *reversed(tracking.children(db, run_id))]:
        found += _of_one(db, run)
    return found


def _of_one(db: Session, run: RunFacts) -> list[Candidate]:
    note = ", ".join(f"{name} {series.last:.4g}" for name, series in list(run.metrics.items())[:3])
    found = [
        Candidate(run.uuid, row.name or "model", note, logged_model=row.uuid)
        for row in logged_models.of_run(db, run.uuid)
        if row.status != "UPLOAD_FAILED"
    ]
    for entry in artifacts.tree(db, run.uuid):
        path = PurePosixPath(entry.path)
        if path.name == "MLmodel":
            found.append(Candidate(run.uuid, path.parent.name or "model", note, path=str(path.parent)))
    return found


def model_name(db: Session, who: Who, run_id: str, candidate: Candidate) -> str:
    """A name for the model in the registry: the candidate's own if it says something, else the experiment's."""
    if candidate.label.lower() not in _DULL:
        return candidate.label
    run = tracking.get_run(db, who, run_id)
    experiment = db.get(Experiment, run.experiment_id)
    return PurePosixPath(experiment.name if experiment else "").stem or "model"


def resolve(
    db: Session, who: Who, project: Project, *, model: str = "", run_id: str = "", choice: str = "", name: str = ""
) -> Version:
    """The version to deploy: `model` is a reference (`churn/3`, `churn@champion`), else `run_id`'s model is registered.

    `choice` is the key of a candidate where the run left several; `name` what to call the model. A model that is registered
    already is not registered again. Raises BadInput, NotFound, Unprocessable that lists the candidates.
    """
    guard.check(db, who, VIEW, project.id)
    if model:
        return models.by_ref(db, who, project, model)
    if not run_id:
        raise BadInput("Say what to deploy: a model, such as churn/3 or churn@champion, or a run.", field="model")
    candidates = of_run(db, who, project, run_id)
    if choice:
        candidates = [c for c in candidates if choice in (c.key, c.path, c.label)]
        if not candidates:
            raise NotFound("This run left no such model.", hint="Its page lists them.")
    if not candidates:
        raise Unprocessable(
            "This run left no model.", hint="Fit one in it, or log one with MLflow's log_model.", field="run_id"
        )
    if len(candidates) > 1:
        told = ", ".join(c.key for c in candidates[:20])
        raise Unprocessable(f"This run left {len(candidates)} models.", hint=f"Say which one: {told}.", field="choice")
    return _registered(db, who, project, run_id, candidates[0], name)


def _registered(db: Session, who: Who, project: Project, run_id: str, candidate: Candidate, name: str) -> Version:
    query = select(ModelVersion).where(ModelVersion.project_id == project.id)
    if candidate.logged_model:
        query = query.where(ModelVersion.logged_model == candidate.logged_model)
    else:
        query = query.where(ModelVersion.source == f"runs:/{candidate.run_id}/{candidate.path}")
    row = db.scalar(query.order_by(ModelVersion.id.desc()).limit(1))
    if row is not None:
        return models.seen(db, [row])[0]
    called = name or model_name(db, who, run_id, candidate)
    called = called.replace("/", "-").replace(":", "-")
    if candidate.logged_model:
        return models.register(db, who, project, called, logged_model_id=candidate.logged_model)
    return models.register(db, who, project, called, source_run_id=candidate.run_id, path=candidate.path)
