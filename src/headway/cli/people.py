"""`headway people`: who may do what in a project, and who is on this server."""

from __future__ import annotations

from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import NotFound
from headway.sdk.client import Client, part

app = new("People: users of this server, members of projects, and how they come in.")

ROLES = "viewer (sees), expert (uses apps), editor (works in it), owner (also manages members)"


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


@app.command(epilog=examples("headway people members", "headway people members --project sample-project"))
def members(project: InProject = None, as_json: Json = False) -> None:
    """Who is in a project, and as what."""
    client = connect()
    found = client.get(f"/api/v1/projects/{part(project_of(client, project))}/members")
    rows = [(m["name"], m["full_name"], m["role"], output.ago(m["since"])) for m in found["members"]]
    headers = ("NAME", "FULL NAME", "ROLE", "SINCE")
    output.show(found, as_json, lambda: output.table(headers, rows, empty="Nobody is in it."))


@app.command(epilog=examples("headway people invite --role editor"))
def invite(
    role: Annotated[str, typer.Option(help=ROLES)] = "viewer",
    note: Annotated[str, typer.Option(help="Whom it is for, to know it again.")] = "",
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Make a link by which somebody joins the project, once (owners)."""
    client = connect()
    made = client.post(
        f"/api/v1/projects/{part(project_of(client, project))}/invitations", {"role": role, "note": note}
    )
    output.show(made, as_json, lambda: output.say(made["url"]))


@app.command("role", epilog=examples("headway people role mia owner"))
def change_role(
    name: Annotated[str, typer.Argument(help="Their user name.", show_default=False)],
    role: Annotated[str, typer.Argument(help=ROLES, show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Give a member another role (owners)."""
    client = connect()
    base, user_id = _member(client, project, name)
    done = client.json("PUT", f"{base}/{part(user_id)}", {"role": role})
    output.show(done, as_json, lambda: output.say(f"{name} is {role} now."))


@app.command(epilog=examples("headway people remove mia"))
def remove(
    name: Annotated[str, typer.Argument(help="Their user name.", show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Take somebody out of the project (owners). Their account and their work stay."""
    client = connect()
    base, user_id = _member(client, project, name)
    done = client.delete(f"{base}/{part(user_id)}")
    output.show(done, as_json, lambda: output.say(f"{name} is no longer in the project."))


def _member(client: Client, project: str | None, name: str) -> tuple[str, str]:
    """The address of the project's members, and the id of one by name."""
    base = f"/api/v1/projects/{part(project_of(client, project))}/members"
    found = next((m for m in client.get(base)["members"] if name in (m["name"], m["user_id"])), None)
    if found is None:
        raise NotFound(f"Nobody called '{name}' is in this project.", hint="headway people members")
    return base, str(found["user_id"])
