"""What a store of MLflow holds, whichever way it keeps it: a folder, a database, a server. The nouns that readers return."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from headway.sdk.points import Columns

STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
MODEL_STATUSES = {0: "UNSPECIFIED", 1: "PENDING", 2: "READY", 3: "UPLOAD_FAILED"}
_RUN_FOLDER = re.compile(r"(?:.*/)?([0-9a-f]{32})/artifacts(?:/(.+))?")
_MODEL_FOLDER = re.compile(r"(?:.*/)?(m-[0-9a-f]{32})/artifacts/?")


def columns(steps: Any, times: Any, values: Any) -> Columns:
    """Columns from anything that gives numbers."""
    return Columns(array("q", steps), array("q", times), array("d", values))


def cut(found: Columns, size: int) -> Iterator[Columns]:
    """Pieces of at most `size` points."""
    for at in range(0, len(found.steps), size):
        yield Columns(found.steps[at : at + size], found.times[at : at + size], found.values[at : at + size])


@dataclass(frozen=True)
class Experiment:
    """`id` is the store's own; times in milliseconds, None where unknown."""

    id: str
    name: str
    created_at: int | None = None
    updated_at: int | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run without its series and files. `datasets` as the import's route takes them; `models`: (id, role, step)."""

    run_id: str
    experiment_id: str
    name: str
    user: str
    status: str
    start_time: int | None
    end_time: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    models: list[tuple[str, str, int]] = field(default_factory=list)
    place: Any = None  # where its files are, as the store knows it


@dataclass(frozen=True)
class LoggedModel:
    """A logged model without its files."""

    model_id: str
    experiment_id: str
    name: str
    model_type: str
    status: str
    source_run: str
    created_at: int
    updated_at: int
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    place: Any = None


@dataclass(frozen=True)
class Version:
    """A version of a registered model; `source` as `source_of` says it."""

    number: int
    source: str
    run_id: str = ""
    model_id: str = ""
    stage: str = "None"
    description: str = ""
    user: str = ""
    run_link: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """A registered model with its versions."""

    name: str
    description: str = ""
    created_at: int = 0
    updated_at: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """A trace without its spans: MLflow's `TraceInfoV3` as its REST API tells it, and the runs it was linked to later."""

    trace_id: str
    info: dict[str, Any]
    runs: list[str] = field(default_factory=list)
    place: Any = None


@dataclass(frozen=True)
class File:
    """One file of a run or a model: its path in it, its size in bytes (-1: unknown), and how to open it."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass
class Amount:
    """How much there is. `exact` is false where points were guessed from sizes."""

    experiments: int = 0
    runs: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    logged_models: int = 0
    traces: int = 0
    registered_models: int = 0
    exact: bool = True


class Store(Protocol):
    """A store that is read. What it can't give it notes in `left`, as (what, why)."""

    name: str
    left: list[tuple[str, str]]

    def close(self) -> None:
        """Let go of the connection that this thread has."""

    def experiments(self) -> list[Experiment]:
        """All that are active."""

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """Its active runs."""

    def series(self, run: Run) -> Iterator[tuple[str, Columns]]:
        """Every metric of a run with its whole history."""

    def files(self, run: Run) -> Iterator[File]:
        """Every artifact of a run."""

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """Its logged models (MLflow 3)."""

    def model_files(self, model: LoggedModel) -> Iterator[File]:
        """Every file of a logged model."""

    def traces(self, experiment: Experiment) -> Iterator[Trace]:
        """Its traces."""

    def spans(self, trace: Trace) -> list[dict[str, Any]]:
        """The spans of a trace, in any of the forms that MLflow keeps or sends; none, and told, where they can't be had."""

    def trace_files(self, trace: Trace) -> Iterator[File]:
        """What was attached to the spans of a trace."""

    def registered(self) -> Iterator[Registered]:
        """The model registry."""

    def amount(self, note: Callable[[str], None]) -> Amount:
        """How much there is to move."""


def source_of(source: str, model_id: str = "") -> str:
    """A version's source in the words that any store understands: `runs:/<run>/<path>` or `models:/m-<id>`.

    A folder of an artifact store is recognised by the ids in its path, wherever the store lies now.
    """
    if source.startswith(("runs:/", "models:/m-")):
        return source
    if found := _MODEL_FOLDER.fullmatch(source.rstrip("/") + ("" if source.endswith("artifacts") else "/")):
        return f"models:/{found[1]}"
    if (found := _RUN_FOLDER.fullmatch(source.rstrip("/"))) and found[2]:
        return f"runs:/{found[1]}/{found[2]}"
    return f"models:/{model_id}" if model_id and not source else source


def tree(folder: Path) -> Iterator[File]:
    """The files below a folder, by path. Links to files are followed, links to folders are not."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            for file in tree(entry):
                yield File(f"{entry.name}/{file.path}", file.size, file.open)
        elif entry.is_file():
            yield File(entry.name, entry.stat().st_size, _opener(entry))


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def time_of(value: Any) -> int | None:
    """A time in milliseconds as stores write it; None for none."""
    try:
        return int(value) if value not in (None, "") else None
    except (TypeError, ValueError):
        return None


def text(value: Any) -> str:
    """A value that may be missing, as text."""
    return "" if value is None else str(value)
