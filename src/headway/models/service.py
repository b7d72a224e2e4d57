"""The verbs of the registry: register, describe, alias, move between stages, delete; and the files of a version."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from headway import events
from headway.clock import new_id, now_ms
from headway.engines.host import Host
from headway.errors import BadInput, Conflict, NotFound, Unprocessable
from headway.models import find, news, sources
from headway.models.sources import Source
from headway.models.tables import Alias, ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from headway.people import audit, guard
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.storage.blobs import Blob
from headway.tracking import artifacts, limits, logged_models
from headway.tracking.artifacts import Owner
from headway.tracking.store import purge

STAGES = ("None", "Staging", "Production", "Archived")
NAME, DESCRIPTION, TAG_VALUE = 256, 100_000, 100_000
_ALIAS = re.compile(r"[\w\-]{1,255}")


@dataclass(frozen=True)
class Version:
    """A version as others see it. `id` ("v-...") is stable and unique; `number` counts within the model."""

    id: str
    name: str
    number: int
    project_id: str
    stage: str
    description: str
    user_name: str
    source: str
    run_id: str
    logged_model_id: str
    run_link: str
    created_at: int
    updated_at: int
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


def _of_version(db: Session, uuid: str) -> Owner | None:
    project = db.scalar(select(ModelVersion.project_id).where(ModelVersion.uuid == uuid))
    return None if project is None else Owner(project, active=True, fixed=True)


artifacts.OWNERS["v-"] = _of_version


# ---------------------------------------------------------------- models
def no_model(name: object) -> NotFound:
    """The answer for a model that isn't there, or isn't yours to see."""
    return NotFound(f"Registered Model with name={str(name)[:120]} not found")


def check_name(name: Any) -> str:
    """A sound name of a model."""
    if not isinstance(name, str) or not name.strip():
        raise BadInput("Missing value for required parameter 'name'.", field="name")
    if any(char in name for char in "/:") or name in (".", "..") or any(ord(c) < 32 for c in name):
        raise BadInput(f"Invalid model name '{name[:120]}'. Names cannot contain '/' or ':'.", field="name")
    return limits.text(name, "name", NAME)


def model(db: Session, who: Who, project_id: str, name: Any, verb: str = "view") -> RegisteredModel:
    """A model by its name. Raises `NotFound`."""
    guard.check(db, who, verb, project_id)
    row = _named(db, project_id, check_name(name))
    if row is None:
        raise no_model(name)
    return row


def _named(db: Session, project_id: str, name: str) -> RegisteredModel | None:
    return db.scalar(
        select(RegisteredModel).where(RegisteredModel.project_id == project_id, RegisteredModel.name == name)
    )


def create_model(
    db: Session, who: Who, project_id: str, name: Any, *, description: str = "", tags: dict[str, str] | None = None
) -> RegisteredModel:
    """A new model without versions. Raises `Conflict` if the name is taken."""
    guard.check(db, who, "edit", project_id)
    name, moment = check_name(name), now_ms()
    row = RegisteredModel(project_id=project_id, name=name, description=limits.text(description, "description", DESCRIPTION),
                          created_at=moment, updated_at=moment)  # fmt: skip
    try:
        with db.begin_nested():
            db.add(row)
    except IntegrityError:
        raise _taken(_named(db, project_id, name), name, _says_prompt(tags or {})) from None
    for key, value in (tags or {}).items():
        set_model_tag(db, row, key, value)
    news.model_made(db, row, tags or {})
    return row


def _says_prompt(tags: dict[str, str]) -> bool:
    return tags.get(find.PROMPT_TAG, "").lower() == "true"


def _taken(old: RegisteredModel | None, name: str, prompt: bool) -> Conflict:
    words = {True: "prompt", False: "registered model"}
    if old is not None and old.is_prompt != prompt:
        return Conflict(
            f"Tried to create a {words[prompt]} with name '{name}', but the name is already taken by a"
            f" {words[old.is_prompt]}. MLflow keeps both in one list.",
            hint="Choose another name.",
        )
    return Conflict(f"{words[prompt].title()} (name={name}) already exists.", hint="Choose another name.")


def set_model_tag(db: Session, row: RegisteredModel, key: Any, value: Any) -> None:
    """Set a tag of a model. The caller has checked the rights."""
    db.merge(RegisteredModelTag(model_id=row.id, key=limits.key(key), value=limits.text(value, "value", TAG_VALUE)))
    if key == "mlflow.prompt.is_prompt":
        row.is_prompt = str(value).lower() == "true"
    row.updated_at = now_ms()
    db.flush()


def rename(db: Session, who: Who, project_id: str, name: Any, new_name: Any) -> RegisteredModel:
    """Give a model another name; its versions and aliases follow."""
    row, new = model(db, who, project_id, name, "edit"), check_name(new_name)
    if _named(db, project_id, new) is not None:
        raise Conflict(f"Registered Model (name={new}) already exists.", hint="Choose another name.")
    row.name, row.updated_at = new, now_ms()
    db.flush()
    audit.note(db, who, "model.rename", new, project_id=project_id, before=str(name))
    return row


def describe_model(db: Session, who: Who, project_id: str, name: Any, description: Any) -> RegisteredModel:
    """Change a model's description."""
    row = model(db, who, project_id, name, "edit")
    row.description, row.updated_at = limits.text(description, "description", DESCRIPTION), now_ms()
    db.flush()
    return row


