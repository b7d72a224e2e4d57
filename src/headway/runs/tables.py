"""Rows of runs: executions, schedules, and the fires of schedules. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base

ID = String(32)


class Execution(Base):
    """One notebook or script on its way; `run_id` is the tracking run's id. States: see `states.py`.

    `node` is the machine and home that has its folder, from the moment its files are copied (`prepared_at`). `params`,
    `limits`, `error` and `linked` are JSON. `source` is the folder that was sent with it ("": the project's).
    `waits_for` says in words why a queued one does not start yet.
    """

    __tablename__ = "executions"
    __table_args__ = (
        Index("ix_executions_project", "project_id", "created_at"),
        Index("ix_executions_live", "status", "created_at"),
        Index("ix_executions_schedule", "schedule_id", "created_at"),
    )

    run_id: Mapped[str] = mapped_column(ID, primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    path: Mapped[str] = mapped_column(String(1024))
    kind: Mapped[str] = mapped_column(String(8))
    source: Mapped[str] = mapped_column(String(64), default="")
    params: Mapped[str] = mapped_column(Text, default="{}")
    limits: Mapped[str] = mapped_column(Text, default="{}")
    environment_id: Mapped[str | None] = mapped_column(ID)
    status: Mapped[str] = mapped_column(String(16), default="queued")
    cause: Mapped[str] = mapped_column(Text, default="")
    waits_for: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="{}")
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    node: Mapped[str] = mapped_column(String(160), default="")
    process_id: Mapped[str | None] = mapped_column(ID)
    drain_id: Mapped[str | None] = mapped_column(ID)
    schedule_id: Mapped[str | None] = mapped_column(ID)
    rerun_of: Mapped[str | None] = mapped_column(ID)
    linked: Mapped[str] = mapped_column(Text, default="[]")
    peak_memory_mb: Mapped[float | None]
    created_by: Mapped[str] = mapped_column(ID)
    created_at: Mapped[int] = mapped_column(BigInteger)
    prepared_at: Mapped[int | None] = mapped_column(BigInteger)
    cancelled_at: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters as they were given, typed."""
        found: dict[str, Any] = json.loads(self.params)
        return found

    @property
    def over(self) -> bool:
        """Whether it has ended, however it did."""
        return self.status not in ("queued", "running")


class Schedule(Base):
    """When to submit what. `next_at` is the next fire; None while it is paused. `cron` has five fields, in the zone's time."""

    __tablename__ = "schedules"
    __table_args__ = (Index("ix_schedules_project", "project_id"), Index("ix_schedules_due", "next_at"))

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    name: Mapped[str] = mapped_column(String(120))
    path: Mapped[str] = mapped_column(String(1024))
    params: Mapped[str] = mapped_column(Text, default="{}")
    limits: Mapped[str] = mapped_column(Text, default="{}")
    cron: Mapped[str] = mapped_column(String(120))
    zone: Mapped[str] = mapped_column(String(64))
    next_at: Mapped[int | None] = mapped_column(BigInteger)
    paused_at: Mapped[int | None] = mapped_column(BigInteger)
    trouble: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(ID)
    created_at: Mapped[int] = mapped_column(BigInteger)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of its runs, typed."""
        found: dict[str, Any] = json.loads(self.params)
        return found


class Fire(Base):
    """One time at which a schedule was due. The key makes it happen once, however many servers look at the clock."""

    __tablename__ = "schedule_fires"

    schedule_id: Mapped[str] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True)
    due_at: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    fired_at: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[str | None] = mapped_column(ID)
    outcome: Mapped[str] = mapped_column(Text, default="")
