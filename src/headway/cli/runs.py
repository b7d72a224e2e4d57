"""`headway runs`: see, follow, cancel, compare, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.follow import follow, tell
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import BadInput, Conflict
from headway.sdk.runs import LIVE, Runs

app = new("Runs: what was tried, with its parameters, metrics and output.")

RunId = Annotated[str, typer.Argument(metavar="RUN", show_default=False, help="Its id, or the beginning of it.")]


def _runs(project: str | None) -> Runs:
    client = connect()
    return Runs(client, project_of(client, project))


@app.command(
    "list",
    epilog=examples("headway runs list", "headway runs list --filter \"metrics.rmse < 3 and params.depth = '4'\"",
                    "headway runs list --order 'metrics.rmse' -n 5 --json", "headway runs list --order 'best(metrics.auc) DESC'"),
)  # fmt: skip
def list_(
    filter: Annotated[
        str, typer.Option("--filter", "-f", help="MLflow's grammar: metrics.x, params.x, tags.x, attributes.x.")
    ] = "",
    order: Annotated[
        list[str], typer.Option("--order", help="e.g. 'metrics.rmse', 'metrics.auc DESC', 'best(metrics.auc) DESC'.")
    ] = [],  # noqa: B006
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000, help="At most so many.")] = 30,
    trainings: Annotated[bool, typer.Option("--trainings", help="The trainings inside runs too.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    found = _runs(project).search(filter, order_by=order, limit=limit, trainings=trainings)
    rows = [
        (run["run_id"][:8], output.plain_mark(run["status"]), run["path"] or run["name"], output.ago(run["started_at"]),
         _took(run), _brief(run["metrics"]), _brief(run["params"]))
        for run in found
    ]  # fmt: skip
    headers = ("RUN", "STATUS", "WHAT", "STARTED", "TOOK", "METRICS", "PARAMETERS")
    empty = "No run yet. `headway run train.py`" if not filter else "No run fits."
    output.show({"runs": found}, as_json, lambda: output.table(headers, rows, empty=empty))


@app.command(epilog=examples("headway runs show 4f0c9e12", "headway runs show 4f0c9e12 --json"))
def show(run: RunId, project: InProject = None, as_json: Json = False) -> None:
    """One run: how it went, its parameters, metrics, models and trainings."""
    runs = _runs(project)
    found = runs.get(runs.whole_id(run))
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway runs logs 4f0c9e12", "headway runs logs 4f0c9e12 > run.log"))
def logs(run: RunId, project: InProject = None, as_json: Json = False) -> None:
    """Print exactly what the run has printed."""
    runs = _runs(project)
    run_id = runs.whole_id(run)
    if as_json:
        text = b"".join(runs.logs(run_id)).decode("utf-8", "replace")
        output.show({"run_id": run_id, "log": text}, True, lambda: None)
        return
    for piece in runs.logs(run_id):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


@app.command(epilog=examples("headway runs watch 4f0c9e12"))
def watch(run: RunId, project: InProject = None, as_json: Json = False) -> None:
    """Follow a run from its first line to its end. Exits 1 if it fails; Ctrl-C leaves it running."""
    runs = _runs(project)
    found = follow(runs, runs.whole_id(run), err=as_json)
    tell(found)
    output.show(found, as_json, lambda: None)
    if found["status"] != "finished":
        raise typer.Exit(1)


@app.command(epilog=examples("headway runs cancel 4f0c9e12"))
def cancel(
    run: RunId,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait until it has ended.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """End a run: by interrupt, then TERM, then KILL."""
    runs = _runs(project)
    run_id = runs.whole_id(run)
    runs.cancel(run_id)
    found = runs.get(run_id) if detach else runs.wait(run_id)
    words = "is being cancelled" if found["status"] in LIVE else f"is {found['status']}"
    output.show(found, as_json, lambda: output.say(f"Run {run_id[:8]} {words}."))


@app.command(epilog=examples("headway runs rerun 4f0c9e12"))
def rerun(run: RunId, project: InProject = None, as_json: Json = False) -> None:
    """Submit the same once more: the same file and parameters."""
    runs = _runs(project)
    made = runs.rerun(runs.whole_id(run))
    output.show(made, as_json, lambda: output.say(made["run_id"]))


@app.command(epilog=examples("headway runs compare 4f0c9e12 77ab01c3", "headway runs compare 4f0c 77ab --all --json"))
def compare(
    ids: Annotated[list[str], typer.Argument(metavar="RUN RUN...", show_default=False, help="Two or more.")],
    everything: Annotated[bool, typer.Option("--all", help="Also what is equal in all.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Runs side by side: parameters and metrics that differ."""
    if len(ids) < 2:
        raise typer.BadParameter("Give two runs or more.", param_hint="RUN")
    runs = _runs(project)
    found = [runs.get(runs.whole_id(one)) for one in ids]
    rows: list[dict[str, Any]] = []
    for kind in ("params", "metrics"):
        for name in sorted({name for run in found for name in run[kind]}):
            values = [run[kind].get(name) for run in found]
            if everything or any(value != values[0] for value in values):
                rows.append({"kind": kind.removesuffix("s"), "name": name, "values": values})
    value = {"runs": [run["run_id"] for run in found], "rows": rows}
    headers = ("", "NAME", *(run["run_id"][:8] for run in found))
    cells = [(row["kind"], row["name"], *row["values"]) for row in rows]
    output.show(value, as_json, lambda: output.table(headers, cells, empty="They differ in nothing that was recorded."))


