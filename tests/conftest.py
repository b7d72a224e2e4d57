"""What all tests share: a database of either kind, and a host in a folder of its own."""

from __future__ import annotations

import fcntl
import importlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright
from sqlalchemy import text

import headway
import headway.storage.blobs
import headway.storage.leases
from headway.storage.database import Base, Database

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]  # fmt: skip
POSTGRES_BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


PACKAGES = Path(tempfile.gettempdir()) / f"headway-test-packages-{os.getuid()}"
"""One package cache (UV_CACHE_DIR) for all homes that tests make: a package is downloaded and compiled once."""


PORTS = Path(tempfile.gettempdir()) / f"headway-test-ports-{os.getuid()}"
"""A file a port that a test process was given; it holds the file's lock as long as it lives."""

PATIENCE_MS = 30_000
"""How long a page may take on a busy machine until it looks as expected; a test that passes waits no longer than it must."""

# A slow machine is no finding, and what one commit passes the next one passes, too. HYPOTHESIS_SEARCH=1 looks for new examples.
FOUND_AGAIN = "HYPOTHESIS_SEARCH" not in os.environ
settings.register_profile("here", deadline=None, derandomize=FOUND_AGAIN, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def free_port() -> int:
    """A TCP port on the loopback that is free, and that no other process of tests is given while this one lives.

    It lies below those that the system gives to connections: until a server binds it, nobody gets it by chance. It is even, as
    a server takes the port after its gateway's, too.
    """
    PORTS.mkdir(exist_ok=True)
    for port in random.sample(range(20_000, 32_000, 2), 1000):
        lock = os.open(PORTS / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
        else:
            return port
    pytest.fail("No port between 20000 and 32000 is free.")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests that look at pages."""
    with sync_playwright() as tools:
        expect.set_options(timeout=PATIENCE_MS)
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server of our own, on a UNIX socket in a temporary folder."""
    if POSTGRES_BIN is None:
        pytest.fail("PostgreSQL is not installed. `make test` installs it (as root: apt-get install postgresql).")
    # Not below pytest's folder: each pytest that starts meanwhile closes that one to everybody but its own user.
    folder = Path(tempfile.mkdtemp(prefix="headway-postgres-"))
    as_user: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    run: dict[str, Any] = {"check": True, "capture_output": True, "cwd": "/"}
    subprocess.run([*as_user, POSTGRES_BIN / "initdb", "-D", data, "-A", "trust", "-U", "headway", "--no-sync"], **run)
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200"
    subprocess.run([*as_user, POSTGRES_BIN / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"],
                   check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        yield f"postgresql+psycopg://headway@/postgres?host={folder}"
    finally:
        subprocess.run([*as_user, POSTGRES_BIN / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with all tables, once on SQLite and once on PostgreSQL."""
    for path in sorted(Path(headway.__file__).parent.glob("*/tables.py")):
        importlib.import_module(f"headway.{path.parent.name}.tables")
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'headway.db'}")
        Base.metadata.create_all(database.engine)
    else:
        database = Database(request.getfixturevalue("postgres_url"))
        with database.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        Base.metadata.create_all(database.engine)
    yield database
    database.close()
