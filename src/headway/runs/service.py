"""The verbs of runs: submit, cancel, run again, find."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.environments import service as environments
from headway.environments.tables import Environment
from headway.errors import Conflict, NotFound, TooLarge, Unprocessable
from headway.events import RunChanged, publish
from headway.people import audit, guard, tokens
from headway.people.rules import RUN, VIEW, Who
from headway.projects import files, paths
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import notebooks, parameters, sources, states
from headway.runs.launch import RunLimits
from headway.runs.parameters import Found
from headway.runs.tables import Execution
from headway.tracking import service as tracking

KINDS = {".ipynb": "notebook", ".py": "script"}
MOST_SCRIPT = 10 << 20
MOST_QUEUED = 1000


@dataclass(frozen=True)
class Runnable:
    """A file that can be run, as it is now."""

    path: str
    kind: str
    found: Found


def look(host: Host, project: Project, path: str, source: str = "") -> Runnable:
    """The notebook or script at `path` of the project, or of a folder that was sent, read and checked.

    Raises `BadPath`, `NotFound`, `Unprocessable`.
    """
    parts = paths.parts_of(path)
    clean = "/".join(parts)
    kind = next((kind for suffix, kind in KINDS.items() if clean.lower().endswith(suffix)), None)
    if kind is None:
        raise Unprocessable(
            f"'{clean[:200]}' can't be run.", hint="Notebooks (.ipynb) and Python scripts (.py) can.", field="path"
        )
    with files.reading(folder_of(host, project, source), parts) as file:
        data = file.read(notebooks.MOST_BYTES + 1)
    if kind == "notebook":
        return Runnable(clean, kind, notebooks.find(notebooks.read(data, clean)))
    if len(data) > MOST_SCRIPT:
        raise TooLarge(f"{clean} has {len(data) >> 20} MiB; a script may have {MOST_SCRIPT >> 20}.")
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unprocessable(
            f"{clean} is not text: byte {error.start} is not UTF-8.", hint="Save it as UTF-8."
        ) from None
    return Runnable(clean, kind, parameters.of_script(source))


def folder_of(host: Host, project: Project, source: str = "") -> Path:
    """Where a run's files come from: the project's folder, or the folder that was sent with it."""
    return sources.folder(host, project.id, source) if source else projects.folder(host, project)


def runnable(host: Host, project: Project) -> list[str]:
    """The paths of all notebooks and scripts of the project, notebooks first."""
    found = [entry.path for entry in files.walk(projects.folder(host, project))]
    return [path for suffix in KINDS for path in sorted(found) if path.lower().endswith(suffix)]


def check_limits(limits: RunLimits) -> RunLimits:
    """Limits that make sense. Raises `Unprocessable` naming the field."""
    least = {"memory_mb": 32, "timeout_s": 1, "cpu": 0.1, "cell_timeout_s": 1}
    for name, value in limits.as_dict().items():
        if not least[name] <= value <= 1e9:
            raise Unprocessable(f"{name} must be at least {least[name]}, got {value}.", field=name)
    return limits


def submit(
    db: Session, host: Host, who: Who, project: Project, path: str, params: Mapping[str, Any] | None = None, *,
    limits: RunLimits | None = None, environment: Environment | None = None, schedule_id: str | None = None,
    rerun_of: str | None = None, name: str = "", tags: Mapping[str, str] | None = None, source: str = "",
) -> Execution:  # fmt: skip
    """Queue a run of a notebook or script. Once committed it will happen, whoever goes away.

    `source` is the id of a folder that was sent (`sources.keep`); empty: the file is the project's.

    Raises `Unprocessable` for a broken file or a value that a parameter can't have; then nothing is written.
    """
    guard.check(db, who, RUN, project.id)
    file = look(host, project, path, source)
    values = parameters.typed(params or {}, file.found, identifiers=file.kind == "notebook")
    settings = host.settings
    asked = check_limits(limits or RunLimits())
    asked = RunLimits(asked.memory_mb or settings.run_memory_mb or None, asked.timeout_s or settings.run_timeout_s or None,
                      asked.cpu, asked.cell_timeout_s)  # fmt: skip
    _check_queue(db, project)
    experiment = tracking.ensure_experiment(db, project.id, file.path)
    run_id, moment = new_id(), now_ms()
    labels = {
        "mlflow.source.name": file.path,
        "mlflow.source.type": "NOTEBOOK" if file.kind == "notebook" else "LOCAL",
        "headway.path": file.path,
        "headway.kind": file.kind,
    } | ({"headway.schedule": schedule_id} if schedule_id else {})
    tracking.create_run(db, who, project_id=project.id, experiment_id=experiment.id, name=name, tags=labels | dict(tags or {}),
                        run_id=run_id, start_time=moment, status=states.MLFLOW[states.QUEUED])  # fmt: skip
    row = Execution(
        run_id=run_id, project_id=project.id, path=file.path, kind=file.kind, params=json.dumps(values),
        limits=json.dumps(asked.as_dict()), environment_id=environment.id if environment else None, schedule_id=schedule_id,
        rerun_of=rerun_of, source=source, created_by=who.user_id, created_at=moment,
    )  # fmt: skip
    db.add(row)
    db.flush()
    audit.note(db, who, "run.submit", file.path, project_id=project.id, run=run_id)
    publish(db, RunChanged(run_id, project.id, states.QUEUED))
    return row


def _check_queue(db: Session, project: Project) -> None:
    waiting = db.scalars(select(Execution.run_id).where(Execution.project_id == project.id, Execution.status == states.QUEUED)
                         .limit(MOST_QUEUED)).all()  # fmt: skip
    if len(waiting) >= MOST_QUEUED:
        raise Conflict(
            f"{MOST_QUEUED} runs of this project wait already.", hint="Cancel some, or wait until they have run."
        )


def get(db: Session, who: Who, project: Project, run_id: str) -> Execution:
    """An execution of the project. Missing and foreign ones raise the same `NotFound`."""
    guard.check(db, who, VIEW, project.id)
    row = db.get(Execution, run_id)
    if row is None or row.project_id != project.id:
        raise NotFound("There is no such run.")
    return row


def find(db: Session, run_id: str) -> Execution | None:
    """The execution behind a tracking run, if it was one; for slices that have checked who asks."""
    return db.get(Execution, run_id)


def listed(
    db: Session, who: Who, project: Project, *, status: str = "", path: str = "", schedule_id: str = "",
    before: int | None = None, limit: int = 50,
) -> list[Execution]:  # fmt: skip
    """The project's executions, newest first."""
    guard.check(db, who, VIEW, project.id)
    query = select(Execution).where(Execution.project_id == project.id)
    if status:
        query = query.where(Execution.status == status)
    if path:
        query = query.where(Execution.path == path)
    if schedule_id:
        query = query.where(Execution.schedule_id == schedule_id)
    if before is not None:
        query = query.where(Execution.created_at < before)
    return list(db.scalars(query.order_by(Execution.created_at.desc(), Execution.run_id).limit(limit)))


