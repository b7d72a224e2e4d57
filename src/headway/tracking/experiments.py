"""Experiments: made, found, renamed, deleted and restored. Each belongs to a project; names are unique in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.errors import BadInput, Conflict, NotFound
from headway.people import guard, rules
from headway.people.rules import Who
from headway.storage import direct
from headway.storage.direct import Direct
from headway.tracking import limits
from headway.tracking.find.conditions import compare
from headway.tracking.find.search import EXPERIMENTS, NULL_OPS, Clause, Order, parse_filter, parse_orders
from headway.tracking.store import locations
from headway.tracking.tables import Experiment, ExperimentTag, Run
from headway.web.paging import cursor, uncursor

DEFAULT = "Default"
_SEEN = f"SELECT id, project_id, {guard.ROLE_SQL.format(table='experiments')} FROM experiments WHERE id IN"  # noqa: S608
_ATTRIBUTES = {
    "name": Experiment.name,
    "experiment_id": Experiment.id,
    "creation_time": Experiment.created_at,
    "last_update_time": Experiment.updated_at,
}


def no_experiment(which: object) -> NotFound:
    """The answer for an experiment that isn't there, or isn't yours to see."""
    return NotFound(f"No Experiment with id={str(which)[:80]} exists", hint="Is it in another project?")


def create(db: Session, who: Who, project_id: str, name: Any, *, location: Any = None, tags: Any = ()) -> Experiment:
    """A new experiment. Raises `Conflict` if the name is taken, also by a deleted one."""
    guard.check(db, who, "run", project_id)
    name = check_name(name)
    pairs = {limits.key(k): limits.text(v, "value", limits.EXPERIMENT_TAG_VALUE) for k, v in tags}
    return _add(db, project_id, name, locations.check(location), pairs)


def _add(
    db: Session, project_id: str, name: str, location: str, tags: dict[str, str], number: int | None = None
) -> Experiment:
    moment = now_ms()
    row = Experiment(id=number, project_id=project_id, name=name, artifact_location=location, lifecycle="active",
                     created_at=moment, updated_at=moment)  # fmt: skip
    try:
        with db.begin_nested():
            db.add(row)
    except IntegrityError:
        old = _named(db, project_id, name)
        deleted = " in deleted state. You can restore the experiment, or permanently delete it to create a new one"
        raise Conflict(
            f"Experiment(name={name}) already exists"
            + (f": Experiment '{name}' already exists{deleted}." if old and old.lifecycle == "deleted" else ".")
        ) from None
    if not location:
        row.artifact_location = f"mlflow-artifacts:/{row.id}"
    for key, value in tags.items():
        db.add(ExperimentTag(experiment_id=row.id, key=key, value=value))
    db.flush()
    return row


def check_name(name: Any) -> str:
    """A sound name of an experiment."""
    if name is None or name == "":
        raise limits.missing("name")
    if not isinstance(name, str):
        raise limits.wrong_type("name", name)
    return limits.text(name, "name", limits.EXPERIMENT_NAME)


def default(db: Session, project_id: str) -> Experiment:
    """The project's experiment for runs that name none; made at its first use. The very first one has the id 0."""
    row = _named(db, project_id, DEFAULT)
    if row is not None:
        return row
    if db.scalar(text("SELECT 1 FROM experiments LIMIT 1")) is None:
        return _add(db, project_id, DEFAULT, "", {}, number=0)
    return ensure(db, project_id, DEFAULT)


def default_or_none(db: Session, project_id: str) -> Experiment | None:
    """The project's default experiment, if it was used already."""
    return _named(db, project_id, DEFAULT)


def ensure(db: Session, project_id: str, name: str) -> Experiment:
    """The active experiment of this name, made or restored if need be. For the platform's own use: checks no rights."""
    row = _named(db, project_id, name)
    if row is None:
        try:
            row = _add(db, project_id, check_name(name), "", {})
        except Conflict:  # another server was quicker
            row = _named(db, project_id, name)
            assert row is not None
    if row.lifecycle != "active":
        _set_lifecycle(db, row, "active")
    return row


def _named(db: Session, project_id: str, name: str) -> Experiment | None:
    return db.scalar(select(Experiment).where(Experiment.project_id == project_id, Experiment.name == name))


