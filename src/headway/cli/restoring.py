"""`headway restore`: a home folder made of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.backup import settings_of
from headway.cli.options import Json, examples, new
from headway.sdk import address

app = new()


@app.command(
    epilog=examples(
        "headway restore headway-20260105-120000.tar.gz --home /srv/headway",
        "headway restore friday.tar.gz --database-url postgresql+psycopg://headway@/headway",
    )
)
def restore(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, show_default=False, help="What `headway backup` wrote."
        ),
    ],
    home: Annotated[
        Path | None, typer.Option(help="The folder to make; absent or empty. Else HEADWAY_HOME, ~/.headway.")
    ] = None,
    database_url: Annotated[
        str,
        typer.Option(
            help="An empty PostgreSQL database for it. Else SQLite in the home folder, wherever it came from."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a home folder of a backup. The backup is checked first; either all of it is there then, or nothing.

    At the next `headway up`, environments are built again from their locks, and endpoints are proved and started anew. Runs
    that were active when the backup was taken are lost, and say so.
    """
    settings = settings_of(home)
    from headway.backup import restore as restoring

    target = (home or address.home()).expanduser().absolute()
    url = database_url or settings.database_url
    found = restoring.restore(file, target, database_url=url, say=(lambda _: None) if as_json else output.note)
    value = {
        "home": str(target),
        "database": "postgresql" if url else "sqlite",
        **found.head,
        "files": found.files,
        "blobs": found.blobs,
    }

    def people() -> None:
        holds = ", ".join(f"{count:,} {what}" for what, count in found.head["holds"].items() if count)
        output.say(f"{target} is as it was on {output.moment(found.head['taken_at'])}: {holds}.")
        if not found.head["key"]:
            output.say(
                "The key is not in this backup: put your file 'key' there before you start, or set all secrets anew."
            )
        output.say(f"Start it: headway up --home {target}")

    output.show(value, as_json, people)
