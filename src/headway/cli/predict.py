"""`headway predict`: ask an endpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import BadInput
from headway.sdk.endpoints import Endpoints

app = new()


@app.command(
    epilog=examples("headway predict cars new-cars.csv",
                    """echo '{"dataframe_records": [{"cylinders": 4, "horsepower": 75}]}' | headway predict cars -""",
                    "headway predict cars body.json --json")
)  # fmt: skip
def predict(
    name: Annotated[str, typer.Argument(help="The endpoint.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a header, or JSON: dataframe_split, dataframe_records, instances, inputs; - reads stdin."),
    ] = Path("-"),
    project: InProject = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Ask an endpoint, and print its predictions, one a line; with --json its whole answer."""
    payload = _read(file)
    client = connect()
    answer = Endpoints(client, project_of(client, project)).predict(name, payload, _type_of(payload))

    def people() -> None:
        for value in answer["predictions"]:
            output.say(value if isinstance(value, str) else json.dumps(value))

    output.show(answer, as_json, people)


def _read(file: Path) -> bytes:
    """The payload. Typer's own check of files takes `-` for a name, so the check is here."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{file} can't be read: {error.strerror}.", hint="Give a file, or - for standard input."
        ) from None


def _type_of(payload: bytes) -> str:
    """What the payload looks like: JSON begins with a bracket, anything else is CSV."""
    return "application/json" if payload.lstrip()[:1] in (b"{", b"[", b"") else "text/csv"
