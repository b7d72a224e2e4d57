"""The server: the only file that knows every pillar. Settings -> database, engine, pillars, loops -> one application.

A pillar is a package named in `PILLARS`; its `api`, `mlflow_api` and `pages` modules bring a `router`, `pages` its `NAV`,
and `loop` its `step(host, now)`. A new pillar is a folder and one name here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import threading
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import headway
from headway import parts
from headway.clock import now_ms
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.events import Event
from headway.people import guard
from headway.settings import Settings
from headway.storage import migrations
from headway.storage.blobs import Blobs
from headway.storage.database import Database, ping
from headway.storage.vault import Vault
from headway.web import answers, assets, proxy, safety

log = logging.getLogger("headway.server")

SWARM_S = 0.1  # how long a loop that was woken waits for more news

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
        runner = Loops(host) if loops else None
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


class Loops:
    """The background steps, a thread each. A step that fails is logged and tried again; an event wakes all at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stopping = threading.Event()
        self._wakes: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        for name, modules in pillars():
            if (module := modules.get("loop")) is not None:
                self._start(name, module.step, module.INTERVAL_S)
        host.bus.subscribe(Event, lambda _host, _event: self.wake())

    def wake(self) -> None:
        """Let every loop take its next step now."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """End all loops after their present step."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=10)

    def _start(self, name: str, step: Callable[[Host, int], Any], interval_s: float) -> None:
        wake = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(name, step, interval_s, wake), name=f"headway-{name}", daemon=True
        )
        self._wakes.append(wake)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, step: Callable[[Host, int], Any], interval_s: float, wake: threading.Event) -> None:
        failures = 0
        while not self._stopping.is_set():
            wake.clear()
            try:
                step(self._host, now_ms())
                failures = 0
            except Exception:
                failures += 1
                if failures in (1, 10) or failures % 100 == 0:
                    log.exception("the step of %s failed, %d in a row", name, failures)
            wake.wait(min(interval_s * (1 + failures), 30.0))
            if wake.is_set():  # news comes in swarms (a sweep begins a hundred runs): the next step is for all of it
                self._stopping.wait(SWARM_S)
