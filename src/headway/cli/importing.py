"""`headway import`: what other tools recorded, into a project."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.moving.importing import Import, Report
from headway.moving.opening import open_store
from headway.moving.store import Amount, Store

app = new("Bring over what other tools recorded.")

# What one core of an ordinary machine takes in a second; for the estimate only.
_POINTS_S, _RUNS_S, _FILES_S, _BYTES_S = 500_000, 40, 60, 60 << 20
_SHOWN = 12


@app.command(
    epilog=examples(
        "headway import mlruns mlruns", "headway import mlruns mlflow.db --project churn --dry-run",
        "headway import mlruns mlflow.db --artifacts /srv/mlartifacts",
        "MLFLOW_TRACKING_TOKEN=... headway import mlruns https://mlflow.example.org",
    )
)  # fmt: skip
def mlruns(
    where: Annotated[
        str,
        typer.Argument(
            metavar="DIR|FILE|URL", show_default=False, help="A mlruns folder, a mlflow.db, or a server's address."
        ),
    ],
    artifacts: Annotated[
        list[Path],
        typer.Option("--artifacts", file_okay=False, exists=True, help="Where artifacts lie, if not beside it."),
    ] = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is and how long it may take.")
    ] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Import a store of MLflow: experiments, runs with their ids, times and whole histories, data, models, files, traces,
    registry and prompts.

    Every run is compared with what was sent. Ctrl-C stops it; the same command goes on, and changes nothing that is there.
    What can't be taken is listed with the reason. Exits 1 if a run could not be brought over.
    """
    client = connect()
    slug = project_of(client, project)
    store = open_store(where, tuple(artifacts))
    try:
        if dry_run:
            _estimate(store, slug, as_json)
            return
        with _progress(store, quiet=as_json) as moved:
            report = Import(store, client, slug, moved=moved).run()
    finally:
        store.close()
    output.show(report.as_dict(), as_json, lambda: _tell(report, f"{client.address.url}/p/{slug}/runs", where))
    if report.stopped:
        raise typer.Exit(130)
    if report.wrong:
        raise typer.Exit(1)


def _estimate(store: Store, slug: str, as_json: bool) -> None:
    found = store.amount(lambda _: None)
    seconds = estimate(found)
    value = {"source": store.name, "project": slug, "dry_run": True, **vars(found), "seconds": seconds}

    def people() -> None:
        output.say(f"{store.name}, into project {slug}:")
        about = "" if found.exact else "about "
        known: dict[str, Any] = {"experiments": found.experiments, "runs": found.runs}
        if found.points >= 0:
            known |= {"points": f"{about}{found.points:,}", "files": f"{found.files:,} ({output.size(found.bytes)})"}
        output.pairs(known | {"logged models": found.logged_models, "traces": found.traces or None,
                              "registered models": found.registered_models,
                              "will take": f"about {output.took(seconds * 1000)}" if seconds is not None else None})  # fmt: skip
        output.say("Nothing was written.")

    output.show(value, as_json, people)


def estimate(found: Amount) -> float | None:
    """Seconds that an import may take; None where the store does not say how much it holds."""
    if found.points < 0:
        return None
    work = found.points / _POINTS_S + found.runs / _RUNS_S + max(found.files / _FILES_S, found.bytes / _BYTES_S)
    return round(1 + work, 1)


@contextmanager
def _progress(store: Store, *, quiet: bool) -> Iterator[Callable[[int, int, int], None]]:
    """A bar on a terminal; a line now and then where standard error is a file; nothing with --json."""
    if quiet:
        yield lambda *_: None
        return
    output.note(f"Looking through {store.name}")
    total = store.amount(lambda _: None).runs
    if not sys.stderr.isatty():
        yield _lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TextColumn("runs  {task.fields[more]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, more="")
        seen = [0, 0]

        def moved(runs: int, points: int, size: int) -> None:
            seen[0] += points
            seen[1] += size
            bar.update(task, advance=runs, more=f"{seen[0]:,} points, {output.size(seen[1])}")

        yield moved


def _lines(total: int) -> Callable[[int, int, int], None]:
    seen = [0, 0]
    said = [time.monotonic()]

    def moved(runs: int, points: int, _size: int) -> None:
        seen[0] += runs
        seen[1] += points
        if time.monotonic() - said[0] > 5:
            said[0] = time.monotonic()
            output.note(f"{seen[0]} of {total} runs, {seen[1]:,} points")

    return moved


def _traces(report: Report) -> str | None:
    if not report.traces and not report.traces_there:
        return None
    return f"{report.traces:,}" + (f" ({report.traces_there:,} more were there)" if report.traces_there else "")


def _tell(report: Report, url: str, where: str) -> None:
    whole = "Stopped" if report.stopped else "Imported"
    output.say(
        f"{whole}: {report.runs} runs in {report.experiments} experiments, in {output.took(report.seconds * 1000)}"
    )
    output.pairs({
        "were there": f"{report.runs_there} runs, left as they are" if report.runs_there else None,
        "points": f"{report.points:,}" + (f" ({report.repeated:,} that were there twice count once)" if report.repeated else ""),
        "parameters": f"{report.params:,}", "files": f"{report.files:,} ({output.size(report.bytes)})",
        "logged models": report.logged_models or None,
        "traces": _traces(report),
        "registered": f"{report.versions} versions of {report.models} models" if report.models else None,
        "joined": ", ".join(report.joined), "renamed": ", ".join(f"{old} is {new}" for old, new in report.renamed.items()),
        "see": url,
    })  # fmt: skip
    for title, rows in (("Not taken", report.left), ("Sums that differ: these runs are not whole", report.wrong)):
        if rows:
            output.say(f"\n{title}")
            for what, why in rows[:_SHOWN]:
                output.say(f"  {what}: {why}")
            if len(rows) > _SHOWN:
                output.say(f"  and {len(rows) - _SHOWN} more; --json lists all")
    if report.stopped:
        output.say(f"\nEvery run that was imported is whole. Go on with: headway import mlruns {where}")
    elif not report.wrong:
        output.say("Every run was compared with its source: all that was sent is there.")
