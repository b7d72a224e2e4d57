"""A real `headway up` in a process of its own on a home of its own, for stories and for the CLI: start, kill, start again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx
from playwright.sync_api import Browser, BrowserContext

from tests.conftest import PACKAGES, free_port

T = TypeVar("T")
BIN = Path(sys.executable).parent


def until(question: Callable[[], T], seconds: float = 60, what: str = "") -> T:
    """Ask until the answer is true, and return it; fail loudly after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what or question}"
        time.sleep(0.05)
    return answer


class Served:
    """One home folder and the server on it."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.port, gateway = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "MLFLOW_"))
        }
        self.environ |= {
            "HEADWAY_HOME": str(home), "HEADWAY_PORT": str(self.port), "HEADWAY_GATEWAY_PORT": str(gateway),
            "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "UV_CACHE_DIR": str(PACKAGES), **environ,
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []
        self.reader: threading.Thread | None = None
        self.link = ""

    def start(self, seconds: float = 60) -> Served:
        """Start and wait for the sign-in link; /health answers from then on."""
        self.output = []
        self.process = subprocess.Popen(
            [BIN / "headway", "up"], env=self.environ, cwd=self.home.parent, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        process = self.process
        self.reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self.reader.start()
        self.link = until(self._link, seconds, "the sign-in link")
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            self.output.extend(stream)

    def _link(self) -> str:
        assert self.process is not None
        text = "".join(self.output)
        if self.process.poll() is not None:
            raise AssertionError(f"headway up ended with {self.process.returncode}:\n{text}")
        found = re.search(r"http://\S+/welcome\S+", text)
        return found.group() if found else ""

    def kill(self) -> None:
        """As a power cut would: no chance to say goodbye. What the server started goes on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """End the server, then everything it started."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.cli("down", check=False)
        if self.reader is not None:
            self.reader.join(10)
        for folder in self.home.glob("run*/**/process.json"):
            _kill(folder)

    def cli(
        self, *words: str, check: bool = True, seconds: float = 300, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`headway WORDS` as a user of this machine would call it."""
        done = subprocess.run([BIN / "headway", *words], env=self.environ, cwd=self.home.parent, text=True,
                              capture_output=True, timeout=seconds, input=stdin)  # fmt: skip
        assert not check or done.returncode == 0, (
            f"headway {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        assert "Traceback (most recent call last)" not in done.stderr
        return done

    def json(self, *words: str, **options: Any) -> Any:
        """The one object that `headway WORDS --json` prints."""
        return json.loads(self.cli(*words, "--json", **options).stdout)

    @property
    def token(self) -> str:
        """The credentials that the CLI of this machine uses."""
        token: str = json.loads((self.home / "cli.json").read_text())["token"]
        return token

    def client(self) -> httpx.Client:
        """An HTTP client with those credentials."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=60)

    def signed_in(self, browser: Browser, **options: Any) -> BrowserContext:
        """A browser that followed a sign-in link of the owner."""
        context = browser.new_context(base_url=self.url, **options)
        page = context.new_page()
        page.goto(self.link)
        if page.get_by_role("button", name=re.compile("Open headway|Sign in|Continue", re.I)).count():
            page.get_by_role("button", name=re.compile("Open headway|Sign in|Continue", re.I)).first.click()
        page.wait_for_url(re.compile(r"/$|/p/"))
        page.close()
        return context


def _kill(path: Path) -> None:
    try:
        os.killpg(json.loads(path.read_text())["pid"], signal.SIGKILL)
    except (OSError, ValueError, KeyError):
        return
