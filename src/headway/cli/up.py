"""`headway up`: the server, in the foreground or detached."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway import errors, late
from headway.cli import output
from headway.cli.options import Json, examples, new
from headway.errors import HeadwayError, Unavailable

if TYPE_CHECKING:
    from headway.settings import Settings

app = new()


@app.command(
    epilog=examples("headway up", "headway up --detach", "headway up --home /srv/headway --port 9000",
                    "headway up --host 0.0.0.0 --behind-proxy   # a TLS proxy stands in front")
)  # fmt: skip
def up(
    home: Annotated[
        Path | None, typer.Option(help="Folder that keeps everything. Else HEADWAY_HOME, ~/.headway.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless told.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the pages and the API; 8640.")] = None,
    gateway_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the endpoints; 8641, or the next to --port.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Come back once it is up, and leave it running.")
    ] = False,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A trusted proxy in front ends TLS: a public address is fine.")
    ] = False,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file with the certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with its key.")] = None,
    sample: Annotated[
        bool | None, typer.Option("--sample/--no-sample", help="Make the sample project at the first start.")
    ] = None,
    as_json: Json = False,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start headway on this machine and print a sign-in link.

    Runs, builds and endpoints are processes of their own: they go on when the server stops, and it finds them again.
    """
    if gateway_port is None and port is not None and "HEADWAY_GATEWAY_PORT" not in os.environ:
        gateway_port = port + 1 if port < 65535 else port - 1
    options = {
        "home": home, "host": host, "port": port, "gateway_port": gateway_port, "behind_proxy": behind_proxy or None,
        "tls_certificate": str(tls_certificate) if tls_certificate else None, "tls_key": str(tls_key) if tls_key else None,
        "sample": sample,
    }  # fmt: skip
    settings = _settings(options)
    if detach:
        _detached(settings, options, as_json)
    elif ready_fd is not None:
        _as_child(settings, ready_fd)
    else:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: by now the server has closed all
            _serve(settings, lambda link: _greet(settings, link, os.getpid(), as_json))
        if not as_json:
            output.say("\nStopped. Runs and endpoints go on; `headway down` ends the endpoints too.")


def _settings(options: dict[str, Any]) -> Settings:
    """Raises `Unavailable` where only the client is installed."""
    from headway.settings import Settings

    return Settings.load(**options)


def _serve(settings: Settings, ready: Any) -> None:
    late.libraries()  # before the server's modules import them
    try:
        from headway import up as server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "headway":
            raise
        raise Unavailable(
            f"The server is not installed here: {error.name} is missing.", hint="pip install 'headway[server]'"
        ) from None
    server.serve(settings, ready)


def _greet(settings: Settings, link: str, pid: int, as_json: bool, detached: bool = False) -> None:
    def people() -> None:
        output.say(f"headway is up at {settings.url}   (home: {settings.home})")
        output.say(f"\n  Sign in (works once):  {typer.style(link, bold=True)}\n")
        output.say("Stop it with `headway down`." if detached else "Ctrl-C stops it.")
        sys.stdout.flush()

    value = {"url": settings.url, "link": link, "pid": pid, "home": str(settings.home)}
    output.show(value, as_json, people)
    sys.stdout.flush()
    if settings.open_browser:
        import webbrowser

        webbrowser.open(link)


def _detached(settings: Settings, options: dict[str, Any], as_json: bool) -> None:
    """Start the same command in a session of its own, and wait until it says that it is up, or why it isn't."""
    read, write = os.pipe()
    argv = [sys.executable, "-m", "headway", "up", "--ready-fd", str(write)]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if name == "sample" and value is not None:
            argv.append("--sample" if value else "--no-sample")
        elif value is True:
            argv.append(flag)
        elif value is not None and name != "sample":
            argv += [flag, str(value)]
    with tempfile.TemporaryFile() as console:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, pass_fds=[write], start_new_session=True,
            cwd="/",
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()  # until it says something and closes, or ends
        if not said:
            code = child.wait()
            console.seek(0)
            last = console.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            raise HeadwayError(
                f"The server ended at once (exit status {code}).", hint=" ".join(line.strip() for line in last)
            )
    value = json.loads(said)
    if "error" in value:
        error = value["error"]
        kind = errors.tree().get(error.pop("code"), HeadwayError)
        raise kind(error.pop("message"), **error)
    _greet(settings, value["link"], child.pid, as_json, detached=True)


def _as_child(settings: Settings, ready_fd: int) -> None:
    """Serve, telling the waiting parent on its pipe."""
    os.set_inheritable(ready_fd, False)  # nothing that this server starts may hold the pipe open

    def tell(value: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as pipe:
            json.dump(value, pipe)

    told = False

    def ready(link: str) -> None:
        nonlocal told
        told = True
        with settings.path("logs", "console.log").open("ab") as log:  # what Python itself may still say
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        tell({"link": link})

    try:
        _serve(settings, ready)
    except HeadwayError as error:
        if not told:
            tell(error.as_dict())
        raise
