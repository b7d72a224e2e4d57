"""One program of MLflow's users (`tests/stories/mlflow_program.py`) with several releases of its client, against one headway.

`python bench/clients.py [2.22.* 3.5.* ...]`: each in a virtual environment of its own. Exits 1 if a step failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from starting import BIN, free_port, launch

VERSIONS = ("2.22.*", "3.1.*", "3.17.*")
ROOT = Path(__file__).parents[1]
# Releases of MLflow 2 don't know what later ones of these changed; their own requirements don't say so.
OLD = ("opentelemetry-sdk==1.31.*", "opentelemetry-api==1.31.*")


def main(versions: list[str]) -> int:
    """Prints a line a version."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="headway-clients-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir(mode=0o700)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = os.environ | {
            "HEADWAY_HOME": str(home),
            "HEADWAY_PORT": str(port),
            "HEADWAY_GATEWAY_PORT": str(free_port()),
        }
        process, _ = launch([BIN / "headway", "up", "--no-sample"], env, home, url)
        try:
            _headway(env, "project", "create", "Clients")
            token = json.loads(_headway(env, "token", "create", "clients", "--json"))["token"]
            for version in versions:
                found = _with(version, Path(scratch), url, token)
                failures += len(found["failed"])
                print(f"mlflow {found['version']}: {len(found['done'])} steps done, {len(found['failed'])} failed")
                for step, why in found["failed"].items():
                    print(f"  {step}: {why}")
        finally:
            process.terminate()
            process.wait(30)
            _headway(env, "down")
    return 1 if failures else 0


def _headway(env: dict[str, str], *words: str) -> str:
    return subprocess.run([BIN / "headway", *words], env=env, check=False, capture_output=True, text=True).stdout


def _with(version: str, scratch: Path, url: str, token: str) -> dict[str, dict[str, str]]:
    folder = scratch / version.replace("*", "x")
    more = OLD if version.startswith("2.") else ()
    subprocess.run([BIN / "uv", "venv", "-q", folder], check=True)
    python = folder / "bin" / "python"
    wanted = [f"mlflow=={version}", "scikit-learn<1.8", "psutil", *more]
    subprocess.run([BIN / "uv", "pip", "install", "-q", "--python", python, *wanted], check=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HEADWAY_"))}
    said = {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": token, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [python, ROOT / "tests/stories/mlflow_program.py"], env=kept | said, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"mlflow {version}: {done.stderr[-2000:]}")
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(VERSIONS)))