def cancel(db: Session, who: Who, row: Execution) -> Execution:
    """End a run: at once while it waits, else by interrupt, TERM and KILL. Raises `Conflict` when it is over."""
    guard.check(db, who, RUN, row.project_id)
    if row.over:
        raise Conflict(f"The run is {row.status.replace('_', ' ')} already.", hint="There is nothing to cancel.")
    if row.cancelled_at is None:
        row.cancelled_at = now_ms()
        audit.note(db, who, "run.cancel", row.path, project_id=row.project_id, run=row.run_id)
    process = db.get(Process, row.process_id) if row.process_id else None
    if process is None:
        end(db, row, states.Verdict(states.CANCELLED, "cancelled before it began"))
    else:
        keeper.stop(db, process)
        publish(db, RunChanged(row.run_id, row.project_id, row.status))
    return row


def rerun(db: Session, host: Host, who: Who, project: Project, row: Execution) -> Execution:
    """Submit the same file with the same values and limits once more; the file as it is now."""
    return submit(
        db,
        host,
        who,
        project,
        row.path,
        row.given,
        limits=RunLimits(**json.loads(row.limits)),
        rerun_of=row.run_id,
        source=row.source,
    )


def begin(db: Session, row: Execution, moment: int) -> None:
    """The run's process runs."""
    if states.may_move(row.status, states.RUNNING):
        row.status, row.started_at, row.waits_for = states.RUNNING, moment, ""
        tracking.begin_run(db, row.run_id, moment)
        publish(db, RunChanged(row.run_id, row.project_id, row.status))


def end(db: Session, row: Execution, verdict: states.Verdict, moment: int | None = None) -> None:
    """The platform's last word on a run: status, cause, the trainings it left open, and its token's end."""
    if not states.may_move(row.status, verdict.status):
        return
    row.status, row.cause, row.waits_for = verdict.status, verdict.cause[:2000], ""
    row.error, row.ended_at = json.dumps(verdict.error or {}), moment or now_ms()
    word = states.MLFLOW[verdict.status]
    for child in tracking.children(db, row.run_id):
        if child.status in ("RUNNING", "SCHEDULED"):
            tracking.end_run(db, child.uuid, word, row.ended_at, verdict.cause)
    tracking.end_run(db, row.run_id, word, row.ended_at, verdict.cause if verdict.status != states.FINISHED else "")
    tokens.revoke_for(db, token_owner(row))
    db.flush()
    publish(db, RunChanged(row.run_id, row.project_id, row.status))


def token_owner(row: Execution) -> str:
    """What the run's token lives with: one attempt."""
    return f"run:{row.run_id}.a{row.attempt}"


def environment_of(db: Session, project: Project, row: Execution) -> Environment | None:
    """The environment the run is to use: the one it asked for, else the project's current one."""
    if row.environment_id:
        return environments.by_id(db, row.environment_id)
    return environments.for_project(db, project)
