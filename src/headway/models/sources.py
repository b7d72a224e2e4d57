"""Where a version's files come from: the folder of a run or a logged model, said in one of the protocol's ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.tracking import artifacts, logged_models, service
from headway.tracking.store import locations
from headway.tracking.tables import LoggedModel, Run

_PROXIED = re.compile(r"mlflow-artifacts:/(?://[^/]*)?(?:[^/]+/)*?([0-9a-f]{32}|[mv]-[0-9a-f]{32})/artifacts(?:/(.+))?")
_RUNS = re.compile(r"runs:/([^/]+)/(.+)")
_MODELS = re.compile(r"models:/(m-[0-9a-f]{32})")
PROMPTS = frozenset({"dummy-source", "prompt-template"})


@dataclass(frozen=True)
class Source:
    """A folder: its owner (a run's, logged model's or version's id) and the path in it. Empty where there are no files."""

    text: str
    owner: str = ""
    path: str = ""
    run: str = ""
    logged_model: str = ""


def parse(text: str) -> Source | None:
    """The folder that a source names; None for a text that names none of this server's."""
    text = text.rstrip("/")
    if found := _MODELS.fullmatch(text):
        return Source(text, found[1], "", logged_model=found[1])
    if found := _RUNS.fullmatch(text):
        return Source(text, found[1], found[2], run=found[1])
    if found := _PROXIED.fullmatch(text):
        owner, path = found[1], found[2] or ""
        if owner.startswith("m-"):
            return Source(text, owner, path, logged_model=owner)
        return Source(text, owner, path, run="" if owner.startswith("v-") else owner)
    return None


def resolve(db: Session, who: Who, project_id: str, text: str, run: str = "", model: str = "") -> Source:
    """The folder that a source names, in this project. Raises `BadInput`, `NotFound`.

    A foreign one (`s3://...`) is noted and has no files here. A path of some machine must lie in the folder of the `run` or
    the `model` that is named with it.
    """
    found = parse(text)
    if found is None:
        return _foreign(db, who, text, run, model)
    if found.path:
        artifacts.check_path(found.path)
    guard.check(db, who, "view", project_id)
    owner = artifacts.OWNERS.get(found.owner[:2], artifacts.owner_run)(db, found.owner)
    if owner is not None and owner.project_id == project_id:
        return found
    if found.logged_model:
        raise artifacts.no_owner(found.owner)
    # A run that isn't here (any more), or isn't yours: the version is noted, as clients that move a registry expect, and
    # has no files.
    return Source(found.text, "", "", found.run)


def _foreign(db: Session, who: Who, text: str, run: str, model: str) -> Source:
    if locations.is_local(text):
        home = ""
        if run:
            home = service.get_run(db, who, run).artifact_uri
        elif model:
            home = logged_models.get(db, who, model).artifact_uri
        if not home or not locations.is_local(home) or not locations.within(text, home):
            raise BadInput(
                f"Invalid model version source: '{text[:120]}'. To use a local path as a model version source, the"
                " run_id or model_id request parameter has to be specified and the local path has to be contained within"
                " the artifact directory of that run or model.",
                hint="For example: runs:/<run id>/model, or models:/m-<id>. Log the model first.",
                field="source",
            )
    elif locations.climbs(text) or any(ord(char) < 32 for char in unquote(text)):
        raise BadInput(
            f"Invalid model version source: '{text[:120]}'. If supplying a source as an http, https, local file path, ftp,"
            " objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references"
            " present. Please provide an absolute path.",
            field="source",
        )
    return Source(text, "", "", run, model)


def of_run(db: Session, run_id: str, project_id: str, path: str | None) -> Source:
    """A run's model: at `path`, else the only one it has. Raises `BadInput` that lists them where there are several."""
    row = db.scalar(select(Run).where(Run.uuid == run_id, Run.project_id == project_id))
    if row is None:
        raise NotFound(f"Run with id={run_id[:80]} not found")
    if path:
        return Source(f"runs:/{run_id}/{artifacts.check_path(path)}", run_id, path, run=run_id)
    query = select(LoggedModel).where(LoggedModel.source_run == run_id, LoggedModel.lifecycle == "active")
    logged = list(db.scalars(query.order_by(LoggedModel.created_at.desc(), LoggedModel.id.desc())))
    folders = [e.path.rpartition("/")[0] for e in artifacts.tree(db, run_id) if e.path.rpartition("/")[2] == "MLmodel"]
    if len(logged) + len(folders) == 0:
        raise BadInput("This run left no model.", hint="Fit one in it, or log one with MLflow's log_model.")
    if len(logged) + len(folders) > 1:
        names = ", ".join([f"{m.name} ({m.uuid})" for m in logged] + folders)
        raise BadInput(f"This run left several models: {names}.", hint="Say which one.")
    if logged:
        return of_model(logged[0])
    return Source(f"runs:/{run_id}/{folders[0]}", run_id, folders[0], run=run_id)


def of_model(row: LoggedModel) -> Source:
    """A logged model's folder."""
    return Source(f"models:/{row.uuid}", row.uuid, "", run=row.source_run, logged_model=row.uuid)


def files(db: Session, source: Source) -> list[artifacts.Entry]:
    """The files of the folder, with paths relative to it."""
    cut = len(source.path) + 1 if source.path else 0
    return [
        artifacts.Entry(entry.path[cut:], entry.size, entry.sha256, entry.stored_at)
        for entry in artifacts.tree(db, source.owner, source.path)
    ]
