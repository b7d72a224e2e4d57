"""A program outside the platform, recorded like one of its runs: the folder of its facts, its environment, its run.

`prepare` makes `FOLDER/<time>-<random>/` with `track.json` (what was started), `spool/` (its facts), `entry/` (what starts
capture in any Python that the program starts) and, where there is a server, `token` (0600). Nothing is installed anywhere:
`PYTHONPATH` names `entry/`, whose `sitecustomize` starts capture and then the `sitecustomize` that it hides.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway import parts
from headway.errors import BadInput, HeadwayError, Unavailable
from headway.sdk.client import Client

ENDED = "ended.json"
SHIPPED = "shipped.json"
SITE = '''"""Written by `headway track`: starts the recording of this process, then the sitecustomize that this one hides."""
import os, sys
_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [p for p in sys.path if os.path.abspath(p) != _here]
try:
    _runtime = os.environ.get("HEADWAY_RUNTIME")
    if _runtime and sys.version_info >= (3, 11):
        sys.path.insert(0, _runtime)
        try:
            import headway.boot
        finally:
            sys.path.remove(_runtime)
        sys.path.append(_runtime)
        headway.boot.boot()
except Exception:
    pass
sys.modules.pop("sitecustomize", None)
import sitecustomize  # what Python would have imported; where there is none, the same ImportError
'''

_NOTEBOOKS = re.compile(r"^(jupyter(-\w+)*|nbconvert|notebook|jupyterlab|papermill|nbclient|voila|ipykernel)$")
_MLFLOW = "/api/2.0/mlflow"


@dataclass
class Tracked:
    """One program to be recorded: its folder, its environment, and its run, if a server made one."""

    folder: Path
    env: dict[str, str]
    run_id: str = ""
    url: str = ""

    @property
    def spool(self) -> Path:
        """Where the facts of its first process lie. Kernels that it starts have folders of their own beside it."""
        return self.folder / "spool"


def runtime() -> Path:
    """The folder that users' processes get in place of our site-packages."""
    return parts.install(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headway" / "runtime")


def prepare(root: Path, argv: Sequence[str], environ: Mapping[str, str]) -> Tracked:
    """Make the folder of a program that is about to start, and the environment to start it with. No server is asked."""
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    (folder / "entry").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    (folder / "spool").mkdir(mode=0o700)
    (folder / "entry" / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    found = {
        "argv": list(argv),
        "cwd": str(Path.cwd()),
        "started": int(time.time() * 1000),
        "host": os.uname().nodename,
    }
    (folder / "track.json").write_text(json.dumps(found), encoding="utf-8")
    ours = ("HEADWAY_RUN", "HEADWAY_SPOOL", "HEADWAY_EVENTS", "HEADWAY_TOKEN_FILE", "HEADWAY_URL", "HEADWAY_RUNTIME")
    env = {name: value for name, value in environ.items() if name not in ours}
    env |= {"HEADWAY_SPOOL": str(folder / "spool"), "HEADWAY_RUNTIME": str(runtime()), "HEADWAY_TRACK": "1"}
    path = env.get("PYTHONPATH")
    env["PYTHONPATH"] = str(folder / "entry") + (os.pathsep + path if path else "")
    return Tracked(folder, env)


def connect(tracked: Tracked, client: Client, project: str, *, experiment: str = "", name: str = "") -> None:
    """Make the run, so that the program's own MLflow calls land in it. Raises what the server says, or `Unavailable`.

    A program that starts notebook kernels gets none: each kernel makes its own. MLflow's variables that are set stay.
    """
    found = json.loads((tracked.folder / "track.json").read_text(encoding="utf-8"))
    token_file = tracked.folder / "token"
    with os.fdopen(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(client.address.token)
    url = client.address.url
    env = {"HEADWAY_URL": url, "HEADWAY_TOKEN_FILE": str(token_file), "HEADWAY_PROJECT": project}
    if not starts_notebooks(found["argv"]):
        title = experiment or experiment_of(found["argv"], found["cwd"])
        tracked.run_id = _create(client, project, title, name, found)
        tracked.url = f"{url}/p/{project}/runs/{tracked.run_id}"
        env["HEADWAY_RUN"] = tracked.run_id
        shipped = {"run_id": tracked.run_id, "created": True, "project": project}
        (tracked.spool / SHIPPED).write_text(json.dumps(shipped), encoding="utf-8")
    theirs = {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": client.address.token, "MLFLOW_RUN_ID": tracked.run_id,
              "MLFLOW_WORKSPACE": project}  # fmt: skip
    if not any(name in tracked.env for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")):
        env |= {name: value for name, value in theirs.items() if value}
    tracked.env |= env


def _create(client: Client, project: str, experiment: str, name: str, found: dict[str, Any]) -> str:
    def call(method: str, path: str, body: Any = None, **query: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-MLFLOW-WORKSPACE": project}
        return json.loads(client.request(method, f"{_MLFLOW}/{path}", data, query=query, headers=headers).body)

    try:
        number = call("GET", "experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    except Unavailable:
        raise
    except HeadwayError as error:
        if error.status != 404:
            raise
        number = call("POST", "experiments/create", {"name": experiment})["experiment_id"]
    tags = {"headway.source": "tracked", "mlflow.source.name": experiment, "mlflow.source.type": "LOCAL",
            "headway.host": found["host"]}  # fmt: skip
    body = {"experiment_id": number, "start_time": found["started"], "run_name": name,
            "tags": [{"key": key, "value": value} for key, value in tags.items()]}  # fmt: skip
    return str(call("POST", "runs/create", body)["run"]["info"]["run_id"])


def starts_notebooks(argv: Sequence[str]) -> bool:
    """Whether a command runs kernels rather than a program: each kernel is then a run of its own."""
    words = [Path(word).name for word in argv[:1]]
    if "-m" in argv[:-1]:
        words.append(argv[argv.index("-m") + 1].split(".")[0])
    return any(_NOTEBOOKS.match(word) for word in words)


def experiment_of(argv: Sequence[str], cwd: str) -> str:
    """What a command is about: its script as seen from the working directory, its module, else its program."""
    words = list(argv)
    python = bool(re.match(r"^(python|pypy)[\d.]*$", Path(words[0]).name))
    if "-m" in words[:-1] and (python or words.index("-m") == 1):
        module = words[words.index("-m") + 1]
        scripts = [word for word in words[words.index("-m") + 2 :] if word.endswith(".py")]
        return _relative(scripts[0], cwd) if module.startswith("torch.distributed") and scripts else module
    script = next((word for word in words if word.endswith((".py", ".ipynb"))), "")
    return _relative(script, cwd) if script else Path(words[0]).name


def _relative(script: str, cwd: str) -> str:
    path = os.path.relpath(Path(cwd) / script, cwd)
    return path if not path.startswith("..") else str(Path(script).resolve())


def ended(tracked: Tracked, status: int) -> None:
    """Write down how the program ended: `status` as `os.waitpid` gives it."""
    code = os.waitstatus_to_exitcode(status)
    value = {"exit_code": max(code, 0) if code >= 0 else None, "signal": -code if code < 0 else None,
             "ended": int(time.time() * 1000)}  # fmt: skip
    for spool in spools(tracked.folder):
        path = spool / ENDED
        if spool == tracked.spool or not path.exists():
            new = path.with_name(ENDED + ".tmp")
            new.write_text(json.dumps(value), encoding="utf-8")
            new.rename(path)


def shipper(spool: Path, *more: str) -> list[str]:
    """The command that follows a spool, and sends it."""
    return [sys.executable, "-S", "-m", "headway.capture.shipper", "--spool", str(spool), *more]


def shipper_env(env: Mapping[str, str]) -> dict[str, str]:
    """What it runs with: ours alone, not the program's own Python settings."""
    kept = {name: value for name, value in env.items() if not name.startswith("PYTHON") and name != "HEADWAY_SPOOL"}
    return kept | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}


def spools(folder: Path) -> list[Path]:
    """The spools of one recorded program: its own, then those of the kernels that it started."""
    return [path for path in [folder / "spool", *sorted(folder.glob("spool-*"))] if path.is_dir()]


def recorded(root: Path) -> Iterator[Path]:
    """The folders of recorded programs at or below a folder, oldest first. Raises `BadInput` where there is none."""
    if (root / "track.json").is_file():
        yield root
        return
    found = sorted(path.parent for path in root.glob("*/track.json"))
    if not found:
        raise BadInput(
            f"{root} holds no recorded program.", hint="Name the folder that `headway track --to` was given."
        )
    yield from found


def is_sent(spool: Path) -> bool:
    """Whether a server has everything of a spool."""
    try:
        return bool(json.loads((spool / SHIPPED).read_text(encoding="utf-8")).get("finished"))
    except (OSError, ValueError):
        return False


def has_facts(spool: Path) -> bool:
    """Whether a Python process was recorded in a spool."""
    return any(spool.glob("facts.*.jsonl"))


def run_of(spool: Path) -> str:
    """The run that a spool was sent to, "" if none."""
    try:
        return str(json.loads((spool / SHIPPED).read_text(encoding="utf-8")).get("run_id") or "")
    except (OSError, ValueError):
        return ""
