"""A file that was replaced is noticed at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from headway.deployments import noticing
from headway.deployments.snapshot import write_atomic


def in_a_thread(run: Coroutine[Any, Any, None]) -> None:
    failed: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(run)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(60)
    if failed:
        raise failed[0]


def test_a_replaced_file_is_heard_of(tmp_path: Path) -> None:
    async def listen() -> None:
        heard = asyncio.Event()
        assert noticing.hear(asyncio.get_running_loop(), tmp_path / "gateway", heard.set)
        assert heard.is_set(), "what was there before counts too"
        for turn in range(3):
            heard.clear()
            write_atomic(tmp_path / "gateway" / "routes.json", {"turn": turn})
            await asyncio.wait_for(heard.wait(), 30)

    in_a_thread(listen())


def test_where_the_system_can_not_tell_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(24, "Too many open files", str(path))

    monkeypatch.setattr(noticing, "Folder", refuse)

    async def listen() -> None:
        assert not noticing.hear(asyncio.get_running_loop(), tmp_path, lambda: None)

    in_a_thread(listen())
    assert "Too many open files" in capfd.readouterr().err
