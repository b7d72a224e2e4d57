"""Rows of environments: what was asked for and what became of it; and which one each project uses."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from headway.errors import Conflict
from headway.storage.database import Base


class Environment(Base):
    """One ask. Several may end in the same folder (`hash`): the same lock is built once.

    `asked` is the text as it came; `requirements` and `notes` are JSON; `lock` has one `name==version` a line. `folder` is
    the absolute path of the built environment. Times are milliseconds since the epoch. States: see `states.py`.
    """

    __tablename__ = "environments"
    __table_args__ = (
        Index("ix_environments_project", "project_id", "created_at"),
        Index("ix_environments_hash", "hash"),
        Index("ix_environments_state", "state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(16))
    asked: Mapped[str] = mapped_column(Text)
    requirements: Mapped[str] = mapped_column(Text)
    hashes: Mapped[str] = mapped_column(Text, default="{}")
    python_asked: Mapped[str] = mapped_column(String(120), default="")
    from_source: Mapped[bool] = mapped_column(default=False)
    kernel: Mapped[bool] = mapped_column(default=True)
    notes: Mapped[str] = mapped_column(Text, default="[]")
    state: Mapped[str] = mapped_column(String(12), default="asked")
    process_id: Mapped[str | None] = mapped_column(String(32))
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    hash: Mapped[str] = mapped_column(String(32), default="")
    lock: Mapped[str] = mapped_column(Text, default="")
    folder: Mapped[str] = mapped_column(Text, default="")
    python_version: Mapped[str] = mapped_column(String(32), default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    packages: Mapped[int] = mapped_column(Integer, default=0)
    reused: Mapped[bool] = mapped_column(default=False)
    message: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)

    @property
    def ready(self) -> bool:
        """Whether it can be used."""
        return self.state == "ready"

    @property
    def path(self) -> Path:
        """Its folder. Raises `Conflict` while there is none."""
        if not self.ready:
            raise Conflict(f"The environment is {self.state}, not ready.", hint="Its page shows how far it is.")
        return Path(self.folder)

    @property
    def python(self) -> Path:
        """Its interpreter. Raises `Conflict` while there is none."""
        return self.path / "bin" / "python"


class ProjectEnvironment(Base):
    """A project's choice: `current_id` is in use, `wanted_id` takes its place as soon as it is ready."""

    __tablename__ = "project_environments"

    project_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    current_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("environments.id"))
    wanted_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("environments.id"))
