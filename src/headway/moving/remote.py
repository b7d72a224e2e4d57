"""A tracking server that speaks MLflow's protocol, read page by page."""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from headway.errors import BadInput, HeadwayError, NotFound
from headway.moving.store import (
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
from headway.moving.tracing import ARTIFACTS, LOCATION, info_of_version_2, spans_in
from headway.sdk import points as wire
from headway.sdk.address import Address, clean_url
from headway.sdk.client import Client, part
from headway.sdk.points import Columns

Json = dict[str, Any]
_API, _AJAX, _TRACES = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow", "/api/3.0/mlflow/traces"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_SPOOL = 8 << 20
_PROMPT = "tags.`mlflow.prompt.is_prompt`"


class RemoteStore:
    """`http(s)://...` of an MLflow server, or of another headway.

    Signs in as MLflow's own client does: `MLFLOW_TRACKING_TOKEN`, else `MLFLOW_TRACKING_USERNAME` and `_PASSWORD`;
    `MLFLOW_WORKSPACE` names the workspace. `filter`: only runs that fit, in MLflow's grammar.
    """

    def __init__(self, url: str, environ: Mapping[str, str] | None = None, *, filter: str = "") -> None:
        environ = os.environ if environ is None else environ
        self.name = clean_url(url)
        self.left: list[tuple[str, str]] = []
        self._filter = filter
        self._headers: dict[str, str] = {}
        if workspace := environ.get("MLFLOW_WORKSPACE"):
            self._headers["X-MLflow-Workspace"] = workspace
        token, user = environ.get("MLFLOW_TRACKING_TOKEN", ""), environ.get("MLFLOW_TRACKING_USERNAME")
        if not token and user:
            pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._client = Client(address=Address(self.name, token), timeout=300)

    def close(self) -> None:
        """See `Store`."""
        self._client.close()

    def _get(self, path: str, /, **query: Any) -> Json:
        answer = self._client.request("GET", path, query=query, headers=self._headers)
        return self._read(answer.body)

    def _post(self, path: str, body: Json) -> Json:
        headers = self._headers | {"Content-Type": "application/json"}
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        return self._read(self._client.request("POST", path, data, headers=headers, again=True).body)

    def _read(self, body: bytes) -> Json:
        try:
            found = json.loads(body or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise BadInput(f"{self.name} does not answer like an MLflow server.", hint="Is the address right?")
        return found

    def _pages(self, ask: Callable[[str | None], Json], key: str) -> Iterator[Json]:
        token = None
        while True:
            page = ask(token)
            yield from page.get(key, [])
            token = page.get("next_page_token")
            if not token:
                return

    def experiments(self) -> list[Experiment]:
        """See `Store`."""

        def ask(view: str) -> Callable[[str | None], Json]:  # fmt: skip
            return lambda token: self._post(
                f"{_API}/experiments/search", {"max_results": 1000, "page_token": token, "view_type": view}
            )

        for one in self._pages(ask("DELETED_ONLY"), "experiments"):
            self.left.append((f"experiment {one['name']}", "it is deleted"))
        found = [
            Experiment(text(one["experiment_id"]), one["name"], time_of(one.get("creation_time")),
                       time_of(one.get("last_update_time")), _pairs(one.get("tags")))
            for one in self._pages(ask("ACTIVE_ONLY"), "experiments")
        ]  # fmt: skip
        self._tell_what_stays([one.id for one in found])
        return found

    def _tell_what_stays(self, experiments: list[str]) -> None:
        """Note what an import does not take and this server has. What an old server doesn't know, it has not."""
        sets: Json = {"experiment_ids": experiments, "max_results": 1000}
        asks: list[tuple[str, str, Callable[[], Json]]] = [
            ("evaluation datasets", "datasets", lambda: self._post("/api/3.0/mlflow/datasets/search", sets)),
            ("webhooks", "webhooks", lambda: self._get(f"{_API}/webhooks")),
        ]
        for what, key, ask in asks:
            try:
                count = len(ask().get(key, []))
            except HeadwayError as error:
                if error.status not in (400, 403, 404, 405, 500, 501):
                    raise
                continue
            if count:
                self.left.append((f"{count} {what}", f"an import does not take {what}"))

    def _search(self, experiment: Experiment, view: str = "ACTIVE_ONLY") -> Iterator[Json]:
        body: Json = {"experiment_ids": [experiment.id], "max_results": 1000, "run_view_type": view,
                      "filter": self._filter or None}  # fmt: skip
        yield from self._pages(lambda token: self._post(f"{_API}/runs/search", body | {"page_token": token}), "runs")

    def runs(self, experiment: Experiment) -> Iterator[Run]:
        """See `Store`."""
        for found in self._search(experiment):
            run_id = found["info"].get("run_id") or found["info"]["run_uuid"]
            one = self._get(f"{_API}/runs/get", run_id=run_id)["run"]  # a search leaves out the models that a run read
            info, data = one["info"], one.get("data", {})
            uses = [
                {name: text(item["dataset"].get(name)) for name in
                 ("name", "digest", "source_type", "source", "schema", "profile")} | {"tags": _pairs(item.get("tags"))}
                for item in one.get("inputs", {}).get("dataset_inputs", [])
            ]  # fmt: skip
            models = [(m["model_id"], "input", 0) for m in one.get("inputs", {}).get("model_inputs", [])]
            models += [(m["model_id"], "output", int(m.get("step") or 0))
                       for m in one.get("outputs", {}).get("model_outputs", [])]  # fmt: skip
            tags = _pairs(data.get("tags"))
            yield Run(
                run_id, experiment.id, info.get("run_name") or tags.get("mlflow.runName", ""),
                text(info.get("user_id")), info.get("status", "FINISHED"), time_of(info.get("start_time")),
                time_of(info.get("end_time")), _pairs(data.get("params")), tags, uses, models,
                (text(info.get("artifact_uri")), [metric["key"] for metric in data.get("metrics", [])]),
            )  # fmt: skip
        if deleted := sum(1 for _ in self._search(experiment, "DELETED_ONLY")):
            self.left.append((f"{deleted} runs of {experiment.name}", "they are deleted"))

    def series(self, run: Run) -> Iterator[tuple[str, Columns]]:
        """See `Store`."""
        for key in run.place[1]:
            query = {"run_id": run.run_id, "metric_key": key, "max_results": 25_000}
            token = None
            while True:
                page = self._get(f"{_API}/metrics/get-history", **query, page_token=token)
                found = page.get("metrics", [])
                if found:
                    yield key, columns((int(m.get("step") or 0) for m in found), (int(m["timestamp"]) for m in found),
                                       (float(m["value"]) for m in found))  # fmt: skip
                token = page.get("next_page_token")
                if not token:
                    break

    def files(self, run: Run) -> Iterator[File]:
        """See `Store`."""
        uri = run.place[0]

        def listing(path: str) -> list[Json]:
            found: list[Json] = self._get(f"{_API}/artifacts/list", run_id=run.run_id, path=path or None).get(
                "files", []
            )
            return found

        def opened(path: str) -> IO[bytes]:
            if uri.startswith("mlflow-artifacts:"):
                return self._fetch(f"{_FILES}/{_inner(uri)}/{_quoted(path)}")
            return self._fetch("/get-artifact", path=path, run_uuid=run.run_id)

        yield from self._walk(listing, opened, "", f"run {run.run_id}")

    def _walk(
        self, listing: Callable[[str], list[Json]], opened: Callable[[str], IO[bytes]], path: str, what: str
    ) -> Iterator[File]:
        try:
            entries = listing(path)
        except NotFound:
            return
        except HeadwayError as error:
            self.left.append((f"files of {what}", f"the server can't list them: {error.message[:200]}"))
            return
        for entry in entries:
            if entry.get("is_dir"):
                yield from self._walk(listing, opened, entry["path"], what)
            else:
                yield File(entry["path"], int(entry.get("file_size", -1)), _later(opened, entry["path"]))

    def _fetch(self, path: str, /, **query: Any) -> IO[bytes]:
        """A file, kept in memory up to a few megabytes, beyond on disk: it must be whole before it is sent on."""
        out: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115  whoever opened it closes it
        try:
            for piece in self._client.pieces(path, headers=self._headers, **query):
                out.write(piece)
        except BaseException:
            out.close()
            raise
        out.seek(0, io.SEEK_SET)
        return out

    def logged_models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """See `Store`. Servers before MLflow 3 have none."""
        body = {"experiment_ids": [experiment.id], "max_results": 50}
        try:
            found = list(
                self._pages(
                    lambda token: self._post(f"{_API}/logged-models/search", body | {"page_token": token}), "models"
                )
            )
        except HeadwayError as error:
            if error.status in (400, 404, 405, 501):
                return
            raise
        for one in found:
            info, data = one["info"], one.get("data", {})
            created = time_of(info.get("creation_timestamp_ms")) or 0
            metrics = [
                {"key": m["key"], "time": int(m["timestamp"]), "step": int(m.get("step") or 0), "value": m["value"],
                 "run_id": text(m.get("run_id")), "dataset": text(m.get("dataset_name")), "digest": text(m.get("dataset_digest"))}
                for m in data.get("metrics", [])
            ]  # fmt: skip
            yield LoggedModel(
                info["model_id"], experiment.id, info["name"], text(info.get("model_type")),
                text(info.get("status")).removeprefix("LOGGED_MODEL_") or "READY", text(info.get("source_run_id")), created,
                time_of(info.get("last_updated_timestamp_ms")) or created, _pairs(data.get("params")), _pairs(info.get("tags")),
                metrics, text(info.get("artifact_uri")),
            )  # fmt: skip

    def model_files(self, model: LoggedModel) -> Iterator[File]:
        """See `Store`."""
        uri = model.place

        def listing(path: str) -> list[Json]:
            query = {"artifact_directory_path": path or None}
            found: list[Json] = self._get(f"{_API}/logged-models/{model.model_id}/artifacts/directories", **query).get(
                "files", []
            )
            return found

        def opened(path: str) -> IO[bytes]:
            if uri.startswith("mlflow-artifacts:"):
                return self._fetch(f"{_FILES}/{_inner(uri)}/{_quoted(path)}")
            return self._fetch(f"{_AJAX}/logged-models/{model.model_id}/artifacts/files", artifact_file_path=path)

        yield from self._walk(listing, opened, "", f"model {model.model_id}")

    def traces(self, experiment: Experiment) -> Iterator[Trace]:
        """See `Store`. Servers before MLflow 2.14 have none."""
        linked: dict[str, list[str]] | None = None
        for told in self._trace_infos(experiment):
            linked = self._linked(experiment) if linked is None else linked
            info = info_of_version_2(told)
            yield Trace(info["trace_id"], info, linked.get(info["trace_id"], []))

    def _trace_infos(self, experiment: Experiment, filter: str | None = None) -> Iterator[Json]:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment.id}}
        body: Json = {"locations": [place], "max_results": 100, "order_by": ["timestamp_ms ASC"], "filter": filter}
        old: Json = {
            "experiment_ids": experiment.id,
            "max_results": 100,
            "order_by": "timestamp_ms ASC",
            "filter": filter,
        }
        try:
            yield from self._pages(
                lambda token: self._post(f"{_TRACES}/search", body | {"page_token": token}), "traces"
            )
        except HeadwayError as error:
            if error.status not in (400, 404, 405, 501):
                raise
            try:
                yield from self._pages(lambda token: self._get(f"{_API}/traces", **old, page_token=token), "traces")
            except HeadwayError as error:
                if error.status not in (400, 404, 405, 501):
                    raise

    def _linked(self, experiment: Experiment) -> dict[str, list[str]]:
        """Runs by the traces that were linked to them (evaluations do), beside the run that a trace came from."""
        found: dict[str, list[str]] = {}
        for run in self._search(experiment):
            run_id = run["info"].get("run_id") or run["info"]["run_uuid"]
            for one in self._trace_infos(experiment, f"attribute.run_id = '{run_id}'"):
                if one.get("trace_metadata", {}).get("mlflow.sourceRun") != run_id and "trace_id" in one:
                    found.setdefault(one["trace_id"], []).append(run_id)
        return found

    def spans(self, trace: Trace) -> list[Json]:
        """See `Store`."""
        why = ""
        if trace.info.get("tags", {}).get(LOCATION) == "TRACKING_STORE":
            try:
                found: list[Json] = self._get(f"{_TRACES}/get", trace_id=trace.trace_id, allow_partial="true")[
                    "trace"
                ].get("spans", [])
                return found
            except (HeadwayError, KeyError) as error:
                why = getattr(error, "message", "")
        try:
            return self._span_file(trace.trace_id)
        except (HeadwayError, ValueError) as error:
            why = why or getattr(error, "message", str(error))
        self.left.append((f"spans of the trace {trace.trace_id}", why[:300]))
        return []

    def _span_file(self, trace_id: str) -> list[Json]:
        with self._fetch(f"{_AJAX}/get-trace-artifact", request_id=trace_id) as file:
            return spans_in(file.read())

    def trace_files(self, trace: Trace) -> Iterator[File]:
        """See `Store`."""
        base = _inner(trace.info.get("tags", {}).get(ARTIFACTS, ""))
        for entry in self._get(_FILES, path=base).get("files", []):
            if not entry.get("is_dir"):
                path = f"{_FILES}/{base}/{_quoted(entry['path'])}"
                yield File(entry["path"], int(entry.get("file_size", -1)), _later(self._fetch, path))

    def registered(self) -> Iterator[Registered]:
        """See `Store`."""
        yield from self._registered("")
        try:
            yield from self._registered(f"{_PROMPT} = 'true'")  # a search leaves prompts out unless they are asked for
        except HeadwayError as error:
            if error.status not in (400, 404, 501):
                raise  # else a server that does not know prompts

    def _registered(self, filter: str) -> Iterator[Registered]:
        versions: dict[str, list[Version]] = {}

        def ask(what: str) -> Callable[[str | None], Json]:
            return lambda token: self._get(
                f"{_API}/{what}/search", max_results=200, page_token=token, filter=filter or None
            )

        for one in self._pages(ask("model-versions"), "model_versions"):
            model_id, created = text(one.get("model_id")), time_of(one.get("creation_timestamp")) or 0
            versions.setdefault(one["name"], []).append(
                Version(int(one["version"]), source_of(text(one.get("source")), model_id), text(one.get("run_id")), model_id,
                        one.get("current_stage") or "None", text(one.get("description")), text(one.get("user_id")),
                        text(one.get("run_link")), created, time_of(one.get("last_updated_timestamp")) or created,
                        _pairs(one.get("tags")))
            )  # fmt: skip
        for one in self._pages(ask("registered-models"), "registered_models"):
            aliases = {alias["alias"]: int(alias["version"]) for alias in one.get("aliases", [])}
            created = time_of(one.get("creation_timestamp")) or 0
            yield Registered(one["name"], text(one.get("description")), created,
                             time_of(one.get("last_updated_timestamp")) or created, _pairs(one.get("tags")), aliases,
                             versions.get(one["name"], []))  # fmt: skip

    def amount(self, note: Callable[[str], None]) -> Amount:
        """See `Store`. A server does not say how many points and files it has without sending them."""
        found = Amount(exact=False, points=-1, files=-1, bytes=-1)
        for experiment in self.experiments():
            found.experiments += 1
            found.runs += sum(1 for _ in self._search(experiment))
            found.logged_models += sum(1 for _ in self.logged_models(experiment))
            note(f"{found.runs} runs")
        found.registered_models = sum(1 for _ in self.registered())
        self.left.clear()
        return found


