"""Searching models and versions in MLflow's grammar, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from headway.errors import BadInput
from headway.models.tables import Alias, ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from headway.people import guard
from headway.people.rules import Who
from headway.tracking.find.conditions import compare
from headway.tracking.find.search import Clause, Grammar, Order, parse_filter, parse_orders
from headway.web.paging import cursor, uncursor

MODELS = Grammar(
    kinds=frozenset({"attribute", "tag"}),
    text=frozenset({"name"}),
    numbers=frozenset(),
    ordered=frozenset({"name", "last_updated_timestamp"}),
    lists=frozenset({"name"}),
    synonyms={"timestamp": "last_updated_timestamp"},
    nulls=False,
    order_word="order by",
)
VERSIONS = Grammar(
    kinds=frozenset({"attribute", "tag"}),
    text=frozenset({"name", "run_id", "source_path"}),
    numbers=frozenset({"version_number"}),
    ordered=frozenset({"name", "version_number", "creation_timestamp", "last_updated_timestamp"}),
    lists=frozenset({"name", "run_id"}),
    nulls=False,
    number_strings=True,
    order_word="order by",
)
PROMPT_TAG = "mlflow.prompt.is_prompt"
_MODEL_COLUMNS = {
    "name": RegisteredModel.name,
    "creation_timestamp": RegisteredModel.created_at,
    "last_updated_timestamp": RegisteredModel.updated_at,
}
_VERSION_COLUMNS = {
    "name": RegisteredModel.name,
    "version_number": ModelVersion.number,
    "run_id": ModelVersion.run_uuid,
    "source_path": ModelVersion.source,
    "creation_timestamp": ModelVersion.created_at,
    "last_updated_timestamp": ModelVersion.updated_at,
}


def models(
    db: Session, who: Who, project_id: str, filter_: str = "", orders: Sequence[str] = (), limit: int = 100,
    token: str | None = None, *, prompts: bool | None = None,
) -> tuple[list[RegisteredModel], str]:  # fmt: skip
    """Models by name unless ordered otherwise. Prompts are left out unless the filter asks for them."""
    guard.check(db, who, "view", project_id)
    clauses, wanted = _prompts(parse_filter(filter_, MODELS), prompts)
    where: list[Any] = [RegisteredModel.project_id == project_id, RegisteredModel.is_prompt.is_(wanted)]
    for clause in clauses:
        if clause.kind == "tag":
            found = select(RegisteredModelTag.model_id).where(
                RegisteredModelTag.key == clause.key, compare(db, RegisteredModelTag.value, clause.op, clause.value)
            )
            where.append(RegisteredModel.id.in_(found))
        else:
            where.append(compare(db, _MODEL_COLUMNS[clause.key], clause.op, clause.value))
    sort = parse_orders(list(orders), MODELS)
    if not any(o.key == "name" for o in sort):
        sort.append(Order("attribute", "name"))
    columns = [(_MODEL_COLUMNS[o.key], o.ascending) for o in sort]
    rows, following = _page(db, select(RegisteredModel, *(c for c, _ in columns)), where, columns, limit, token,
                            f"{project_id}|{filter_}|{list(orders)}")  # fmt: skip
    return [row[0] for row in rows], following


def versions(
    db: Session, who: Who, project_id: str, filter_: str = "", orders: Sequence[str] = (), limit: int = 10_000,
    token: str | None = None,
) -> tuple[list[ModelVersion], str]:  # fmt: skip
    """Versions, the last changed first unless ordered otherwise. Prompts' are left out unless the filter asks for them."""
    guard.check(db, who, "view", project_id)
    clauses, wanted = _prompts(parse_filter(filter_, VERSIONS), None)
    where: list[Any] = [RegisteredModel.project_id == project_id, RegisteredModel.is_prompt.is_(wanted)]
    for clause in clauses:
        if clause.kind == "tag":
            found = select(ModelVersionTag.version_id).where(
                ModelVersionTag.key == clause.key, compare(db, ModelVersionTag.value, clause.op, clause.value)
            )
            where.append(ModelVersion.id.in_(found))
        else:
            where.append(compare(db, _VERSION_COLUMNS[clause.key], clause.op, clause.value))
    sort = parse_orders(list(orders), VERSIONS) or [Order("attribute", "last_updated_timestamp", False)]
    for key, ascending in (("name", True), ("version_number", False)):
        if not any(o.key == key for o in sort):
            sort.append(Order("attribute", key, ascending))
    columns = [(_VERSION_COLUMNS[o.key], o.ascending) for o in sort]
    query = select(ModelVersion, *(c for c, _ in columns)).join(
        RegisteredModel, RegisteredModel.id == ModelVersion.model_id
    )
    rows, following = _page(db, query, where, columns, limit, token, f"{project_id}|{filter_}|{list(orders)}")
    return [row[0] for row in rows], following


