"""Real replicas and a real gateway in a folder of their own, without the platform: what the data path is tested with."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway import bundle, frames
from headway.deployments.snapshot import read_json, write_atomic
from headway.deployments.traffic import WHOLE, Endpoint, Key, Replica, Revision, Routes

ROOT = Path(bundle.__file__).parent.parent
KEY, OTHER, PLATFORM = "hwe_right", "hwe_other", "hwp_platform"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass
class Data:
    """A home with a gateway on `port`; `routes(...)` publishes, `ask(...)` asks."""

    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: int = 0
    generation: int = 0
    gateway: subprocess.Popen[bytes] | None = None

    def start_gateway(self, port: int = 0) -> None:
        argv = [sys.executable, "-m", "headway.deployments.gateway", "--home", str(self.home), "--port", str(port)]
        log = self.home / "gateway.log"
        with log.open("ab") as out:
            self.gateway = subprocess.Popen(argv, stdout=out, stderr=out, cwd=ROOT)
        self.processes.append(self.gateway)
        self.port = int(
            until(lambda: log.read_text().rpartition("listening on 127.0.0.1:")[2].strip() or None, "gateway")
        )

    def start_replica(self, folder: Path, name: str) -> subprocess.Popen[bytes]:
        path = str(self.home / name)
        argv = [sys.executable, "-m", "headway.modelserver", "serve", "--socket", path, str(folder)]
        env = {"PYTHONPATH": f"{ROOT}:{ROOT.parent}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        with (self.home / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(argv, env=env, cwd="/", stdout=out, stderr=out)
        self.processes.append(process)

        def answers() -> bool:
            assert process.poll() is None, (self.home / f"{name}.log").read_text()
            try:
                return frames.call(path, frames.HEALTH)[0] == 200
            except OSError:
                return False

        until(answers, name)
        return process

    def routes(self, *revisions: tuple[int, int, str], pure: bool = True, wait: bool = True, **settings: Any) -> None:
        """Publishes (number, weight, replica name) of the endpoint demo/model, and waits until the gateway has taken it."""
        self.generation += 1
        shares = tuple(Revision(n, w, (Replica(name, str(self.home / name)),), pure) for n, w, name in revisions)
        endpoint = Endpoint("e1", "demo", "model", shares, **settings)
        other = Endpoint("e2", "demo", "other", ())
        keys = {digest(KEY): Key("k1", frozenset({"e1"})), digest(OTHER): Key("k2", frozenset({"e2"})),
                digest(PLATFORM): Key("platform", None)}  # fmt: skip
        routes = Routes(self.generation, {"demo/model": endpoint, "demo/other": other}, keys)
        write_atomic(self.home / "gateway" / "routes.json", routes.to_json())
        if wait:
            names = {str(self.home / name) for _, _, name in revisions}

            def taken() -> bool:
                state = read_json(self.home / "gateway" / "state.json") or {}
                links = state.get("links", {})
                return state.get("generation") == self.generation and names == {n for n, up in links.items() if up}

            until(taken, "the gateway to take the routes")

    def ask(
        self, body: Any, path: str = "invocations", *, key: str | None = KEY, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, decoded JSON)."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
        where = path if path.startswith("/") else f"/endpoints/demo/model/{path}"
        try:
            link.request(method, where, raw, sent)
            answer = link.getresponse()
            data = answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(data) if data else None
        finally:
            link.close()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def until(ready: Any, what: str, seconds: float = 60) -> Any:
    """The first true value of `ready()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what} in vain")


def whole(name: str = "r1", number: int = 1) -> tuple[int, int, str]:
    """All traffic to one revision."""
    return number, WHOLE, name
