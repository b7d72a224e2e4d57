"""Rows of projects. Times are milliseconds since the epoch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Integer, String, true
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base


class Project(Base):
    """A project. Its slug is its folder's name and part of its addresses, and never changes.

    `keep_deleted_days`: a run that was deleted can be restored for so long. `records`: whether experiments are recorded by
    themselves; without it only what code logs by its own calls is.
    """

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    slug: Mapped[str] = mapped_column(String(48), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    description: Mapped[str] = mapped_column(String(1000), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(String(32))
    archived_at: Mapped[int | None] = mapped_column(BigInteger)
    keep_deleted_days: Mapped[int] = mapped_column(Integer, default=30, server_default="30")
    records: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
