"""Sending a store to headway: experiments, models, runs, traces, the registry; what fails is told, what is there stays.

A run is sent whole or is not there: its import is begun, filled, and finished once the server has compared the sums. So an
import that was stopped goes on with the same command, and a second one of the same store changes nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from headway.errors import HeadwayError, NotFound
from headway.moving.pool import let_go
from headway.moving.store import Experiment, File, LoggedModel, Registered, Run, Store, Trace, cut
from headway.moving.tracing import ATTACHED, SPANS_FILE
from headway.sdk import points as wire
from headway.sdk.client import Client, part
from headway.sdk.points import Columns

WORKERS = 3
BATCH = 200_000  # points of a request, 4.8 MB
TRACES, TRACE_BYTES = 50, 4 << 20  # traces of a piece of work, and the size of a request
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class Report:
    """What an import did. `left` is what it could not take, as (what, why); `wrong` are runs whose sums differ."""

    source: str
    project: str
    experiments: int = 0
    joined: list[str] = field(default_factory=list)
    runs: int = 0
    runs_there: int = 0
    points: int = 0
    repeated: int = 0
    params: int = 0
    files: int = 0
    bytes: int = 0
    logged_models: int = 0
    traces: int = 0
    traces_there: int = 0
    models: int = 0
    versions: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        found = asdict(self)
        for name in ("left", "wrong"):
            found[name] = [{"what": what, "why": why} for what, why in found[name]]
        return found


class Import:
    """One import of a store into a project. `moved` hears of progress as (runs, points, bytes) done more."""

    def __init__(
        self, store: Store, client: Client, project: str, *, moved: Callable[[int, int, int], None] | None = None
    ) -> None:
        self._store, self._client, self._project = store, client, project
        self._base = f"/api/v1/projects/{part(project)}/import"
        self._moved = moved or (lambda *_: None)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.report = Report(store.name, project)

    def run(self) -> Report:
        """All of it. Ctrl-C ends it after what is under way, with `stopped` in the report."""
        begun = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for experiment in self._store.experiments():
                    number = self._experiment(experiment)
                    self._each(pool, self._store.logged_models(experiment), partial(self._model, number))
                    self._each(pool, self._store.runs(experiment), partial(self._run, number))
                    self._each(pool, _pieces(self._store.traces(experiment)), partial(self._traces, number))
                self._each(pool, self._store.registered(), self._registered)
            except KeyboardInterrupt:
                self.report.stopped = True
            finally:
                self._stop.set()
                let_go(pool, WORKERS, self._client.close, self._store.close)
        self.report.left += self._store.left
        self.report.seconds = round(time.monotonic() - begun, 3)
        return self.report

    def _each(self, pool: ThreadPoolExecutor, things: Iterable[Any], work: Callable[[Any], None]) -> None:
        """`work` for each, a few at a time, the list read no further ahead than needed. One that fails is told, not raised;
        what would fail for all (no server, no rights) is raised."""
        under_way: set[Future[None]] = set()
        for thing in things:
            under_way.add(pool.submit(self._try, work, thing))
            if len(under_way) >= 2 * WORKERS:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        for one in under_way:
            one.result()

    def _try(self, work: Callable[[Any], None], thing: Any) -> None:
        if self._stop.is_set():
            return
        try:
            work(thing)
        except HeadwayError as error:
            if error.status in (401, 403, 503, 507):
                raise
            self._left(_called(thing), error.message)
        except OSError as error:
            self._left(_called(thing), f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))

    def _left(self, what: str, why: str) -> None:
        with self._lock:
            self.report.left.append((what, why))

    def _add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                setattr(self.report, name, getattr(self.report, name) + count)

    def _post(self, what: str, body: Any) -> Any:
        return self._client.post(f"{self._base}/{what}", body, again=True)

    def _experiment(self, experiment: Experiment) -> int:
        body = {"name": experiment.name, "tags": experiment.tags, "created_at": experiment.created_at,
                "updated_at": experiment.updated_at}  # fmt: skip
        found = self._post("experiments", body)
        self.report.experiments += 1
        if not found["made"]:
            self.report.joined.append(found["name"])
        if found["name"] != experiment.name:
            self.report.renamed[experiment.name] = found["name"]
        return int(found["experiment_id"])

    def _run(self, number: int, run: Run) -> None:
        body = {
            "run_id": run.run_id, "experiment_id": number, "name": run.name, "user": run.user, "status": run.status,
            "start_time": run.start_time, "end_time": run.end_time, "params": run.params, "tags": run.tags,
            "datasets": run.datasets, "models": [{"model_id": m, "role": r, "step": s} for m, r, s in run.models],
        }  # fmt: skip
        begun = self._post("runs", body)
        if begun["state"] == "taken":
            self._left(_called(run), "a run of this id is in another project of this server")
        if begun["state"] == "there":
            self._add(runs_there=1)
        if begun["state"] in ("taken", "there"):
            self._moved(1, 0, 0)
            return
        for trouble in begun["left"]:
            self._left(f"of {_called(run)}", trouble)
        kept, sent = self._points(run)
        files, size = self._files(f"{number}/{run.run_id}/artifacts", self._store.files(run), _called(run),
                                  again=begun["state"] == "again")  # fmt: skip
        if self._stop.is_set():
            return
        lost = sum(1 for trouble in begun["left"] if trouble.startswith("the parameter"))
        sums = {
            "params": len(run.params) - lost,
            "series": kept,
            "files": files,
            "bytes": size,
            "origin": self._store.name,
        }
        wrong = self._post(f"runs/{part(run.run_id)}/finish", sums)["wrong"]
        if wrong:
            with self._lock:
                self.report.wrong.append((_called(run), "; ".join(wrong)))
            return
        points = sum(kept.values())
        self._add(runs=1, points=points, repeated=sent - points, params=len(run.params) - lost)
        self._moved(1, 0, 0)

    def _points(self, run: Run) -> tuple[dict[str, int], int]:
        """Send all series in as few requests as they fit into: (points kept of each, points sent)."""
        kept: dict[str, int] = {}
        batch: list[tuple[str, Columns]] = []
        held = sent = 0
        for key, found in self._store.series(run):
            for piece in cut(found, BATCH):
                if held and held + len(piece.steps) > BATCH:
                    self._flush(run, batch, kept)
                    batch, held = [], 0
                batch.append((key, piece))
                held += len(piece.steps)
                sent += len(piece.steps)
        self._flush(run, batch, kept)
        return kept, sent

    def _flush(self, run: Run, batch: list[tuple[str, Columns]], kept: dict[str, int]) -> None:
        if not batch or self._stop.is_set():
            return
        headers = {"Content-Type": wire.MEDIA_TYPE}
        url = f"{self._base}/runs/{part(run.run_id)}/points"
        # Not `again`: the points would be there twice. What breaks here, the next import of the run begins anew.
        answer = json.loads(self._client.request("POST", url, wire.pack(batch), headers=headers).body)["points"]
        for key, count in answer.items():
            kept[key] = kept.get(key, 0) + count
        self._moved(0, sum(len(piece.steps) for _, piece in batch), 0)

    def _files(self, base: str, files: Iterable[File], what: str, *, again: bool) -> tuple[int, int]:
        """Send files below a folder of the server's; (number, bytes) of those that are there then."""
        there = self._there(base) if again else {}
        count = total = 0
        for file in files:
            if self._stop.is_set():
                break
            if there.get(file.path) == file.size:
                count, total = count + 1, total + file.size
                continue
            try:
                with file.open() as source:
                    size = source.seek(0, 2)
                    source.seek(0)
                    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size),
                               "X-MLflow-Workspace": self._project}  # fmt: skip
                    self._client.request(
                        "PUT", f"{_FILES}/{base}/{_quoted(file.path)}", source, headers=headers, timeout=600
                    )
            except (HeadwayError, OSError) as error:
                if isinstance(error, HeadwayError) and error.status in (401, 403, 503, 507):
                    raise
                self._left(f"{file.path} of {what}", getattr(error, "message", "") or str(error))
                continue
            count, total = count + 1, total + size
            self._moved(0, 0, size)
            self._add(files=1, bytes=size)
        return count, total

    def _there(self, base: str, below: str = "") -> dict[str, int]:
        query = {"path": f"{base}/{below}" if below else base}
        headers = {"X-MLflow-Workspace": self._project}
        try:
            answer = self._client.request("GET", _FILES, query=query, headers=headers)
        except NotFound:
            return {}
        found: dict[str, int] = {}
        for entry in json.loads(answer.body or b"{}").get("files", []):
            path = f"{below}/{entry['path']}" if below else entry["path"]
            found |= self._there(base, path) if entry.get("is_dir") else {path: int(entry["file_size"])}
        return found

    def _model(self, number: int, model: LoggedModel) -> None:
        body = {
            "model_id": model.model_id, "experiment_id": number, "name": model.name, "model_type": model.model_type,
            "status": model.status, "source_run": model.source_run, "created_at": model.created_at,
            "updated_at": model.updated_at, "params": model.params, "tags": model.tags, "metrics": model.metrics,
        }  # fmt: skip
        found = self._post("logged-models", body)
        if found["state"] == "taken":
            self._left(_called(model), "a model of this id is in another project of this server")
            return
        for trouble in found["left"]:
            self._left(f"of {_called(model)}", trouble)
        base = f"{number}/models/{model.model_id}/artifacts"
        self._files(base, self._store.model_files(model), _called(model), again=found["state"] == "there")
        self._add(logged_models=found["state"] == "new")

    def _traces(self, number: int, traces: list[Trace]) -> None:
        """Send those of some traces that are not there."""
        wanted = set(self._post("traces/absent", {"trace_ids": [one.trace_id for one in traces]})["absent"])
        self._add(traces_there=len(traces) - len(wanted))
        batch: list[tuple[Trace, str]] = []
        held = 0
        for trace in traces:
            if trace.trace_id not in wanted or self._stop.is_set():
                continue
            told = {"experiment_id": number, "info": trace.info, "spans": self._store.spans(trace), "runs": trace.runs}
            body = json.dumps(told)
            if (
                ATTACHED in body
            ):  # files need their trace, and a trace that has ended is whole: so it is begun, then ended
                self._send_traces([(trace, json.dumps(told | {"info": trace.info | {"state": "IN_PROGRESS"}, "spans": []}))],
                                  count=False)  # fmt: skip
                files = (file for file in self._store.trace_files(trace) if file.path != SPANS_FILE)
                self._files(f"{number}/traces/{trace.trace_id}/artifacts", files, _called(trace), again=True)
            if held and held + len(body) > TRACE_BYTES:
                self._send_traces(batch)
                batch, held = [], 0
            batch.append((trace, body))
            held += len(body)
        self._send_traces(batch)

    def _send_traces(self, batch: list[tuple[Trace, str]], *, count: bool = True) -> None:
        if not batch or self._stop.is_set():
            return
        body = f'{{"traces": [{", ".join(text for _, text in batch)}]}}'.encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._client.request("POST", f"{self._base}/traces", body, headers=headers, again=True)
        except HeadwayError as error:
            if len(batch) == 1 or error.status in (401, 403, 503, 507):
                raise
            for one in batch:  # one of them is it: the others are taken
                self._try(lambda only: self._send_traces([only], count=count), one)
            return
        found = json.loads(answer.body)
        if count:
            self._add(traces=len(found["new"]), traces_there=len(found["there"]))
        for one in found["left"] if count else ():
            self._left(f"of the trace {one['what']}", one["why"])

    def _registered(self, model: Registered) -> None:
        found = self._post("models", asdict(model) | {"origin": self._store.name})
        with self._lock:
            self.report.models += bool(found["versions"]) or not model.versions
            self.report.versions += len(found["versions"])
            if found["name"] != model.name:
                self.report.renamed[model.name] = found["name"]
        for trouble in found["left"]:
            self._left(f"of the registered model {model.name}", trouble)


def _quoted(path: str) -> str:
    return "/".join(part(name) for name in path.split("/"))


def _pieces(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    found: list[Trace] = []
    for one in traces:
        found.append(one)
        if len(found) == TRACES:
            yield found
            found = []
    if found:
        yield found


def _called(thing: Any) -> str:
    if isinstance(thing, list):
        return f"{len(thing)} traces from {thing[0].trace_id} on"
    if isinstance(thing, tuple):
        return _called(thing[0])
    if isinstance(thing, Trace):
        return f"trace {thing.trace_id}"
    if isinstance(thing, Run):
        return f"run {thing.run_id}"
    if isinstance(thing, LoggedModel):
        return f"logged model {thing.model_id}"
    return f"registered model {thing.name}"
