"""`headway project`: make and list projects."""

from __future__ import annotations

from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, connect, examples, new

app = new("Projects: a folder of files, and all that belongs to it.")


@app.command(epilog=examples('headway project create "Churn of 2026"'))
def create(
    name: Annotated[str, typer.Argument(help="Its name; the address is made of it.", show_default=False)],
    description: Annotated[str, typer.Option(help="What it is about, in a sentence.")] = "",
    as_json: Json = False,
) -> None:
    """Make a project, which is yours."""
    client = connect()
    made = client.post("/api/v1/projects", {"name": name, "description": description})

    def people() -> None:
        output.say(f"Made {made['slug']}: {client.address.url}/p/{made['slug']}")

    output.show(made, as_json, people)


@app.command("list", epilog=examples("headway project list", "headway project list --json"))
def list_(as_json: Json = False) -> None:
    """The projects you have a part in."""
    found = connect().get("/api/v1/projects")
    rows = [
        (p["slug"], p["name"], output.ago(p.get("created_at")), p.get("description", "")) for p in found["projects"]
    ]
    headers = ("PROJECT", "NAME", "MADE", "ABOUT")
    output.show(found, as_json, lambda: output.table(headers, rows, empty="No project. `headway project create NAME`"))
