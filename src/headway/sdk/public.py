"""What `import headway` offers to user code. All of it is optional: runs are recorded without it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from headway.errors import BadInput, Conflict
from headway.sdk import found, frames, logged, projects, recording
from headway.sdk.endpoints import Endpoints
from headway.sdk.found import Run as Run
from headway.sdk.found import run_of
from headway.sdk.here import client
from headway.sdk.models import Models, load
from headway.sdk.recording import Recording as Recording
from headway.sdk.runs import Runs

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as it was when it was asked for. `revision` is the number of the one that serves."""

    name: str
    url: str
    state: str
    revision: int
    project: str
    revisions: list[dict[str, Any]] = field(repr=False)

    def predict(self, data: Any) -> list[Any]:
        """See `headway.predict`."""
        return predict(self.name, data, project=self.project)

    def rollback(self) -> Endpoint:
        """All traffic back to the revision before."""
        return _endpoint(Endpoints(client(), self.project).rollback(self.name))


@overload
def run(
    path: str,
    /,
    *,
    params: Mapping[str, Any] | None = None,
    wait: bool = True,
    project: str | None = None,
    memory_mb: int | None = None,
    timeout_s: float | None = None,
    **more: Any,
) -> Run: ...
@overload
def run(
    *,
    name: str = "",
    experiment: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    project: str | None = None,
) -> Recording: ...
def run(
    path: str = "",
    /,
    *,
    params: Mapping[str, Any] | None = None,
    wait: bool = True,
    project: str | None = None,
    memory_mb: int | None = None,
    timeout_s: float | None = None,
    **more: Any,
) -> Run | Recording:
    """Run a notebook or script on the server, recorded: `headway.run("train.py", lr=0.1)`. Or, without a path, record what
    this program does itself: `with headway.run(name="baseline", params={"lr": 0.1}) as run: headway.log(loss=0.3)`.

    With a path, `more` are parameters, as `params` are. A file that is here is sent along with the working directory (or its
    own folder); otherwise it is the project's. With `wait` the run is over when this returns, and its `status` says how.

    Without one, `more` are `name`, `experiment` (else the program's name) and `tags`. The run is finished when the block ends,
    failed when it raises. Within another run it is a training of that one. Raises `Unavailable` if no server is known.
    """
    if not path:
        return _recording(params, project, more)
    runs_ = Runs(client(), projects.choose(client(), project))
    here, source = Path(path).expanduser(), ""
    if here.is_file():
        source, path = runs_.send(here)
    made = run_of(
        runs_.submit(path, dict(params or {}) | more, source=source, memory_mb=memory_mb, timeout_s=timeout_s)
    )
    return made.wait() if wait else made


def _recording(params: Mapping[str, Any] | None, project: str | None, more: dict[str, Any]) -> Recording:
    known = {"name": "", "experiment": "", "tags": {}}
    for word in more:
        if word not in known:
            raise BadInput(f"headway.run() without a path has no '{word}'.",
                           hint="It takes name, experiment, params, tags, project: params={'lr': 0.1}", field=word)  # fmt: skip
    told = known | more
    return recording.begin(client(), project, name=str(told["name"]), experiment=str(told["experiment"]), params=params or {},
                           tags=told["tags"] or {})  # fmt: skip


def runs(
    filter: str = "",
    *,
    order_by: str | Sequence[str] = (),
    limit: int | None = None,
    trainings: bool = True,
    project: str | None = None,
    frame: bool | None = None,
) -> pandas.DataFrame | list[Run]:
    """Runs as a pandas DataFrame, newest first: `headway.runs("metrics.auc > 0.9 and params.depth = '4'")`. Where pandas is
    not installed, or with `frame=False`, as a list of `Run`, each with its `history`, files and models.

    The grammar is MLflow's. Columns: run_id, parent_run_id, name, path, status, cause, started_at, ended_at (UTC), and one for
    each parameter (`params.lr`) and metric (`metrics.auc`). With `trainings` the trainings inside runs have rows too.
    """
    here = client()
    slug = projects.choose(here, project)
    orders = [order_by] if isinstance(order_by, str) else order_by
    rows = Runs(here, slug).search(filter, order_by=orders, limit=limit, trainings=trainings)
    if frame is None:
        frame = frames.installed()
    return frames.of_runs(rows) if frame else found.listed(rows, slug)


