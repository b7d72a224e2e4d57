"""`headway track`: any program, anywhere, recorded as the platform would record it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import HeadwayError, Unavailable
from headway.sdk import address, tracked
from headway.sdk.tracked import Tracked

app = new()

HANDED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
             signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH}  # fmt: skip
FROM_TERMINAL = 0x80  # SI_KERNEL: the terminal sends to the whole group, so the program has it already
DRAIN_S = 20.0


@app.command(
    context_settings={"allow_interspersed_args": False},
    epilog=examples("headway track -- python train.py --lr 0.1", "headway track -- python -m pkg.train",
                    "headway track -- torchrun --nproc-per-node 2 train.py", "headway track -- jupyter lab",
                    "headway track --to facts -- python train.py        (no server is needed)",
                    "headway track --send facts"),
)  # fmt: skip
def track(
    command: Annotated[
        list[str] | None, typer.Argument(help="The program and its arguments.", show_default=False)
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", file_okay=False, help="Keep the record here; send nothing.")
    ] = None,
    send: Annotated[
        Path | None, typer.Option("--send", metavar="DIR", file_okay=False, help="Send what was kept, and end.")
    ] = None,
    experiment: Annotated[
        str, typer.Option("--experiment", help="What the run belongs to; else the script's name.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="What to call the run.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Whether it ends only once the server has the record.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing of our own.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Run a program here and record it: parameters, metrics, models, data, figures, code, use of the machine.

    The program runs as without us: same input and output, same signals, same exit status (127 where there is no such program).
    Every Python that it starts is recorded; nothing is installed and no line is added. Without a server, or when it is away,
    the record stays on this machine, and `headway track --send DIR` sends it later.
    """
    if send is not None:
        if command:
            raise typer.BadParameter("--send takes no program.", param_hint="--send")
        _send(send, project, as_json)
        return
    if not command:
        raise typer.BadParameter("Name a program: headway track -- python train.py", param_hint="COMMAND")
    made, why = _prepared(command, to, project, experiment, name)
    if why and not quiet:
        output.note(f"headway: {why} The record stays in {made.folder}")
    status = _run(made, command)
    if status is None:
        return
    waited = _settle(wait)
    if not quiet:
        _tell(made, waited, to)
    _leave(status)


def _prepared(
    command: list[str], to: Path | None, project: str | None, experiment: str, name: str
) -> tuple[Tracked, str]:
    """The program's folder and environment, with its run if there is a server; and why there is none, "" if wanted so."""
    root = to.absolute() if to is not None else address.home() / "tracked"
    made = tracked.prepare(root, command, os.environ)
    if to is not None:
        return made, ""
    try:
        client = connect()
        client.timeout = 15
        tracked.connect(made, client, project_of(client, project), experiment=experiment, name=name)
    except HeadwayError as error:
        if project is not None and not isinstance(error, Unavailable):
            raise
        return made, error.message
    return made, ""


def _run(made: Tracked, command: list[str]) -> int | None:
    """Run it, hand signals on, and wait; its status as `waitpid` gives it, None if this process has been replaced."""
    watched = HANDED_ON | {signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        restored = (signal.SIGPIPE, signal.SIGXFSZ)
        child = os.posix_spawnp(command[0], command, made.env, setsigmask=before, setsigdef=restored)
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        typer.echo(f"headway: {command[0]}: {error.strerror}", err=True)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)
    _follow(made, child)
    while True:
        said = signal.sigwaitinfo(watched)
        if said.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                os.kill(os.getpid(), signal.SIGSTOP)  # so that the shell sees a stopped job; SIGCONT wakes both
            elif pid:
                tracked.ended(made, status)
                return status
        elif said.si_code != FROM_TERMINAL:
            os.kill(child, said.si_signo)


def _follow(made: Tracked, child: int) -> None:
    """The process beside it, which sends what is found and measures. Its end is awaited in `_settle`."""
    words = ["--pid", str(child), *([] if "HEADWAY_URL" in made.env else ["--record"])]
    with (made.folder / "shipper.log").open("ab") as log:
        side = subprocess.Popen(tracked.shipper(made.spool, *words), env=tracked.shipper_env(made.env), cwd="/",
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # fmt: skip
    _SIDES.append(side)


_SIDES: list[subprocess.Popen[bytes]] = []


def _settle(wait: bool) -> bool:
    """Wait until the record is sent, or kept; whether it is. A signal ends the waiting, not the sending."""
    until = time.monotonic() + (DRAIN_S if wait else 0)
    while any(side.poll() is None for side in _SIDES):
        left = until - time.monotonic()
        if left <= 0:
            return False
        said = signal.sigtimedwait(HANDED_ON | {signal.SIGCHLD}, min(left, 0.2))
        if said is not None and said.si_signo not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH):
            return False
    return True


def _tell(made: Tracked, settled: bool, to: Path | None) -> None:
    """One line on standard error, for people: where the record is."""
    unsent = [s for s in tracked.spools(made.folder) if tracked.has_facts(s) and not tracked.is_sent(s)]
    if to is not None:
        if sys.stderr.isatty():
            output.note(f"headway: recorded in {made.folder}; send it with: headway track --send {to}")
    elif settled and unsent:
        output.note(f"headway: the server does not have all of it; send it with: headway track --send {made.folder}")
    elif made.url and sys.stderr.isatty():
        output.note(f"headway: recorded, {made.url}" if settled else f"headway: still being sent, {made.url}")


def _leave(status: int) -> None:
    """End as the program did, by the same signal if one killed it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its own core is enough
    number = -code
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _send(root: Path, project: str | None, as_json: bool) -> None:
    client = connect()
    slug = project_of(client, project)
    found: list[dict[str, Any]] = []
    for folder in tracked.recorded(root.absolute()):
        for spool in tracked.spools(folder):
            if not tracked.has_facts(spool):
                continue
            if not tracked.is_sent(spool):
                _drain(spool, client.address.url, client.address.token, slug)
            run_id = tracked.run_of(spool)
            found.append({"folder": str(folder), "run_id": run_id, "sent": tracked.is_sent(spool),
                          "url": f"{client.address.url}/p/{slug}/runs/{run_id}" if run_id else ""})  # fmt: skip
    output.show({"runs": found}, as_json, lambda: _sent(found))
    if not all(one["sent"] for one in found):
        raise typer.Exit(1)


def _drain(spool: Path, url: str, token: str, project: str) -> None:
    path = spool / ".token"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(token)
        env = {"HEADWAY_URL": url, "HEADWAY_TOKEN_FILE": str(path), "HEADWAY_PROJECT": project}
        env = tracked.shipper_env(dict(os.environ)) | env
        env.pop("HEADWAY_RUN", None)
        words = tracked.shipper(spool, "--drain", "--patience", "20")
        subprocess.run(words, env=env, cwd="/", stdin=subprocess.DEVNULL, check=False)
    finally:
        path.unlink(missing_ok=True)


def _sent(found: list[dict[str, Any]]) -> None:
    rows = [("sent" if one["sent"] else "NOT SENT", one["url"] or "", one["folder"]) for one in found]
    output.table(("", "run", "folder"), rows, empty="Nothing was recorded there.")