def by_name(db: Session, who: Who, project_id: str, name: Any) -> Experiment:
    """The experiment of this name in the project, deleted or not."""
    guard.check(db, who, "view", project_id)
    row = _named(db, project_id, str(name)) if name else None
    if row is None and name == DEFAULT:
        raise NotFound(f"Could not find experiment with name '{DEFAULT}'", hint="It is made at its first use.")
    if row is None:
        raise NotFound(f"Could not find experiment with name '{str(name)[:80]}'")
    return row


def get(db: Session, who: Who, experiment_id: Any, verb: str = "view") -> Experiment:
    """An experiment by its number. Raises `NotFound` unless `who` may see it."""
    try:
        number = int(str(experiment_id))
    except ValueError:
        raise BadInput(
            f"Invalid experiment ID '{str(experiment_id)[:80]}'. Experiment ID must be a valid integer."
        ) from None
    row = db.get(Experiment, number) if 0 <= number < 2**62 else None
    return guard.visible(db, who, verb, row, lambda: no_experiment(experiment_id))


def active(db: Session, project_id: str, limit: int = 5000) -> list[Experiment]:
    """The project's active experiments, the last changed first. The caller has checked the rights."""
    query = select(Experiment).where(Experiment.project_id == project_id, Experiment.lifecycle == "active")
    return list(db.scalars(query.order_by(Experiment.updated_at.desc()).limit(limit)))