def compare(
    first: str | Run, second: str | Run, /, *more: str | Run, everything: bool = False, project: str | None = None
) -> pandas.DataFrame | dict[str, list[Any]]:
    """Runs side by side: a row for each parameter (`params.lr`) and metric that differs, a column for each run.

    Runs are given as `Run` or by id (the beginning is enough). `everything`: also what is equal in all. Without pandas, a dict
    of lists.
    """
    some = [one if isinstance(one, Run) else Run.get(one, project=project) for one in (first, second, *more)]
    rows = found.differing(some, everything=everything)
    names = [one.name or one.run_id[:8] for one in some]
    if len(set(names)) < len(names):
        names = [f"{one.name} {one.run_id[:8]}".strip() for one in some]
    return frames.of_rows(rows, names)


def log(values: Mapping[str, Any] | None = None, /, *, step: int = 0, **more: Any) -> None:
    """Record something in the run that this program is in: `headway.log(loss=0.3, step=epoch)`.

    A number is a point at `step`; a list or array of numbers a series that begins there; a dict gives `name/key` for each of
    its keys. A figure (matplotlib, plotly), an image (PIL), a table (pandas, polars) or a `Path` to a file becomes a file of
    the run. All of one call is durable once it returns, in a few milliseconds: log per epoch rather than per batch, or log
    the list at the end. Raises `Conflict` outside of a run, and `BadInput` for what is none of this.
    """
    told = dict(values or {}) | more
    where = recording.current()
    some = logged.sort(told, step)
    if not some:
        raise BadInput("There is nothing to log.", hint="headway.log(loss=0.3, step=epoch)")
    where.send(some)


def model(ref: str, /, *, project: str | None = None) -> Any:
    """The fitted model itself: `headway.model("cars@champion")`, `"cars/3"`, or `"cars"` (its champion, else the newest).

    What comes back is what was trained (a scikit-learn pipeline, a booster...), so this process needs its packages, and
    trusts whoever trained it. The files are kept below `~/.cache/headway`.
    """
    here = client()
    slug = projects.choose(here, project)
    models = Models(here, slug)
    version = models.version(ref)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headway" / "models"
    folder = cache / slug / f"{version['name']}-{version['version']}-{version['created_at']}"
    if not (folder / "MLmodel").is_file():
        models.download(f"{version['name']}/{version['version']}", folder)
    return load(folder)


def deploy(
    what: str | Run,
    /,
    *,
    name: str = "",
    canary: float | None = None,
    choice: str = "",
    wait: bool = True,
    project: str | None = None,
) -> Endpoint:
    """Put a model (`"cars@champion"`), or the model of a run, behind an endpoint.

    With `wait`, it is live when this returns; raises `Conflict` with the reason if it did not pass its proof.
    """
    here = client()
    slug = project or (what.project if isinstance(what, Run) else projects.choose(here))
    endpoints = Endpoints(here, slug)
    run_id = what.run_id if isinstance(what, Run) else what if _RUN.fullmatch(what) else ""
    made = endpoints.deploy(model="" if run_id else str(what), run_id=run_id, choice=choice, name=name, canary=canary)
    number = made["deployed"]
    if wait:
        made = endpoints.wait(made["name"], number)
        revision = next(one for one in made["revisions"] if one["number"] == number)
        if revision["state"] != "live":
            raise Conflict(revision["reason"] or "The revision did not go live.", hint=revision["hint"])
    return _endpoint(made)


def predict(name: str, data: Any, /, *, project: str | None = None) -> list[Any]:
    """An endpoint's predictions, one a row: for a DataFrame, a list of records, one record, or an array of numbers."""
    here = client()
    answer = Endpoints(here, projects.choose(here, project)).predict(name, frames.payload_of(data))
    return list(answer["predictions"])


def _endpoint(told: Mapping[str, Any]) -> Endpoint:
    return Endpoint(**{name: told[name] for name in ("name", "url", "state", "revision", "project", "revisions")})
