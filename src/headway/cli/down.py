"""`headway down`: stop the server of a home folder, and what serves for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, examples, new
from headway.cli.running import holder
from headway.errors import Conflict
from headway.sdk import address

app = new()


@app.command(epilog=examples("headway down", "headway down --keep-endpoints"))
def down(
    home: Annotated[Path | None, typer.Option(help="The home folder. Else HEADWAY_HOME, ~/.headway.")] = None,
    keep_endpoints: Annotated[
        bool, typer.Option("--keep-endpoints", help="Stop only the server: endpoints and notebooks go on.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the server to end.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Stop headway on this machine. Runs go on, and the next `headway up` finds them."""
    folder = (home or address.home()).expanduser().absolute()
    pid = holder(folder)
    if pid:
        _stop(folder, pid, timeout)
    ended = 0
    if not keep_endpoints and (folder / "lock").exists():  # a server was here, whichever its database
        ended = _services(folder)

    def people() -> None:
        output.say(f"Stopped (process {pid})." if pid else f"No server was running on {folder}.")
        if ended:
            output.say(f"Ended {ended} process{'es' if ended > 1 else ''} of endpoints and notebooks.")

    output.show({"stopped": bool(pid), "pid": pid or None, "ended": ended, "home": str(folder)}, as_json, people)


def _stop(folder: Path, pid: int, timeout: float) -> None:
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout
    while holder(folder) == pid:
        if time.monotonic() > until:
            raise Conflict(
                f"The server (process {pid}) has not ended within {timeout:.0f} seconds.",
                hint=f"`kill -9 {pid}` is safe: nothing that was acknowledged is lost, and runs go on.",
            )
        time.sleep(0.05)


def _services(folder: Path) -> int:
    from headway import up
    from headway.settings import Settings

    return up.halt(Settings.load(home=folder))
