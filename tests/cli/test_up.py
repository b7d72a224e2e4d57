"""Starting, finding, stopping; and what is wrong before anything starts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.conftest import free_port

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cli]:
    """A user whose home folder has no server; one that a test starts is stopped."""
    made = Cli(tmp_path / "home", tmp_path / "work")
    made.env["HEADWAY_SAMPLE"] = "false"
    yield made
    made("down")


def ports() -> tuple[str, ...]:
    return "--port", str(free_port()), "--gateway-port", str(free_port())


def test_the_life_of_a_server(fresh: Cli) -> None:
    nobody = fresh("status")
    assert nobody.returncode == 1
    assert "headway up" in nobody.stderr
    up = fresh.json("up", "--detach", *ports())
    assert up["link"].startswith(up["url"] + "/welcome?token=")
    status = fresh.json("status")
    assert status["running"] is True
    assert (status["url"], status["pid"]) == (up["url"], up["pid"])
    assert stat.S_IMODE((fresh.home / "cli.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(fresh.home.stat().st_mode) == 0o700
    second = fresh("up", *ports())
    assert second.returncode == 1
    assert f"process {up['pid']}" in second.stderr
    assert "headway down" in second.stderr
    again = fresh("up", "--detach", *ports(), "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["error"]["code"] == "CONFLICT"
    assert fresh.json("down")["stopped"] is True
    assert fresh.json("down")["stopped"] is False
    assert fresh("status").returncode == 1
    assert "is not running" in fresh("project", "list").stderr


def test_in_the_foreground_it_prints_one_link_and_ctrl_c_stops_it(fresh: Cli) -> None:
    process = fresh.start("up", *ports())
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        links = [line for line in lines if "/welcome?token=" in line]
        assert len(links) == 1, lines
        with urllib.request.urlopen(links[0].split()[-1]) as page:  # it leads somewhere
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
            process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "Stopped" in out


def test_a_port_in_use_names_its_user(fresh: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = fresh("up", "--port", str(port), "--gateway-port", str(free_port()))
        assert refused.returncode == 1
        assert f"Port {port} is in use by" in refused.stderr
        assert str(os.getpid()) in refused.stderr
        assert f"--port {port + 10}" in refused.stderr
    assert not (fresh.home / "headway.db").exists()


def test_a_public_address_is_refused_without_tls(fresh: Cli) -> None:
    refused = fresh("up", "--host", "0.0.0.0", *ports())
    assert refused.returncode == 1
    assert "--behind-proxy" in refused.stderr
    assert not fresh.home.exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADWAY_PORT", "http", "expected int"),
        ("HEADWAY_SAMPLE", "perhaps", "expected bool"),
        ("HEADWAY_PORT", "70000", "'port'"),
    ],
)
def test_a_setting_that_makes_no_sense(fresh: Cli, name: str, value: str, said: str) -> None:
    refused = fresh("up", **{name: value})
    assert refused.returncode == 1
    assert said in refused.stderr


def test_an_unknown_setting_in_the_file(fresh: Cli) -> None:
    fresh.home.mkdir()
    (fresh.home / "headway.toml").write_text("prot = 9000\n")
    refused = fresh("up")
    assert refused.returncode == 1
    assert "unknown setting 'prot'" in refused.stderr
    (fresh.home / "headway.toml").write_text("port = \n")
    assert "not valid TOML" in fresh("up").stderr


@pytest.mark.parametrize("how", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_home_that_cannot_be_written_to(tmp_path: Path, how: tuple[str, ...]) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    made = Cli(locked / "home", tmp_path / "work")
    as_somebody: tuple[str, ...] = ()
    if os.getuid() == 0:
        if shutil.which("setpriv") is None or not _reachable_by_others(nested=bool(how)):
            pytest.skip("needs setpriv, and a Python that other users may run")
        as_somebody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
        for parent in (tmp_path, *tmp_path.parents):
            if parent.is_relative_to("/tmp/") and parent.stat().st_uid == 0:
                parent.chmod(parent.stat().st_mode | 0o055)
        made.work.chmod(0o777)
    locked.chmod(0o555)
    refused = made("up", *how, *ports(), prefix=as_somebody)
    locked.chmod(0o755)
    assert refused.returncode == 1, refused.stdout
    assert "can't be written to: Permission denied" in refused.stderr
    assert "--home" in refused.stderr


def _reachable_by_others(nested: bool) -> bool:
    """Whether another user may run this Python, and (nested) that Python another one."""
    again = "import subprocess, sys; subprocess.check_call([sys.executable, '-c', 'import headway'])"
    as_somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", sys.executable, "-c"]
    code = again if nested else "import headway"
    return subprocess.run([*as_somebody, code], capture_output=True, check=False, cwd="/").returncode == 0


@ROOT_ONLY
def test_a_full_disk(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        made = Cli(place / "home", tmp_path / "work")
        refused = made("up", *ports())
        assert refused.returncode == 1
        assert "full" in refused.stderr
        refused = made("up", "--detach", *ports())
        assert refused.returncode == 1
        assert "full" in refused.stderr
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_down_leaves_runs_alone_and_a_killed_server_is_noticed(fresh: Cli) -> None:
    up = fresh.json("up", "--detach", *ports())
    os.kill(up["pid"], signal.SIGKILL)
    until = time.monotonic() + 20
    while fresh("status").returncode == 0:
        assert time.monotonic() < until
    assert "is not running" in fresh("status").stderr
    assert fresh.json("up", "--detach", *ports())["pid"] != up["pid"]


def test_doctor_says_what_is_wrong(fresh: Cli) -> None:
    found = fresh.json("doctor", "--offline")
    assert {one["about"] for one in found["findings"]} >= {
        "python",
        "server",
        "settings",
        "home",
        "disk",
        "running",
        "uv",
    }
    assert found["well"] is True
    bad = fresh.json("doctor", "--offline", code=1, HEADWAY_PORT="none")
    assert bad["well"] is False
    assert [one["state"] for one in bad["findings"] if one["about"] == "settings"] == ["problem"]


def test_who_follows_a_run_does_not_notice_that_the_server_was_killed(fresh: Cli) -> None:
    """Nothing the run printed is lost or doubled in the terminal, over a kill -9 and a new start of the server."""
    fresh.env["HEADWAY_DEFAULT_REQUIREMENTS"] = "six"
    where = ports()
    up = fresh.json("up", "--detach", *where)
    fresh.ok("project", "create", "Long")
    (fresh.work / "count.py").write_text(
        "import time\nfor i in range(60): print('line', i, flush=True); time.sleep(0.1)"
    )
    follower = fresh.start("run", "count.py")
    try:
        assert follower.stdout is not None and follower.stderr is not None
        seen = [follower.stdout.readline() for _ in range(3)]
        os.kill(up["pid"], signal.SIGKILL)
        assert fresh.json("up", "--detach", *where)["pid"] != up["pid"]
        out = follower.stdout.read()  # not `communicate`: it would leave out what readline() has read ahead
        err = follower.stderr.read()
        follower.wait(timeout=60)
    finally:
        follower.kill()
        follower.communicate()
    assert follower.returncode == 0, err
    assert [*"".join(seen).splitlines(), *out.splitlines()] == [f"line {i}" for i in range(60)]
