"""Rows of workspaces: a project's Jupyter server, as it is wanted."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base


class Workspace(Base):
    """One a project. `process_id` is the keeper's; `opened_by` the person as whom its kernels record runs.

    `used_at` (ms) is when a browser last asked it for something, kept to the minute. `recording`: its kernels' token works.
    """

    __tablename__ = "workspaces"

    project_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    process_id: Mapped[str | None] = mapped_column(String(32))
    opened_by: Mapped[str] = mapped_column(String(32))
    opened_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int] = mapped_column(BigInteger)
    recording: Mapped[bool] = mapped_column(Boolean, default=True)