def tags_of(db: Session, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """The tags of experiments, by id."""
    found: dict[int, dict[str, str]] = {number: {} for number in ids}
    query = select(ExperimentTag).where(ExperimentTag.experiment_id.in_(list(ids))).order_by(ExperimentTag.key)
    for tag in db.scalars(query):
        found[tag.experiment_id][tag.key] = tag.value
    return found


def rename(db: Session, who: Who, experiment_id: Any, new_name: Any) -> Experiment:
    """Give an experiment another name."""
    row = get(db, who, experiment_id, "edit")
    if row.lifecycle != "active":
        raise BadInput("Cannot rename a non-active experiment.", hint="Restore it first.")
    name = check_name(new_name)
    other = _named(db, row.project_id, name)
    if other is not None and other.id != row.id:
        raise Conflict(f"Experiment(name={name}) already exists.")
    row.name, row.updated_at = name, now_ms()
    db.flush()
    return row


def delete(db: Session, who: Who, experiment_id: Any) -> Experiment:
    """Mark an experiment and its runs as deleted; they can be restored until they are purged."""
    row = get(db, who, experiment_id, "edit")
    if row.lifecycle == "deleted":
        raise no_experiment(experiment_id)
    _set_lifecycle(db, row, "deleted")
    return row


def restore(db: Session, who: Who, experiment_id: Any) -> Experiment:
    """Bring a deleted experiment and its runs back."""
    row = get(db, who, experiment_id, "edit")
    if row.lifecycle == "active":
        raise no_experiment(experiment_id)
    _set_lifecycle(db, row, "active")
    return row


def _set_lifecycle(db: Session, row: Experiment, lifecycle: str) -> None:
    row.lifecycle, row.updated_at = lifecycle, now_ms()
    db.flush()
    deleted_at = row.updated_at if lifecycle == "deleted" else None
    db.execute(
        update(Run)
        .where(Run.experiment_id == row.id, Run.lifecycle != lifecycle)
        .values(lifecycle=lifecycle, deleted_at=deleted_at, version=Run.version + 1)
    )


def set_tag(db: Session, who: Who, experiment_id: Any, key: Any, value: Any) -> None:
    """Set a tag of an experiment."""
    row = get(db, who, experiment_id, "run")
    name, text_ = limits.key(key), limits.text(value, "value", limits.EXPERIMENT_TAG_VALUE)
    if row.lifecycle != "active":
        raise BadInput(f"The experiment {row.id} must be in the 'active' state. Current state is {row.lifecycle}.")
    db.merge(ExperimentTag(experiment_id=row.id, key=name, value=text_))
    row.updated_at = now_ms()
    db.flush()


def delete_tag(db: Session, who: Who, experiment_id: Any, key: Any) -> None:
    """Remove a tag of an experiment; `NotFound` if it lacks it."""
    row = get(db, who, experiment_id, "run")
    tag = db.get(ExperimentTag, (row.id, str(key)))
    if tag is None:
        raise NotFound(f"No tag with name: {str(key)[:80]} in experiment with id {row.id}")
    db.delete(tag)
    row.updated_at = now_ms()
    db.flush()


def search(
    db: Session, who: Who, project_id: str, *, view: str | None = "active", filter_: str = "", orders: Sequence[str] = (),
    limit: int = 1000, token: str | None = None,
) -> tuple[list[Experiment], str]:  # fmt: skip
    """At most `limit` experiments of the project and the token of the next page. Newest first unless ordered otherwise."""
    guard.check(db, who, "view", project_id)
    keys_ = parse_orders(list(orders), EXPERIMENTS) or [Order("attribute", "creation_time", False)]
    where: list[Any] = [Experiment.project_id == project_id]
    where += [_condition(db, clause) for clause in parse_filter(filter_, EXPERIMENTS)]
    if view is not None:
        where.append(Experiment.lifecycle == view)
    columns = [(_ATTRIBUTES[o.key], o.ascending) for o in keys_]
    if all(o.key != "experiment_id" for o in keys_):
        columns.append((Experiment.id, False))
    mark = f"{view}|{filter_}|{list(orders)}"
    if token:
        values = uncursor(token, len(columns) + 1)
        if values[0] != mark:
            raise BadInput("Invalid page token: it is not one of this search.", hint="Start at the first page again.")
        where.append(_beyond(columns, values[1:]))
    order = [c if ascending else c.desc() for c, ascending in columns]
    rows = list(db.scalars(select(Experiment).where(*where).order_by(*order).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, ""
    last = rows[limit - 1]
    return rows[:limit], cursor([mark, *(getattr(last, c.key) for c, _ in columns)])


def _beyond(columns: list[tuple[Any, bool]], values: list[Any]) -> Any:
    found: Any = None
    for (column, ascending), value in reversed(list(zip(columns, values, strict=True))):
        further = column > value if ascending else column < value
        found = further if found is None else or_(further, (column == value) & found)
    return found


def _condition(db: Session, clause: Clause) -> Any:
    if clause.kind == "tag":
        found = select(ExperimentTag.experiment_id).where(ExperimentTag.key == clause.key)
        if clause.op == "IS NULL":
            return Experiment.id.not_in(found)
        if clause.op not in NULL_OPS:
            found = found.where(compare(db, ExperimentTag.value, clause.op, clause.value))
        return Experiment.id.in_(found)
    value = clause.value
    if clause.key == "experiment_id":
        if clause.op not in ("=", "!=", "IN", "NOT IN"):
            raise BadInput(f"Invalid comparator for experiment_id: {clause.op}")
        numbers = [_number(v) for v in (value if isinstance(value, tuple) else (value,))]
        return Experiment.id.in_(numbers) if clause.op in ("=", "IN") else Experiment.id.not_in(numbers)
    if isinstance(value, float):
        raise BadInput(f"Invalid value for numeric attribute '{clause.key}': '{value}'")
    return compare(db, _ATTRIBUTES[clause.key], clause.op, value)


def _number(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise BadInput(f"Invalid experiment ID '{value}'. Experiment ID must be a valid integer.") from None


def counts(db: Session, ids: Sequence[int]) -> dict[int, tuple[int, int, int | None]]:
    """(active runs, of which are running, latest start in ms) of each experiment."""
    query = (
        select(
            Run.experiment_id,
            func.count(),
            func.sum(case((Run.status == "RUNNING", 1), else_=0)),
            func.max(Run.start_time),
        )
        .where(Run.experiment_id.in_(list(ids)), Run.lifecycle == "active")
        .group_by(Run.experiment_id)
    )
    return {row[0]: (row[1], int(row[2] or 0), row[3]) for row in db.execute(query)}


def visible(db: Session | Direct, who: Who, experiment_ids: Sequence[Any]) -> list[int]:
    """Those of the ids that are experiments `who` may see."""
    wanted = set()
    for one in experiment_ids:
        try:
            wanted.add(int(str(one)))
        except ValueError:
            raise BadInput(f"Invalid experiment ID '{str(one)[:80]}'. Experiment ID must be a valid integer.") from None
    wanted = {number for number in wanted if 0 <= number < 2**62}
    found = direct.of(db).among(_SEEN, sorted(wanted), who.user_id)
    return sorted(number for number, project, role in found if rules.allowed(who, rules.VIEW, project, role))
