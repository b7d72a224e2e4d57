"""Logged models: what runs leave, before anybody registers it. Made, filled, finalised, searched, deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, delete, literal, or_, select
from sqlalchemy.orm import Session, aliased

from headway.clock import new_id, now_ms
from headway.errors import BadInput, NotFound
from headway.people import guard
from headway.people.rules import Who
from headway.storage import direct
from headway.storage.direct import Direct, Sql
from headway.tracking import experiments, limits, naming
from headway.tracking.find.conditions import compare
from headway.tracking.find.search import LOGGED_MODELS, Clause, parse_filter
from headway.tracking.store import locations
from headway.tracking.store.record import Metric, Touched
from headway.tracking.tables import Experiment, LoggedModel, LoggedModelMetric, LoggedModelParam, LoggedModelTag, Run
from headway.web.paging import cursor, uncursor

STATUSES = ("UNSPECIFIED", "PENDING", "READY", "UPLOAD_FAILED")
_IDS = "SELECT uuid, id FROM logged_models WHERE project_id = ? AND uuid IN"
_METRIC = Sql(
    "INSERT INTO logged_model_metrics (model_id, run_uuid, key, value, is_nan, time, step, dataset_name, dataset_digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_HAS: Any = literal(0)  # the rank of a sort key that is never missing
_ATTRIBUTES = {
    "name": LoggedModel.name,
    "model_id": LoggedModel.uuid,
    "model_type": LoggedModel.model_type,
    "status": LoggedModel.status,
    "source_run_id": LoggedModel.source_run,
    "creation_timestamp": LoggedModel.created_at,
    "last_updated_timestamp": LoggedModel.updated_at,
}


@dataclass
class ModelFacts:
    """A logged model with what was recorded about it."""

    row: LoggedModel
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[LoggedModelMetric] = field(default_factory=list)


@dataclass(frozen=True)
class Sort:
    """One key of an order; a metric may be asked as measured on one dataset."""

    field: str
    ascending: bool = True
    dataset: str = ""
    digest: str = ""


def no_model(uuid: object) -> NotFound:
    """The answer for a model that isn't there, or isn't yours to see."""
    return NotFound(f"Logged model with ID '{str(uuid)[:80]}' not found.")


def create(
    db: Session, who: Who, experiment_id: Any, *, name: str = "", model_type: str = "", source_run: str = "",
    params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None,
) -> LoggedModel:  # fmt: skip
    """A new model, still without files, status PENDING."""
    experiment = experiments.get(db, who, experiment_id, "run")
    if experiment.lifecycle != "active":
        raise BadInput(f"The experiment {experiment.id} must be in the 'active' state.")
    moment, uuid = now_ms(), f"m-{new_id()}"
    name = _check_name(name) if name else naming.name_for(uuid)
    location = experiment.artifact_location or f"mlflow-artifacts:/{experiment.id}"
    row = LoggedModel(
        uuid=uuid, experiment_id=experiment.id, project_id=experiment.project_id, name=name, model_type=model_type,
        status="PENDING", source_run=source_run, lifecycle="active",
        artifact_uri=locations.below(location, "models", uuid, "artifacts"), created_at=moment, updated_at=moment,
    )  # fmt: skip
    db.add(row)
    db.flush()
    _set(db, LoggedModelParam, row.id, params or {})
    _set(db, LoggedModelTag, row.id, tags or {})
    return row


def _check_name(name: str) -> str:
    limits.text(name, "name", limits.RUN_NAME)
    if not name or any(char in name for char in "/:.%\"'"):
        raise BadInput(
            f"Invalid model name ({name[:80]!r}) provided. Model name must be a non-empty string and cannot contain the"
            " following characters: ['/', ':', '.', '%', '\"', \"'\"]",
            field="name",
        )
    return name


def _set(db: Session, table: Any, model_id: int, pairs: Mapping[str, str]) -> None:
    for key, value in pairs.items():
        limits.key(key)
        longest = limits.PARAM_VALUE if table is LoggedModelParam else limits.TAG_VALUE
        db.merge(table(model_id=model_id, key=key, value=limits.text(value, "value", longest)))
    db.flush()


def get(db: Session, who: Who, uuid: Any, verb: str = "view", *, deleted_too: bool = False) -> LoggedModel:
    """A model by its id. Raises `NotFound` unless `who` may see it."""
    row = db.scalar(select(LoggedModel).where(LoggedModel.uuid == str(uuid)))
    if row is not None and row.lifecycle != "active" and not deleted_too:
        row = None
    return guard.visible(db, who, verb, row, lambda: no_model(uuid))


def finalize(db: Session, who: Who, uuid: Any, status: str) -> LoggedModel:
    """Say how the upload ended: READY or UPLOAD_FAILED."""
    if status not in STATUSES:
        raise limits.invalid("status", status)
    row = get(db, who, uuid, "run")
    row.status, row.updated_at = status, now_ms()
    db.flush()
    return row


def remove(db: Session, who: Who, uuid: Any) -> None:
    """Delete a model; its files go when its run is purged."""
    row = get(db, who, uuid, "run")
    row.lifecycle, row.updated_at = "deleted", now_ms()
    db.flush()


def set_tags(db: Session, who: Who, uuid: Any, tags: Mapping[str, str]) -> LoggedModel:
    """Set tags of a model."""
    row = get(db, who, uuid, "run")
    _set(db, LoggedModelTag, row.id, tags)
    row.updated_at = now_ms()
    db.flush()
    return row


def delete_tag(db: Session, who: Who, uuid: Any, key: str) -> None:
    """Remove a tag; `NotFound` if the model lacks it."""
    row = get(db, who, uuid, "run")
    found = db.execute(delete(LoggedModelTag).where(LoggedModelTag.model_id == row.id, LoggedModelTag.key == key))
    if not found.rowcount:  # type: ignore[attr-defined]
        raise NotFound(f"No tag with key {key[:80]!r} found for model with ID {row.uuid!r}.")


def set_params(db: Session, who: Who, uuid: Any, params: Mapping[str, str]) -> None:
    """Add parameters to a model."""
    row = get(db, who, uuid, "run")
    _set(db, LoggedModelParam, row.id, params)


def log_metrics(db: Session | Direct, run: Touched, metrics: Sequence[Metric]) -> None:
    """Keep metrics that were logged for models. Raises `NotFound` for a model of another project."""
    if not metrics:
        return
    driver = direct.of(db)
    ids: dict[str, int] = dict(driver.among(_IDS, sorted({m.model for m in metrics}), run.project_id))
    for m in metrics:
        if m.model not in ids:
            raise no_model(m.model)
    driver.many(
        _METRIC,
        [
            (ids[m.model], run.uuid, m.key, 0.0 if m.value != m.value else m.value, m.value != m.value, m.time, m.step,
             m.dataset, m.digest)
            for m in metrics
        ],
    )  # fmt: skip


def facts(db: Session, rows: Sequence[LoggedModel]) -> list[ModelFacts]:
    """Models with their parameters, tags and latest metrics (one for each key and dataset), in the order of `rows`."""
    found = {row.id: ModelFacts(row) for row in rows}
    ids = list(found)
    for param in db.scalars(select(LoggedModelParam).where(LoggedModelParam.model_id.in_(ids))):
        found[param.model_id].params[param.key] = param.value
    for tag in db.scalars(select(LoggedModelTag).where(LoggedModelTag.model_id.in_(ids))):
        found[tag.model_id].tags[tag.key] = tag.value
    latest: dict[tuple[int, str, str, str], LoggedModelMetric] = {}
    order = (LoggedModelMetric.step, LoggedModelMetric.time, LoggedModelMetric.id)
    for metric in db.scalars(select(LoggedModelMetric).where(LoggedModelMetric.model_id.in_(ids)).order_by(*order)):
        latest[metric.model_id, metric.key, metric.dataset_name, metric.dataset_digest] = metric
    for (model_id, *_), metric in sorted(latest.items(), key=lambda item: item[0]):
        found[model_id].metrics.append(metric)
    return list(found.values())


def of_run(db: Session, run_id: str) -> list[LoggedModel]:
    """The models a run made, newest first. The caller has checked the run."""
    query = select(LoggedModel).where(LoggedModel.source_run == run_id, LoggedModel.lifecycle == "active")
    return list(db.scalars(query.order_by(LoggedModel.created_at.desc(), LoggedModel.id.desc()).limit(200)))


def search(
    db: Session, who: Who, experiment_ids: Sequence[Any], *, filter_: str = "",
    datasets: Sequence[tuple[str, str]] = (), orders: Sequence[Sort] = (), limit: int = 100, token: str | None = None,
) -> tuple[list[ModelFacts], str]:  # fmt: skip
    """Models of experiments that `who` may see; newest first unless ordered otherwise."""
    if not 0 < limit <= 1000:
        raise BadInput("max_results must be between 1 and 1000.", field="max_results")
    numbers = experiments.visible(db, who, experiment_ids)
    clauses = _clauses(filter_)
    where: list[Any] = [LoggedModel.experiment_id.in_(numbers), LoggedModel.lifecycle == "active"]
    where += [_condition(db, clause, datasets) for clause in clauses]
    where += [Experiment.id == LoggedModel.experiment_id, Experiment.lifecycle == "active"]
    if datasets and not any(c.kind == "metric" for c in clauses):
        where.append(LoggedModel.id.in_(select(LoggedModelMetric.model_id).where(_on(datasets))))
    terms = [_term(sort) for sort in orders]
    if not any(sort.field in ("creation_timestamp", "creation_time") for sort in orders):
        terms.append((_HAS, LoggedModel.created_at, False))
    marks = [_mark(numbers), _mark(list(orders)), _mark((filter_, list(datasets)))]
    if token:
        where.append(_beyond(terms, _after(token, marks, 2 * len(terms) + 1)))
    order = [
        part
        for rank, value, up in terms
        for part in ([rank] if rank is not _HAS else []) + [value if up else value.desc()]
    ]
    extra = [rank for rank, _, _ in terms]
    query = select(LoggedModel, *extra, *(value for _, value, _ in terms)).where(*where)
    rows = db.execute(query.order_by(*order, LoggedModel.uuid).limit(limit + 1)).all()
    following = ""
    if len(rows) > limit:
        last = rows[limit - 1]
        n = len(terms)
        place = cursor([*(v for i in range(n) for v in (last[1 + i], last[1 + n + i])), last[0].uuid])
        following = ".".join([*marks, place])
    return facts(db, [row[0] for row in rows[:limit]]), following


def _mark(value: Any) -> str:
    return hashlib.blake2s(repr(value).encode(), digest_size=6).hexdigest()


def _after(token: str, marks: list[str], width: int) -> list[Any]:
    """The sort values in a token. Raises `BadInput` for a token of another search."""
    *told, place = token.split(".")
    whats = (
        "Experiment IDs in the page token do",
        "Order by in the page token does",
        "Filter string in the page token does",
    )
    for what, mine, its in zip(whats, marks, told, strict=False):
        if mine != its:
            raise BadInput(f"{what} not match the requested ones.", hint="Start at the first page again.")
    return uncursor(place, width)


def _clauses(filter_: str) -> list[Clause]:
    try:
        return parse_filter(filter_, LOGGED_MODELS)
    except BadInput as error:  # this search has words of its own in the protocol
        message = error.message.replace("Invalid comparator", "Invalid comparison operator")
        raise BadInput(f"Invalid filter string: {message}", hint=error.hint, **error.details) from None


def _term(sort: Sort) -> tuple[Any, Any, bool]:
    """(rank: 0 with a value, more without; value; ascending) of a sort key."""
    name = LOGGED_MODELS.synonyms.get(sort.field.strip(), sort.field.strip())
    if "." not in name:
        if name not in _ATTRIBUTES:
            raise BadInput(f"Invalid order by field name: {name}.")
        return _HAS, _ATTRIBUTES[name], sort.ascending
    kind, _, key = name.partition(".")
    if kind != "metrics":
        raise BadInput(f"Invalid order by field name: {kind}, only `metrics.<name>` is allowed.")
    table = aliased(LoggedModelMetric)
    where = [table.model_id == LoggedModel.id, table.key == key.strip('`"')]
    if sort.dataset:
        where.append(table.dataset_name == sort.dataset)
    if sort.digest:
        where.append(table.dataset_digest == sort.digest)
    latest = (table.step.desc(), table.time.desc(), table.id.desc())
    value = select(table.value).where(*where).order_by(*latest).limit(1).scalar_subquery()
    nan = select(table.is_nan).where(*where).order_by(*latest).limit(1).scalar_subquery()
    return case((nan.is_(None), 2), (nan, 1), else_=0), value, sort.ascending


def _beyond(terms: list[tuple[Any, Any, bool]], after: list[Any]) -> Any:
    found: Any = LoggedModel.uuid > str(after[-1])
    for place in range(len(terms) - 1, -1, -1):
        rank, value, ascending = terms[place]
        its_rank, its_value = after[2 * place], after[2 * place + 1]
        if its_rank == 0:
            further = value > its_value if ascending else value < its_value
            found = or_(further, (value == its_value) & found)
        if rank is not _HAS:
            found = or_(rank > its_rank, (rank == its_rank) & found)
    return found


def _on(datasets: Sequence[tuple[str, str]]) -> Any:
    parts = [
        (LoggedModelMetric.dataset_name == name) & ((LoggedModelMetric.dataset_digest == digest) if digest else True)
        for name, digest in datasets
    ]
    return or_(*parts)


def _condition(db: Session, clause: Clause, datasets: Sequence[tuple[str, str]]) -> Any:
    if clause.kind == "attribute":
        value: Any = clause.value
        if clause.key == "status":
            value = tuple(_status(v) for v in value) if isinstance(value, tuple) else _status(value)
        return compare(db, _ATTRIBUTES[clause.key], clause.op, value)
    table: Any = {"param": LoggedModelParam, "tag": LoggedModelTag, "metric": LoggedModelMetric}[clause.kind]
    where = [table.key == clause.key, compare(db, table.value, clause.op, clause.value)]
    if clause.kind == "metric":
        where.append(table.is_nan.is_(False))
        if datasets:
            where.append(_on(datasets))
    return LoggedModel.id.in_(select(table.model_id).where(*where))


def _status(word: Any) -> str:
    return str(word).upper().removeprefix("LOGGED_MODEL_")


def source(db: Session, row: LoggedModel) -> Run | None:
    """The run that made a model."""
    return db.scalar(select(Run).where(Run.uuid == row.source_run)) if row.source_run else None
