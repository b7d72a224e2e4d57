"""`headway models`: see models and versions, set aliases, download bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import BadInput
from headway.sdk.models import Models

app = new("Models: versions, the aliases that stand for them, and their files.")

Ref = Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="cars, cars/3 or cars@champion.")]


def _models(project: str | None) -> Models:
    client = connect()
    return Models(client, project_of(client, project))


@app.command("list", epilog=examples("headway models list"))
def list_(project: InProject = None, as_json: Json = False) -> None:
    """The project's models."""
    found = _models(project).all()
    rows = [
        (one["name"], len(one["versions"]), one["versions"][0]["version"] if one["versions"] else "",
         " ".join(f"@{alias}={number}" for alias, number in one["aliases"].items()), output.ago(_newest(one)))
        for one in found
    ]  # fmt: skip
    headers = ("NAME", "VERSIONS", "NEWEST", "ALIASES", "MADE")
    empty = "No model is registered yet. `headway deploy RUN` registers the model of a run."
    output.show({"models": found}, as_json, lambda: output.table(headers, rows, empty=empty))


@app.command(epilog=examples("headway models show cars", "headway models show cars --json"))
def show(
    name: Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="Its name.")],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """One model with its versions."""
    found = _models(project).get(name)
    rows = [
        (one["version"], " ".join(f"@{alias}" for alias in one["aliases"]), one["run_id"][:8], output.ago(one["created_at"]),
         one["description"])
        for one in found["versions"]
    ]  # fmt: skip
    headers = ("VERSION", "ALIASES", "RUN", "MADE", "ABOUT")
    output.show(found, as_json, lambda: output.table(headers, rows, empty="It has no version."))


@app.command(epilog=examples("headway models alias cars/3 champion", "headway models alias cars champion --remove"))
def alias(
    model: Ref,
    alias: Annotated[str, typer.Argument(show_default=False, help="e.g. champion, candidate.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Let an alias stand for a version; it leaves the version it stood for before."""
    models = _models(project)
    alias = alias.removeprefix("@")
    if remove:
        name = model.partition("/")[0]
        models.get(name)
        models.delete_alias(name, alias)
        value: dict[str, Any] = {"name": name, "alias": alias, "removed": True}
        output.show(value, as_json, lambda: output.say(f"{name}@{alias} stands for nothing now."))
        return
    if "/" not in model and "@" not in model:
        raise BadInput(f"Which version of {model}?", hint=f"headway models alias {model}/1 {alias}")
    version = models.version(model)
    models.set_alias(version["name"], alias, version["version"])
    value = {"name": version["name"], "alias": alias, "version": version["version"]}
    output.show(value, as_json, lambda: output.say(f"{value['name']}@{alias} is version {value['version']}."))


@app.command(epilog=examples("headway models download cars@champion", "headway models download cars/3 --to model"))
def download(
    model: Ref,
    to: Annotated[
        Path | None, typer.Option("--to", file_okay=False, help="A new folder; named after the version.")
    ] = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Fetch a version's files: a folder in the MLmodel format, with its signature, examples and exact requirements."""
    models = _models(project)
    version = models.version(model)
    folder = to or Path(f"{version['name']}-{version['version']}")
    names = models.download(f"{version['name']}/{version['version']}", folder)
    value = {"name": version["name"], "version": version["version"], "folder": str(folder), "files": names}
    output.show(value, as_json, lambda: output.say(f"{len(names)} files in {folder}"))


def _newest(model: dict[str, Any]) -> int | None:
    return model["versions"][0]["created_at"] if model["versions"] else None
