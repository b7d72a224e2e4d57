"""Rows of tracking. Inside, everything is joined by small integers; ids that clients see are kept beside them.

A series is rows of `series_chunks` (columns of step, time and value, compressed) with its summary in `summaries`, by which runs
are filtered and sorted. Names of parameters, metrics and tags are in `keys` once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base

# SQLite numbers a row by itself only where the type is exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
HEAD = 200  # characters of a value that PostgreSQL's index holds; it limits an entry to 2.7 kB
CASCADE: dict[str, Any] = {"ondelete": "CASCADE"}


class Head(ColumnElement[str]):
    """What an index holds of a text: its first characters. SQLite, which knows no limit, holds it whole: then LIKE is answered
    by the index alone (measured at 100,000 runs: 8 ms instead of 75)."""

    inherit_cache = True
    type = Text()

    def __init__(self, column: str) -> None:
        self.column = column


@compiles(Head)
def _head(element: Head, _compiler: Any, **_: Any) -> str:
    return f"substr({element.column}, 1, {HEAD})"


@compiles(Head, "sqlite")
def _whole(element: Head, _compiler: Any, **_: Any) -> str:
    return element.column


def _run_key(**options: Any) -> Mapped[int]:
    return mapped_column(ForeignKey("runs.id", **CASCADE), primary_key=True, **options)


class Experiment(Base):
    """What a notebook or script is for. `lifecycle`: active or deleted."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(500))
    artifact_location: Mapped[str] = mapped_column(String(500), default="")
    lifecycle: Mapped[str] = mapped_column(String(10), default="active")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class ExperimentTag(Base):
    __tablename__ = "experiment_tags"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE), primary_key=True)
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Run(Base):
    """One execution. `uuid` is the id that clients see; `version` grows with every change, and caches go by it.

    `status` is MLflow's word (RUNNING, SCHEDULED, FINISHED, FAILED, KILLED); `cause` says more where the platform knows more
    (cancelled, timed_out, out_of_memory, killed, lost). Times are milliseconds.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_list", "experiment_id", "lifecycle", text("start_time DESC"), "uuid", "parent_uuid"),
        Index("ix_runs_project", "project_id", "lifecycle", text("start_time DESC"), "uuid"),
        Index("ix_runs_parent", "parent_uuid"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(64), unique=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"))
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(500), default="")
    user_id: Mapped[str] = mapped_column(String(256), default="")
    status: Mapped[str] = mapped_column(String(16), default="RUNNING")
    cause: Mapped[str] = mapped_column(String(400), default="")
    start_time: Mapped[int | None] = mapped_column(BigInteger)
    end_time: Mapped[int | None] = mapped_column(BigInteger)
    lifecycle: Mapped[str] = mapped_column(String(10), default="active")
    deleted_at: Mapped[int | None] = mapped_column(BigInteger)
    artifact_uri: Mapped[str] = mapped_column(String(700), default="")
    parent_uuid: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(BigInteger, default=0)


class Key(Base):
    """The name of a parameter, a metric or a tag."""

    __tablename__ = "keys"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(250), unique=True)


class Param(Base):
    __tablename__ = "params"
    __table_args__ = (Index("ix_params_find", "experiment_id", "key_id", Head("value"), "run_id"),)

    run_id: Mapped[int] = _run_key()
    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[str] = mapped_column(Text)


class Tag(Base):
    __tablename__ = "tags"
    __table_args__ = (Index("ix_tags_find", "experiment_id", "key_id", Head("value"), "run_id"),)

    run_id: Mapped[int] = _run_key()
    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[str] = mapped_column(Text)


class Summary(Base):
    """A series in short. `last` is the value at the highest (step, time, value), 0 where that is NaN; `low` and `high` leave
    NaN out, and are null where all is NaN. `loose` counts chunks that wait for being merged.
    """

    __tablename__ = "summaries"
    __table_args__ = (
        # low and high come along, so that sorts and filters by them read the index alone
        Index("ix_summaries_find", "experiment_id", "key_id", "is_nan", "last", "run_id", "low", "high"),
        Index("ix_summaries_loose", "loose", sqlite_where=text("loose >= 64"), postgresql_where=text("loose >= 64")),
    )

    run_id: Mapped[int] = _run_key()
    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[float] = mapped_column(Float(53))
    is_nan: Mapped[bool] = mapped_column(Boolean)
    step: Mapped[int] = mapped_column(BigInteger)
    time: Mapped[int] = mapped_column(BigInteger)
    low: Mapped[float | None] = mapped_column(Float(53))
    high: Mapped[float | None] = mapped_column(Float(53))
    points: Mapped[int] = mapped_column(BigInteger)
    loose: Mapped[int] = mapped_column(Integer)


class Chunk(Base):
    """Points of one series, as `series.pack` writes them; `sketch` holds every 64th point and the extremes between."""

    __tablename__ = "series_chunks"
    __table_args__ = (Index("ix_series_chunks_find", "run_id", "key_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", **CASCADE))
    key_id: Mapped[int] = mapped_column(BigInteger)
    points: Mapped[int] = mapped_column(Integer)
    step_low: Mapped[int] = mapped_column(BigInteger)
    step_high: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    sketch: Mapped[bytes | None] = mapped_column(LargeBinary)


class PointBatch(Base):
    """The idempotency key (its SHA-256) of points that a run has; kept for a day."""

    __tablename__ = "point_batches"
    __table_args__ = (Index("ix_point_batches_stored_at", "stored_at"),)

    run_id: Mapped[int] = _run_key()
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    stored_at: Mapped[int] = mapped_column(BigInteger)


class Dataset(Base):
    """Data that runs of an experiment read."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("experiment_id", "name", "digest"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE))
    name: Mapped[str] = mapped_column(String(500))
    digest: Mapped[str] = mapped_column(String(64))
    source_type: Mapped[str] = mapped_column(String(64), default="")
    source: Mapped[str] = mapped_column(Text, default="")
    schema: Mapped[str] = mapped_column(Text, default="")
    profile: Mapped[str] = mapped_column(Text, default="")


