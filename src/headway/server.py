"""The server: the only file that knows every pillar. Settings -> database, engine, pillars, loops -> one application.

A pillar is a package named in `PILLARS`; its `api`, `mlflow_api` and `pages` modules bring a `router`, `pages` its `NAV`,
and `loop` its `step(host, now)`. A new pillar is a folder and one name here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
from collections.abc import AsyncIterator
from types import ModuleType

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import headway
from headway import parts
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.loops import Loops
from headway.people import guard
from headway.settings import Settings
from headway.storage import migrations
from headway.storage.blobs import Blobs
from headway.storage.database import Database, ping
from headway.storage.vault import Vault
from headway.web import answers, assets, proxy, safety

log = logging.getLogger("headway.server")

# In import order, lowest first.
PILLARS = (
    "engines",
    "people",
    "projects",
    "environments",
    "tracking",
    "traces",
    "runs",
    "workspaces",
    "models",
    "imports",
    "deployments",
    "home",
)


def make_host(settings: Settings) -> Host:
    """The host of a home folder: the folder made, the schema current, the key there."""
    pillars()  # all tables are known before the schema is looked at
    database = Database(settings.database)
    migrations.upgrade(database)
    return Host(
        settings=settings,
        database=database,
        blobs=Blobs(settings.path("blobs")),
        vault=Vault.open(settings.path("key")),
        engine=LocalEngine(settings),
        runtime=parts.install(settings.path("runtime")),
    )


def pillars() -> list[tuple[str, dict[str, ModuleType]]]:
    """Each pillar's name with the modules it has, by role."""
    found = []
    for name in PILLARS:
        roles = ("tables", "api", "mlflow_api", "pages", "loop")
        modules = {role: _load(f"headway.{name}.{role}") for role in roles}
        found.append((name, {role: module for role, module in modules.items() if module is not None}))
    return found


def _load(name: str) -> ModuleType | None:
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def build(host: Host, *, loops: bool = True) -> FastAPI:
    """The application over `host`. With `loops` the background steps run while it serves."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        found = [(name, modules["loop"]) for name, modules in pillars() if "loop" in modules]
        runner = Loops(host, found) if loops else None
        try:
            yield
        finally:
            if runner is not None:
                runner.stop()
            await proxy.close()
            host.database.close()

    app = FastAPI(title="headway", version=headway.__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
                  lifespan=lifespan, summary="Nobody waits.", separate_input_output_schemas=False,
                  telemetry={"tracing": False, "metrics": False, "logs": False})  # fmt: skip
    app.state.host = host
    app.state.nav = []
    app.state.may = guard.may_on_page
    answers.install(app)
    for name, modules in pillars():
        for role in ("mlflow_api", "api", "pages"):
            module = modules.get(role)
            if module is None:
                continue
            app.include_router(module.router)
            app.state.nav += getattr(module, "NAV", [])
            if hasattr(module, "install"):
                module.install(app)
            log.debug("pillar %s: %s", name, role)
    app.mount("/static", assets.Assets(), name="static")
    app.add_api_route("/health", _health, methods=["GET"], include_in_schema=False)
    safety.install(app, host.settings)
    return app


def _health(request: Request) -> JSONResponse:
    """200 once everything this server needs answers."""
    host: Host = request.app.state.host
    ping(host.database)
    return JSONResponse({"status": "ok", "version": headway.__version__})
