"""What is published: the wheel, installed into an empty environment, starts and serves its pages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.conftest import free_port

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True)
    return next(out.glob("headway-*.whl"))


def test_the_wheel_carries_the_browsers_assets_and_no_map_to_elsewhere(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in ("htmx.min.js", "uplot.min.js", "icons.svg", "swagger-ui.js", "LICENSES.txt"):
            assert f"headway/web/static/vendor/{name}" in names
        assert "headway/web/templates/layout.html" in names
        assert "headway/py.typed" in names
        assert not [name for name in names if "node_modules" in name or name.startswith("tests/")]


def test_the_base_install_needs_little(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    base = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert sorted(re.split(r"[ ;<>=!~\[]", line.removeprefix("Requires-Dist: "))[0] for line in base) == [
        "rich",
        "typer",
    ]


def test_it_starts_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    env = tmp_path / "env"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, env], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", env / "bin/python", "-c", ROOT / "constraints.txt",
                    f"{wheel}[server]"], check=True)  # fmt: skip
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "PYTHONPATH"))}
    environ |= {
        "HEADWAY_HOME": str(tmp_path / "home"),
        "HEADWAY_SAMPLE": "false",
        "HEADWAY_GATEWAY_PORT": str(free_port()),
    }
    server = subprocess.Popen([env / "bin/headway", "up", "--port", str(port)], env=environ, cwd=tmp_path,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    try:
        assert server.stdout is not None
        link = ""
        deadline = time.monotonic() + 120
        while not link and time.monotonic() < deadline:
            line = server.stdout.readline()
            assert line, f"the server ended with {server.wait()}"
            if found := re.search(r"http://\S+/welcome\S+", line):
                link = found.group()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(link) as answer:
            assert b"headway" in answer.read()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
        subprocess.run([env / "bin/headway", "down"], env=environ, cwd=tmp_path, timeout=60, capture_output=True)
