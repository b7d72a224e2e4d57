"""`headway schedule`: run something again and again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.cli.run import Cpu, Memory, Param, Timeout, params_of
from headway.sdk.schedules import Schedules

app = new("Schedules: a notebook or script of the project at the times of a cron line.")

Which = Annotated[str, typer.Argument(metavar="SCHEDULE", show_default=False, help="Its name or id.")]


def _schedules(project: str | None) -> Schedules:
    client = connect()
    return Schedules(client, project_of(client, project))


@app.command(
    epilog=examples("headway schedule add train.py '0 7 * * 1-5' --zone Europe/Berlin", "headway schedule add train.ipynb @daily",
                    "headway schedule add train.py '*/15 * * * *' -p lr=0.1 --name often")
)  # fmt: skip
def add(
    path: Annotated[str, typer.Argument(show_default=False, help="A notebook or script in the project's folder.")],
    cron: Annotated[
        str, typer.Argument(show_default=False, help="minute hour day month weekday, or @hourly, @daily, @weekly...")
    ],
    zone: Annotated[str, typer.Option(help="The time zone that the times are meant in.")] = "UTC",
    name: Annotated[str, typer.Option(help="What to call it; after the file.")] = "",
    param: Param = [],  # noqa: B006
    cpu: Cpu = None,
    memory: Memory = None,
    timeout: Timeout = None,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Run a notebook or script of the project again and again. Shows the next five times.

    Times that pass while the server is down are made up for once. The project's file is taken as it is then.
    """
    made = _schedules(project).add(path, cron, zone=zone, name=name, params=params_of(param), memory_mb=memory,
                                   timeout_s=timeout, cpu=cpu)  # fmt: skip
    output.show(made, as_json, lambda: _say(made))


@app.command("list", epilog=examples("headway schedule list"))
def list_(project: InProject = None, as_json: Json = False) -> None:
    """The project's schedules, the next one first."""
    found = _schedules(project).all()
    rows = [
        (one["name"], one["path"], one["cron"], one["zone"], "paused" if one["paused"] else output.ago(_next(one)),
         one["fires"][0]["outcome"] if one["fires"] else "", one["trouble"])
        for one in found
    ]  # fmt: skip
    headers = ("NAME", "RUNS", "AT", "ZONE", "NEXT", "LAST", "TROUBLE")
    empty = "No schedule. `headway schedule add train.py @daily`"
    output.show({"schedules": found}, as_json, lambda: output.table(headers, rows, empty=empty))


@app.command(epilog=examples("headway schedule pause often"))
def pause(schedule: Which, project: InProject = None, as_json: Json = False) -> None:
    """Let a schedule rest."""
    schedules = _schedules(project)
    found = schedules.pause(schedules.find(schedule)["id"])
    output.show(found, as_json, lambda: output.say(f"{found['name']} rests."))


@app.command(epilog=examples("headway schedule resume often"))
def resume(schedule: Which, project: InProject = None, as_json: Json = False) -> None:
    """Let it go on, from now: what would have been due meanwhile is not made up for."""
    schedules = _schedules(project)
    found = schedules.resume(schedules.find(schedule)["id"])
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway schedule rm often"))
def rm(schedule: Which, project: InProject = None, as_json: Json = False) -> None:
    """Delete a schedule; its runs stay."""
    schedules = _schedules(project)
    found = schedules.find(schedule)
    schedules.remove(found["id"])
    done = {"id": found["id"], "name": found["name"], "removed": True}
    output.show(done, as_json, lambda: output.say(f"Deleted {found['name']}."))


def _next(schedule: dict[str, Any]) -> int | None:
    return schedule["upcoming"][0] if schedule["upcoming"] else None


def _say(schedule: dict[str, Any]) -> None:
    output.say(f"{schedule['name']}: {schedule['path']} at {schedule['cron']} ({schedule['zone']})")
    for moment in schedule["upcoming"]:
        output.say(f"  {output.moment(moment)}  {output.ago(moment)}")