def delete_model(db: Session, who: Who, project_id: str, name: Any) -> None:
    """Delete a model with all its versions, aliases and files."""
    row = model(db, who, project_id, name, "edit")
    for version in db.scalars(select(ModelVersion).where(ModelVersion.model_id == row.id)).all():
        _drop(db, version)
    db.execute(delete(Alias).where(Alias.model_id == row.id))
    db.execute(delete(RegisteredModelTag).where(RegisteredModelTag.model_id == row.id))
    db.execute(delete(RegisteredModel).where(RegisteredModel.id == row.id))
    audit.note(db, who, "model.delete", str(name), project_id=project_id)


# ---------------------------------------------------------------- versions
def register(
    db: Session, who: Who, project: Project, name: str, *, source_run_id: str | None = None,
    logged_model_id: str | None = None, path: str | None = None, description: str = "",
) -> Version:  # fmt: skip
    """A new version of a run's model (`path` in the run, if it has several) or of a logged model; makes the model at need.

    Raises `BadInput` if there is nothing to register, or more than one model to choose from.
    """
    guard.check(db, who, "edit", project.id)
    if logged_model_id:
        found = logged_models.get(db, who, logged_model_id)
        if found.project_id != project.id:
            raise logged_models.no_model(logged_model_id)
        source = sources.of_model(found)
    elif source_run_id:
        source = sources.of_run(db, source_run_id, project.id, path)
    else:
        raise BadInput("Say what to register: a run or a logged model.", field="run_id")
    entries = sources.files(db, source)
    if not any(entry.path == "MLmodel" for entry in entries):
        raise Unprocessable(
            f"There is no MLmodel file in {source.path or 'this model'}: it is not a model's folder.",
            hint="Log the model with a current MLflow client, or let capture save it.",
        )
    row = _named(db, project.id, check_name(name))
    if row is None:
        row = create_model(db, who, project.id, name)
    return add_version(db, who, row, source, description=description)


def add_version(
    db: Session, who: Who, row: RegisteredModel, source: Source, *, description: str = "", run_link: str = "",
    tags: dict[str, str] | None = None,
) -> Version:  # fmt: skip
    """The next version of a model; takes hold of the files of its source. The caller has checked the rights."""
    # The row is locked, so that of two callers each gets a number of its own.
    used = db.scalar(select(RegisteredModel.last_number).where(RegisteredModel.id == row.id).with_for_update()) or 0
    row.last_number = 1 + max(
        used, db.scalar(select(func.max(ModelVersion.number)).where(ModelVersion.model_id == row.id)) or 0
    )
    moment = now_ms()
    version = ModelVersion(
        uuid=f"v-{new_id()}", model_id=row.id, project_id=row.project_id, number=row.last_number, stage="None",
        description=limits.text(description, "description", DESCRIPTION), user_name=who.name, source=source.text,
        run_uuid=source.run, logged_model=source.logged_model, run_link=limits.text(run_link, "run_link", 500),
        created_at=moment, updated_at=moment,
    )  # fmt: skip
    db.add(version)
    row.updated_at = moment
    db.flush()
    if source.owner:
        for entry in sources.files(db, source):
            artifacts.put(db, version.uuid, entry.path, Blob(entry.sha256, entry.size or 0))
    for key, value in (tags or {}).items():
        set_version_tag(db, version, key, value)
    if source.logged_model:
        made = find.made_of(db, [source.logged_model])[source.logged_model]
        told = [{"name": name, "version": int(number)} for name, number in made]
        logged_models.set_tags(db, who, source.logged_model, {"mlflow.modelVersions": json.dumps(told)})
    news.version_made(db, row, version, tags or {})
    audit.note(db, who, "model.register", f"{row.name}/{version.number}", project_id=row.project_id)
    events.publish(db, events.VersionRegistered(version.uuid, row.project_id))
    return seen(db, [version])[0]


def set_version_tag(db: Session, version: ModelVersion, key: Any, value: Any) -> None:
    """Set a tag of a version. The caller has checked the rights."""
    tag = ModelVersionTag(version_id=version.id, key=limits.key(key), value=limits.text(value, "value", TAG_VALUE))
    db.merge(tag)
    version.updated_at = now_ms()
    db.flush()