class Input(Base):
    """A run read a dataset; `tags` is JSON, `context` the one that searches ask for."""

    __tablename__ = "run_inputs"
    __table_args__ = (Index("ix_run_inputs_dataset_id", "dataset_id"),)

    run_id: Mapped[int] = _run_key()
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", **CASCADE), primary_key=True)
    context: Mapped[str] = mapped_column(String(500), default="")
    tags: Mapped[str] = mapped_column(Text, default="{}")


class RunModel(Base):
    """A run read (`input`) or made (`output`) a logged model."""

    __tablename__ = "run_models"
    __table_args__ = (Index("ix_run_models_model_uuid", "model_uuid"),)

    run_id: Mapped[int] = _run_key()
    model_uuid: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(6), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, default=0)


class LoggedModel(Base):
    """A model that a run left, before anybody registers it. `status`: PENDING, READY, UPLOAD_FAILED."""

    __tablename__ = "logged_models"
    __table_args__ = (Index("ix_logged_models_list", "experiment_id", "lifecycle", text("created_at DESC"), "uuid"),
                      Index("ix_logged_models_source_run", "source_run"))  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(64), unique=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"))
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(500))
    model_type: Mapped[str] = mapped_column(String(500), default="")
    status: Mapped[str] = mapped_column(String(16), default="PENDING")
    source_run: Mapped[str] = mapped_column(String(64), default="")
    artifact_uri: Mapped[str] = mapped_column(String(700), default="")
    lifecycle: Mapped[str] = mapped_column(String(10), default="active")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class LoggedModelParam(Base):
    __tablename__ = "logged_model_params"

    model_id: Mapped[int] = mapped_column(ForeignKey("logged_models.id", **CASCADE), primary_key=True)
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class LoggedModelTag(Base):
    __tablename__ = "logged_model_tags"

    model_id: Mapped[int] = mapped_column(ForeignKey("logged_models.id", **CASCADE), primary_key=True)
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class LoggedModelMetric(Base):
    """A metric that a run logged for this model, perhaps on a dataset."""

    __tablename__ = "logged_model_metrics"
    __table_args__ = (Index("ix_logged_model_metrics_find", "model_id", "key"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("logged_models.id", **CASCADE))
    run_uuid: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(250))
    value: Mapped[float] = mapped_column(Float(53))
    is_nan: Mapped[bool] = mapped_column(Boolean, default=False)
    time: Mapped[int] = mapped_column(BigInteger)
    step: Mapped[int] = mapped_column(BigInteger)
    dataset_name: Mapped[str] = mapped_column(String(500), default="")
    dataset_digest: Mapped[str] = mapped_column(String(64), default="")


class Artifact(Base):
    """A file of a run or of a logged model (`owner`: its uuid). The bytes are a blob, held as `artifact:<owner>/<path>`."""

    __tablename__ = "artifacts"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    path: Mapped[str] = mapped_column(String(1000), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    stored_at: Mapped[int] = mapped_column(BigInteger)


class RunView(Base):
    """A saved state of the runs explorer (`query`: as in the page's address), its maker's own or the project's."""

    __tablename__ = "run_views"
    __table_args__ = (Index("ix_run_views_project", "project_id", "user_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(32))
    user_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(80))
    query: Mapped[str] = mapped_column(Text)
    shared: Mapped[bool] = mapped_column(Boolean)
    is_default: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
