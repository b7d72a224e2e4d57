"""What webhooks hear of the registry. MLflow keeps prompts among the models, and its events tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from headway.models import webhooks
from headway.models.tables import ModelVersion, RegisteredModel

TEXT_TAG = "mlflow.prompt.text"


def _tell(db: Session, row: RegisteredModel, kind: str, action: str, **data: Any) -> None:
    model = {"model": "registered_model", "version": "model_version", "version_tag": "model_version_tag",
             "alias": "model_version_alias"}  # fmt: skip
    prompt = {"model": "prompt", "version": "prompt_version", "tag": "prompt_tag", "version_tag": "prompt_version_tag",
              "alias": "prompt_alias"}  # fmt: skip
    entity = (prompt if row.is_prompt else model).get(kind)
    if entity is not None:  # nobody is told of a tag of a model
        webhooks.announce(db, row.project_id, entity, action, {"name": row.name} | data)


def model_made(db: Session, row: RegisteredModel, tags: Mapping[str, str]) -> None:
    """A model, or a prompt, was made."""
    _tell(db, row, "model", "created", tags=dict(tags), description=row.description or None)


def version_made(db: Session, row: RegisteredModel, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """A version was made."""
    data: dict[str, Any] = {"version": str(version.number)}
    if row.is_prompt:
        data["template"] = tags.get(TEXT_TAG, "")
    else:
        data |= {"source": version.source, "run_id": version.run_uuid or None}
    _tell(db, row, "version", "created", **data, tags=dict(tags), description=version.description or None)


def alias_set(db: Session, row: RegisteredModel, alias: str, number: int) -> None:
    """An alias stands for a version now."""
    _tell(db, row, "alias", "created", alias=alias, version=str(number))


def alias_gone(db: Session, row: RegisteredModel, alias: str) -> None:
    """An alias was taken away."""
    _tell(db, row, "alias", "deleted", alias=alias)


def tag_changed(db: Session, row: RegisteredModel, key: str, value: str | None, number: int | None = None) -> None:
    """A tag was set, or removed (no value): of the model, or of its version with this number."""
    data: dict[str, Any] = {} if number is None else {"version": str(number)}
    data |= {"key": key} if value is None else {"key": key, "value": value}
    _tell(db, row, "tag" if number is None else "version_tag", "deleted" if value is None else "set", **data)
