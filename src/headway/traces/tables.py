"""Rows of traces. Spans hold their attributes and events as JSON text, which searches look into."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from headway.storage.database import Base

Id = BigInteger().with_variant(Integer, "sqlite")
CASCADE: dict[str, Any] = {"ondelete": "CASCADE"}


def _trace_key() -> Mapped[int]:
    return mapped_column(ForeignKey("traces.id", **CASCADE), primary_key=True)


class Trace(Base):
    """One trace. `uuid` ("tr-...") is the id that clients see. `status`: IN_PROGRESS, OK, ERROR or STATE_UNSPECIFIED.

    `finalized`: the client has told the whole (`start_trace`), so spans that come later change no times. Times are ms.
    """

    __tablename__ = "traces"
    __table_args__ = (
        Index("ix_traces_list", "experiment_id", text("started_at DESC"), "uuid"),
        Index("ix_traces_project", "project_id", text("started_at DESC"), "uuid"),
        Index("ix_traces_session", "experiment_id", "session"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(100), unique=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE))
    project_id: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    client_request_id: Mapped[str | None] = mapped_column(String(500))
    request_preview: Mapped[str | None] = mapped_column(Text)
    response_preview: Mapped[str | None] = mapped_column(Text)
    session: Mapped[str | None] = mapped_column(String(250))
    finalized: Mapped[bool] = mapped_column(Boolean, default=False)


class TraceTag(Base):
    """A tag, which may change. The trace's name is one (`mlflow.traceName`)."""

    __tablename__ = "trace_tags"
    __table_args__ = (Index("ix_trace_tags_find", "key", text("substr(value, 1, 200)"), "trace_id"),)

    trace_id: Mapped[int] = _trace_key()
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class TraceMetadata(Base):
    """What never changes: the run and the model it came from, tokens, cost, session, user."""

    __tablename__ = "trace_metadata"
    __table_args__ = (Index("ix_trace_metadata_find", "key", text("substr(value, 1, 200)"), "trace_id"),)

    trace_id: Mapped[int] = _trace_key()
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class TraceRun(Base):
    """A trace that was linked to a run, as evaluations do; perhaps before it came, as clients send traces in the background."""

    __tablename__ = "trace_links"
    __table_args__ = (Index("ix_trace_links_run", "run_uuid", "trace_uuid"),)

    trace_uuid: Mapped[str] = mapped_column(String(100), primary_key=True)
    run_uuid: Mapped[str] = mapped_column(String(64), primary_key=True)


class Span(Base):
    """One step. `content` is JSON: attributes, events, links, message. Times are nanoseconds; `end_ns` is null while it runs."""

    __tablename__ = "trace_spans"
    __table_args__ = (Index("ix_trace_spans_start", "trace_id", "start_ns"),)

    trace_id: Mapped[int] = _trace_key()
    span_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    parent_id: Mapped[str] = mapped_column(String(16), default="")
    otel_trace: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(100), default="UNKNOWN")
    status: Mapped[str] = mapped_column(String(8), default="UNSET")
    start_ns: Mapped[int] = mapped_column(BigInteger)
    end_ns: Mapped[int | None] = mapped_column(BigInteger)
    model: Mapped[str | None] = mapped_column(String(500))
    provider: Mapped[str | None] = mapped_column(String(200))
    input_cost: Mapped[float | None] = mapped_column(Float(53))
    output_cost: Mapped[float | None] = mapped_column(Float(53))
    total_cost: Mapped[float | None] = mapped_column(Float(53))
    content: Mapped[str] = mapped_column(Text)


class Assessment(Base):
    """A judgement of a trace or a span. `kind`: feedback, expectation or issue; `value` and `error` are JSON.

    One that was overridden by another is not `valid`. `number` is the value for averages: booleans and yes/no are 1 and 0.
    """

    __tablename__ = "trace_assessments"
    __table_args__ = (Index("ix_trace_assessments_name", "trace_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(50), unique=True)
    trace_id: Mapped[int] = mapped_column(ForeignKey("traces.id", **CASCADE))
    name: Mapped[str] = mapped_column(String(250))
    kind: Mapped[str] = mapped_column(String(12))
    value: Mapped[str] = mapped_column(Text)
    number: Mapped[float | None] = mapped_column(Float(53))
    error: Mapped[str | None] = mapped_column(Text)
    source_type: Mapped[str] = mapped_column(String(50), default="")
    source_id: Mapped[str | None] = mapped_column(String(250))
    span_id: Mapped[str | None] = mapped_column(String(50))
    rationale: Mapped[str | None] = mapped_column(Text)
    details: Mapped[str] = mapped_column(Text, default="{}")
    overrides: Mapped[str | None] = mapped_column(String(50))
    valid: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class EvalDataset(Base):
    """Records that evaluations are run on. `tags` and `profile` are JSON; `digest` changes with the records."""

    __tablename__ = "eval_datasets"
    __table_args__ = (Index("ix_eval_datasets_list", "project_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(34), unique=True)
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(255))
    tags: Mapped[str] = mapped_column(Text, default="{}")
    schema: Mapped[str] = mapped_column(Text, default="")
    profile: Mapped[str] = mapped_column(Text, default="")
    digest: Mapped[str] = mapped_column(String(64), default="")
    created_by: Mapped[str] = mapped_column(String(255), default="")
    updated_by: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class EvalDatasetExperiment(Base):
    """A dataset belongs to an experiment, perhaps to several."""

    __tablename__ = "eval_dataset_experiments"
    __table_args__ = (Index("ix_eval_dataset_experiments_experiment", "experiment_id"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("eval_datasets.id", **CASCADE), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE), primary_key=True)


class EvalRecord(Base):
    """One record; its inputs (by `inputs_hash`) are there once in a dataset. JSON all of it."""

    __tablename__ = "eval_records"
    __table_args__ = (
        UniqueConstraint("dataset_id", "inputs_hash"),
        Index("ix_eval_records_list", "dataset_id", "created_at", "uuid"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("eval_datasets.id", **CASCADE))
    inputs: Mapped[str] = mapped_column(Text)
    inputs_hash: Mapped[str] = mapped_column(String(64))
    outputs: Mapped[str | None] = mapped_column(Text)
    expectations: Mapped[str] = mapped_column(Text, default="{}")
    tags: Mapped[str] = mapped_column(Text, default="{}")
    source: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255), default="")
    updated_by: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class Issue(Base):
    """Something that traces of an experiment have in common and that should be mended. Lists are JSON."""

    __tablename__ = "trace_issues"
    __table_args__ = (Index("ix_trace_issues_list", "experiment_id", "created_at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE))
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(250))
    description: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(20))
    severity: Mapped[str | None] = mapped_column(String(20))
    root_causes: Mapped[str] = mapped_column(Text, default="[]")
    categories: Mapped[str] = mapped_column(Text, default="[]")
    source_run: Mapped[str] = mapped_column(String(64), default="")
    created_by: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class Scorer(Base):
    """A judge of traces that is registered in an experiment by its name; `uuid` is the id that clients see."""

    __tablename__ = "scorers"
    __table_args__ = (UniqueConstraint("experiment_id", "name"), Index("ix_scorers_project", "project_id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", **CASCADE))
    project_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(256))


class ScorerVersion(Base):
    """What a client registered, as it wrote it (JSON)."""

    __tablename__ = "scorer_versions"

    scorer_id: Mapped[int] = mapped_column(ForeignKey("scorers.id", **CASCADE), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
