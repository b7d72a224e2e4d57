"""A server's loops as processes of their own, to be killed: `python driver.py HOME DATABASE_URL`.

Each line on its input starts one, whose number it prints.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from headway import parts, server
from headway.clock import now_ms
from headway.engines import keeper
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.runs import loop
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Database
from headway.storage.vault import Vault


def host_on(home: Path, url: str) -> Host:
    """A host on a home whose database is there."""
    server.pillars()
    settings = Settings.load({}, home=home, database_url=url)
    return Host(settings, Database(settings.database), Blobs(home / "blobs"), Vault.open(home / "key"), LocalEngine(settings),
                parts.install(settings.path("runtime")))  # fmt: skip


def serve(home: Path, url: str) -> None:
    """Turn the loops until somebody kills us."""
    host = host_on(home, url)
    print(os.getpid(), flush=True)
    while True:
        keeper.step(host, now_ms())
        loop.step(host, now_ms())
        time.sleep(0.01)


if __name__ == "__main__":
    # For each line of its input a server is forked, so that twenty starts do not import everything twenty times.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(Path(sys.argv[1]), sys.argv[2])
