"""From an execution to the process that runs it: its folder, its environment variables, its Spec."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headway.engines import keeper
from headway.engines.base import Limits, Spec
from headway.engines.host import Host
from headway.engines.shim import write_json
from headway.runs import notebooks, parameters, snapshot
from headway.runs.tables import Execution

SHIPPER = ("-m", "headway.capture.shipper", "--spool")
_RESPAWNS = 1000
_DRAIN_S = 120.0


@dataclass(frozen=True)
class RunLimits:
    """What a run may use; None is no limit. `cell_timeout_s` is for each cell of a notebook."""

    memory_mb: int | None = None
    timeout_s: float | None = None
    cpu: float | None = None
    cell_timeout_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """What is set."""
        return {name: value for name, value in vars(self).items() if value is not None}


def limits_of(row: Execution) -> RunLimits:
    """The limits of an execution."""
    return RunLimits(**json.loads(row.limits))


def here(host: Host) -> str:
    """This machine and home, as `Execution.node` names them."""
    return f"{keeper.node()}:{host.settings.home}"[-160:]


def folder(host: Host, row: Execution) -> Path:
    """The run folder of the present attempt."""
    return host.settings.path("runs", row.run_id, f"a{row.attempt}")


def prepare(host: Host, row: Execution, project_folder: Path) -> list[str]:
    """Make the run folder: the copy of the files, and the notebook with its values. Returns what was linked, not copied.

    Raises `Unprocessable` where the file is broken by now, `OSError` where the disk will not have it.
    """
    place = folder(host, row)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)
    (place / "spool").mkdir(mode=0o700)
    linked = snapshot.take(project_folder, place / "work")
    if row.kind == "notebook":
        notebook = notebooks.read((place / "work" / row.path).read_bytes(), row.path)
        write_json(str(place / "in.ipynb"), notebooks.with_values(notebook, row.given))
    return linked


def token_path(host: Host, row: Execution) -> Path:
    """Where the run's token lies (0600)."""
    return folder(host, row) / "token"


def write_token(host: Host, row: Execution, secret: str) -> None:
    """Put the run's token into its folder."""
    path = token_path(host, row)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())


def spec(host: Host, row: Execution, *, slug: str, python: Path, records: bool = True) -> Spec:
    """The process of a prepared execution. Writes `run.json` for a notebook's runner. `records`: as the project wants it."""
    place, limits = folder(host, row), limits_of(row)
    work = place / "work"
    env = environment(host, row, slug, python) | ({} if records else {"HEADWAY_CAPTURE": "off"})
    if row.kind == "notebook":
        cwd = work / PurePosixPath(row.path).parent
        write_json(
            str(place / "run.json"), {"python": str(python), "cwd": str(cwd), "cell_timeout_s": limits.cell_timeout_s}
        )
        argv: tuple[str, ...] = (sys.executable, "-m", "headway.runner.notebook", str(place))
        cwd = place
    else:
        found = parameters.of_script((work / row.path).read_text(encoding="utf-8", errors="replace"))
        argv = (str(python), row.path, *parameters.arguments(row.given, found))
        cwd = work
        env["PYTHONUNBUFFERED"] = "1"
    return Spec(
        key=f"run-{row.run_id}.a{row.attempt}",
        argv=argv,
        cwd=str(cwd),
        folder=str(place),
        env=env,
        limits=Limits(limits.memory_mb, limits.timeout_s, limits.cpu),
        sidecar=(sys.executable, *SHIPPER, str(place / "spool")),
        secrets={"MLFLOW_TRACKING_TOKEN": str(token_path(host, row))},
        respawn=_RESPAWNS if row.kind == "notebook" else 0,
    )


def environment(host: Host, row: Execution, slug: str, python: Path) -> dict[str, str]:
    """The variables of a run, beside the allow-list. MLflow's own make explicit `mlflow` calls land in the same run."""
    place, url = folder(host, row), host.settings.url
    return {
        "HEADWAY_RUN": row.run_id,
        "HEADWAY_URL": url,
        "HEADWAY_TOKEN_FILE": str(token_path(host, row)),
        "HEADWAY_SPOOL": str(place / "spool"),
        "HEADWAY_PROJECT": slug,
        "HEADWAY_RUNTIME": str(host.runtime),
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_RUN_ID": row.run_id,
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(python.parent.parent),
    }


def drain_spec(host: Host, row: Execution, *, slug: str) -> Spec:
    """A shipper for what a run left in its spool when its own was killed: its input is empty, so it ships and ends."""
    place = folder(host, row)
    return Spec(
        key=f"drain-{row.run_id}.a{row.attempt}",
        argv=(sys.executable, *SHIPPER, str(place / "spool")),
        cwd=str(place),
        folder=str(place / "drain"),
        env=environment(host, row, slug, Path(sys.executable)),
        limits=Limits(timeout_s=_DRAIN_S),
        secrets={"MLFLOW_TRACKING_TOKEN": str(token_path(host, row))},
    )


def assemble_spec(host: Host, row: Execution) -> Spec:
    """Makes `out.ipynb` of a notebook run whose runner did not live to do it."""
    place = folder(host, row)
    return Spec(
        key=f"assemble-{row.run_id}.a{row.attempt}",
        argv=(sys.executable, "-m", "headway.runner.notebook", "--assemble", str(place)),
        cwd=str(place),
        folder=str(place / "assemble"),
        limits=Limits(timeout_s=600.0),
    )


def left_in_spool(place: Path) -> bool:
    """Whether a run whose sidecar did not end well may have left facts behind."""
    return any(path.is_file() and path.stat().st_size for path in (place / "spool").glob("*"))
