"""A store written as MLflow's own file store, which every MLflow since 1.0 opens, and which `mlflow migrate-filestore` takes.

(An `mlflow.db` would be opened by one release only: MLflow refuses a database whose schema is not its own.)
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway.errors import BadInput, HeadwayError
from headway.moving.pool import let_go
from headway.moving.store import (
    MODEL_STATUSES,
    STATUSES,
    Experiment,
    File,
    LoggedModel,
    Registered,
    Run,
    Store,
    Trace,
)
from headway.moving.tracing import ARTIFACTS, ATTACHED, LOCATION, SPANS_FILE
from headway.sdk.points import Columns

WORKERS = 3
META = "meta.yaml"
_RUN_STATUS = {word: number for number, word in STATUSES.items()}
_MODEL_STATUS = {word: number for number, word in MODEL_STATUSES.items()}
_RUN_SOURCE = re.compile(r"runs:/([0-9a-f]{32})/(.+)")


@dataclass
class Exported:
    """What an export wrote. `left` is what it could not write, as (what, why)."""

    folder: str
    experiments: int = 0
    runs: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    logged_models: int = 0
    traces: int = 0
    models: int = 0
    versions: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"left": [{"what": what, "why": why} for what, why in self.left]}


class Export:
    """One export of a store into a folder that is not there yet (or empty). `registry`: also the registered models."""

    def __init__(
        self, store: Store, folder: Path, *, registry: bool = True, moved: Callable[[str], None] | None = None
    ) -> None:
        self._store, self._registry, self._moved = store, registry, moved or (lambda _: None)
        self._folder = folder.absolute()
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise BadInput(f"{folder} is there already.", hint="Name a folder that is empty or not there yet.")
        self._part = self._folder.with_name(f".{self._folder.name}.part")
        self._places: dict[str, Path] = {}
        self.report = Exported(str(self._folder))

    def run(self) -> Exported:
        """All of it. The folder is there when all was written; a broken export leaves nothing."""
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
            (self._part / ".trash").mkdir()  # MLflow writes it as soon as it looks
            with ThreadPoolExecutor(WORKERS) as pool:
                try:
                    for experiment in self._store.experiments():
                        self._experiment(experiment, pool)
                finally:
                    let_go(pool, WORKERS, self._store.close)
            if self._registry:
                for model in self._store.registered():
                    self._registered(model)
            if self._folder.exists():
                self._folder.rmdir()
            self._part.rename(self._folder)
        finally:
            shutil.rmtree(self._part, ignore_errors=True)
        self.report.left += self._store.left
        return self.report

    def _experiment(self, experiment: Experiment, pool: ThreadPoolExecutor) -> None:
        place = self._part / experiment.id
        self._write(place / META, {
            "artifact_location": self._uri(experiment.id), "creation_time": experiment.created_at,
            "experiment_id": experiment.id, "last_update_time": experiment.updated_at, "lifecycle_stage": "active",
            "name": experiment.name,
        })  # fmt: skip
        self._texts(place / "tags", experiment.tags, f"experiment {experiment.name}")
        for model in self._store.logged_models(experiment):
            self._places[model.model_id] = place / "models" / model.model_id
            self._model(model, place)
        done = [pool.submit(self._run, run, place) for run in self._store.runs(experiment)]
        for one in done:
            one.result()
        done = [pool.submit(self._trace, trace, place) for trace in self._store.traces(experiment)]
        for one in done:
            one.result()
        self.report.experiments += 1

    def _trace(self, trace: Trace, experiment: Path) -> None:
        place, what = experiment / "traces" / trace.trace_id, f"trace {trace.trace_id}"
        told = dict(trace.info)
        tags = told.pop("tags", {}) | {ARTIFACTS: self._uri(experiment.name, "traces", trace.trace_id, "artifacts")}
        tags.pop(LOCATION, None)  # else MLflow would look for the spans in a database
        self._texts(place / "tags", tags, what)
        self._texts(place / "request_metadata", told.pop("trace_metadata", {}), what)
        for one in told.pop("assessments", []):
            self._write(place / "assessments" / f"{one['assessment_id']}.yaml", one)
        told["trace_location"] = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment.name}}
        if took := told.pop("execution_duration", ""):
            told["execution_duration_ms"] = round(float(took.removesuffix("s")) * 1000)
        self._write(place / "trace_info.yaml", told)
        spans = json.dumps({"spans": self._store.spans(trace)}, ensure_ascii=False)
        (place / "artifacts").mkdir()
        (place / "artifacts" / SPANS_FILE).write_bytes(spans.encode("utf-8", "surrogatepass"))
        if ATTACHED in spans:
            self._files(place / "artifacts", self._store.trace_files(trace), what)
        if trace.runs:
            self.report.left.append((f"links of the {what} to {len(trace.runs)} runs", "MLflow's file store has none"))
        self.report.traces += 1

    def _uri(self, *names: str) -> str:
        return self._folder.joinpath(*names).as_uri()

    def _run(self, run: Run, experiment: Path) -> None:
        place = experiment / run.run_id
        what = f"run {run.run_id}"
        self._write(place / META, {
            "artifact_uri": self._uri(experiment.name, run.run_id, "artifacts"), "end_time": run.end_time,
            "entry_point_name": "", "experiment_id": experiment.name, "lifecycle_stage": "active", "run_id": run.run_id,
            "run_name": run.name, "run_uuid": run.run_id, "source_name": "", "source_type": 4, "source_version": "",
            "start_time": run.start_time, "status": _RUN_STATUS.get(run.status, 3), "tags": [], "user_id": run.user,
        })  # fmt: skip
        for name in ("metrics", "params", "artifacts"):
            (place / name).mkdir()
        self._texts(place / "params", run.params, what)
        self._texts(place / "tags", {"mlflow.runName": run.name} | run.tags, what)
        self._inputs(run, place, experiment)
        points = 0
        for key, found in self._store.series(run):
            if (file := self._place(place / "metrics", key, what)) is not None:
                with file.open("a", encoding="utf-8") as out:
                    out.writelines(_lines(found))
                points += len(found.steps)
        self._files(place / "artifacts", self._store.files(run), what)
        self.report.points += points
        self.report.runs += 1
        self._moved(f"{self.report.runs} runs, {self.report.points:,} points")

    def _inputs(self, run: Run, place: Path, experiment: Path) -> None:
        for dataset in run.datasets:
            data_id = _id(dataset["name"], dataset["digest"])
            told = {name: dataset.get(name) or None for name in
                    ("digest", "name", "profile", "schema", "source", "source_type")}  # fmt: skip
            self._write(experiment / "datasets" / data_id / META, told)
            self._write(place / "inputs" / _id(data_id, run.run_id) / META, {
                "destination_id": run.run_id, "destination_type": "RUN", "source_id": data_id, "source_type": "DATASET",
                "tags": dataset["tags"],
            })  # fmt: skip
        for model_id, role, step in run.models:
            if role == "input":
                self._write(place / "inputs" / _id(model_id, run.run_id) / META, {
                    "destination_id": run.run_id, "destination_type": "RUN", "source_id": model_id, "source_type": "MODEL",
                    "tags": {},
                })  # fmt: skip
            else:
                self._write(place / "outputs" / model_id / META, {
                    "destination_id": model_id, "destination_type": "MODEL_OUTPUT", "source_id": model_id,
                    "source_type": "RUN_OUTPUT", "step": step, "tags": {},
                })  # fmt: skip

    def _model(self, model: LoggedModel, experiment: Path) -> None:
        place = experiment / "models" / model.model_id
        what = f"logged model {model.model_id}"
        self._write(place / META, {
            "artifact_location": self._uri(experiment.name, "models", model.model_id, "artifacts"),
            "creation_timestamp": model.created_at, "experiment_id": experiment.name,
            "last_updated_timestamp": model.updated_at, "lifecycle_stage": "active", "model_id": model.model_id,
            "model_type": model.model_type or None, "name": model.name, "source_run_id": model.source_run or None,
            "status": _MODEL_STATUS.get(model.status, 2), "status_message": None,
        })  # fmt: skip
        self._texts(place / "params", model.params, what)
        self._texts(place / "tags", model.tags, what)
        (place / "metrics").mkdir()
        for one in model.metrics:
            if (file := self._place(place / "metrics", one["key"], what)) is not None:
                words = [str(one["time"]), repr(float(one["value"])), str(one["step"]), one["run_id"]]
                words += [one["dataset"], one["digest"]] if one.get("dataset") else []
                with file.open("a", encoding="utf-8") as out:
                    out.write(" ".join(words) + "\n")
        self._files(place / "artifacts", self._store.model_files(model), what)
        self.report.logged_models += 1

    def _registered(self, model: Registered) -> None:
        place = self._part / "models" / model.name
        what = f"registered model {model.name}"
        self._write(place / META, {
            "creation_timestamp": model.created_at, "description": model.description or None,
            "last_updated_timestamp": model.updated_at, "name": model.name,
        })  # fmt: skip
        self._texts(place / "tags", model.tags, what)
        self._texts(place / "aliases", {alias: str(number) for alias, number in model.aliases.items()}, what)
        for one in model.versions:
            folder = self._source(one.source)
            if folder is None and not model.tags.get("mlflow.prompt.is_prompt"):
                self.report.left.append(
                    (f"files of {model.name}/{one.number}", f"its run or model was not exported ({one.source})")
                )
            source = f"models:/{one.model_id}" if one.model_id else folder or one.source
            self._write(place / f"version-{one.number}" / META, {
                "creation_timestamp": one.created_at, "current_stage": one.stage, "description": one.description or None,
                "last_updated_timestamp": one.updated_at, "model_id": one.model_id or None, "name": model.name,
                "run_id": one.run_id or None, "run_link": one.run_link or None, "source": source, "status": "READY",
                "status_message": None, "storage_location": folder or source, "user_id": one.user or None,
                "version": one.number,
            })  # fmt: skip
            self._texts(place / f"version-{one.number}" / "tags", one.tags, what)
            self.report.versions += 1
        self.report.models += 1

    def _source(self, source: str) -> str | None:
        """The folder of a version's files in what was exported, as a URI."""
        if source.startswith("models:/m-"):
            place = self._places.get(source.removeprefix("models:/"))
            return None if place is None else self._uri(place.parent.parent.name, "models", place.name, "artifacts")
        found = _RUN_SOURCE.fullmatch(source)
        there = next(self._part.glob(f"*/{found[1]}"), None) if found else None
        return (
            None if there is None or found is None else self._uri(there.parent.name, there.name, "artifacts", found[2])
        )

    def _texts(self, folder: Path, found: dict[str, str], what: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in found.items():
            if (file := self._place(folder, name, what)) is not None:
                file.write_bytes(value.encode("utf-8", "surrogatepass"))

    def _place(self, folder: Path, name: str, what: str) -> Path | None:
        """Where a name lies as a file; None, and told, where this store can't hold it beside another (`a` and `a/b`)."""
        file = folder / name
        if not file.is_relative_to(folder) or ".." in file.parts:
            self.report.left.append((f"{name} of {what}", "it is no file's name"))
            return None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            file = folder  # a folder: said below
        if file.is_dir():
            self.report.left.append((f"{name} of {what}", "another name of it would be its folder"))
            return None
        return file

    def _files(self, folder: Path, files: Iterable[File], what: str) -> None:
        for one in files:
            file = folder / one.path
            if ".." in file.parts or not file.is_relative_to(folder):
                self.report.left.append((f"{one.path} of {what}", "it is no file's name"))
                continue
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                with one.open() as source, file.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
            except HeadwayError as error:
                self.report.left.append((f"{one.path} of {what}", error.message))
                continue
            self.report.files += 1
            self.report.bytes += file.stat().st_size

    def _write(self, path: Path, values: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A JSON text is a YAML text: nothing is needed to write it, and nothing in a name can be misread.
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()), encoding="utf-8")


def _lines(found: Columns) -> Iterable[str]:
    return (
        f"{time} {value!r} {step}\n" for step, time, value in zip(found.steps, found.times, found.values, strict=True)
    )


def _id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
