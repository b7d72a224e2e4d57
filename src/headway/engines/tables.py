"""Rows of engines: the processes that are wanted, and how each of them is."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base


class Process(Base):
    """One process: `wanted` is `running` or `stopped`; `state` is what the engine said last, `wanted` before it was asked.

    `attempt` counts restarts (each has a key and a folder of its own), `failures` those in a row, `retry_at` is the time of
    the next. `node` is the machine whose engine has it. `version` fences writes: who read an older one changes nothing.
    """

    __tablename__ = "processes"
    __table_args__ = (Index("ix_processes_owner", "kind", "owner_id"), Index("ix_processes_live", "node", "settled"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[str] = mapped_column(String(64))
    project_id: Mapped[str | None] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(200), unique=True)
    spec: Mapped[str] = mapped_column(Text)
    node: Mapped[str] = mapped_column(String(100))
    handle: Mapped[str] = mapped_column(String(500), default="")
    wanted: Mapped[str] = mapped_column(String(8), default="running")
    state: Mapped[str] = mapped_column(String(8), default="wanted")
    cause: Mapped[str] = mapped_column(String(16), default="")
    exit_code: Mapped[int | None] = mapped_column(Integer)
    signal: Mapped[int | None] = mapped_column(Integer)
    detail: Mapped[str] = mapped_column(Text, default="")
    memory_kills: Mapped[int] = mapped_column(Integer, default=0)
    peak_memory_mb: Mapped[float | None]
    settled: Mapped[bool] = mapped_column(default=False)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
