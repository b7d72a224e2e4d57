"""MLflow's file store, `mlruns/`: folders of small files, one for each parameter, tag and metric."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headway.errors import BadInput
from headway.moving.artifacts import Places
from headway.moving.store import (
    MODEL_STATUSES,
    STATUSES,
    Amount,
    Experiment,
    File,
    LoggedModel,
    Registered,
    Run,
    Trace,
    Version,
    columns,
    source_of,
    text,
    time_of,
)
from headway.moving.tracing import ARTIFACTS, info_of_version_2, spans_from
from headway.sdk.points import Columns

META, TRACE = "meta.yaml", "trace_info.yaml"
_LINE_BYTES = 26  # of a metric: time, value and step


class FileStore:
    """A folder as MLflow's own file store writes it, of any version since 1.0."""

    def __init__(self, folder: Path, artifacts: tuple[Path, ...] = ()) -> None:
        self.folder = folder
        self.name = str(folder)
        self.left: list[tuple[str, str]] = []
        self._places = Places((*artifacts, folder, folder.parent))
        self._folders: dict[str, Path] = {}

    def close(self) -> None:
        """Nothing is held open."""

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        found = []
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            if folder.name in (".trash", "models") or not (folder / META).is_file():
                continue
            meta = _meta(folder)
            if text(meta.get("lifecycle_stage", "active")) != "active":
                self.left.append((f"experiment {meta.get('name')}", "it is deleted"))
                continue
            number = text(meta.get("experiment_id") or folder.name)
            self._folders[number] = folder
            found.append(Experiment(number, text(meta["name"]), time_of(meta.get("creation_time")),
                                    time_of(meta.get("last_update_time")), _texts(folder / "tags")))  # fmt: skip
        for folder in sorted((self.folder / ".trash").glob(f"*/{META}")):
            self.left.append((f"experiment {_meta(folder.parent).get('name')}", "it is deleted"))
        return found

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See `Store`."""
        folder, deleted = self._folders[experiment.id], 0
        datasets = {path.parent.name: _meta(path.parent) for path in folder.glob(f"datasets/*/{META}")}
        for place in self._run_folders(folder):
            meta = _meta(place)
            if text(meta.get("lifecycle_stage", "active")) != "active":
                deleted += 1
                continue
            yield self._run(place, meta, experiment.id, datasets)
        if deleted:
            self.left.append((f"{deleted} runs of {experiment.name}", "they are deleted"))

    def _run_folders(self, folder: Path) -> Iterator[Path]:
        for place in sorted(folder.iterdir()):
            if place.name in ("tags", "datasets", "traces", "models") or not place.is_dir():
                continue
            if (place / META).is_file():
                yield place
            else:
                self.left.append((f"folder {place}", f"it has no {META}"))

    def _run(self, place: Path, meta: dict[str, Any], experiment_id: str, datasets: dict[str, dict[str, Any]]) -> Run:
        tags = _texts(place / "tags")
        run_id = text(meta.get("run_id") or meta.get("run_uuid") or place.name)
        status = meta.get("status", 3)
        uses, models = [], []
        for path in sorted(place.glob(f"inputs/*/{META}")):
            found = _meta(path.parent)
            if found.get("source_type") in ("DATASET", None) and text(found.get("source_id")) in datasets:
                told = datasets[text(found["source_id"])]
                words = {name: text(told.get(name)) for name in
                         ("name", "digest", "source_type", "source", "schema", "profile")}  # fmt: skip
                uses.append(words | {"tags": {text(k): text(v) for k, v in (found.get("tags") or {}).items()}})
            elif found.get("source_type") == "MODEL_INPUT" or text(found.get("source_id")).startswith("m-"):
                models.append((text(found["source_id"]), "input", int(found.get("step") or 0)))
        for path in sorted(place.glob(f"outputs/*/{META}")):
            found = _meta(path.parent)
            models.append((text(found["destination_id"]), "output", int(found.get("step") or 0)))
        return Run(
            run_id, experiment_id, text(meta.get("run_name") or meta.get("name") or tags.get("mlflow.runName")),
            text(meta.get("user_id")), STATUSES.get(status, text(status)), time_of(meta.get("start_time")),
            time_of(meta.get("end_time")), _texts(place / "params"), tags, uses, models, (place, text(meta.get("artifact_uri"))),
        )  # fmt: skip

    def series(self, run: Run) -> Iterator[tuple[str, Columns]]:
        """See `Store`."""
        folder: Path = run.place[0] / "metrics"
        for path in _below(folder):
            key = path.relative_to(folder).as_posix()
            found, bad = read_metric(path.read_bytes())
            if bad:
                self.left.append((f"{bad} points of {key} of run {run.run_id}", "their lines are damaged"))
            if found.steps:
                yield key, found

    def files(self, run: Run) -> Iterator[File]:
        """See `Store`."""
        place, uri = run.place
        yield from self._places.files(uri, self.left, f"run {run.run_id}", place / "artifacts")

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """See `Store`."""
        for path in sorted(self._folders[experiment.id].glob(f"models/*/{META}")):
            place, meta = path.parent, _meta(path.parent)
            if text(meta.get("lifecycle_stage") or "active") != "active":
                self.left.append((f"logged model {place.name}", "it is deleted"))
                continue
            created = time_of(meta.get("creation_timestamp")) or 0
            yield LoggedModel(
                text(meta["model_id"]), experiment.id, text(meta.get("name")), text(meta.get("model_type")),
                MODEL_STATUSES.get(meta.get("status", 2), "READY"), text(meta.get("source_run_id")), created,
                time_of(meta.get("last_updated_timestamp")) or created, _texts(place / "params"), _texts(place / "tags"),
                self._model_metrics(place / "metrics"), (place, text(meta.get("artifact_location"))),
            )  # fmt: skip

    def _model_metrics(self, folder: Path) -> list[dict[str, Any]]:
        found = []
        for path in _below(folder):
            for line in path.read_text(encoding="utf-8").splitlines():
                parts = line.split(" ")
                try:
                    one = {"key": path.relative_to(folder).as_posix(), "time": int(parts[0]), "value": float(parts[1]),
                           "step": int(parts[2]), "run_id": parts[3]}  # fmt: skip
                except (ValueError, IndexError):
                    self.left.append((f"a metric of the model {folder.parent.name}", "its line is damaged"))
                    continue
                found.append(one | ({"dataset": " ".join(parts[4:-1]), "digest": parts[-1]} if len(parts) > 5 else {}))
        return found

    def model_files(self, model: LoggedModel) -> Iterator[File]:
        """See `Store`."""
        place, uri = model.place
        yield from self._places.files(uri, self.left, f"model {model.model_id}", place / "artifacts")

    def traces(self, experiment: Experiment) -> Iterator[Trace]:
        """See `Store`."""
        for path in sorted(self._folders[experiment.id].glob(f"traces/*/{TRACE}")):
            place = path.parent
            told = _yaml(path)
            if tags := _texts(place / "tags"):
                told["tags"] = tags
            more = "trace_metadata" if "request_time" in told else "request_metadata"
            told[more] = _texts(place / "request_metadata")
            info = info_of_version_2(told)
            if judged := [_yaml(one) for one in sorted((place / "assessments").glob("*.yaml"))]:
                info["assessments"] = judged
            yield Trace(place.name, info | {"trace_id": place.name}, [], place)

    def spans(self, trace: Trace) -> list[dict[str, Any]]:
        """See `Store`."""
        return spans_from(self.trace_files(trace), trace, self.left)

    def trace_files(self, trace: Trace) -> Iterator[File]:
        """See `Store`."""
        place = trace.info.get("tags", {}).get(ARTIFACTS, "")
        yield from self._places.files(place, [], f"trace {trace.trace_id}", trace.place / "artifacts")

    def registered(self) -> Iterator[Registered]:
        """See `Store`."""
        for path in sorted((self.folder / "models").glob(f"*/{META}")):
            place, meta = path.parent, _meta(path.parent)
            aliases = {text(k): int(v) for k, v in (meta.get("aliases") or {}).items()}
            aliases |= {k: int(v) for k, v in _texts(place / "aliases").items()}
            created = time_of(meta.get("creation_timestamp")) or 0
            yield Registered(
                text(meta["name"]), text(meta.get("description")), created,
                time_of(meta.get("last_updated_timestamp")) or created, _texts(place / "tags"), aliases,
                [one for path in place.glob(f"version-*/{META}") if (one := _version(path.parent)) is not None],
            )  # fmt: skip

    def amount(self, note: Callable[[str], None]) -> Amount:
        """See `Store`. Points are guessed from the sizes of metric files."""
        found = Amount(exact=False)
        for experiment in self.experiments():
            found.experiments += 1
            folder = self._folders[experiment.id]
            for place in self._run_folders(folder):
                found.runs += 1
                found.points += sum(path.stat().st_size for path in _below(place / "metrics")) // _LINE_BYTES
                _count(found, place / "artifacts")
            for path in folder.glob("models/*/artifacts"):
                found.logged_models += 1
                _count(found, path)
            found.traces += sum(1 for _ in folder.glob(f"traces/*/{TRACE}"))
            note(f"{found.runs} runs")
        found.registered_models = sum(1 for _ in (self.folder / "models").glob(f"*/{META}"))
        self.left.clear()
        return found


def read_metric(data: bytes) -> tuple[Columns, int]:
    """The points of a metric's file (lines of "time value step", step 0 where it lacks), and how many lines are damaged.

    MLflow 3 adds the name and digest of a dataset to a line.
    """
    words = data.split()
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(words))
    if len(words) == 3 * lines:
        try:
            return columns(map(int, words[2::3]), map(int, words[0::3]), map(float, words[1::3])), 0
        except (ValueError, OverflowError):
            pass
    steps, times, values, bad = [], [], [], 0
    for line in data.splitlines():
        parts = line.split()
        try:
            step, time, value = int(parts[2]) if len(parts) > 2 else 0, int(parts[0]), float(parts[1])
        except (ValueError, IndexError):
            bad += bool(parts)
            continue
        steps.append(step)
        times.append(time)
        values.append(value)
    return columns(steps, times, values), bad


def _version(place: Path) -> Version | None:
    meta = _meta(place)
    if meta.get("current_stage") == "Deleted_Internal":  # how MLflow deletes a version
        return None
    created, model_id = time_of(meta.get("creation_timestamp")) or 0, text(meta.get("model_id"))
    return Version(
        int(meta["version"]), source_of(text(meta.get("source")), model_id), text(meta.get("run_id")), model_id,
        text(meta.get("current_stage")) or "None", text(meta.get("description")), text(meta.get("user_id")),
        text(meta.get("run_link")), created, time_of(meta.get("last_updated_timestamp")) or created, _texts(place / "tags"),
    )  # fmt: skip


def _meta(folder: Path) -> dict[str, Any]:
    """`meta.yaml`. Raises `BadInput` for one that can't be read, naming it."""
    return _yaml(folder / META)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise BadInput("Reading mlruns folders needs PyYAML.", hint="pip install pyyaml") from None
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        found = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506  both are safe loaders
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{path} can't be read: {said}", hint="Mend it, or move its folder away.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} is damaged: it holds no names and values.", hint="Mend it, or move its folder away.")
    return found


def _texts(folder: Path) -> dict[str, str]:
    """Names (paths below the folder) and contents of small files: how parameters and tags are kept."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in _below(folder)
    }


def _below(folder: Path) -> list[Path]:
    return sorted(Path(base) / name for base, _, names in os.walk(folder) for name in names)


def _count(found: Amount, folder: Path) -> None:
    for path in _below(folder):
        found.files += 1
        found.bytes += path.stat().st_size
