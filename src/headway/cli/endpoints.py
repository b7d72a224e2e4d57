"""`headway endpoints`: see them and their logs, promote, roll back, keys, remove."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from headway.cli import output
from headway.cli.options import InProject, Json, connect, examples, new, project_of
from headway.errors import NotFound
from headway.sdk.endpoints import Endpoints

app = new("Endpoints: a stable address, the revisions behind it, and their shares of the traffic.")
keys = new("Keys of an endpoint, for the programs that ask it.")
app.add_typer(keys, name="keys")

Name = Annotated[str, typer.Argument(help="The endpoint.", show_default=False)]
Revision = Annotated[int | None, typer.Option("--revision", "-r", min=1, help="Which revision.")]


def _endpoints(project: str | None) -> Endpoints:
    client = connect()
    return Endpoints(client, project_of(client, project))


@app.command("list", epilog=examples("headway endpoints list"))
def list_(project: InProject = None, as_json: Json = False) -> None:
    """The project's endpoints."""
    found = _endpoints(project).all()
    rows = [(e["name"], output.plain_mark(e["state"]), _serving(e), _requests(e), e["url"]) for e in found]
    headers = ("NAME", "STATE", "SERVES", "REQUESTS", "URL")
    output.show({"endpoints": found}, as_json,
                lambda: output.table(headers, rows, empty="No endpoint yet. `headway deploy MODEL|RUN`"))  # fmt: skip


@app.command(epilog=examples("headway endpoints show cars"))
def show(name: Name, project: InProject = None, as_json: Json = False) -> None:
    """One endpoint, with its revisions."""
    found = _endpoints(project).get(name)
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway endpoints logs cars", "headway endpoints logs cars --kind proof -r 2"))
def logs(
    name: Name,
    revision: Revision = None,
    kind: Annotated[Literal["all", "build", "proof", "replica"], typer.Option(help="Which of its processes.")] = "all",
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """What the build, the proof and the replicas of a revision printed; of the newest, unless told."""
    text = _endpoints(project).logs(name, revision=revision, kind=kind)
    output.show({"name": name, "log": text}, as_json, lambda: typer.echo(text, nl=False))


@app.command(epilog=examples("headway endpoints promote cars", "headway endpoints promote cars -r 3"))
def promote(name: Name, revision: Revision = None, project: InProject = None, as_json: Json = False) -> None:
    """All traffic to a live revision: the newest live one, unless told."""
    found = _endpoints(project).promote(name, revision)
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway endpoints canary cars 3 10"))
def canary(
    name: Name,
    revision: Annotated[int, typer.Argument(min=1, help="Which revision.", show_default=False)],
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Its share of the traffic.", show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """A share of the traffic to a live revision; the rest stays with the one that has most."""
    found = _endpoints(project).canary(name, revision, percent)
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway endpoints rollback cars", "headway endpoints rollback cars -r 1"))
def rollback(name: Name, revision: Revision = None, project: InProject = None, as_json: Json = False) -> None:
    """All traffic back to an earlier revision: the one before, unless told."""
    found = _endpoints(project).rollback(name, revision)
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway endpoints scale cars 3"))
def scale(
    name: Name,
    replicas: Annotated[int, typer.Argument(min=1, max=16, help="Processes that answer.", show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Another number of replicas."""
    found = _endpoints(project).scale(name, replicas)
    output.show(found, as_json, lambda: _say(found))


@app.command(epilog=examples("headway endpoints rm cars"))
def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Take an endpoint away, with its revisions, keys and prediction log. Models stay."""
    endpoints = _endpoints(project)
    found = endpoints.get(name)
    if not yes and not as_json:
        typer.confirm(f"{found['url']} will answer no more. Remove it?", abort=True, err=True)
    done = endpoints.remove(name)
    output.show(done, as_json, lambda: output.say(f"Removed {name}."))


@keys.command("create", epilog=examples("headway endpoints keys create cars shop"))
def create_key(
    name: Name,
    called: Annotated[str, typer.Argument(help="Who will hold it.", show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown once."""
    made = _endpoints(project).create_key(name, called)

    def people() -> None:
        output.say(made["key"])
        output.note("Shown only now. Programs send it as 'Authorization: Bearer ...'.")

    output.show(made, as_json, people)


@keys.command("list", epilog=examples("headway endpoints keys list cars"))
def list_keys(name: Name, project: InProject = None, as_json: Json = False) -> None:
    """The keys that work, without their secrets."""
    found = _endpoints(project).keys(name)
    rows = [(k["name"], "…" + k["ends_with"], k["created_by"], output.ago(k["created_at"]), k["id"]) for k in found]
    headers = ("NAME", "KEY", "MADE BY", "MADE", "ID")
    empty = f"No keys. `headway endpoints keys create {name} WHO`"
    output.show({"keys": found}, as_json, lambda: output.table(headers, rows, empty=empty))


@keys.command("revoke", epilog=examples("headway endpoints keys revoke cars shop"))
def revoke_key(
    name: Name,
    key: Annotated[str, typer.Argument(help="Its name or id.", show_default=False)],
    project: InProject = None,
    as_json: Json = False,
) -> None:
    """End a key at once."""
    endpoints = _endpoints(project)
    known = endpoints.keys(name)
    found = next((k for k in known if key in (k["id"], k["name"])), None)
    if found is None:
        raise NotFound(f"{name} has no key '{key}'.", hint=f"headway endpoints keys list {name}")
    done = endpoints.revoke_key(name, found["id"])
    output.show(done, as_json, lambda: output.say(f"Key {found['name']} is revoked."))


def _say(endpoint: dict[str, Any]) -> None:
    output.say(f"{output.mark(endpoint['state'])}  {endpoint['url']}/invocations")
    output.say(f"  {endpoint['page']}\n")
    rows = [
        (r["number"], output.plain_mark(r["state"]), f"{r['weight']:g} %", f"{r['model']}/{r['version']}", r["requests"],
         r["errors"], _ms(r["p50_ms"]), _ms(r["p99_ms"]), output.ago(r["created_at"]), r["reason"])
        for r in endpoint["revisions"]
    ]  # fmt: skip
    headers = ("REVISION", "STATE", "TRAFFIC", "MODEL", "REQUESTS", "ERRORS", "P50 MS", "P99 MS", "MADE", "WHY")
    output.table(headers, rows, empty="No revisions.")


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _serving(endpoint: dict[str, Any]) -> str:
    shares = [f"r{r['number']} {r['weight']:g} %" for r in endpoint["revisions"] if r["weight"] > 0]
    return ", ".join(shares) or f"r{endpoint['revision']}"


def _requests(endpoint: dict[str, Any]) -> int:
    return sum(int(r["requests"]) for r in endpoint["revisions"])
