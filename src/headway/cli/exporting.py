"""`headway export`: what is in a project, for other tools to open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.moving.exporting import Export, Exported
from headway.moving.remote import HeadwayStore

app = new("Write what is in a project for other tools to open. For tables, see `headway runs export`.")


@app.command(
    epilog=examples(
        "headway export mlruns mlruns", "headway export mlruns best --filter 'metrics.rmse < 3' --project churn"
    )
)
def mlruns(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", show_default=False, help="A folder that is not there yet, or empty.")
    ],
    filter: Annotated[str, typer.Option("--filter", "-f", help="Only these runs; MLflow's grammar.")] = "",
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Write the project as a store of MLflow: experiments, runs with whole histories, data, models, files, traces,
    registry.

    A plain MLflow opens it (`MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri DIR`), moves it into a database of its
    own (`mlflow migrate-filestore`), and `headway import mlruns DIR` brings it into another headway. What such a folder
    can't hold is listed with the reason.
    """
    client = connect()
    slug = project_of(client, project)
    store = HeadwayStore(client.address, slug, filter=filter)
    said = [0]

    def moved(words: str) -> None:
        said[0] += 1
        if said[0] % 100 == 0:
            output.note(words)

    report = Export(store, folder, moved=(lambda _: None) if as_json else moved).run()
    output.show(report.as_dict(), as_json, lambda: _tell(report, folder))


def _tell(report: Exported, folder: Path) -> None:
    output.say(f"Wrote {report.runs} runs in {report.experiments} experiments to {report.folder}")
    output.pairs({
        "points": f"{report.points:,}", "files": f"{report.files:,} ({output.size(report.bytes)})",
        "logged models": report.logged_models or None,
        "traces": report.traces or None,
        "registered": f"{report.versions} versions of {report.models} models" if report.models else None,
    })  # fmt: skip
    if report.left:
        output.say("\nNot written")
        for what, why in report.left[:12]:
            output.say(f"  {what}: {why}")
        if len(report.left) > 12:
            output.say(f"  and {len(report.left) - 12} more; --json lists all")
    output.say(f"\nOpen it with: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {folder}")
