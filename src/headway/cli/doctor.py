"""`headway doctor`: what is well on this machine, and what to do about what is not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, examples, new
from headway.cli.running import holder
from headway.errors import HeadwayError
from headway.sdk.address import Address
from headway.sdk.client import Client

if TYPE_CHECKING:
    from headway.settings import Settings

app = new()

SERVER_PARTS = ("fastapi", "uvicorn", "sqlalchemy", "jupyterlab", "jupyter_client", "cryptography")
LOW_DISK = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `state`: ok, warning, problem."""

    about: str
    state: str
    message: str
    hint: str = ""


@app.command(epilog=examples("headway doctor", "headway doctor --offline", "headway doctor --json"))
def doctor(
    home: Annotated[Path | None, typer.Option(help="The home folder. Else HEADWAY_HOME, ~/.headway.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the package index.")] = False,
    as_json: Json = False,
) -> None:
    """Check this machine and its headway, and say what to do about each problem. Exits 1 if there is one."""
    found = list(_findings(home, offline))

    def people() -> None:
        shapes = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
        width = max(len(one.about) for one in found)
        for one in found:
            shape, colour = shapes[one.state]
            output.say(f"{typer.style(shape, fg=colour)} {one.about.ljust(width)}  {one.message}")
            if one.hint:
                output.say(f"  {' ' * width}  {one.hint}")

    well = all(one.state != "problem" for one in found)
    output.show({"well": well, "findings": [asdict(one) for one in found]}, as_json, people)
    if not well:
        raise typer.Exit(1)


def _findings(home: Path | None, offline: bool) -> Iterator[Finding]:
    yield _python()
    yield _parts()
    try:
        from headway.settings import Settings

        settings = Settings.load(home=home)
    except HeadwayError as error:
        yield Finding("settings", "problem", error.message, error.hint)
        return
    own = (settings.home / "headway.toml").exists()
    yield Finding("settings", "ok", f"headway.toml in {settings.home}" if own else "defaults and environment")
    yield _folder(settings.home)
    yield _disk(settings.home)
    yield from _server(settings)
    yield _uv()
    if not offline:
        yield _index()


def _python() -> Finding:
    return Finding("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})")


def _parts() -> Finding:
    missing = [name for name in SERVER_PARTS if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            "server", "warning", f"Only the client is installed: {', '.join(missing)} missing.",
            "To run a server here: pip install 'headway[server]'",
        )  # fmt: skip
    return Finding("server", "ok", "all its parts are installed")


def _folder(home: Path) -> Finding:
    there = home
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("home", "problem", f"{home} can't be written to.", "Choose another with --home or HEADWAY_HOME.")
    if home.exists() and home.stat().st_mode & 0o077:
        return Finding("home", "warning", f"Others may look into {home}.", f"chmod 700 {home}")
    return Finding("home", "ok", str(home) if home.exists() else f"{home} (not made yet)")


def _disk(home: Path) -> Finding:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < LOW_DISK:
        return Finding(
            "disk", "problem", f"Only {output.size(free)} free under {there}.", "Environments alone take 1 GiB."
        )
    return Finding("disk", "ok", f"{output.size(free)} free")


def _server(settings: Settings) -> Iterator[Finding]:
    pid = holder(settings.home)
    if not pid:
        yield _port(settings)
        return
    from headway.sdk import address

    where: Address | None = address.local({"HEADWAY_HOME": str(settings.home)})
    if where is None:
        yield Finding("running", "warning", f"Process {pid} is still starting.", "Ask again in a moment.")
        return
    try:
        client = Client(address=where)
        version = client.get("/health")["version"]
        me = client.get("/api/v1/me")
    except HeadwayError as error:
        yield Finding("running", "problem", error.message, error.hint or f"Its log: {settings.home / 'logs'}")
        return
    yield Finding("running", "ok", f"headway {version} at {where.url} (process {pid}), you are {me['name']}")


def _port(settings: Settings) -> Finding:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return Finding(
                "running", "warning", f"Not running, and port {settings.port} is taken: {error.strerror}.",
                f"headway up --port {settings.port + 10}",
            )  # fmt: skip
    return Finding("running", "ok", f"not running; port {settings.port} is free", "headway up")


def _find_uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _uv() -> Finding:
    uv = _find_uv()
    if uv is None:
        return Finding(
            "uv", "warning", "uv is missing: environments can't be built here.", "pip install 'headway[server]'"
        )
    said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
    return Finding("uv", "ok" if said.returncode == 0 else "problem", (said.stdout or said.stderr).strip())


def _index() -> Finding:
    """Asked as builds do: by uv's settings, and by pip's where uv has none."""
    uv = _find_uv()
    asks = [[sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-deps", "six"]]
    if uv is not None:
        asks.insert(0, [uv, "pip", "compile", "-q", "--no-header", "--no-deps", "-"])
    why = ""
    for ask in asks:
        try:
            said = subprocess.run(ask, input="six", text=True, capture_output=True, timeout=30, check=False, cwd="/")
        except subprocess.TimeoutExpired:
            why = why or "no answer in 30 s"
            continue
        if said.returncode == 0:
            return Finding("packages", "ok", "the package index answers")
        why = why or (said.stderr.strip().splitlines() or ["no word why"])[-1].strip()
    return Finding(
        "packages", "problem", f"The package index can't be asked: {why}", "Check network and proxy settings."
    )
