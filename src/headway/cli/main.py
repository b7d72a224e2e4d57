"""Finds the command, runs it, and turns what goes wrong into a line for people (or an object for programs)."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

import headway
from headway.cli.nouns import NOUNS
from headway.errors import HeadwayError, StorageFull

HINT = "Start here:  headway up            then open the link it prints.\nEvery command: --help, --json."


class Lazy(TyperGroup):
    """The commands of `NOUNS`; a module is imported when its command is used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """All names, in the order of the list."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of that name, None if there is no such thing."""
        if cmd_name not in NOUNS:
            return None
        app: typer.Typer = importlib.import_module(f"headway.cli.{NOUNS[cmd_name][0]}").app
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in NOUNS.items()])


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headway {headway.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Lazy, name="headway", rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
    no_args_is_help=True, epilog="\b\n" + HINT, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Nobody waits: notebooks, runs, experiments and endpoints on your own machine."""


def run(args: list[str] | None = None) -> None:
    """Run one command line and exit with its status."""
    try:
        app(args, prog_name="headway")
    except HeadwayError as error:
        sys.exit(fail(error))
    except BrokenPipeError:  # `headway runs logs ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(fail(_of_the_system(error)))
    except Exception as error:
        if os.environ.get("HEADWAY_DEBUG"):
            raise
        hint = f"This is a bug of headway ({type(error).__name__}). HEADWAY_DEBUG=1 shows where; please report it."
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        sys.exit(fail(HeadwayError(said, hint=hint)))


def fail(error: HeadwayError) -> int:
    """Say what was wrong and what to do; the exit status."""
    sys.stdout.flush()
    typer.echo(typer.style("Error: ", fg="red", bold=True) + error.message, err=True)
    if error.hint:
        typer.echo("  " + error.hint, err=True)
    if "--json" in sys.argv[1:]:
        typer.echo(json.dumps(error.as_dict()))
    return 1


def _of_the_system(error: OSError) -> HeadwayError:
    if error.errno == 28:
        return StorageFull("The disk is full; nothing was written.", hint="Free some space and try again.")
    name = f"{error.filename}: " if error.filename else ""
    return HeadwayError(f"{name}{error.strerror or error}.")
