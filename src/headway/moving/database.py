"""MLflow's SQLite database, read-only, of any of its schemas: a column or table that an old one lacks reads as nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from headway.errors import BadInput
from headway.moving.artifacts import Places
from headway.moving.store import (
    MODEL_STATUSES,
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
)
from headway.moving.tracing import ARTIFACTS, PROMOTED, assessment_of, info_of, named, promoted, spans_from
from headway.sdk.points import Columns

_UNSERVED = {
    "evaluation_datasets": "evaluation datasets", "webhooks": "webhooks",
    "scorers": "scorers", "issues": "issues", "jobs": "jobs", "label_schemas": "label schemas",
    "review_queues": "review queues", "secrets": "secrets of the gateway", "endpoints": "endpoints of the gateway",
    "mcp_servers": "MCP servers",
}  # fmt: skip
_PIECE = 50_000


class SqliteStore:
    """`mlflow.db` with the folder of its artifacts. It may be in use: it is read in one transaction a thread."""

    def __init__(self, path: Path, artifacts: tuple[Path, ...] = ()) -> None:
        self.path = path
        self.name = str(path)
        self.left: list[tuple[str, str]] = []
        beside = path.parent
        self._places = Places((*artifacts, beside / "mlartifacts", beside / "mlruns", beside))
        self._kept = threading.local()
        self._columns: dict[str, set[str]] = {}
        missing = {"experiments", "runs", "metrics", "params", "tags"} - self._tables()
        if missing:
            raise BadInput(f"{path} is no database of MLflow: it has no table {sorted(missing)[0]}.",
                           hint="headway import mlruns takes a mlruns folder, a mlflow.db, or a server's address.")  # fmt: skip

    def _db(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._kept, "db", None)
        if found is None:
            try:
                found = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
                found.execute("SELECT 1 FROM sqlite_master")
            except sqlite3.Error as error:
                raise BadInput(f"{self.path} can't be read: {error}.", hint="Is it a SQLite database?") from None
            found.row_factory = sqlite3.Row
            self._kept.db = found
        return found

    def close(self) -> None:
        """See `Store`."""
        found: sqlite3.Connection | None = getattr(self._kept, "db", None)
        if found is not None:
            found.close()
            del self._kept.db

    def _tables(self) -> set[str]:
        for (name,) in self._db().execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            self._columns[name] = {row[1] for row in self._db().execute(f"PRAGMA table_info({name!r})")}
        return set(self._columns)

    def _rows(self, table: str, wanted: str, where: str = "", *values: Any) -> list[sqlite3.Row]:
        """Rows of a table with these columns, None for those that this schema lacks; none where it has no such table."""
        have = self._columns.get(table)
        if have is None:
            return []
        names = [f'"{name}"' if name in have else f'NULL AS "{name}"' for name in wanted.split()]
        return self._db().execute(f"SELECT {', '.join(names)} FROM {table} {where}", values).fetchall()  # noqa: S608

    def _pairs(self, table: str, key: str, value: str, where: str, *values: Any) -> dict[str, str]:
        return {text(row[0]): text(row[1]) for row in self._rows(table, f"{key} {value}", where, *values)}

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        found = []
        for row in self._rows("experiments", "experiment_id name lifecycle_stage creation_time last_update_time workspace",
                              "ORDER BY experiment_id"):  # fmt: skip
            name = text(row["name"])
            if text(row["workspace"] or "default") != "default":
                name = f"{name} ({row['workspace']})"
            if row["lifecycle_stage"] == "deleted":
                self.left.append((f"experiment {name}", "it is deleted"))
                continue
            number = row["experiment_id"]
            tags = self._pairs("experiment_tags", "key", "value", "WHERE experiment_id = ?", number)
            found.append(Experiment(text(number), name, row["creation_time"], row["last_update_time"], tags))
        for table, what in _UNSERVED.items():
            if table in self._columns and (count := self._count(table)):
                self.left.append((f"{count} {what}", f"an import does not take {what}"))
        return found

    def _count(self, table: str, where: str = "") -> int:
        return int(self._db().execute(f"SELECT COUNT(*) FROM {table} {where}").fetchone()[0])  # noqa: S608

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See `Store`."""
        number, deleted = int(experiment.id), 0
        datasets = {
            row["dataset_uuid"]: {"name": row["name"], "digest": row["digest"], "source_type": text(row["dataset_source_type"]),
                                  "source": text(row["dataset_source"]), "schema": text(row["dataset_schema"]),
                                  "profile": text(row["dataset_profile"])}
            for row in self._rows("datasets", "dataset_uuid name digest dataset_source_type dataset_source dataset_schema"
                                  " dataset_profile", "WHERE experiment_id = ?", number)
        }  # fmt: skip
        for row in self._rows("runs", "run_uuid name user_id status start_time end_time lifecycle_stage artifact_uri",
                              "WHERE experiment_id = ? ORDER BY start_time, run_uuid", number):  # fmt: skip
            if row["lifecycle_stage"] == "deleted":
                deleted += 1
                continue
            run_id = row["run_uuid"]
            tags = self._pairs("tags", "key", "value", "WHERE run_uuid = ?", run_id)
            yield Run(
                run_id, experiment.id, text(row["name"]) or tags.get("mlflow.runName", ""), text(row["user_id"]),
                text(row["status"]) or "FINISHED", row["start_time"], row["end_time"],
                self._pairs("params", "key", "value", "WHERE run_uuid = ?", run_id), tags,
                self._datasets(run_id, datasets), self._models(run_id), text(row["artifact_uri"]),
            )  # fmt: skip
        if deleted:
            self.left.append((f"{deleted} runs of {experiment.name}", "they are deleted"))

    def _datasets(self, run_id: str, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        where = "WHERE destination_id = ? AND source_type = 'DATASET'"
        for row in self._rows("inputs", "input_uuid source_id", where, run_id):
            if row["source_id"] in known:
                tags = self._pairs("input_tags", "name", "value", "WHERE input_uuid = ?", row["input_uuid"])
                found.append(known[row["source_id"]] | {"tags": tags})
        return found

    def _models(self, run_id: str) -> list[tuple[str, str, int]]:
        outputs = self._rows(
            "inputs", "destination_id step", "WHERE source_id = ? AND source_type = 'RUN_OUTPUT'", run_id
        )
        inputs = self._rows(
            "inputs", "destination_id step", "WHERE source_id = ? AND source_type = 'RUN_INPUT'", run_id
        )
        return [
            (row["destination_id"], role, row["step"] or 0)
            for role, rows in (("output", outputs), ("input", inputs))
            for row in rows
        ]

    def series(self, run: Run) -> Iterator[tuple[str, Columns]]:
        """See `Store`. A series that fills several pieces comes in several."""
        have = self._columns["metrics"]
        step = "step" if "step" in have else "0"
        # NaN is kept as 0 with a mark, as SQLite would make NULL of it; `is_nan` came later than `step`.
        value = "CASE WHEN is_nan THEN NULL ELSE value END" if "is_nan" in have else "value"
        asked = f"SELECT key, {step}, timestamp, {value} FROM metrics WHERE run_uuid = ? ORDER BY 1, 2, 3"  # noqa: S608
        nan = float("nan")
        with closing(self._db().cursor()) as cursor:
            cursor.row_factory = None
            cursor.execute(asked, (run.run_id,))
            while rows := cursor.fetchmany(_PIECE):
                keys, steps, times, values = zip(*rows, strict=True)
                at = 0
                while at < len(rows):
                    end = at + keys[at:].count(keys[at])  # rows are ordered by key
                    some = [nan if one is None else one for one in values[at:end]]
                    yield keys[at], columns(steps[at:end], times[at:end], some)
                    at = end

    def files(self, run: Run) -> Iterator[File]:
        """See `Store`."""
        yield from self._places.files(run.place, self.left, f"run {run.run_id}")

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """See `Store`."""
        wanted = ("model_id name artifact_location creation_timestamp_ms last_updated_timestamp_ms status lifecycle_stage"
                  " model_type source_run_id")  # fmt: skip
        for row in self._rows("logged_models", wanted, "WHERE experiment_id = ? ORDER BY model_id", int(experiment.id)):
            model_id = row["model_id"]
            if row["lifecycle_stage"] == "deleted":
                self.left.append((f"logged model {model_id}", "it is deleted"))
                continue
            yield LoggedModel(
                model_id, experiment.id, row["name"], text(row["model_type"]), MODEL_STATUSES.get(row["status"], "READY"),
                text(row["source_run_id"]), row["creation_timestamp_ms"], row["last_updated_timestamp_ms"],
                self._pairs("logged_model_params", "param_key", "param_value", "WHERE model_id = ?", model_id),
                self._pairs("logged_model_tags", "tag_key", "tag_value", "WHERE model_id = ?", model_id),
                self._model_metrics(model_id), text(row["artifact_location"]),
            )  # fmt: skip

    def _model_metrics(self, model_id: str) -> list[dict[str, Any]]:
        rows = self._rows("logged_model_metrics", "metric_name metric_timestamp_ms metric_step metric_value run_id dataset_name"
                          " dataset_digest", "WHERE model_id = ?", model_id)  # fmt: skip
        return [
            {"key": r["metric_name"], "time": r["metric_timestamp_ms"], "step": r["metric_step"],
             "value": "NaN" if r["metric_value"] is None else r["metric_value"], "run_id": r["run_id"],
             "dataset": text(r["dataset_name"]), "digest": text(r["dataset_digest"])}
            for r in rows
        ]  # fmt: skip

    def model_files(self, model: LoggedModel) -> Iterator[File]:
        """See `Store`."""
        yield from self._places.files(model.place, self.left, f"model {model.model_id}")

    def traces(self, experiment: Experiment) -> Iterator[Trace]:
        """See `Store`."""
        links: dict[str, list[str]] = {}
        where = "WHERE source_type = 'trace' AND destination_type = 'run'"
        for row in self._rows("entity_associations", "source_id destination_id", where):
            links.setdefault(row["source_id"], []).append(row["destination_id"])
        wanted = ("request_id timestamp_ms execution_time_ms status client_request_id request_preview response_preview"
                  f" {PROMOTED}")  # fmt: skip
        where = "WHERE experiment_id = ? ORDER BY timestamp_ms, request_id"
        for row in self._rows("trace_info", wanted, where, int(experiment.id)):
            trace_id = row["request_id"]
            told = self._rows(
                "assessments", "assessment_id name assessment_type value error created_timestamp last_updated_timestamp"
                " source_type source_id span_id rationale overrides valid assessment_metadata",
                "WHERE trace_id = ? ORDER BY created_timestamp, assessment_id", trace_id,
            )  # fmt: skip
            info = info_of(
                trace_id, time=row["timestamp_ms"], took=row["execution_time_ms"], state=text(row["status"]),
                tags=named(row) | self._pairs("trace_tags", "key", "value", "WHERE request_id = ?", trace_id),
                metadata=promoted(row) | self._pairs("trace_request_metadata", "key", "value", "WHERE request_id = ?", trace_id),
                client_request_id=row["client_request_id"], request_preview=row["request_preview"],
                response_preview=row["response_preview"], assessments=[assessment_of(one) for one in told] or None,
            )  # fmt: skip
            yield Trace(trace_id, info, links.get(trace_id, []))

    def spans(self, trace: Trace) -> list[dict[str, Any]]:
        """See `Store`."""
        rows = self._rows("spans", "content", "WHERE trace_id = ? ORDER BY start_time_unix_nano", trace.trace_id)
        if rows:
            return [json.loads(row["content"]) for row in rows]
        return spans_from(self.trace_files(trace), trace, self.left)

    def trace_files(self, trace: Trace) -> Iterator[File]:
        """See `Store`."""
        place = trace.info.get("tags", {}).get(ARTIFACTS, "")
        yield from self._places.files(place, [], f"trace {trace.trace_id}")

    def registered(self) -> Iterator[Registered]:
        """See `Store`."""
        for row in self._rows(
            "registered_models", "name description creation_time last_updated_time workspace", "ORDER BY name"
        ):
            name, space = row["name"], text(row["workspace"] or "default")
            at: list[str]
            if space == "default":
                title, where, at = name, "WHERE name = ?", [name]
            else:
                title, where, at = f"{name} ({space})", "WHERE name = ? AND workspace = ?", [name, space]
            aliases = self._pairs("registered_model_aliases", "alias", "version", where, *at)
            yield Registered(
                title, text(row["description"]), row["creation_time"] or 0, row["last_updated_time"] or 0,
                self._pairs("registered_model_tags", "key", "value", where, *at), {k: int(v) for k, v in aliases.items()},
                list(self._versions(where, at)),
            )  # fmt: skip

    def _versions(self, where: str, at: list[str]) -> Iterator[Version]:
        wanted = ("version creation_time last_updated_time description user_id current_stage source run_id status run_link"
                  " storage_location")  # fmt: skip
        for row in self._rows("model_versions", wanted, f"{where} ORDER BY version", *at):
            if row["current_stage"] == "Deleted_Internal":
                continue
            source, model_id = source_of(text(row["source"])), ""
            if source.startswith("models:/m-"):
                model_id = source.removeprefix("models:/")
            yield Version(
                row["version"], source, text(row["run_id"]), model_id, text(row["current_stage"]) or "None",
                text(row["description"]), text(row["user_id"]), text(row["run_link"]), row["creation_time"] or 0,
                row["last_updated_time"] or 0,
                self._pairs("model_version_tags", "key", "value", f"{where} AND version = ?", *at, row["version"]),
            )  # fmt: skip

    def amount(self, note: Callable[[str], None]) -> Amount:
        """See `Store`."""
        found = Amount(runs=0, points=self._count("metrics"))
        for experiment in self.experiments():
            found.experiments += 1
            for run in self._rows(
                "runs", "artifact_uri lifecycle_stage", "WHERE experiment_id = ?", int(experiment.id)
            ):
                if run["lifecycle_stage"] != "deleted":
                    found.runs += 1
                    self._weigh(found, text(run["artifact_uri"]))
            where = "WHERE experiment_id = ?"
            for model in self._rows("logged_models", "artifact_location", where, int(experiment.id)):
                found.logged_models += 1
                self._weigh(found, text(model["artifact_location"]))
            note(f"{found.runs} runs")
        found.traces = self._count("trace_info") if "trace_info" in self._columns else 0
        found.registered_models = self._count("registered_models") if "registered_models" in self._columns else 0
        self.left.clear()
        return found

    def _weigh(self, found: Amount, uri: str) -> None:
        for file in self._places.files(uri, [], ""):
            found.files += 1
            found.bytes += file.size
