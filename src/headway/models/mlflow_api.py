"""`registered-models/...` and `model-versions/...`: MLflow's registry over ours. The routes themselves are tracking's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, NotFound
from headway.models import find, news, service, sources, webhook_api
from headway.models.sources import Source
from headway.models.tables import Alias, ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from headway.tracking import artifacts, limits
from headway.tracking import logged_models as logged
from headway.tracking.wire import logged_models, shapes
from headway.tracking.wire.call import Call, endpoint

router = APIRouter()  # empty: `endpoint` puts what is below into tracking's table
ENDPOINTS = (webhook_api,)  # importing it fills the table
logged_models.REGISTRIES.append(find.made_of)


# ---------------------------------------------------------------- shapes
def _models(db: Session, rows: list[RegisteredModel]) -> list[dict[str, Any]]:
    ids = [row.id for row in rows]
    tags: dict[int, list[tuple[str, str]]] = {}
    for tag in db.scalars(select(RegisteredModelTag).where(RegisteredModelTag.model_id.in_(ids))):
        tags.setdefault(tag.model_id, []).append((tag.key, tag.value))
    aliases: dict[int, list[dict[str, str]]] = {}
    for alias in db.scalars(select(Alias).where(Alias.model_id.in_(ids)).order_by(Alias.alias)):
        aliases.setdefault(alias.model_id, []).append({"alias": alias.alias, "version": str(alias.number)})
    latest = find.latest(db, ids)
    return [
        {"name": row.name, "creation_timestamp": row.created_at, "last_updated_timestamp": row.updated_at}
        | shapes.filled(
            description=row.description,
            latest_versions=_versions(db, latest.get(row.id, [])),
            tags=shapes.tags(tags.get(row.id, [])),
            aliases=aliases.get(row.id, []),
        )
        for row in rows
    ]


def _versions(db: Session, rows: list[ModelVersion]) -> list[dict[str, Any]]:
    return [_version(v) for v in service.seen(db, rows)] if rows else []


def _version(v: service.Version) -> dict[str, Any]:
    return {
        "name": v.name,
        "version": str(v.number),
        "creation_timestamp": v.created_at,
        "last_updated_timestamp": v.updated_at,
        "current_stage": v.stage,
        "description": v.description,
        "source": v.source,
        "run_id": v.run_id,
        "status": "READY",
        "run_link": v.run_link,
    } | shapes.filled(
        user_id=v.user_name, tags=shapes.tags(v.tags.items()), aliases=list(v.aliases), model_id=v.logged_model_id
    )


def _one(db: Session, row: RegisteredModel) -> dict[str, Any]:
    return {"registered_model": _models(db, [row])[0]}


# ---------------------------------------------------------------- models
def _texts(pairs: list[tuple[Any, Any]]) -> dict[str, str]:
    return {limits.key(key): limits.text(value, "value", service.TAG_VALUE) for key, value in pairs}


@endpoint("POST", "registered-models/create")
def create_model(call: Call, db: Session) -> dict[str, Any]:
    name = service.check_name(call.values.get("name"))
    description = limits.text(call.values.get("description"), "description", service.DESCRIPTION)
    row = service.create_model(
        db, call.who, call.project(db), name, description=description, tags=_texts(call.pairs("tags"))
    )
    return _one(db, row)


@endpoint("GET", "registered-models/get", mode="read")
def get_model(call: Call, db: Session) -> dict[str, Any]:
    return _one(db, service.model(db, call.who, call.project(db), call.values.get("name")))


@endpoint("PATCH", "registered-models/update")
def update_model(call: Call, db: Session) -> dict[str, Any]:
    row = service.describe_model(
        db, call.who, call.project(db), call.values.get("name"), call.values.get("description")
    )
    return _one(db, row)


@endpoint("POST", "registered-models/rename")
def rename_model(call: Call, db: Session) -> dict[str, Any]:
    row = service.rename(db, call.who, call.project(db), call.values.get("name"), call.values.get("new_name"))
    return _one(db, row)


@endpoint("DELETE", "registered-models/delete")
def delete_model(call: Call, db: Session) -> None:
    service.delete_model(db, call.who, call.project(db), call.values.get("name"))


@endpoint("GET", "registered-models/search", mode="read")
def search_models(call: Call, db: Session) -> dict[str, Any]:
    rows, token = find.models(
        db, call.who, call.project(db), call.text("filter", required=False), call.strings("order_by"),
        call.integer("max_results", 100, least=1, most=1000), call.text("page_token", required=False),
    )  # fmt: skip
    return shapes.filled(registered_models=_models(db, rows), next_page_token=token)


@endpoint("POST", "registered-models/get-latest-versions", mode="read")
@endpoint("GET", "registered-models/get-latest-versions", mode="read")
def latest_versions(call: Call, db: Session) -> dict[str, Any]:
    row = service.model(db, call.who, call.project(db), call.values.get("name"))
    stages = {service.canonical_stage(stage) for stage in call.strings("stages")} or set(service.STAGES)
    rows = [v for v in find.latest(db, [row.id]).get(row.id, []) if v.stage in stages]
    return shapes.filled(model_versions=_versions(db, rows))


@endpoint("POST", "registered-models/set-tag")
def set_model_tag(call: Call, db: Session) -> None:
    row = service.model(db, call.who, call.project(db), call.values.get("name"), "edit")
    service.set_model_tag(db, row, call.text("key"), call.values.get("value"))
    news.tag_changed(db, row, call.text("key"), call.text("value", required=False))


@endpoint("DELETE", "registered-models/delete-tag")
def delete_model_tag(call: Call, db: Session) -> None:
    row = service.model(db, call.who, call.project(db), call.values.get("name"), "edit")
    key = limits.key(call.text("key"))
    db.execute(delete(RegisteredModelTag).where(RegisteredModelTag.model_id == row.id, RegisteredModelTag.key == key))
    row.updated_at = now_ms()
    news.tag_changed(db, row, key, None)
    db.flush()


@endpoint("POST", "registered-models/alias")
def set_alias(call: Call, db: Session) -> None:
    number = call.text("version")
    service.set_alias(db, call.who, call.project(db), call.values.get("name"), call.text("alias"), number)


@endpoint("DELETE", "registered-models/alias")
def delete_alias(call: Call, db: Session) -> None:
    service.delete_alias(db, call.who, call.project(db), call.values.get("name"), call.text("alias"))


@endpoint("GET", "registered-models/alias", mode="read")
def get_by_alias(call: Call, db: Session) -> dict[str, Any]:
    try:
        found = service.by_alias(db, call.who, call.project(db), call.values.get("name"), call.text("alias"))
    except NotFound as error:
        if error.details.get("alias"):  # the protocol's own code for this one
            raise BadInput(error.message) from None
        raise
    return {"model_version": _version(found)}


# ---------------------------------------------------------------- versions
@endpoint("POST", "model-versions/create")
def create_version(call: Call, db: Session) -> dict[str, Any]:
    project_id = call.project(db)
    row = service.model(db, call.who, project_id, call.values.get("name"), "edit")
    tags = _texts(call.pairs("tags"))
    source = _source(call, db, project_id, tags)
    found = service.add_version(
        db, call.who, row, source, tags=tags, run_link=call.text("run_link", required=False),
        description=limits.text(call.values.get("description"), "description", service.DESCRIPTION),
    )  # fmt: skip
    return {"model_version": _version(found)}


def _source(call: Call, db: Session, project_id: str, tags: dict[str, str]) -> Source:
    text, run, model = call.text("source"), call.text("run_id", required=False), call.text("model_id", required=False)
    limits.text(text, "source", 1000)
    if tags.get(find.PROMPT_TAG, "").lower() == "true":
        if text not in sources.PROMPTS:
            raise BadInput(f"Invalid prompt source: '{text[:120]}'. Prompt sources must use an MLflow placeholder.")
        return Source(text)
    if text.startswith("models:/") and sources.parse(text) is None:
        return _of_version(call, db, project_id, text)
    found = sources.resolve(db, call.who, project_id, text, run, model)
    if (found.owner and found.run and run and found.run != run) or (
        found.logged_model and model and found.logged_model != model
    ):
        raise BadInput(
            f"Invalid model version source: '{text[:120]}'. The run_id and model_id request parameters must identify the"
            " resource that contains the source."
        )
    if found.logged_model and not run:
        run = logged.get(db, call.who, found.logged_model).source_run
    return Source(text, found.owner, found.path, run or found.run, model or found.logged_model)


def _of_version(call: Call, db: Session, project_id: str, text: str) -> Source:
    """`models:/name/3` or `models:/name@alias`: a copy of another version."""
    ref = text.removeprefix("models:/")
    name, at, alias = ref.partition("@")
    if at:
        found = service.by_alias(db, call.who, project_id, name, alias)
    else:
        name, _, number = ref.rpartition("/")
        found = service.seen(db, [service.version(db, call.who, project_id, name, number)])[0]
    return Source(f"models:/{found.name}/{found.number}", found.id, "", found.run_id, found.logged_model_id)


def _row(call: Call, db: Session, verb: str = "view") -> ModelVersion:
    return service.version(
        db,
        call.who,
        call.project(db),
        call.values.get("name"),
        call.values.get("version") or call.text("version"),
        verb,
    )


def _model_of(db: Session, row: ModelVersion) -> RegisteredModel:
    found = db.get(RegisteredModel, row.model_id)
    assert found is not None
    return found


@endpoint("GET", "model-versions/get", mode="read")
def get_version(call: Call, db: Session) -> dict[str, Any]:
    return {"model_version": _versions(db, [_row(call, db)])[0]}


@endpoint("PATCH", "model-versions/update")
def update_version(call: Call, db: Session) -> dict[str, Any]:
    row = service.describe(
        db, call.who, call.project(db), call.values.get("name"), call.text("version"), call.values.get("description")
    )
    return {"model_version": _versions(db, [row])[0]}


@endpoint("POST", "model-versions/transition-stage")
def transition(call: Call, db: Session) -> dict[str, Any]:
    row = service.move(
        db, call.who, call.project(db), call.values.get("name"), call.text("version"), call.text("stage"),
        archive=call.boolean("archive_existing_versions"),
    )  # fmt: skip
    return {"model_version": _versions(db, [row])[0]}


@endpoint("DELETE", "model-versions/delete")
def delete_version(call: Call, db: Session) -> None:
    service.delete_version(db, call.who, call.project(db), call.values.get("name"), call.text("version"))


@endpoint("GET", "model-versions/search", mode="read")
def search_versions(call: Call, db: Session) -> dict[str, Any]:
    rows, token = find.versions(
        db, call.who, call.project(db), call.text("filter", required=False), call.strings("order_by"),
        call.integer("max_results", 10_000, least=1, most=200_000), call.text("page_token", required=False),
    )  # fmt: skip
    return shapes.filled(model_versions=_versions(db, rows), next_page_token=token)


@endpoint("GET", "model-versions/get-download-uri", mode="read")
def download_uri(call: Call, db: Session) -> dict[str, Any]:
    """The version's own copy, which never changes; where it has no files, what it was registered with."""
    row = _row(call, db)
    if artifacts.used(db, row.uuid):
        return {"artifact_uri": f"mlflow-artifacts:/versions/{row.uuid}/artifacts"}
    return {"artifact_uri": _origin(call, db, row)}


def _origin(call: Call, db: Session, row: ModelVersion) -> str:
    """What a version was registered with; of a copy, what the first one was."""
    for _ in range(32):
        name, _, number = row.source.removeprefix("models:/").rpartition("/")
        if not row.source.startswith("models:/") or not number.isdigit() or not name:
            break
        try:
            row = service.version(db, call.who, row.project_id, name, number)
        except NotFound:  # deleted since
            break
    return row.source


@endpoint("POST", "model-versions/set-tag")
def set_version_tag(call: Call, db: Session) -> None:
    row = _row(call, db, "edit")
    service.set_version_tag(db, row, call.text("key"), call.values.get("value"))
    news.tag_changed(db, _model_of(db, row), call.text("key"), call.text("value", required=False), row.number)


@endpoint("DELETE", "model-versions/delete-tag")
def delete_version_tag(call: Call, db: Session) -> None:
    row = _row(call, db, "edit")
    key = limits.key(call.text("key"))
    db.execute(delete(ModelVersionTag).where(ModelVersionTag.version_id == row.id, ModelVersionTag.key == key))
    row.updated_at = now_ms()
    news.tag_changed(db, _model_of(db, row), key, None, row.number)
    db.flush()
