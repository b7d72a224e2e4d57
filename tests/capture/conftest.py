"""Small programs run as a user would run them: a real interpreter, capture started as in a managed environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headway.capture.reduce import reduce
from headway.capture.shipper import Reader

SOURCE = Path(__file__).resolve().parents[2] / "src"
PYTHON = (
    os.environ.get("HEADWAY_TEST_PYTHON") or sys.executable
)  # the programs' interpreter; capture runs in the user's
BOOT = """import os, sys
if os.environ.get("HEADWAY_SPOOL"):
    sys.path.append(os.environ["HEADWAY_RUNTIME"])
    import headway.boot
    headway.boot.boot()
"""


def other_pythons() -> list[str]:
    """Interpreters of other versions, 3.11 or later: HEADWAY_TEST_PYTHONS (paths, by ":"), else those of pyenv and PATH."""
    named = os.environ.get("HEADWAY_TEST_PYTHONS")
    if named is not None:
        return [p for p in named.split(":") if p]
    found = []
    for version in ("3.11", "3.12", "3.13", "3.14"):
        root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        homes = sorted(root.glob(f"versions/{version}.*/bin/python"))
        there = str(homes[-1]) if homes else shutil.which(f"python{version}")
        if there and version != f"3.{sys.version_info.minor}":
            found.append(there)
    return found


@dataclass
class Done:
    """One program that ran: how it ended, what it printed, and the folder of its facts."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def facts(self) -> list[dict[str, Any]]:
        reader = Reader(self.spool)
        reader.read()
        return reader.facts

    @property
    def record(self) -> dict[str, Any]:
        return reduce(self.facts)

    @property
    def params(self) -> dict[str, Any]:
        return {k: v["value"] for k, v in self.record["params"].items()}

    @property
    def metrics(self) -> dict[str, list[float]]:
        return {k: [p[1] for p in m["points"]] for k, m in self.record["metrics"].items()}

    @property
    def text(self) -> str:
        return "".join(p.read_text() for p in self.spool.glob("facts.*.jsonl"))


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """run(program, *argv, capture=True, env={}, files={}, python=...): runs it in a folder of its own."""

    def start(
        program: str,
        *argv: str,
        capture: bool = True,
        env: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        name: str = "program.py",
        python: str = PYTHON,
    ) -> Done:
        folder = tmp_path / ("captured" if capture else "plain")
        work = folder / "work"
        work.mkdir(parents=True)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(BOOT)
        for path, text in (files or {}).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(textwrap.dedent(text))
        (work / name).write_text(textwrap.dedent(program))
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON"))}
        keep |= {"PYTHONPATH": str(folder / "site"), "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0"}
        if capture:
            keep |= {"HEADWAY_SPOOL": str(folder / "spool"), "HEADWAY_RUNTIME": str(SOURCE)}
        keep |= env or {}
        done = subprocess.run(
            [python, name, *argv], cwd=work, env=keep, capture_output=True, text=True, timeout=120, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr, folder)

    return start


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    """record(source, *facts): reduces facts made by hand about one script."""

    def make(source: str, *facts: dict[str, Any]) -> dict[str, Any]:
        base = [
            {"k": "start", "t": 0, "role": "main", "main": "/w/a.py", "cwd": "/w", "argv": ["python", "a.py"]},
            {"k": "source", "t": 0, "file": "/w/a.py", "text": textwrap.dedent(source)},
        ]
        return reduce([json.loads(json.dumps(f)) for f in [*base, *facts]])

    return make