class HeadwayStore(RemoteStore):
    """A project of a headway server: histories come as columns, a run's in one answer."""

    def __init__(self, address: Address, project: str, *, filter: str = "") -> None:
        super().__init__(
            address.url, {"MLFLOW_TRACKING_TOKEN": address.token, "MLFLOW_WORKSPACE": project}, filter=filter
        )

    def series(self, run: Run) -> Iterator[tuple[str, Columns]]:
        """See `Store`."""
        if run.place[1]:
            yield from wire.unpack(self._client.request("GET", f"/api/v1/runs/{run.run_id}/points", timeout=600).body)

    def spans(self, trace: Trace) -> list[Json]:
        """See `Store`. As MLflow writes them to a file."""
        return self._span_file(trace.trace_id)


def _later(opened: Callable[[str], IO[bytes]], path: str) -> Callable[[], IO[bytes]]:
    return lambda: opened(path)


def _quoted(path: str) -> str:
    return "/".join(part(name) for name in path.split("/"))


def _inner(uri: str) -> str:
    """The path in the server's artifact tree of `mlflow-artifacts:/1/<run>/artifacts` or `mlflow-artifacts://host/1/...`."""
    rest = uri.removeprefix("mlflow-artifacts:")
    if rest.startswith("//"):
        rest = rest[2:].partition("/")[2]
    return rest.strip("/")


def _pairs(found: Any) -> dict[str, str]:
    return {text(one["key"]): text(one.get("value")) for one in found or []}
