"""The gallery, served on a port of its own, and one browser for all tests of this folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page

from tests.web.gallery.app import build


@pytest.fixture(scope="session")
def gallery() -> Iterator[str]:
    """The gallery's address."""
    server = uvicorn.Server(uvicorn.Config(build(), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the gallery did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


@pytest.fixture
def tab(browser: Browser, gallery: str) -> Iterator[Page]:
    """A fresh tab at the gallery's address; a script error or a blocked resource fails the test."""
    context = browser.new_context(base_url=gallery, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert problems == []
