"""A headway that was started by its own command line, as a user would, and its commands as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port

OURS = ("HEADWAY_", "MLFLOW_")


class Cli:
    """`headway` as one user runs it: a home folder, a working directory, and no other headway in the environment."""

    def __init__(self, home: Path, work: Path) -> None:
        self.home, self.work = home, work
        work.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.env = kept | {"HEADWAY_HOME": str(home), "XDG_CONFIG_HOME": str(work / "config"),
                           "XDG_CACHE_HOME": str(work / "cache"), "COLUMNS": "200"}  # fmt: skip
        if "UV_CACHE_DIR" not in self.env:
            self.env["UV_CACHE_DIR"] = subprocess.check_output(
                ["uv", "cache", "dir"], text=True, env=_with_uv()
            ).strip()

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """The command, not waited for."""
        return subprocess.Popen([sys.executable, "-m", "headway", *args], env=self.env | env, cwd=self.work, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=_heeds_ctrl_c)  # fmt: skip

    def __call__(
        self, *args: str, input: str | None = None, cwd: Path | None = None, prefix: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """The command, once it is over. No command ever shows a traceback."""
        raw = subprocess.run([*prefix, sys.executable, "-m", "headway", *args], env=self.env | env, cwd=cwd or self.work,
                             input=(input or "").encode(), capture_output=True, timeout=240, check=False)  # fmt: skip
        # Decoded here: in text mode Python would make line ends of carriage returns.
        done = subprocess.CompletedProcess(raw.args, raw.returncode, raw.stdout.decode(), raw.stderr.decode())
        assert "/headway/cli/" not in done.stderr, done.stderr  # a run's own traceback may well be there
        assert "bug of headway" not in done.stderr, done.stderr
        return done

    def json(self, *args: str, code: int = 0, **options: Any) -> Any:
        """What it says with `--json`: one object, and nothing else."""
        done = self(*args, "--json", **options)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def ok(self, *args: str, **options: Any) -> str:
        """Its standard output; it must succeed."""
        done = self(*args, **options)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout


def _heeds_ctrl_c() -> None:
    """Whoever runs the tests in the background of a shell hands on that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _with_uv() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running headway with the sample project, whose environment has what its script needs."""
    folder = tmp_path_factory.mktemp("cli")
    made = Cli(folder / "home", folder / "work")
    made.env["HEADWAY_DEFAULT_REQUIREMENTS"] = "pandas,scikit-learn,xgboost-cpu"
    made.env["TEST_GATEWAY_PORT"] = str(free_port())
    up = made("up", "--detach", "--port", str(free_port()), "--gateway-port", made.env["TEST_GATEWAY_PORT"], "--json")
    assert up.returncode == 0, up.stderr
    try:
        yield made
    finally:
        down = made("down")
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="session")
def finished(cli: Cli) -> dict[str, Any]:
    """A run of the sample's script, as `headway run --json` tells it."""
    found: dict[str, Any] = cli.json("run", "train.py", "-p", "lr=0.2", "-p", "trees=40")
    return found
