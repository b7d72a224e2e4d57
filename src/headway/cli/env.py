"""`headway env`: the packages that a project's code runs with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import NotFound
from headway.sdk.client import Client, part

app = new("The locked set of packages that a project's notebooks, runs and endpoints share.")

OVER = ("ready", "failed", "cancelled")


@app.command(epilog=examples("headway env show", "headway env show --json"))
def show(
    environment: Annotated[str | None, typer.Argument(help="Its id; the one in use, unless told.")] = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """The project's environment: its state, Python and what was asked for."""
    client = connect()
    found = _one(client, _base(client, project), environment)

    def people() -> None:
        output.say(f"{output.mark(found['state'])}  {found['name'] or found['id']}")
        output.pairs({"id": found["id"], "python": found["python"], "packages": found["packages"] or None,
                      "size": output.size(found["size"]) if found["size"] else None,
                      "asked for": ", ".join(found["requirements"]), "problem": found["message"],
                      "hint": found["hint"], "made": output.ago(found["created_at"])})  # fmt: skip

    output.show(found, as_json, people)


@app.command(epilog=examples("headway env lock > requirements.lock"))
def lock(
    environment: Annotated[str | None, typer.Argument(help="Its id; the one in use, unless told.")] = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Print the exact versions of all packages: what pip and uv read."""
    client = connect()
    base = _base(client, project)
    found = _one(client, base, environment)
    text = client.request("GET", f"{base}/{part(found['id'])}/lock").body.decode()
    value = {"id": found["id"], "lock": text.splitlines()}
    output.show(value, as_json, lambda: typer.echo(text, nl=not text.endswith("\n")))


@app.command(epilog=examples("headway env build requirements.txt", "headway env build pyproject.toml --detach"))
def build(
    path: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, show_default=False,
                             help="requirements.txt, pyproject.toml, environment.yml, or a script with a PEP 723 header.")
    ],
    use: Annotated[bool, typer.Option("--use/--no-use", help="The project changes to it once it is ready.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait for it.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Build an environment and let the project use it; the old one serves meanwhile. Exits 1 if it can't be built."""
    client = connect()
    base = _base(client, project)
    body = {"text": _text(path), "kind": _kind(path), "name": path.name, "use": use}
    found = client.post(base, body)
    if not detach:
        found = _follow(client, f"{base}/{part(found['id'])}", err=as_json)

    def people() -> None:
        output.say(f"{output.mark(found['state'])}  {found['name']}  ({found['packages']} packages, id {found['id']})")
        if found["message"]:
            output.say(f"  {found['message']}\n  {found['hint']}".rstrip())

    output.show(found, as_json, people)
    if found["state"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def _base(client: Client, project: str | None) -> str:
    return f"/api/v1/projects/{part(project_of(client, project))}/environments"


def _one(client: Client, base: str, environment: str | None) -> dict[str, Any]:
    wanted = environment
    if wanted is None:
        listed = client.get(base)
        # Before the first one is ready, the one that is being built, or that failed, is what the user asks about.
        wanted = listed["current"] or next((row["id"] for row in listed["environments"]), None)
    if not wanted:
        raise NotFound("The project has no environment yet.", hint="headway env build requirements.txt")
    found: dict[str, Any] = client.get(f"{base}/{part(wanted)}")
    return found


def _follow(client: Client, url: str, *, err: bool) -> dict[str, Any]:
    """Print the build's log as it grows until it is over; the environment then."""
    for piece in _log(client, url):
        typer.echo(piece, nl=False, err=err)
    found: dict[str, Any] = client.get(url)
    return found


def _log(client: Client, url: str) -> Iterator[str]:
    offset = 0
    while True:
        over = client.get(url)["state"] in OVER
        piece = client.request("GET", f"{url}/log", query={"offset": offset}).body
        offset += len(piece)
        if piece:
            yield piece.decode("utf-8", "replace")
        elif over:
            return
        else:
            time.sleep(0.3)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not text.", param_hint="PATH") from None


def _kind(path: Path) -> str:
    by_suffix = {".toml": "pyproject", ".py": "pep723", ".yml": "conda", ".yaml": "conda"}
    return by_suffix.get(path.suffix, "requirements")
