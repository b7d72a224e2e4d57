"""`headway up`: one server on one home folder, with the checks that must pass before it may say it is up.

Everything that can be wrong is found before anything is written: a folder that can't be written to, another server on the
same home, a port in use, a public address without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import gc
import ipaddress
import json
import logging
import logging.handlers
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO

import psutil
import uvicorn
from sqlalchemy.exc import DBAPIError

from headway import server
from headway.engines import keeper, shim
from headway.errors import BadInput, Conflict, StorageFull
from headway.home import service as home
from headway.people import service as people
from headway.settings import Settings

log = logging.getLogger("headway")


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `ready(link)` is called with the sign-in link once requests are answered."""
    check_address(settings)
    with (
        home_lock(settings),
        full_disk_said(settings),
        listening(settings) as listener,
        notebooks_listening(settings) as second,
    ):
        _log_to_file(settings)
        host = server.make_host(settings)
        with host.database.write() as db:
            people.ensure_owner(db)
        home.first_start(host)
        with host.database.write() as db:
            token, link = (
                people.machine_token(db, _kept_token(settings), place=f"{socket.gethostname()}:{settings.home}"),
                people.sign_in_link(db, host),
            )
        app = server.build(host)
        app.state.notebooks_port = second.getsockname()[1] if second else None
        write_private(settings.path("cli.json"), json.dumps({"url": settings.url, "token": token, "pid": os.getpid()}))
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", ws="websockets-sansio", ws_max_size=64 << 20,
            ws_per_message_deflate=False, access_log=False, log_config=None, lifespan="on",
            proxy_headers=settings.behind_proxy, server_header=False, timeout_graceful_shutdown=3, timeout_keep_alive=75,
            ssl_certfile=settings.tls_certificate or None, ssl_keyfile=settings.tls_key or None,
        )  # fmt: skip
        _Server(config, lambda: ready(link)).run(sockets=[listener, second] if second else [listener])


def _kept_token(settings: Settings) -> str | None:
    """The token that the last start left for programs on this machine."""
    try:
        token = json.loads(settings.path("cli.json").read_text()).get("token")
    except (OSError, ValueError, AttributeError):
        return None
    return token if isinstance(token, str) else None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._told_to_end = asyncio.Event()

    async def main_loop(self) -> None:
        """Until a signal comes. Uvicorn looks ten times a second whether one came; `on_tick` keeps the Date header's time."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_end.wait(), 1.0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._told_to_end.set()  # signals are handled on the loop's own thread

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()
            # What a start made stays: collections need not walk its 190,000 objects again and again.
            gc.collect()
            gc.freeze()


def check_address(settings: Settings) -> None:
    """Raise `BadInput` for an address that others can reach, unless TLS is on or a proxy that ends TLS stands in front."""
    if _loopback(settings.host) or settings.behind_proxy:
        return
    if settings.tls_certificate and settings.tls_key:
        for path in (settings.tls_certificate, settings.tls_key):
            if not Path(path).is_file():
                raise BadInput(f"The TLS file {path} is not there.")
        return
    raise BadInput(
        f"{settings.host} is reachable from other machines, and passwords would travel unencrypted.",
        hint="Give --tls-certificate and --tls-key, or put a TLS proxy in front and say --behind-proxy, or use 127.0.0.1.",
    )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@contextlib.contextmanager
def home_lock(settings: Settings) -> Iterator[None]:
    """Hold the home folder: it is made if need be, it can be written to, and no other server works on it."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(settings.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(f"The home folder {settings.home} can't be written to: {error.strerror}.",
                       hint="Choose another with --home DIR or HEADWAY_HOME, or change its permissions.") from None  # fmt: skip
    with os.fdopen(handle, "r+") as file:
        _take(file, settings)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        os.set_inheritable(file.fileno(), False)
        yield


def _take(file: IO[str], settings: Settings) -> None:
    """Raises `Conflict` if a living process holds the lock. One that is dying (its threads end one by one) is waited for."""
    until = time.monotonic() + 10
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip() or "?"
            if time.monotonic() > until or not pid.isdigit() or shim.start_time(int(pid)):
                raise Conflict(
                    f"Another headway (process {pid}) already serves {settings.home}.",
                    hint="Use that one (`headway status`), stop it (`headway down`), or give another --home.",
                ) from None
            time.sleep(0.02)


@contextlib.contextmanager
def full_disk_said(settings: Settings) -> Iterator[None]:
    """A start that fails for want of room says so, whichever layer noticed."""
    try:
        yield
    except (OSError, DBAPIError) as error:
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and "disk is full" not in str(error):
            raise
        raise StorageFull(
            f"The disk of {settings.home} is full: headway can't start.",
            hint="Free some space, or give another --home.",
        ) from None


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The bound socket. Raises `Conflict` naming who has the port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise _port_error(settings, error) from None
        # Accepted sockets inherit it. asyncio sets it only on sockets made with an explicit protocol number; without it each
        # keep-alive answer can wait 40 ms for a delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.listen(2048)
        yield listener


@contextlib.contextmanager
def notebooks_listening(settings: Settings) -> Iterator[socket.socket | None]:
    """The socket of the notebooks' origin; None where a proxy in front has given them no address of their own."""
    if settings.public_url and not settings.notebooks_url:
        yield None
        return
    with contextlib.ExitStack() as stack:
        yield _notebooks_socket(settings, stack)


def _notebooks_socket(settings: Settings, stack: contextlib.ExitStack) -> socket.socket:
    chosen = settings.notebooks_port
    try:
        return stack.enter_context(listening(replace(settings, port=chosen or settings.gateway_port + 1)))
    except Conflict:
        if chosen:
            raise
        return stack.enter_context(listening(replace(settings, port=0)))


def _port_error(settings: Settings, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        who = _user_of(settings.port)
        return Conflict(f"Port {settings.port} is in use{f' by {who}' if who else ''}.",
                        hint=f"Stop it, or choose another: headway up --port {settings.port + 10}")  # fmt: skip
    return BadInput(
        f"Can't listen on {settings.host}:{settings.port}: {error.strerror}.", hint="Choose another --host or --port."
    )


def _user_of(port: int) -> str:
    with contextlib.suppress(psutil.Error, PermissionError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == "LISTEN" and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {connection.pid})"
    return ""


def halt(settings: Settings) -> int:
    """Stop gateway, replicas and notebook servers of a home whose server is down; runs go on. Returns how many."""
    with home_lock(settings):
        host = server.make_host(settings)
        try:
            return keeper.halt(host, kinds=("gateway", "replica", "jupyter"))
        finally:
            host.database.close()


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, whole or not at all."""
    new = path.with_name(path.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _log_to_file(settings: Settings) -> None:
    folder = settings.path("logs")
    folder.mkdir(exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / "server.log", maxBytes=10 << 20, backupCount=5, encoding="utf-8"
    )
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s"))
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    console.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a log that can't be written (full disk) must not spill tracebacks to the terminal
    logging.basicConfig(level=logging.INFO, handlers=[file, console], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
