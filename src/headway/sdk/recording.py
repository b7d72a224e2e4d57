"""Runs that a program records by itself: `with headway.run(name="...") as run:`, wherever it runs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from headway.errors import Conflict, NotFound
from headway.sdk import here, logged, projects, reprs
from headway.sdk.client import Client
from headway.sdk.logged import Sorted

Json = dict[str, Any]
_API = "/api/2.0/mlflow"
_open: list[Recording] = []
_lock = threading.Lock()


class Recording:
    """A run that this program records. `headway.log` writes into the innermost one.

    It ends with its `with` block: finished, or failed with the exception's words as its cause; `end()` ends it without one.
    """

    def __init__(self, client: Client, project: str, info: Json) -> None:
        self._client, self.project = client, project
        self.run_id, self.name = str(info["run_id"]), str(info.get("run_name", ""))
        self._artifacts = str(info["artifact_uri"])
        self.url = f"{client.address.url}/p/{project}/runs/{self.run_id}"

    def __repr__(self) -> str:
        return f"<headway run {self.name} {self.url}>"

    def _repr_html_(self) -> str:
        return f"<div>{reprs.link(self.url, self.name)} is being recorded</div>"

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int = 0, **more: Any) -> None:
        """As `headway.log`, into this run."""
        self.send(logged.sort(dict(values or {}) | more, step))

    def send(self, found: Sorted) -> None:
        """Record what was sorted."""
        logged.send(self._client, self.project, self.run_id, self._artifacts, found)

    def params(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record parameters; one that has another value already raises `BadInput`."""
        self._post(
            "runs/log-batch", {"run_id": self.run_id, "params": logged.texts(dict(values or {}) | more, "parameter")}
        )

    def tags(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set tags."""
        self._post("runs/log-batch", {"run_id": self.run_id, "tags": logged.texts(dict(values or {}) | more, "tag")})

    def end(self, status: str = "finished") -> None:
        """Say how it went: finished, failed or killed."""
        with _lock:
            if self in _open:
                _open.remove(self)
        self._post("runs/update", {"run_id": self.run_id, "status": status.upper(), "end_time": _now()})

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.end()
            return
        try:
            self.tags({"headway.cause": f"{kind.__name__ if kind else ''}: {error}"[:400]})
        finally:
            self.end("killed" if isinstance(error, KeyboardInterrupt) else "failed")

    def _post(self, what: str, body: Json) -> Json:
        return call(self._client, self.project, what, body)


def call(client: Client, project: str, what: str, body: Json) -> Json:
    """A call of MLflow's protocol."""
    headers = {"Content-Type": "application/json", "X-MLflow-Workspace": project}
    found: Json = json.loads(client.request("POST", f"{_API}/{what}", json.dumps(body).encode(), headers=headers).body)
    return found


def begin(
    client: Client,
    project: str | None,
    *,
    name: str,
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> Recording:
    """A new run; within the run that this program is in, if there is one."""
    outer = _open[-1].run_id if _open else os.environ.get("HEADWAY_RUN", "")
    slug = project or (_open[-1].project if _open else projects.choose(client))
    title = experiment or os.environ.get("HEADWAY_EXPERIMENT", "") or _program()
    told = [*logged.texts(tags, "tag"), {"key": "mlflow.source.name", "value": _program()}]
    if outer:
        told.append({"key": "mlflow.parentRunId", "value": outer})
    body: Json = {
        "experiment_id": _experiment(client, slug, outer, experiment, title),
        "start_time": _now(),
        "tags": told,
    }
    if name:
        body["run_name"] = name
    made = Recording(client, slug, call(client, slug, "runs/create", body)["run"]["info"])
    with _lock:
        _open.append(made)
    if params:
        made.params(params)
    return made


def _experiment(client: Client, slug: str, outer: str, said: str, title: str) -> str:
    """The experiment of the outer run, unless one was named; else one of the program's name, made at need."""
    headers = {"X-MLflow-Workspace": slug}
    if outer and not said:
        answer = client.request("GET", f"{_API}/runs/get", query={"run_id": outer}, headers=headers)
        return str(json.loads(answer.body)["run"]["info"]["experiment_id"])
    for last in (False, True):
        try:
            answer = client.request(
                "GET", f"{_API}/experiments/get-by-name", query={"experiment_name": title}, headers=headers
            )
            return str(json.loads(answer.body)["experiment"]["experiment_id"])
        except NotFound:
            if last:
                raise
        try:
            return str(call(client, slug, "experiments/create", {"name": title})["experiment_id"])
        except Conflict:
            continue  # somebody else was quicker
    raise AssertionError


def current() -> Recording:
    """The run to log into: the innermost that this program began, else the run of the platform that it belongs to.

    Raises `Conflict` where there is neither.
    """
    if _open:
        return _open[-1]
    run_id = os.environ.get("HEADWAY_RUN")
    if not run_id:
        raise Conflict(
            "This process is not a run of headway.",
            hint="Start it with `headway run FILE`, or begin a run in it: with headway.run(): ...",
        )
    client = here.client()
    slug = projects.choose(client)
    key = (client.address.url, run_id)
    if key not in _platform:
        headers = {"X-MLflow-Workspace": slug}
        answer = client.request("GET", f"{_API}/runs/get", query={"run_id": run_id}, headers=headers)
        _platform[key] = Recording(client, slug, json.loads(answer.body)["run"]["info"])
    return _platform[key]


_platform: dict[tuple[str, str], Recording] = {}


def _program() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    return "notebook" if "ipykernel" in sys.modules and not name.endswith(".py") else name or "python"


def _now() -> int:
    return time.time_ns() // 1_000_000