@app.command(
    epilog=examples("headway runs export > runs.csv", "headway runs export --filter 'metrics.rmse < 3' -o good.csv",
                    "headway runs export -o runs.parquet", "headway runs export --format jsonl | jq .run_id")
)  # fmt: skip
def export(
    filter: Annotated[str, typer.Option("--filter", "-f", help="Only these; MLflow's grammar.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", dir_okay=False, help="A file; else standard output.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", metavar="csv|jsonl|parquet", help="Else by the file's name, else CSV.")
    ] = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """All runs and trainings as a table: a row each, a column for each parameter and metric.

    For a store that MLflow opens, with histories and files, see `headway export mlruns`.
    """
    runs = _runs(project)
    if as_json:
        output.show({"runs": runs.search(filter, limit=None, trainings=True)}, True, lambda: None)
        return
    kind = kind or (out.suffix.removeprefix(".").lower() if out is not None else "") or "csv"
    if out is None:
        if kind == "parquet" and sys.stdout.isatty():
            raise BadInput("Parquet is nothing for a terminal.", hint="headway runs export -o runs.parquet")
        for piece in runs.table(kind, filter):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            for piece in runs.table(kind, filter):
                file.write(piece)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    output.note(f"Wrote {out} ({output.size(out.stat().st_size)})")


@app.command(epilog=examples("headway runs rm 4f0c9e12"))
def rm(
    run: RunId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Delete a run. Models that were registered from it stay."""
    runs = _runs(project)
    run_id = runs.whole_id(run)
    found = runs.get(run_id)
    if found["status"] in LIVE:
        raise Conflict(f"The run is {found['status']}.", hint=f"First: headway runs cancel {run_id[:8]}")
    if not yes and not as_json:
        typer.confirm(f"Delete run {run_id[:8]} ({found['path'] or found['name']})?", abort=True, err=True)
    runs.remove(run_id)
    output.show({"run_id": run_id, "removed": True}, as_json, lambda: output.say(f"Deleted {run_id[:8]}."))


def _say(run: dict[str, Any]) -> None:
    output.say(f"{output.mark(run['status'])}  {run['path'] or run['name']}  {run['run_id']}")
    output.pairs({"why": run["cause"], "waits for": run["waits_for"], "started": output.moment(run["started_at"]),
                  "took": _took(run), "memory": f"{run['peak_memory_mb']:.0f} MiB" if run["peak_memory_mb"] else None,
                  "page": run["url"]})  # fmt: skip
    for title, values in (("Parameters", run["params"]), ("Metrics", run["metrics"])):
        if values:
            output.say(f"\n{title}")
            output.pairs({f"  {name}": value for name, value in values.items()})
    if run["trainings"]:
        output.say("\nTrainings")
        rows = [(t["run_id"][:8], t["name"], _brief(t["metrics"]), _brief(t["params"])) for t in run["trainings"]]
        output.table(("RUN", "NAME", "METRICS", "PARAMETERS"), rows, empty="")
    if run["models"]:
        output.say("\nModels")
        output.table(("ID", "NAME", "STATUS"), [(m["id"], m["name"], m["status"]) for m in run["models"]], empty="")


def _took(run: dict[str, Any]) -> str:
    return output.took(run["ended_at"] - run["started_at"]) if run["ended_at"] and run["started_at"] else ""


def _brief(values: dict[str, Any], most: int = 4) -> str:
    shown = [f"{name}={output.text(_read(value))}" for name, value in list(values.items())[:most]]
    return " ".join(shown) + (" …" if len(values) > most else "")


def _read(value: Any) -> Any:
    """Parameters are texts on the wire; numbers among them are shown as numbers."""
    if isinstance(value, str):
        try:
            number = json.loads(value)
        except ValueError:
            return value[:40]
        return number if isinstance(number, float) else value[:40]
    return value
