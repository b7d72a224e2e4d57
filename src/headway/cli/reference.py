"""The reference of the command line as Markdown, made of the commands themselves: `docs/cli.md` holds it, a test compares."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import typer

from headway.cli.nouns import NOUNS


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, as ("headway runs list", the command), in the order of the list."""
    for name, (module, _) in NOUNS.items():
        yield from _below(
            f"headway {name}", typer.main.get_command(importlib.import_module(f"headway.cli.{module}").app)
        )


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    verbs = getattr(command, "commands", None)
    if not verbs:
        yield path, command
        return
    for name, verb in verbs.items():
        yield from _below(f"{path} {name}", verb)


def markdown() -> str:
    """All commands: a heading, what it does, its arguments and options, and examples."""
    parts = [_one(path, command) for path, command in commands()]
    return "\n".join(parts)


def _one(path: str, command: Any) -> str:
    rows = [row for parameter in command.params if (row := _row(parameter)) is not None]
    lines = [f"### `{path}`", "", *_paragraphs(command.help or "")]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    examples = [line.strip() for line in (command.epilog or "").splitlines()[2:] if line.strip()]
    lines += ["```console", *(f"$ {line}" for line in examples), "```", ""]
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    found: list[str] = []
    for paragraph in text.split("\n\n"):
        found += [" ".join(paragraph.split()), ""]
    return found


def _row(parameter: Any) -> str | None:
    if getattr(parameter, "hidden", False) or parameter.name in ("help", "as_json", "project"):
        return None
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name
        left = f"`{name}`"
    else:
        left = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    told = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"| {left} | {told} |"
