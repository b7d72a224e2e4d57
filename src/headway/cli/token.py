"""`headway token`: how programs say who they are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import Json, connect, examples, new
from headway.errors import Conflict, NotFound
from headway.sdk.client import Client, part

app = new("Tokens for programs: notebooks elsewhere, CI, applications that ask endpoints.")

SCOPES = "read (see), run (record and start runs), deploy (see and deploy), all (whatever you may)"


@app.command(
    epilog=examples("headway token create ci", "headway token create shop --scope read --project sample --days 90")
)
def create(
    name: Annotated[str, typer.Argument(help="What it is for, to know it again.", show_default=False)],
    scope: Annotated[str, typer.Option(help=SCOPES)] = "all",
    project: Annotated[str | None, typer.Option("--project", "-P", metavar="SLUG", help="Only this project.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it ends; never, unless told.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once, and nobody can read it again."""
    client = connect()
    project_id = client.get(f"/api/v1/projects/{part(project)}")["id"] if project else None
    made = client.post("/api/v1/tokens", {"name": name, "scope": scope, "project_id": project_id, "days": days})

    def people() -> None:
        output.say(made["token"])
        output.note("Shown only now. Programs send it as 'Authorization: Bearer ...', or have it in HEADWAY_TOKEN.")

    output.show(made, as_json, people)


@app.command("list", epilog=examples("headway token list"))
def list_(as_json: Json = False) -> None:
    """Your tokens, without their secrets."""
    found = connect().get("/api/v1/tokens")
    rows = [
        (t["name"], t["scope"], "…" + t["ends_with"], output.ago(t["created_at"]), output.ago(t["used_at"]) or "never",
         output.ago(t["expires_at"]) or "never", t["id"])
        for t in found["tokens"]
    ]  # fmt: skip
    headers = ("NAME", "SCOPE", "TOKEN", "MADE", "USED", "ENDS", "ID")
    output.show(found, as_json, lambda: output.table(headers, rows, empty="No tokens. `headway token create NAME`"))


@app.command(epilog=examples("headway token revoke ci"))
def revoke(
    token: Annotated[str, typer.Argument(help="Its name or id.", show_default=False)],
    as_json: Json = False,
) -> None:
    """End a token at once."""
    client = connect()
    found = _find(client, token)
    done = client.delete(f"/api/v1/tokens/{part(found['id'])}")
    output.show(done, as_json, lambda: output.say(f"Token {found['name']} is revoked."))


def _find(client: Client, said: str) -> dict[str, Any]:
    known: list[dict[str, Any]] = client.get("/api/v1/tokens")["tokens"]
    found = [t for t in known if said == t["id"]] or [t for t in known if said == t["name"]]
    if not found:
        raise NotFound(f"You have no token '{said}'.", hint="headway token list")
    if len(found) > 1:
        raise Conflict(f"{len(found)} tokens are named '{said}'.", hint="Give the id: headway token list")
    return found[0]
