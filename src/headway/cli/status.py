"""`headway status`: does it run, where, and what is in it."""

from __future__ import annotations

import time
from typing import Any

import typer

from headway.cli import output
from headway.cli.options import Json, connect, examples, new
from headway.errors import HeadwayError

app = new()


@app.command(epilog=examples("headway status", "headway status --json"))
def status(as_json: Json = False) -> None:
    """Whether headway runs, where, and what is in it. Exits 1 if it does not answer."""
    client = connect()
    start = time.perf_counter()
    health: dict[str, Any] = client.get("/health")
    took_ms = (time.perf_counter() - start) * 1000
    found: dict[str, Any] = {"running": True, "url": client.address.url, "version": health.get("version"),
                             "pid": client.address.pid or None, "answered_in_ms": round(took_ms, 1)}  # fmt: skip
    try:
        me = client.get("/api/v1/me")
        found |= {"you": me["name"], "projects": [p["slug"] for p in client.get("/api/v1/projects")["projects"]]}
    except HeadwayError as error:
        found["problem"] = error.message

    def people() -> None:
        output.say(f"{output.mark('running')}  headway {found['version']} at {found['url']}  ({took_ms:.0f} ms)")
        output.pairs({"process": found["pid"], "you are": found.get("you"), "found by": client.address.source,
                      "projects": ", ".join(found.get("projects", [])), "problem": found.get("problem")})  # fmt: skip

    output.show(found, as_json, people)
    if "problem" in found:
        raise typer.Exit(1)
