"""`headway backup`: everything that is kept, as one file."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.cli import output
from headway.cli.options import Json, examples, new
from headway.errors import Unavailable
from headway.sdk import address

if TYPE_CHECKING:
    from headway.backup.archive import Backup
    from headway.settings import Settings

app = new()


def settings_of(home: Path | None) -> Settings:
    """The settings of a home folder. Raises `Unavailable` where only the client is installed."""
    try:
        importlib.import_module("headway.backup.archive")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "headway":
            raise
        raise Unavailable(
            f"Backups need the server's installation: {error.name} is missing.", hint="pip install 'headway[server]'"
        ) from None
    from headway.settings import Settings

    return Settings.load(home=(home or address.home()).expanduser().absolute())


@app.command(
    epilog=examples("headway backup", "headway backup /mnt/backups/", "headway backup friday.tar.gz --without-key",
                    "headway backup --verify friday.tar.gz")
)  # fmt: skip
def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|DIR]",
            show_default=False,
            help="A .tar.gz or .tar file that is not there yet, or a folder; here if left out.",
        ),
    ] = None,
    home: Annotated[Path | None, typer.Option(help="The home folder. Else HEADWAY_HOME, ~/.headway.")] = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Leave the key out: stored secrets can't be read without it.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check a backup from end to end instead of taking one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write everything into one file while headway runs: database, stored files, projects, what runs printed, the key.

    It is as of one moment: what was acknowledged before is in it, and every file that it refers to. Environments and the
    processes of endpoints are not: they are made again. Whoever has the file has your data, and with the key your secrets.
    """
    settings = settings_of(home)
    from headway.backup import archive

    note = (lambda _: None) if as_json else output.note
    if verify:
        if target is None:
            raise typer.BadParameter("Which backup?", param_hint="FILE")
        found = archive.read(target)
    else:
        name = time.strftime("headway-%Y%m%d-%H%M%S.tar.gz")
        place = target or Path()
        if target is None or target.is_dir() or str(target).endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            place /= name
        found = archive.write(settings, place, with_key=not without_key, say=note)
    value = {
        "path": found.path,
        "size": found.size,
        **found.head,
        "files": found.files,
        "blobs": found.blobs,
        "verified": verify,
    }
    output.show(value, as_json, lambda: _tell(found, verify))


def _tell(found: Backup, verify: bool) -> None:
    output.say(f"{found.path} is sound." if verify else f"Wrote {found.path} ({output.size(found.size)})")
    holds = ", ".join(f"{count:,} {what}" for what, count in found.head["holds"].items() if count)
    key = (
        "is in it: keep the file as you keep a password"
        if found.head["key"]
        else "is not in it: keep the home's file 'key'"
    )
    output.pairs({
        "taken": output.moment(found.head["taken_at"]), "holds": holds,
        "files": f"{found.files:,} of projects and runs, {found.blobs:,} stored ({output.size(found.bytes)})",
        "key": key,
        "left out": found.head["left_out"],
    })  # fmt: skip
    for one in found.notes:
        output.say(one)
    if not verify:
        output.say(f"Check it: headway backup --verify {found.path}\nUse it:   headway restore {found.path} --home DIR")