def no_version(name: object, number: object) -> NotFound:
    """The answer for a version that isn't there, or isn't yours to see."""
    return NotFound(f"Model Version (name={str(name)[:120]}, version={str(number)[:20]}) not found")


def version(db: Session, who: Who, project_id: str, name: Any, number: Any, verb: str = "view") -> ModelVersion:
    """The row of a version by model and number. Raises `NotFound`."""
    guard.check(db, who, verb, project_id)
    name = check_name(name)
    try:
        wanted = int(str(number))
    except ValueError:
        raise BadInput(f"Parameter 'version' must be an integer, got '{str(number)[:40]}'.", field="version") from None
    row = db.scalar(
        select(ModelVersion)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(RegisteredModel.project_id == project_id, RegisteredModel.name == name, ModelVersion.number == wanted)
        if 0 < wanted < 2**31
        else select(ModelVersion).where(ModelVersion.id == -1)
    )
    if row is None:
        raise no_version(name, number)
    return row


def by_id(db: Session, who: Who, version_id: str) -> Version:
    """A version by its id ("v-..."). Raises `NotFound`."""
    row = db.scalar(select(ModelVersion).where(ModelVersion.uuid == version_id))
    if row is None or not guard.may(db, who, "view", row.project_id):
        raise NotFound("There is no such version of a model.")
    return seen(db, [row])[0]


def by_ref(db: Session, who: Who, project: Project, ref: str) -> Version:
    """`churn@champion`, `churn/3`, or `churn` (its champion, else its newest version). Raises `NotFound`, `BadInput`."""
    name, at, alias = ref.partition("@")
    if at:
        return by_alias(db, who, project.id, name, alias)
    name, slash, number = ref.partition("/")
    if slash:
        return seen(db, [version(db, who, project.id, name, number)])[0]
    row = model(db, who, project.id, name)
    champion = db.scalar(select(Alias.number).where(Alias.model_id == row.id, Alias.alias == "champion"))
    query = select(ModelVersion).where(ModelVersion.model_id == row.id).order_by(ModelVersion.number.desc())
    if champion is not None:
        query = query.where(ModelVersion.number == champion)
    found = db.scalar(query.limit(1))
    if found is None:
        raise NotFound(f"The model {name} has no version yet.", hint="Register one from a run.")
    return seen(db, [found])[0]


def seen(db: Session, rows: Sequence[ModelVersion]) -> list[Version]:
    """Rows as versions, with their model's name, aliases and tags, in their order."""
    models = {row.model_id for row in rows}
    names = {m.id: m.name for m in db.scalars(select(RegisteredModel).where(RegisteredModel.id.in_(models)))}
    aliases: dict[tuple[int, int], list[str]] = {}
    for alias in db.scalars(select(Alias).where(Alias.model_id.in_(models)).order_by(Alias.alias)):
        aliases.setdefault((alias.model_id, alias.number), []).append(alias.alias)
    tags: dict[int, dict[str, str]] = {}
    its = select(ModelVersionTag).where(ModelVersionTag.version_id.in_([row.id for row in rows]))
    for tag in db.scalars(its.order_by(ModelVersionTag.key)):
        tags.setdefault(tag.version_id, {})[tag.key] = tag.value
    return [
        Version(
            r.uuid, names[r.model_id], r.number, r.project_id, r.stage, r.description, r.user_name, r.source, r.run_uuid,
            r.logged_model, r.run_link, r.created_at, r.updated_at, tuple(aliases.get((r.model_id, r.number), ())),
            tags.get(r.id, {}),
        )
        for r in rows
    ]  # fmt: skip


def describe(db: Session, who: Who, project_id: str, name: Any, number: Any, description: Any) -> ModelVersion:
    """Change a version's description."""
    row = version(db, who, project_id, name, number, "edit")
    row.description, row.updated_at = limits.text(description, "description", DESCRIPTION), now_ms()
    db.flush()
    return row


def move(
    db: Session, who: Who, project_id: str, name: Any, number: Any, stage: Any, *, archive: bool = False
) -> ModelVersion:
    """Put a version into a stage; with `archive`, the others of an active stage go to Archived."""
    row = version(db, who, project_id, name, number, "edit")
    wanted = canonical_stage(stage)
    if archive and wanted not in ("Staging", "Production"):
        raise BadInput("Model version transition cannot archive existing model versions because"
                       f" '{wanted}' is not an Active stage. Valid stages are Staging, Production")  # fmt: skip
    moment = now_ms()
    if archive:
        others = select(ModelVersion).where(
            ModelVersion.model_id == row.model_id, ModelVersion.stage == wanted, ModelVersion.id != row.id
        )
        for other in db.scalars(others).all():
            other.stage, other.updated_at = "Archived", moment
    row.stage, row.updated_at = wanted, moment
    _touch(db, row.model_id, moment)
    audit.note(db, who, "model.stage", f"{name}/{row.number}", project_id=project_id, stage=wanted)
    return row


