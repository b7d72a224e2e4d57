"""Rows of the registry. The files of a version are rows of tracking's `artifacts`, owned by the version's id."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base

Id = BigInteger().with_variant(Integer, "sqlite")
CASCADE: dict[str, Any] = {"ondelete": "CASCADE"}


class RegisteredModel(Base):
    """A model by its name, unique in its project. `is_prompt`: MLflow keeps prompts among the models."""

    __tablename__ = "registered_models"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(256))
    description: Mapped[str] = mapped_column(Text, default="")
    is_prompt: Mapped[bool] = mapped_column(default=False)
    last_number: Mapped[int] = mapped_column(
        Integer, default=0, server_default="0"
    )  # a deleted version's is not used again
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class RegisteredModelTag(Base):
    __tablename__ = "registered_model_tags"

    model_id: Mapped[int] = mapped_column(ForeignKey("registered_models.id", **CASCADE), primary_key=True)
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ModelVersion(Base):
    """A version. `uuid` ("v-...") owns its files; `run_uuid` and `logged_model` say where it came from."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("ix_model_versions_logged_model", "logged_model"),
        Index("ix_model_versions_run_uuid", "run_uuid"),
        Index("ix_model_versions_project_id", "project_id", "updated_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(34), unique=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("registered_models.id", **CASCADE))
    project_id: Mapped[str] = mapped_column(String(32))
    number: Mapped[int] = mapped_column(Integer)
    stage: Mapped[str] = mapped_column(String(12), default="None")
    description: Mapped[str] = mapped_column(Text, default="")
    user_name: Mapped[str] = mapped_column(String(256), default="")
    source: Mapped[str] = mapped_column(String(1000), default="")
    run_uuid: Mapped[str] = mapped_column(String(64), default="")
    logged_model: Mapped[str] = mapped_column(String(64), default="")
    run_link: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class ModelVersionTag(Base):
    __tablename__ = "model_version_tags"

    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id", **CASCADE), primary_key=True)
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Alias(Base):
    """A word that stands for one version of a model: champion, candidate..."""

    __tablename__ = "model_aliases"

    model_id: Mapped[int] = mapped_column(ForeignKey("registered_models.id", **CASCADE), primary_key=True)
    alias: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)


class Webhook(Base):
    """An address that wants to hear of the registry. `events` is JSON ("registered_model.created"...); the secret is sealed."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_list", "project_id", "created_at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(256))
    url: Mapped[str] = mapped_column(String(500))
    description: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(10), default="ACTIVE")
    events: Mapped[str] = mapped_column(Text)
    secret: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class WebhookDelivery(Base):
    """One message to one webhook: waiting until `next_at` (ms), or given up (`failed`). What arrived is deleted."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_due", "state", "next_at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", **CASCADE))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8), default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[int] = mapped_column(BigInteger)
    problem: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
