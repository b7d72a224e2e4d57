"""One environment with the frameworks, built once by plain pip and kept beside the package cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# torch is pinned, and on the same line, so that nothing else brings another one (or the one with CUDA) along.
REQUIREMENTS = [
    "torch==2.13.0", "lightning==2.6.6", "keras==3.15.1", "skorch==1.4.0", "transformers==5.23.0", "accelerate==1.15.0",
    "catboost==1.2.10", "statsmodels==0.15.0", "optuna==5.0.0", "scikit-learn==1.9.1", "pandas==3.1.1",
    "mlflow-skinny==3.17.2", "cloudpickle==3.1.2",
]  # fmt: skip


@pytest.fixture(scope="session")
def frameworks() -> str:
    """The interpreter of an environment that has the frameworks. Fails, and does not skip, where it can't be built."""
    name = hashlib.sha256(repr((REQUIREMENTS, sys.version_info[:2])).encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"headway-test-frameworks-{os.getuid()}-{name}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{home}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes builds it
        if not (home / "ready").exists():
            _build(home)
    return str(home / "bin" / "python")


def _build(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    command = [home / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
    done = subprocess.run([*command, *REQUIREMENTS], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"The frameworks could not be installed; these tests need a package index.\n{done.stderr[-2000:]}")
    (home / "ready").touch()
