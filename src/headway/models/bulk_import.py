"""Taking in a registry: models with the numbers, times, stages and aliases that their versions had elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import new_id
from headway.errors import BadInput, Conflict
from headway.models import service, sources
from headway.models.sources import Source
from headway.models.tables import Alias, ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from headway.people import audit, guard
from headway.people.rules import Who
from headway.storage.blobs import Blob
from headway.tracking import artifacts, limits

MARK = "headway.import"


@dataclass(frozen=True)
class RecordedVersion:
    """A version as another registry kept it. `source`: `runs:/<run>/<path>`, `models:/m-<id>`, or a text that is only noted."""

    number: int
    source: str = ""
    run_id: str = ""
    model_id: str = ""
    stage: str = "None"
    description: str = ""
    user: str = ""
    run_link: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedRegistered:
    """A registered model as another registry kept it."""

    name: str
    description: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: Sequence[RecordedVersion] = ()


@dataclass(frozen=True)
class Taken:
    """The name it has here (another where that was taken), the versions that are new, and what was left out and why."""

    name: str
    versions: list[int]
    left: list[str]


def take(db: Session, who: Who, project_id: str, found: RecordedRegistered, origin: str) -> Taken:
    """Make the model, or add the versions that it lacks; what is there already stays as it is.

    A model of that name that was not imported is never mixed with this one, which is then called "name-imported".
    """
    guard.check(db, who, "edit", project_id)
    left: list[str] = []
    row = _row(db, who, project_id, found, origin)
    have = set(db.scalars(select(ModelVersion.number).where(ModelVersion.model_id == row.id)))
    made = []
    for version in sorted(found.versions, key=lambda one: one.number):
        if version.number not in have:
            _add(db, who, row, version, left)
            made.append(version.number)
    known = {*have, *made}
    for alias, number in found.aliases.items():
        if db.get(Alias, (row.id, alias)) is not None:
            continue
        try:
            word = service.check_alias(alias)
        except BadInput as error:
            left.append(f"the alias {alias[:60]!r}: {error.message}")
            continue
        if number in known:
            db.add(Alias(model_id=row.id, alias=word, number=number))
        else:
            left.append(f"the alias {alias[:60]!r}: there is no version {number}")
    db.flush()
    if made:
        row.updated_at = max(row.updated_at, found.updated_at)
        audit.note(db, who, "model.import", row.name, project_id=project_id, versions=len(made), source=origin[:200])
    return Taken(row.name, made, left)


def _row(db: Session, who: Who, project_id: str, found: RecordedRegistered, origin: str) -> RegisteredModel:
    name = service.check_name(found.name)
    tags = {key: value for key, value in found.tags.items() if key != MARK}
    for title in (name, f"{name[:240]}-imported", *(f"{name[:240]}-imported-{number}" for number in range(2, 100))):
        row = db.scalar(
            select(RegisteredModel).where(RegisteredModel.project_id == project_id, RegisteredModel.name == title)
        )
        if row is None:
            row = service.create_model(db, who, project_id, title, description=found.description, tags=tags)
            if found.created_at:
                row.created_at, row.updated_at = found.created_at, found.updated_at or found.created_at
            db.add(RegisteredModelTag(model_id=row.id, key=MARK, value=origin[:500]))
            db.flush()
            return row
        if db.get(RegisteredModelTag, (row.id, MARK)) is not None and _same(db, row, found):
            return row
    raise Conflict(f"There are too many models named '{name}' here already.", hint="Rename some of them.")


def _same(db: Session, row: RegisteredModel, found: RecordedRegistered) -> bool:
    """Whether the versions that both have are the same ones: made at the same moment, of the same run."""
    have = {
        v.number: (v.created_at, v.run_uuid)
        for v in db.scalars(select(ModelVersion).where(ModelVersion.model_id == row.id))
    }
    return all(have.get(v.number, (v.created_at, v.run_id)) == (v.created_at, v.run_id) for v in found.versions)


def _add(db: Session, who: Who, row: RegisteredModel, found: RecordedVersion, left: list[str]) -> None:
    source = _source(db, who, row.project_id, found)
    version = ModelVersion(
        uuid=f"v-{new_id()}", model_id=row.id, project_id=row.project_id, number=found.number,
        stage=found.stage if found.stage in service.STAGES else "None",
        description=limits.text(found.description, "description", service.DESCRIPTION), user_name=found.user[:256],
        source=source.text[:1000], run_uuid=found.run_id[:64],
        logged_model=(found.model_id or source.logged_model)[:64], run_link=found.run_link[:500],
        created_at=found.created_at, updated_at=found.updated_at or found.created_at,
    )  # fmt: skip
    db.add(version)
    db.flush()
    entries = sources.files(db, source) if source.owner else []
    for entry in entries:
        artifacts.put(db, version.uuid, entry.path, Blob(entry.sha256, entry.size or 0))
    for key, value in found.tags.items():
        db.add(ModelVersionTag(version_id=version.id, key=limits.key(key), value=value))
    db.flush()
    if not entries and found.source not in sources.PROMPTS:
        left.append(f"the files of version {found.number}: {found.source[:120] or 'its source'} is not here")


def _source(db: Session, who: Who, project_id: str, found: RecordedVersion) -> Source:
    """Where its files are; a source that is nowhere here is kept as a text."""
    parsed = sources.parse(found.source)
    if parsed is None:
        return Source(found.source)
    owner = artifacts.OWNERS.get(parsed.owner[:2], artifacts.owner_run)(db, parsed.owner)
    here = owner is not None and owner.project_id == project_id and guard.may(db, who, "view", project_id)
    if here and sources.files(db, parsed):
        return parsed
    if found.model_id:  # MLflow 3 notes runs:/<run>/<name> for what lies in the logged model
        model = sources.parse(f"models:/{found.model_id}")
        row = artifacts.OWNERS["m-"](db, found.model_id)
        if model is not None and row is not None and row.project_id == project_id:
            return Source(found.source, model.owner, "", parsed.run, found.model_id)
    return Source(parsed.text)
