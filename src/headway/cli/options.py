"""What many commands share: the flags, the client, and which project is meant."""

from __future__ import annotations

from typing import Annotated

import typer

from headway.cli import output
from headway.sdk import projects
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
    """The slug of the project that is meant; says so on standard error when it chose among several."""
    return projects.choose(client, said, note=output.note)
