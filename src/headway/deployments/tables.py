"""Rows of deployments: endpoints, their revisions, their keys. Replicas and proofs are rows of `processes`."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from headway.storage.database import Base


class Endpoint(Base):
    """A stable name and address in a project. `removed_at` is set until its processes are gone; then the row goes too."""

    __tablename__ = "endpoints"
    __table_args__ = (UniqueConstraint("project_id", "name", "removed_at", name="uq_endpoints_name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32), index=True)
    slug: Mapped[str] = mapped_column(String(64))  # the project's, as it stands in the address
    name: Mapped[str] = mapped_column(String(64))
    public: Mapped[bool] = mapped_column(default=False)
    log: Mapped[bool] = mapped_column(default=True)
    timeout_s: Mapped[int] = mapped_column(Integer, default=30)
    created_by: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[int] = mapped_column(BigInteger)
    removed_at: Mapped[int] = mapped_column(BigInteger, default=0)
    revisions: Mapped[list[Revision]] = relationship(order_by="Revision.number.desc()", back_populates="endpoint")


class Revision(Base):
    """One version in one environment with its settings: never changed, only its state and its share of traffic are.

    `intent` is the share it takes once it is live, `weight` the share it has (hundredths of a percent). `bundle` is the
    prepared folder, `verdict` the proof's JSON, `reason` and `hint` say why it failed. Times are epoch milliseconds.
    """

    __tablename__ = "revisions"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "number", name="uq_revisions_number"),
        Index("ix_revisions_state", "state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"))
    number: Mapped[int] = mapped_column(Integer)
    version_id: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(256))
    version: Mapped[str] = mapped_column(String(32))
    run_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16), default="asked")
    reason: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(Text, default="")
    failed_in: Mapped[str] = mapped_column(String(16), default="")  # the state that it did not get out of
    weight: Mapped[int] = mapped_column(Integer, default=0)
    intent: Mapped[int] = mapped_column(Integer)
    replicas: Mapped[int] = mapped_column(Integer, default=1)
    memory_mb: Mapped[int | None] = mapped_column(Integer)
    pure: Mapped[bool] = mapped_column(default=True)
    environment_id: Mapped[str | None] = mapped_column(String(32))
    verdict: Mapped[str] = mapped_column(Text, default="")
    summary: Mapped[str] = mapped_column(Text, default="{}")  # class, library, signature and example, for pages
    created_by: Mapped[str] = mapped_column(String(32))
    created_name: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[int] = mapped_column(BigInteger)
    began_at: Mapped[int | None] = mapped_column(BigInteger)  # when the present state began
    live_at: Mapped[int | None] = mapped_column(BigInteger)
    promoted_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    endpoint: Mapped[Endpoint] = relationship(back_populates="revisions")


class EndpointKey(Base):
    """An API key of one endpoint, known by its hash; its secret was shown once."""

    __tablename__ = "endpoint_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(8))
    created_by: Mapped[str] = mapped_column(String(32))
    created_name: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
