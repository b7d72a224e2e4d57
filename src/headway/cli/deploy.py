"""`headway deploy`: a model, or the model of a run, behind an endpoint."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import HeadwayError
from headway.sdk.endpoints import Endpoints, revision_of
from headway.sdk.runs import Runs

app = new()

_RUN = re.compile(r"[0-9a-f]{8,32}")
WORDS = {
    "asked": "fetching the model", "environment": "building its environment", "proving": "replaying its recorded examples",
    "starting": "starting a replica", "live": "live", "failed": "failed", "retired": "stopped",
}  # fmt: skip


@app.command(
    epilog=examples("headway deploy cars@champion", "headway deploy cars/3 --as cars --canary 10",
                    "headway deploy 4f0c9e...   # the model of a run")
)  # fmt: skip
def deploy(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN", show_default=False, help="cars, cars/3, cars@champion; or the id of a run."
        ),
    ],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The endpoint; made of the model's name.")] = "",
    canary: Annotated[
        float | None, typer.Option(min=0, max=100, metavar="PERCENT", help="Share of the traffic it takes; all.")
    ] = None,
    choice: Annotated[str, typer.Option("--model", help="Which model, where the run left several.")] = "",
    replicas: Annotated[int, typer.Option(min=1, max=16, help="Processes that answer.")] = 1,
    memory: Annotated[int | None, typer.Option(min=64, metavar="MIB", help="Memory limit of each; none.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait until it is live.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Put a model behind an endpoint: it is proved in a clean environment first, and goes live only if it answers as it did.

    Exits 1 if it does not go live; what served before goes on serving.
    """
    client = connect()
    slug = project_of(client, project)
    endpoints = Endpoints(client, slug)
    which = {"run_id": Runs(client, slug).whole_id(what)} if _RUN.fullmatch(what) else {"model": what}
    made = endpoints.deploy(**which, choice=choice, name=name, canary=canary, replicas=replicas, memory_mb=memory)
    number = made["deployed"]
    if not detach:
        made = endpoints.wait(made["name"], number, told=_tell) | {"deployed": number}
    revision = revision_of(made, number)
    output.show(made, as_json, lambda: _say(made, revision))
    if revision["state"] == "failed":
        raise _failed(made["name"], revision) if not as_json else typer.Exit(1)


def _tell(revision: dict[str, Any]) -> None:
    output.note(f"revision {revision['number']}: {WORDS.get(revision['state'], revision['state'])}")


def _say(endpoint: dict[str, Any], revision: dict[str, Any]) -> None:
    if revision["state"] == "live":
        output.say(f"{output.mark('live')}  {endpoint['url']}/invocations")
        output.say(f"  {endpoint['page']}\n  headway predict {endpoint['name']} FILE")
    elif revision["state"] != "failed":
        output.say(f"Revision {revision['number']} of {endpoint['name']} is on its way: {endpoint['page']}")


def _failed(name: str, revision: dict[str, Any]) -> HeadwayError:
    hint = revision["hint"] or f"headway endpoints logs {name} --revision {revision['number']}"
    return HeadwayError(revision["reason"] or f"Revision {revision['number']} did not go live.", hint=hint)
