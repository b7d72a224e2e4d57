"""The gallery's application: the real layout, kit, assets and headers; made-up facts."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from jinja2 import FileSystemLoader

from headway.clock import now_ms
from headway.errors import NotFound
from headway.web import assets, live, render
from headway.web.nav import NavItem

CSP = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"
NAV = [
    NavItem("Overview", "house", "", 0),
    NavItem("Notebooks", "notebook-pen", "notebooks", 10),
    NavItem("Runs", "activity", "runs", 20),
    NavItem("Schedules", "calendar-clock", "schedules", 30),
    NavItem("Models", "box", "models", 40),
    NavItem("Endpoints", "rocket", "endpoints", 50),
    NavItem("Environments", "package", "environments", 60),
    NavItem("People", "users", "people", 70),
]
FAMILIES = [
    "logistic regression",
    "random forest",
    "gradient boosting",
    "xgboost",
    "search, 24 fits",
    "hand-written loop",
]
STATES = [
    "running",
    "finished",
    "finished",
    "failed",
    "out_of_memory",
    "cancelled",
    "finished",
    "timed_out",
    "lost",
    "queued",
]


def runs() -> list[dict[str, Any]]:
    """Rows as a table of runs has them."""
    dice = random.Random(7)
    now = now_ms()
    rows = []
    for at, state in enumerate(STATES * 2):
        rows.append(
            {
                "id": f"{at:032x}",
                "name": HOSTILE if at == 5 else f"{dice.choice(FAMILIES)} {20 - at}",
                "state": state,
                "started": now - at * 3_700_000 - 40_000,
                "took": None if state == "queued" else dice.randrange(800, 4_000_000),
                "by": dice.choice(["Ada Lovelace", "Grace Hopper", "Jürgen Weiß"]),
                "accuracy": None if state in ("queued", "lost") else dice.uniform(0.71, 0.97),
                "loss": None if state == "queued" else dice.choice([dice.uniform(0.05, 1.2), dice.uniform(1e-7, 1e-6)]),
                "lr": dice.choice([0.1, 0.01, 0.003]),
                "n_estimators": dice.choice([100, 300, 1200]),
            }
        )
    return rows


def build() -> FastAPI:
    app = FastAPI()
    app.state.nav = NAV
    loader = render.environment().loader
    loader.mapping["gallery"] = FileSystemLoader(Path(__file__).parent / "templates")  # type: ignore[union-attr]
    who = SimpleNamespace(name="Ada Lovelace", user_id="u1", admin=True)
    project = SimpleNamespace(id="p1", slug="churn", name="Customer churn")

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        request.state.csrf = "a-token"
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    @app.get("/p/churn/{name}")
    @app.get("/")
    def show(request: Request, name: str = "kit") -> HTMLResponse:
        titles = {"runs": "Runs", "kit": "Kit", "run": "gradient boosting 14"}
        template = f"gallery/{name if name in titles else 'kit'}.html"
        return render.page(
            request,
            template,
            who=who,
            project=project,
            title=titles.get(name, "Kit"),
            rows=runs(),
            now=now_ms(),
            hostile=HOSTILE,
        )

    @app.get("/error")
    def wrong(request: Request) -> HTMLResponse:
        request.state.who = who
        return render.error(
            request,
            NotFound(
                "There is no model “churn” in this project.",
                hint="Look at the list of models, or ask who sent you the link.",
            ),
        )

    @app.get("/bare")
    def bare(request: Request) -> HTMLResponse:
        return render.page(request, "gallery/login.html", title="Sign in to headway")

    @app.get("/part")
    def part(request: Request) -> HTMLResponse:
        return render.page(request, "gallery/part.html", who=who, project=project, title="Part", now=now_ms())

    @app.post("/go")
    def go() -> Response:
        return render.redirect("/", "Run 14 is live as endpoint churn.")

    @app.get("/search")
    def search(q: str = "", kind: str = "") -> JSONResponse:
        known = [
            ("churn", "model", "3 versions"),
            ("churn-eu", "endpoint", "live"),
            ("gradient boosting 14", "run", "0.942"),
            ("Fraud", "project", ""),
        ]
        icons = {"model": "box", "endpoint": "rocket", "run": "activity", "project": "layers"}
        items = [
            {"label": label, "kind": what, "hint": hint, "icon": icons[what], "url": f"/p/churn/{what}s"}
            for label, what, hint in known
            if q.lower() in label.lower() and kind in ("", what)
        ]
        return JSONResponse({"items": items})

    @app.get("/series")
    def series(n: int = 3, x: str = "step") -> JSONResponse:
        dice = random.Random(n)
        steps = list(range(0, 1000, 2))
        lines = []
        for at in range(n):
            noise = [dice.gauss(0, 0.012) for _ in steps]
            y = [
                0.6 + 0.3 * (1 - math.exp(-step / (90 + 60 * at))) + noise[i] - 0.02 * at
                for i, step in enumerate(steps)
            ]
            origin = 1_790_000_000_000 if x == "time" else 0
            when = steps if x == "step" else [origin + step * 60_000 for step in steps]
            lines.append({"name": f"{FAMILIES[at % len(FAMILIES)]} {14 - at}", "x": when, "y": y})
        return JSONResponse({"x": x, "series": lines})

    @app.get("/parallel")
    def parallel() -> JSONResponse:
        axes = [
            {"name": "family"},
            {"name": "lr", "log": True},
            {"name": "n_estimators"},
            {"name": "loss"},
            {"name": "accuracy"},
        ]
        lines = [
            {
                "id": run["id"],
                "name": run["name"],
                "url": "/p/churn/run",
                "values": [FAMILIES[at % 4], run["lr"], run["n_estimators"], run["loss"], run["accuracy"]],
            }
            for at, run in enumerate(runs())
        ]
        return JSONResponse({"axes": axes, "runs": lines})

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            for done in (10, 40, 100):
                yield live.event(
                    json.dumps({"text": f"\rfitting {done:3d}%|{'█' * (done // 10):<10}|"}), name="output", id=done
                )
            yield live.event(json.dumps({"text": "\n\x1b[32mdone\x1b[0m in 1.2 s\n"}), name="output", id=200)
            yield live.event(json.dumps({"status": "finished"}), name="end")

        return StreamingResponse(events(), media_type="text/event-stream")

    app.mount("/static", assets.Assets())
    return app


if __name__ == "__main__":
    uvicorn.run(build(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