def _prompts(clauses: list[Clause], prompts: bool | None) -> tuple[list[Clause], bool]:
    """The other conditions, and whether prompts are asked for."""
    left, wanted = [], bool(prompts)
    for clause in clauses:
        if clause.kind == "tag" and clause.key == PROMPT_TAG and clause.op in ("=", "!="):
            wanted = (str(clause.value).lower() == "true") == (clause.op == "=")
        else:
            left.append(replace(clause))
    return left, wanted


def _page(
    db: Session, query: Any, where: list[Any], columns: list[tuple[Any, bool]], limit: int, token: str | None, mark: str
) -> tuple[list[Any], str]:
    if token:
        values = uncursor(token, len(columns) + 1)
        if values[0] != mark:
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
        where.append(_beyond(columns, values[1:]))
    order = [c if ascending else c.desc() for c, ascending in columns]
    rows = list(db.execute(query.where(*where).order_by(*order).limit(limit + 1)).all())
    if len(rows) <= limit:
        return rows, ""
    return rows[:limit], cursor([mark, *rows[limit - 1][1:]])


def _beyond(columns: list[tuple[Any, bool]], values: Sequence[Any]) -> Any:
    found: Any = None
    for (column, ascending), value in reversed(list(zip(columns, values, strict=True))):
        further = column > value if ascending else column < value
        found = further if found is None else or_(further, (column == value) & found)
    return found


def latest(db: Session, model_ids: Sequence[int]) -> dict[int, list[ModelVersion]]:
    """For each model its newest version in each stage."""
    newest = (
        select(func.max(ModelVersion.id))
        .where(ModelVersion.model_id.in_(list(model_ids)))
        .group_by(ModelVersion.model_id, ModelVersion.stage)
    )
    found: dict[int, list[ModelVersion]] = {}
    for row in db.scalars(select(ModelVersion).where(ModelVersion.id.in_(newest)).order_by(ModelVersion.number)):
        found.setdefault(row.model_id, []).append(row)
    return found


def made_of(db: Session, logged_models: list[str]) -> dict[str, list[tuple[str, str]]]:
    """(name, version) of the versions that were made of each logged model."""
    query = (
        select(ModelVersion.logged_model, RegisteredModel.name, ModelVersion.number)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .where(ModelVersion.logged_model.in_(logged_models))
        .order_by(ModelVersion.id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for uuid, name, number in db.execute(query):
        found.setdefault(uuid, []).append((name, str(number)))
    return found


def aliases(db: Session, model_ids: Sequence[int]) -> dict[int, list[Alias]]:
    """The aliases of each model."""
    found: dict[int, list[Alias]] = {}
    for row in db.scalars(select(Alias).where(Alias.model_id.in_(list(model_ids))).order_by(Alias.alias)):
        found.setdefault(row.model_id, []).append(row)
    return found


def of_model(db: Session, model_id: int, limit: int) -> list[ModelVersion]:
    """A model's versions, newest first."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id).order_by(ModelVersion.number.desc())
    return list(db.scalars(query.limit(limit)))
