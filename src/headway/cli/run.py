"""`headway run`: a notebook or script, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.follow import follow, tell
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import NotFound
from headway.sdk import address
from headway.sdk.client import Client, part
from headway.sdk.runs import Runs

app = new()

Param = Annotated[list[str], typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; again for each.")]
Memory = Annotated[int | None, typer.Option("--memory", min=32, metavar="MIB", help="Most memory it may use, in MiB.")]
Timeout = Annotated[float | None, typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest it may take.")]
Cpu = Annotated[
    float | None, typer.Option("--cpu", min=0.1, metavar="CORES", help="Threads that numeric libraries take.")
]


@app.command(
    epilog=examples("headway run train.py -p lr=0.1", "headway run train.ipynb --timeout 3600 --detach",
                    "headway run experiments/train.py --folder . --memory 4096", "headway run train.py --json")
)  # fmt: skip
def run(
    path: Annotated[
        str, typer.Argument(show_default=False, help="A notebook (.ipynb) or script (.py): here, or in the project.")
    ],
    param: Param = [],  # noqa: B006  typer reads the default, nobody changes it
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't follow it.")] = False,
    cpu: Cpu = None,
    memory: Memory = None,
    timeout: Timeout = None,
    cell_timeout: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Longest that a cell of a notebook may take.")
    ] = None,
    env: Annotated[
        str | None, typer.Option("--env", metavar="ID", help="An environment; the project's current one.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What to call the run.")] = "",
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The folder to send with a file that is not the project's."),
    ] = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Run a notebook or a script, recorded, and follow it. Exits 1 if it fails. Ctrl-C leaves it running.

    A file of the project's own folder is run there. A file from anywhere else is sent along with the working directory (or
    the file's folder, or --folder), without hidden files, virtual environments and caches.
    """
    params = params_of(param)
    client = connect()
    runs, where, source = _place(client, path, folder, project)
    made = runs.submit(where, params, source=source, name=name, environment=env, memory_mb=memory, timeout_s=timeout, cpu=cpu,
                       cell_timeout_s=cell_timeout)  # fmt: skip
    if not detach:
        output.note(made["url"])
        made = follow(runs, made["run_id"], err=as_json)
        tell(made)
    output.show(made, as_json, lambda: _submitted(made) if detach else None)
    if not detach and made["status"] != "finished":
        raise typer.Exit(1)


def params_of(said: list[str]) -> dict[str, str]:
    """`["lr=0.1"]` as parameters. The server reads each as the parameter's type."""
    found: dict[str, str] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"'{one}' is not NAME=VALUE, such as lr=0.1.", param_hint="-p")
        if name.strip() in found:
            raise typer.BadParameter(f"'{name.strip()}' is given twice.", param_hint="-p")
        found[name.strip()] = value
    return found


def _place(client: Client, path: str, folder: Path | None, said: str | None) -> tuple[Runs, str, str]:
    """(the project's runs, the file's path, the id of the folder that was sent or "") for what was typed."""
    here = Path(path).expanduser()
    own = _in_project(client, here)
    if own is not None and folder is None and said in (None, own[0]):
        return Runs(client, own[0]), own[1], ""
    runs = Runs(client, project_of(client, said))
    if here.is_file():
        if here.suffix not in (".py", ".ipynb"):
            raise typer.BadParameter(f"'{path}' is neither a notebook (.ipynb) nor a script (.py).", param_hint="PATH")
        source, name = runs.send(here, folder)
        return runs, name, source
    if folder is not None or here.is_absolute() or here.is_dir():
        raise typer.BadParameter(f"There is no file '{path}'.", param_hint="PATH")
    try:
        runs.client.get(f"{runs.base}/parameters", path=path)
    except NotFound:
        runs.client.get(f"/api/v1/projects/{part(runs.project)}")  # is it the project that is not there?
        raise NotFound(
            f"There is no '{path}' here, nor in project {runs.project}.", hint="Check the name, or change the folder."
        ) from None
    return runs, path, ""


def _in_project(client: Client, here: Path) -> tuple[str, str] | None:
    """(project, path) of a file in a project's own folder, if the server is the one of this machine's home folder."""
    if not here.is_file() or client.address.source != str(address.home() / "cli.json"):
        return None
    try:
        parts = here.resolve().relative_to((address.home() / "projects").resolve()).parts
    except ValueError:
        return None
    return (parts[0], "/".join(parts[1:])) if len(parts) > 1 else None


def _submitted(made: dict[str, Any]) -> None:
    output.say(made["run_id"])
    output.note(f"{made['status']}: {made['url']}\n  headway runs watch {made['run_id']}")
