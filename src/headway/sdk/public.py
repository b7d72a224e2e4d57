"""What `import headway` offers to user code. All of it is optional: runs are recorded without it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import BadInput, Conflict
from headway.sdk import address, frames, projects
from headway.sdk.address import Address
from headway.sdk.client import Client
from headway.sdk.endpoints import Endpoints
from headway.sdk.models import Models
from headway.sdk.runs import Runs

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

_clients: dict[Address, Client] = {}
_RUN = re.compile(r"[0-9a-f]{32}")


def client() -> Client:
    """The client of the server in force: `HEADWAY_URL`, this machine's server, or the one of `headway login`."""
    where = address.find()
    return _clients.setdefault(where, Client(address=where))


@dataclass(frozen=True)
class Run:
    """A run as it was when it was asked for. `status` is queued, running, finished, failed, cancelled, timed_out,
    out_of_memory, killed or lost; `cause` says why in words.
    """

    run_id: str
    status: str
    cause: str
    params: dict[str, Any]
    metrics: dict[str, float | None]
    url: str
    project: str
    models: list[dict[str, Any]] = field(repr=False)
    trainings: list[dict[str, Any]] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it finished."""
        return self.status == "finished"

    def wait(self) -> Run:
        """The run once it is over, however it ended."""
        return _run(Runs(client(), self.project).wait(self.run_id))

    def refresh(self) -> Run:
        """The run as it is now."""
        return _run(Runs(client(), self.project).get(self.run_id))

    def cancel(self) -> Run:
        """End it, and wait until it has ended."""
        Runs(client(), self.project).cancel(self.run_id)
        return self.wait()

    def output(self) -> str:
        """What it has printed so far."""
        return b"".join(Runs(client(), self.project).logs(self.run_id)).decode("utf-8", "replace")


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
) -> Run:
    """Run a notebook or script on the server, recorded: `headway.run("train.py", lr=0.1)`.

    `more` are parameters, as `params` are. A file that is here is sent along with the working directory (or its own folder);
    otherwise it is the project's. With `wait` the run is over when this returns, and its `status` says how.
    """
    runs_ = Runs(client(), projects.choose(client(), project))
    here, source = Path(path).expanduser(), ""
    if here.is_file():
        source, path = runs_.send(here)
    made = _run(runs_.submit(path, dict(params or {}) | more, source=source, memory_mb=memory_mb, timeout_s=timeout_s))
    return made.wait() if wait else made


def runs(
    filter: str = "",
    *,
    order_by: Sequence[str] = (),
    limit: int = 1000,
    trainings: bool = True,
    project: str | None = None,
) -> pandas.DataFrame:
    """Runs as a pandas DataFrame, newest first: `headway.runs("metrics.auc > 0.9 and params.depth = '4'")`.

    The grammar is MLflow's. Columns: run_id, parent_run_id, name, path, status, cause, started_at, ended_at (UTC), and one for
    each parameter (`params.lr`) and metric (`metrics.auc`). With `trainings` the trainings inside runs have rows too.
    """
    here = client()
    found = Runs(here, projects.choose(here, project)).search(
        filter, order_by=order_by, limit=limit, trainings=trainings
    )
    return frames.of_runs(found)


def log(metrics: Mapping[str, float] | None = None, /, *, step: int = 0, **more: float) -> None:
    """Record metrics in the run that this process belongs to: `headway.log(loss=0.3, step=epoch)`.

    Durable once it returns; a few milliseconds each, so log per epoch rather than per batch. Raises `Conflict` outside of a
    run, and `BadInput` for what is no number.
    """
    run_id = os.environ.get("HEADWAY_RUN")
    if not run_id:
        raise Conflict(
            "This process is not a run of headway.", hint="Start it with `headway run FILE`, or in a notebook there."
        )
    values: dict[str, float] = {}
    for name, value in (dict(metrics or {}) | more).items():
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise BadInput(f"{name}={value!r} is no number.", hint="Metrics are numbers.", field=name) from None
    if not values:
        raise BadInput("There is nothing to log.", hint="headway.log(loss=0.3, step=epoch)")
    here = client()
    Runs(here, projects.choose(here)).log(run_id, values, step=step)


def model(ref: str, /, *, project: str | None = None) -> Any:
    """The fitted model itself: `headway.model("cars@champion")`, `"cars/3"`, or `"cars"` (its champion, else the newest).

    What comes back is what was trained (a scikit-learn pipeline, a booster...), so this process needs its packages, and
    trusts whoever trained it. The files are kept below `~/.cache/headway`.
    """
    from headway.modelserver.loading import load

    here = client()
    slug = projects.choose(here, project)
    models = Models(here, slug)
    found = models.version(ref)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headway" / "models"
    folder = cache / slug / f"{found['name']}-{found['version']}-{found['created_at']}"
    if not (folder / "MLmodel").is_file():
        models.download(f"{found['name']}/{found['version']}", folder)
    return load(folder).model


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


def _run(found: Mapping[str, Any]) -> Run:
    names = ("run_id", "status", "cause", "params", "metrics", "url", "project", "models", "trainings")
    return Run(**{name: found[name] for name in names})


def _endpoint(found: Mapping[str, Any]) -> Endpoint:
    return Endpoint(**{name: found[name] for name in ("name", "url", "state", "revision", "project", "revisions")})
