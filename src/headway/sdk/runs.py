"""Runs: submit, follow, search, cancel."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.errors import Conflict, NotFound, Unavailable
from headway.sdk import events, points, sending
from headway.sdk.client import Client, part
from headway.sdk.points import Columns

Json = dict[str, Any]
LIVE = frozenset({"queued", "running"})
_MLFLOW = "/api/2.0/mlflow"
_PATIENCE_S = 120.0
_WORDS = {"SCHEDULED": "queued", "RUNNING": "running", "FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
PARENT = "mlflow.parentRunId"


class Runs:
    """The runs of one project. A run is the API's JSON: `run_id`, `status`, `cause`, `params`, `metrics`, `models`..."""

    def __init__(self, client: Client, project: str) -> None:
        self.client = client
        self.project = project
        self.base = f"/api/v1/projects/{part(project)}/runs"

    def submit(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        source: str = "",
        name: str = "",
        environment: str | None = None,
        memory_mb: int | None = None,
        timeout_s: float | None = None,
        cpu: float | None = None,
        cell_timeout_s: float | None = None,
    ) -> Json:
        """Queue a run of a notebook or script of the project, or of a folder that was sent (`source`)."""
        limits = {"memory_mb": memory_mb, "timeout_s": timeout_s, "cpu": cpu, "cell_timeout_s": cell_timeout_s}
        body = {"path": path, "params": dict(params or {}), "limits": limits, "source": source, "name": name,
                "environment": environment}  # fmt: skip
        found: Json = self.client.post(self.base, body)
        return found

    def send(self, script: Path, folder: Path | None = None) -> tuple[str, str]:
        """Send the folder that a script lies in; (source, path in it) for `submit`. See `sending` for what goes along."""
        root = sending.root_of(script, folder)
        files = sending.members(root, script)
        with tempfile.TemporaryFile() as archive:
            sending.pack(files, archive)
            size = archive.tell()
            archive.seek(0)
            headers = {"Content-Type": "application/gzip", "Content-Length": str(size)}
            url = f"/api/v1/projects/{part(self.project)}/sources"
            answer = self.client.request("POST", url, archive, headers=headers, again=True, timeout=600)
        return str(json.loads(answer.body)["source"]), script.resolve().relative_to(root).as_posix()

    def get(self, run_id: str, *, patient: bool = False) -> Json:
        """One run. Raises `NotFound`. Who is `patient` waits up to two minutes for a server that is away."""
        lost_at = time.monotonic()
        while True:
            try:
                found: Json = self.client.get(self._at(run_id))
                return found
            except Unavailable:
                if not patient or time.monotonic() - lost_at > _PATIENCE_S:
                    raise
                time.sleep(0.5)

    def whole_id(self, said: str) -> str:
        """The id of a run from its beginning. Raises `NotFound`, or `Conflict` where several begin so."""
        if len(said) >= 32:
            return said
        found = [run["run_id"] for run in self.search(trainings=True, limit=10_000) if run["run_id"].startswith(said)]
        if not found:
            raise NotFound(f"There is no run '{said}' in project {self.project}.", hint="headway runs list")
        if len(found) > 1:
            raise Conflict(f"{len(found)} runs begin with '{said}'.", hint="Give more of the id.")
        return str(found[0])

    def cancel(self, run_id: str) -> Json:
        """End it: by interrupt, TERM, KILL. Raises `Conflict` when it is over."""
        found: Json = self.client.post(f"{self._at(run_id)}/cancel")
        return found

    def rerun(self, run_id: str) -> Json:
        """Submit the same once more."""
        found: Json = self.client.post(f"{self._at(run_id)}/rerun")
        return found

    def remove(self, run_id: str) -> None:
        """Delete a run with its metrics; its artifacts go with it after a while."""
        self._mlflow("runs/delete", {"run_id": run_id})

    def logs(self, run_id: str) -> Iterator[bytes]:
        """What it has printed so far, as it was printed."""
        offset = 0
        while True:
            answer = self.client.request("GET", f"{self._at(run_id)}/logs", query={"offset": offset})
            after = int(answer.headers.get("x-next-offset", offset))
            if answer.body:
                yield answer.body
            if after == offset:
                return
            offset = after

    def follow(self, run_id: str, *, waits: Callable[[str], None] | None = None) -> Iterator[str]:
        """What it prints, from its first line until it is over. Goes on where it was when the connection breaks, for as long
        as two minutes: the run does not notice. `waits` hears why a queued run does not start yet.
        """
        self._until_it_starts(run_id, waits)
        offset, lost_at = 0, 0.0
        while True:
            headers = {"Last-Event-ID": str(offset)}
            try:
                for event in events.read(self.client.pieces(f"{self._at(run_id)}/logs", follow=True, headers=headers)):
                    lost_at = 0.0
                    if event.name == "end":
                        return
                    offset = int(event.id or offset)
                    yield str(json.loads(event.data)["text"])
            except Unavailable:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE_S:
                    raise
                time.sleep(0.5)

    def _until_it_starts(self, run_id: str, waits: Callable[[str], None] | None) -> None:
        said = ""
        while True:
            run = self.get(run_id, patient=True)
            if run["status"] != "queued":
                return
            if waits is not None and run["waits_for"] and run["waits_for"] != said:
                said = run["waits_for"]
                waits(said)
            time.sleep(0.2)

    def wait(self, run_id: str) -> Json:
        """The run once it is over, however it ended."""
        for _ in self.follow(run_id):
            pass
        return self.get(run_id, patient=True)

    def search(
        self, filter: str = "", *, order_by: Sequence[str] = (), limit: int | None = 1000, trainings: bool = False
    ) -> list[Json]:
        """Runs in MLflow's grammar (`metrics.auc > 0.9 and params.lr = '0.1'`), newest first unless ordered otherwise: those
        that headway started, and those that a client recorded; all of them if `limit` is None. With `trainings`, the trainings
        inside runs too.
        """
        alone = "" if trainings else f"tags.`{PARENT}` IS NULL"
        body: Json = {
            "experiment_ids": self._experiments(),
            "filter": " and ".join(one for one in (filter.strip(), alone) if one),
            "order_by": list(order_by),
        }
        found: list[Json] = []
        while body["experiment_ids"] and (limit is None or len(found) < limit):
            body["max_results"] = 1000 if limit is None else min(1000, limit - len(found))
            page = self._mlflow("runs/search", body)
            found += [_flat(run) for run in page.get("runs", [])]
            body["page_token"] = page.get("next_page_token")
            if not body["page_token"]:
                break
        self._add_words(found)
        return found

    def table(self, kind: str = "csv", filter: str = "") -> Iterator[bytes]:
        """Runs and trainings as a file of a kind (csv, jsonl, parquet), as it comes: every column that there is."""
        yield from self.client.pieces(
            f"{self.base}/export", format=kind, filter=filter or None, all=True, children=True
        )

    def _add_words(self, found: list[Json]) -> None:
        """The platform's own words for how runs ended, which MLflow's five can't tell."""
        if not found:
            return
        recent = self.client.get(self.base, limit=500)["runs"]
        known = {run["run_id"]: run for run in recent}
        for run in found:
            if (row := known.get(run["run_id"])) is not None:
                run["status"], run["cause"] = row["status"], row["cause"]

    def _experiments(self) -> list[str]:
        found: list[str] = []
        body: Json = {"max_results": 1000}
        while True:
            page = self._mlflow("experiments/search", body)
            found += [one["experiment_id"] for one in page.get("experiments", [])]
            if not page.get("next_page_token"):
                return found
            body["page_token"] = page["next_page_token"]

    def history(self, run_id: str, metric: str) -> list[Json]:
        """All points of a metric: `step`, `timestamp` (milliseconds), `value`."""
        found = self.series(run_id, [metric]).get(metric)
        if found is None:
            return []
        rows = zip(*found, strict=True)
        return [{"step": step, "timestamp": moment, "value": value} for step, moment, value in rows]

    def series(self, run_id: str, names: Sequence[str] = ()) -> dict[str, Columns]:
        """All points of some series, or of all that the run has, as columns; series without points are absent."""
        answer = self.client.request("GET", f"/api/v1/runs/{part(run_id)}/points", query={"key": list(names)})
        return dict(points.unpack(answer.body))

    def log(
        self, run_id: str, metrics: Mapping[str, float], *, params: Mapping[str, Any] | None = None, step: int = 0
    ) -> None:
        """Record metrics and parameters in a run; durable once it returns."""
        moment = time.time_ns() // 1_000_000
        if not params:
            self.log_series(run_id, {k: Columns([step], [moment], [float(v)]) for k, v in metrics.items()})
            return
        body = {
            "run_id": run_id,
            "metrics": [{"key": k, "value": float(v), "timestamp": moment, "step": step} for k, v in metrics.items()],
            "params": [{"key": key, "value": str(value)} for key, value in params.items()],
        }
        self._mlflow("runs/log-batch", body)

    def log_series(self, run_id: str, series: Mapping[str, Columns], *, once: str = "") -> int:
        """Record whole columns of points: all or nothing, durable once it returns; how many there were.

        It counts once however often the connection makes us send it. `once` names this batch in the run, for a caller who
        may repeat it himself. At most 1.3 million points fit.
        """
        headers = {"Content-Type": points.MEDIA_TYPE, "Idempotency-Key": once or secrets.token_hex(16)}
        url = f"/api/v1/runs/{part(run_id)}/points"
        answer = self.client.request("POST", url, points.pack(series), headers=headers, again=True)
        return int(json.loads(answer.body)["points"])

    def artifacts(self, run_id: str, path: str = "") -> list[Json]:
        """All files of a run below a path: `path`, `file_size`."""
        page = self._mlflow_get("artifacts/list", {"run_id": run_id, "path": path or None})
        found: list[Json] = []
        for entry in page.get("files", []):
            found += self.artifacts(run_id, entry["path"]) if entry.get("is_dir") else [entry]
        return found

    def _mlflow(self, what: str, body: Json) -> Json:
        headers = {"Content-Type": "application/json", "X-MLflow-Workspace": self.project}
        data = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        answer = self.client.request("POST", f"{_MLFLOW}/{what}", data, headers=headers, again=True)
        found: Json = json.loads(answer.body)
        return found

    def _mlflow_get(self, what: str, query: Json) -> Json:
        headers = {"X-MLflow-Workspace": self.project}
        answer = self.client.request("GET", f"{_MLFLOW}/{what}", query=query, headers=headers)
        found: Json = json.loads(answer.body)
        return found

    def _at(self, run_id: str) -> str:
        return f"{self.base}/{part(run_id)}"


def _flat(run: Json) -> Json:
    """MLflow's run as one object of ours."""
    info, data = run["info"], run.get("data", {})
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    return {
        "run_id": info["run_id"],
        "name": info.get("run_name", ""),
        "status": _WORDS.get(info.get("status", ""), info.get("status", "")),
        "cause": tags.get("headway.cause", ""),
        "path": tags.get("headway.path") or tags.get("mlflow.source.name", ""),
        "params": {one["key"]: one["value"] for one in data.get("params", [])},
        "metrics": {one["key"]: _number(one["value"]) for one in data.get("metrics", [])},
        "tags": tags,
        "parent_run_id": tags.get(PARENT),
        "started_at": info.get("start_time"),
        "ended_at": info.get("end_time"),
    }


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
