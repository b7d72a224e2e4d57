"""`headway login`: use the headway of another machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, examples, new
from headway.errors import BadInput
from headway.sdk import address
from headway.sdk.address import Address
from headway.sdk.client import Client

app = new()


@app.command(
    epilog=examples("headway login https://ml.example.org", "headway login https://ml.example.org < token.txt")
)
def login(
    url: Annotated[str, typer.Argument(help="Its address.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Use the headway of another machine from here: asks for a token of yours, tries it, and keeps it for this user.

    Make the token in the browser under Settings, Tokens. It is typed or piped in, never an argument: those are seen by others.
    """
    where = address.clean_url(url)
    if sys.stdin.isatty():
        typer.echo(f"Make a token at {where}/settings/tokens", err=True)
        token = typer.prompt("Token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise BadInput("That is not a token.", hint=f"Make one at {where}/settings/tokens; it begins with hw_.")
    me = Client(address=Address(where, token, "login")).get("/api/v1/me")
    path = address.log_in(where, token)
    value = {"url": where, "you": me["name"], "file": str(path)}
    output.show(value, as_json, lambda: output.say(f"You are {me['name']} at {where} (kept in {path})."))
