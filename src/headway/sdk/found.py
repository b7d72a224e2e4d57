"""A run as a user's program sees it, and lists and comparisons of runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import BadInput, NotFound
from headway.sdk import frames, models, projects, reprs
from headway.sdk import points as wire
from headway.sdk.here import client
from headway.sdk.models import Models
from headway.sdk.runs import Runs

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

_FILES = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Run:
    """A run as it was when it was asked for. `status` is queued, running, finished, failed, cancelled, timed_out,
    out_of_memory, killed or lost; `cause` says why in words. Times are milliseconds since 1970.
    """

    run_id: str
    status: str
    cause: str
    params: dict[str, Any]
    metrics: dict[str, float | None]
    url: str
    project: str
    models: list[dict[str, Any]] = field(default_factory=list, repr=False)
    trainings: list[dict[str, Any]] = field(default_factory=list, repr=False)
    name: str = ""
    started_at: int | None = field(default=None, repr=False)
    ended_at: int | None = field(default=None, repr=False)

    @classmethod
    def get(cls, run_id: str, /, *, project: str | None = None) -> Run:
        """A run by its id, or the beginning of it. Raises `NotFound`, or `Conflict` where several begin so."""
        runs = Runs(client(), projects.choose(client(), project))
        return run_of(runs.get(runs.whole_id(run_id)))

    @property
    def ok(self) -> bool:
        """Whether it finished."""
        return self.status == "finished"

    def wait(self) -> Run:
        """The run once it is over, however it ended."""
        return run_of(self._runs.wait(self.run_id))

    def refresh(self) -> Run:
        """The run as it is now, with its models and trainings."""
        return run_of(self._runs.get(self.run_id))

    def cancel(self) -> Run:
        """End it, and wait until it has ended."""
        self._runs.cancel(self.run_id)
        return self.wait()

    def output(self) -> str:
        """What it has printed so far."""
        return b"".join(self._runs.logs(self.run_id)).decode("utf-8", "replace")

    def history(self, metric: str) -> pandas.DataFrame | dict[str, list[Any]]:
        """All points of a metric in order: columns step, time (UTC) and value; a dict of lists where pandas isn't installed.

        Raises `NotFound` if the run has no such metric.
        """
        query = {"key": metric}
        body = client().request("GET", f"/api/v1/runs/{self.run_id}/points", query=query, timeout=600).body
        found = dict(wire.unpack(body)).get(metric)
        if found is None:
            known = ", ".join(list(self.metrics)[:10])
            raise NotFound(f"The run has no metric '{metric}'.", hint=f"It has: {known}" if known else "It has none.")
        return frames.of_points(found)

    def artifacts(self, below: str = "") -> list[str]:
        """The paths of its files, of those below a folder if one is named."""
        return sorted(str(one["path"]) for one in self._runs.artifacts(self.run_id, below))

    def download(self, path: str = "", to: str | os.PathLike[str] | None = None) -> Path:
        """Fetch a file, or all files below a folder ("" for everything), into the folder `to` (one of the run's name if it
        is left out); where the file or folder is then. A file that is there is written anew. Raises `NotFound`.
        """
        path = path.strip("/")
        wanted = [one for one in self.artifacts() if not path or one == path or one.startswith(path + "/")]
        if not wanted:
            raise NotFound(
                f"The run has no file '{path}'." if path else "The run has no files.", hint="See .artifacts()."
            )
        root = Path(to) if to is not None else Path(self.run_id[:8])
        for name in wanted:
            _fetch(self._root(), name, _inside(root, name), self.project)
        return root / path

    def model(self, name: str = "") -> Any:
        """The fitted model that it left, as it was trained; `name` where it left several. As with `headway.model`, this
        process needs its packages and trusts whoever trained it. Raises `NotFound`, or `BadInput` that lists them.
        """
        left = self.models or self.refresh().models
        fitting = [one for one in left if name in ("", one["name"], one["id"])]
        if not fitting:
            known = ", ".join(one["name"] for one in left)
            raise NotFound(
                f"The run left no model{f' {name!r}' if name else ''}.", hint=f"It left: {known}" if known else ""
            )
        if len({one["name"] for one in fitting}) > 1:
            names = ", ".join(one["name"] for one in fitting)
            raise BadInput(f"The run left several models: {names}.", hint=f'Say which: .model("{fitting[0]["name"]}")')
        return models.load(cached(self.project, f"models/{fitting[0]['id']}/artifacts", fitting[0]["id"]))

    @property
    def _runs(self) -> Runs:
        return Runs(client(), self.project)

    def _root(self) -> str:
        return f"{self.run_id}/artifacts"

    def _repr_html_(self) -> str:
        return reprs.run(self)


class RunList(list[Run]):
    """Runs, where pandas is not installed: a list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return reprs.runs(self)


def run_of(found: Mapping[str, Any]) -> Run:
    """A run as the API tells it."""
    names = ("run_id", "status", "cause", "params", "metrics", "url", "project", "models", "trainings", "name",
             "started_at", "ended_at")  # fmt: skip
    return Run(**{name: found[name] for name in names})


def listed(found: list[dict[str, Any]], project: str) -> RunList:
    """Runs of a search as objects. Their models and trainings are there after `refresh`."""
    url = client().address.url
    return RunList(
        Run(one["run_id"], one["status"], one["cause"], one["params"], one["metrics"],
            f"{url}/p/{project}/runs/{one['run_id']}", project, name=one["name"], started_at=one["started_at"],
            ended_at=one["ended_at"])
        for one in found
    )  # fmt: skip


def differing(runs: list[Run], *, everything: bool) -> dict[str, list[Any]]:
    """What runs differ in: values by `params.x` and `metrics.y`, one for each run, None where it lacks it."""
    rows: dict[str, list[Any]] = {}
    for kind in ("params", "metrics"):
        for name in sorted({name for run in runs for name in getattr(run, kind)}):
            values = [getattr(run, kind).get(name) for run in runs]
            if everything or any(value != values[0] for value in values):
                rows[f"{kind}.{name}"] = values
    return rows


def cached(project: str, base: str, name: str) -> Path:
    """The folder of files of the server that never change, fetched once, below `~/.cache/headway`."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headway" / "models"
    folder = home / project / name
    if not (folder / "MLmodel").is_file():
        Models(client(), project).fetch(base, folder)
    return folder


def _inside(root: Path, name: str) -> Path:
    target = root / name
    if ".." in target.parts[len(root.parts) :] or not target.is_relative_to(root):
        raise BadInput(f"The server names a file outside of the run: {name!r}.")
    return target


def _fetch(base: str, name: str, target: Path, project: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    headers = {"X-MLflow-Workspace": project}
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}-", delete=False) as file:
        new = Path(file.name)
        try:
            for piece in client().pieces(f"{_FILES}/{base}/{wire_path(name)}", headers=headers):
                file.write(piece)
            file.close()
            new.chmod(0o644)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)


def wire_path(path: str) -> str:
    """A file's path as a part of an address."""
    from headway.sdk.client import part

    return "/".join(part(name) for name in path.split("/"))