def canonical_stage(stage: Any) -> str:
    """The stage's own spelling. Raises `BadInput`."""
    found = next((s for s in STAGES if s.lower() == str(stage).lower()), None)
    if found is None:
        raise BadInput(f"Invalid Model Version stage: {str(stage)[:40]}. Value must be one of {', '.join(STAGES)}.")
    return found


def _touch(db: Session, model_id: int, moment: int) -> None:
    row = db.get(RegisteredModel, model_id)
    if row is not None:
        row.updated_at = moment
    db.flush()


def delete_version(db: Session, who: Who, project_id: str, name: Any, number: Any) -> None:
    """Delete a version with its files and aliases."""
    row = version(db, who, project_id, name, number, "edit")
    _touch(db, row.model_id, now_ms())
    db.execute(delete(Alias).where(Alias.model_id == row.model_id, Alias.number == row.number))
    _drop(db, row)
    audit.note(db, who, "model.version.delete", f"{name}/{number}", project_id=project_id)


def _drop(db: Session, row: ModelVersion) -> None:
    purge.files(db, row.uuid)
    db.execute(delete(ModelVersionTag).where(ModelVersionTag.version_id == row.id))
    db.execute(delete(ModelVersion).where(ModelVersion.id == row.id))


# ---------------------------------------------------------------- aliases
def set_alias(db: Session, who: Who, project_id: str, name: Any, alias: Any, number: Any) -> None:
    """Let an alias stand for a version; it leaves the version it stood for before."""
    word = check_alias(alias)
    row = version(db, who, project_id, name, number, "edit")
    db.merge(Alias(model_id=row.model_id, alias=word, number=row.number))
    news.alias_set(db, model(db, who, project_id, name), word, row.number)
    _touch(db, row.model_id, now_ms())
    audit.note(db, who, "model.alias", f"{name}/{row.number}", project_id=project_id, alias=word)


def check_alias(alias: Any) -> str:
    """A sound alias."""
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias):
        raise BadInput(
            f"Invalid alias name: '{str(alias)[:80]}'. Names may only contain alphanumerics, underscores (_), and dashes (-).",
            field="alias",
        )
    if re.fullmatch(r"[vV]\d+", alias) or alias.lower() == "latest":
        raise BadInput(f"Version alias name '{alias}' is reserved.", field="alias")
    return alias


def delete_alias(db: Session, who: Who, project_id: str, name: Any, alias: Any) -> None:
    """Take an alias away; nothing happens where it isn't."""
    row = model(db, who, project_id, name, "edit")
    db.execute(delete(Alias).where(Alias.model_id == row.id, Alias.alias == str(alias)))
    news.alias_gone(db, row, str(alias)[:255])
    _touch(db, row.id, now_ms())
    audit.note(db, who, "model.alias.delete", str(name), project_id=project_id, alias=str(alias))


def by_alias(db: Session, who: Who, project_id: str, name: Any, alias: Any) -> Version:
    """The version an alias stands for; `latest` is the newest. Raises `NotFound`."""
    row = model(db, who, project_id, name)
    query = select(ModelVersion).where(ModelVersion.model_id == row.id)
    if str(alias).lower() == "latest":
        found = db.scalar(query.order_by(ModelVersion.number.desc()).limit(1))
    else:
        number = db.scalar(select(Alias.number).where(Alias.model_id == row.id, Alias.alias == str(alias)))
        found = None if number is None else db.scalar(query.where(ModelVersion.number == number))
    if found is None:
        raise NotFound(f"Registered model alias {str(alias)[:80]} not found.", alias=True)
    return seen(db, [found])[0]


# ---------------------------------------------------------------- files
def bundle_files(db: Session, version: Version) -> list[tuple[str, str, int]]:
    """(path, sha256, size) of the version's files. The caller has checked the rights."""
    return [(entry.path, entry.sha256, entry.size or 0) for entry in artifacts.tree(db, version.id)]


def materialize(host: Host, version: Version, folder: Path) -> None:
    """Write the version's files into `folder` (made; must be empty or absent). Reads the database, then the blob store."""
    with host.database.read() as db:
        files = bundle_files(db, version)
    if not files:
        raise Unprocessable(f"{version.name}/{version.number} has no files.", hint="Register it again from its run.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, sha256, _ in files:
        artifacts.check_path(path)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for piece in host.blobs.open(sha256):
                out.write(piece)
