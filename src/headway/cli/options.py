"""What many commands share: the flags, the client, and which project is meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.errors import NotFound
from headway.sdk import address
from headway.sdk.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
InProject = Annotated[
    str | None,
    typer.Option(
        "--project", "-P", metavar="SLUG", help="The project. Else HEADWAY_PROJECT, this folder's, the first."
    ),
]


def new(help: str = "") -> typer.Typer:
    """A noun with `help`: a set of verbs, even if it has only one. Without: a verb of its own, such as `up`."""
    made = typer.Typer(help=help, rich_markup_mode=None, no_args_is_help=bool(help), add_completion=False,
                       pretty_exceptions_enable=False,
                       context_settings={"help_option_names": ["-h", "--help"]})  # fmt: skip
    if help:
        made.callback(help=help)(_nothing)
    return made


def _nothing() -> None:
    """What a noun does before its verb."""


def examples(*lines: str) -> str:
    """The end of a help text: examples as they are typed."""
    return "\b\nExamples:\n" + "\n".join("  " + line for line in lines)


def connect() -> Client:
    """The client of the server in force."""
    return Client()


def project_of(client: Client, said: str | None) -> str:
    """The slug of the project that is meant: said, HEADWAY_PROJECT, the folder's, the first that was made."""
    named = said or os.environ.get("HEADWAY_PROJECT") or _folders(Path.cwd())
    if named:
        return named
    found: list[dict[str, Any]] = client.get("/api/v1/projects")["projects"]
    if not found:
        raise NotFound("There is no project yet.", hint="Make one: headway project create NAME")
    first = min(found, key=lambda project: (project.get("created_at") or 0, project["slug"]))
    if len(found) > 1:
        output.note(f"Project {first['slug']} (the first of {len(found)}; choose with --project or HEADWAY_PROJECT).")
    return str(first["slug"])


def _folders(folder: Path) -> str | None:
    """The project whose folder this is, on the machine that keeps it."""
    projects = address.home() / "projects"
    try:
        parts = folder.resolve().relative_to(projects.resolve()).parts
    except ValueError:
        return None
    return parts[0] if parts else None
