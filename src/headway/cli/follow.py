"""Following a run in a terminal: its own output as it comes, and how it ended."""

from __future__ import annotations

import sys
from typing import Any

import typer

from headway.cli import output
from headway.sdk.runs import Runs


def follow(runs: Runs, run_id: str, *, err: bool) -> dict[str, Any]:
    """Print what the run prints until it is over, on standard error with `err`; the run then.

    Ctrl-C leaves the run alone and ends the command with status 130.
    """
    stream = sys.stderr if err else sys.stdout
    ended = True
    try:
        for text in runs.follow(run_id, waits=lambda why: output.note(f"Waiting: {why}.")):
            stream.write(text)
            stream.flush()
            ended = text.endswith("\n")
        found = runs.get(run_id, patient=True)
    except KeyboardInterrupt:
        output.note(f"\nDetached; the run goes on.\n  headway runs watch {run_id}\n  headway runs cancel {run_id}")
        raise typer.Exit(130) from None
    if not ended:
        stream.write("\n")
    return found


def tell(run: dict[str, Any]) -> None:
    """How a run ended, in a few lines beside its output."""
    begun = run["started_at"] or run["created_at"]
    took = output.took(run["ended_at"] - begun) if run["ended_at"] and begun else ""
    line = f"{output.mark(run['status'])}  {took}".rstrip()
    typer.echo(line + (f"  {run['cause']}" if run["cause"] else ""), err=True)
    if run["metrics"]:
        shown = list(run["metrics"].items())[:12]
        typer.echo("   " + "  ".join(f"{name}={output.text(value)}" for name, value in shown), err=True)
    if len(run["trainings"]) > 1:
        typer.echo(f"   {len(run['trainings'])} trainings", err=True)
    typer.echo(f"   {run['url']}", err=True)
