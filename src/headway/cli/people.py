"""`headway people`: who may do what in a project, and who is on this server."""

from __future__ import annotations

from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, connect, examples, new

app = new("People: users of this server, and how they come in.")


@app.command("list", epilog=examples("headway people list"))
def list_(as_json: Json = False) -> None:
    """Everybody on this server (administrators)."""
    found = connect().get("/api/v1/users")
    rows = [
        (u["name"], u["full_name"], "admin" if u["admin"] else "", "shut out" if u["disabled"] else "",
         output.ago(u["created_at"]))
        for u in found["users"]
    ]  # fmt: skip
    headers = ("NAME", "FULL NAME", "ADMIN", "STATE", "SINCE")
    output.show(found, as_json, lambda: output.table(headers, rows, empty="Nobody is here."))


@app.command(epilog=examples("headway people add mia --full-name 'Mia Berg'"))
def add(
    name: Annotated[str, typer.Argument(help="Their user name.", show_default=False)],
    full_name: Annotated[str, typer.Option(help="Their name, as others see it.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="Make them an administrator of the server.")] = False,
    as_json: Json = False,
) -> None:
    """Add somebody to this server; prints the link by which they come in (administrators)."""
    made = connect().post("/api/v1/users", {"name": name, "full_name": full_name, "admin": admin})

    def people() -> None:
        output.say(made["sign_in_link"])
        output.note(f"Give this link to {name}: it works once, within 12 hours.")

    output.show(made, as_json, people)


@app.command(epilog=examples("headway people link", "headway people link mia"))
def link(
    name: Annotated[str | None, typer.Argument(help="Whose; yours, unless told.")] = None,
    as_json: Json = False,
) -> None:
    """Make a link that signs somebody in once: a new browser, a forgotten password (administrators)."""
    client = connect()
    user_id = "me"
    if name is not None:
        user_id = next((u["id"] for u in client.get("/api/v1/users")["users"] if u["name"] == name), name)
    made = client.post(f"/api/v1/users/{user_id}/sign-in-link")
    output.show(made, as_json, lambda: output.say(made["url"]))
