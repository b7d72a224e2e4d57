"""`headway notebook`: open notebooks."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import NotFound
from headway.sdk.client import part

app = new("Notebooks: JupyterLab of a project, in the browser.")


@app.command(
    "open",
    epilog=examples("headway notebook open", "headway notebook open train.ipynb", "headway notebook open --print"),
)
def open_(
    path: Annotated[str, typer.Argument(help="A notebook of the project; the list of all, unless told.")] = "",
    only_print: Annotated[bool, typer.Option("--print", help="Print the address, don't open a browser.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Open a project's notebooks in the browser, where you are signed in."""
    client = connect()
    slug = project_of(client, project)
    client.get(f"/api/v1/projects/{part(slug)}")
    if path:
        folder, _, name = path.rpartition("/")
        known = client.get(f"/api/v1/projects/{part(slug)}/files", path=folder or None)["files"]
        if name not in [entry["name"] for entry in known]:
            raise NotFound(f"There is no '{path}' in project {slug}.", hint="headway notebook open")
    where = f"/{'/'.join(map(part, path.split('/')))}/open" if path else ""
    url = f"{client.address.url}/p/{part(slug)}/notebooks{where}"
    opened = not (only_print or as_json) and webbrowser.open(url)
    output.show({"url": url}, as_json, lambda: output.say(url))
    if opened:
        output.note("Opened in the browser.")
