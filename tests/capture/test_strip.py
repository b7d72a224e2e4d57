"""The strip under a training cell, and the session of a notebook as a script."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from headway.capture.replay import replay
from headway.capture.session import Session
from headway.capture.strip import Strips

from .conftest import BOOT, SOURCE
from .test_notebook import execute
from .test_shipper import Recorder

FIT = {"cls": "Ridge", "inner": None, "type": "predictor"}


def shown(strips: Strips, cell: str, *facts: tuple[str, dict[str, Any]]) -> str:
    strips.begin()
    for kind, fact in facts:
        strips.note(kind, fact)
    found = strips.end(cell)
    return "" if found is None else str(found["text/plain"])


@pytest.fixture
def strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Strips:
    monkeypatch.delenv("HEADWAY_URL", raising=False)
    return Strips(Session(str(tmp_path)))


def test_versions_of_a_cell_are_compared(strips: Strips) -> None:
    def score(value: float) -> tuple[str, dict[str, Any]]:
        return "score", {"fn": "accuracy_score", "v": value}

    assert shown(strips, "a", ("fit", FIT), score(0.8)) == "Ridge · version 1 | accuracy 0.8"
    assert shown(strips, "a", ("fit", FIT), score(0.9)) == "Ridge · version 2 | accuracy 0.9 (+0.1, best so far)"
    assert shown(strips, "a", ("fit", FIT), score(0.85)) == "Ridge · version 3 | accuracy 0.85 (-0.05, best 0.9)"
    assert shown(strips, "b", ("fit", FIT), score(0.5)) == "Ridge · version 1 | accuracy 0.5"


def test_less_is_better_for_a_loss(strips: Strips) -> None:
    shown(strips, "a", ("fit", FIT), ("round", {"w": {"logloss": 0.5}}))
    assert "best so far" in shown(strips, "a", ("fit", FIT), ("round", {"w": {"logloss": 0.4}}))


@pytest.mark.parametrize(
    "facts", [(), (("score", {"fn": "r2_score", "v": 1.0}),), (("fit", {**FIT, "failed": "ValueError"}),)]
)
def test_a_cell_that_trained_nothing_has_none(strips: Strips, facts: Any) -> None:
    assert shown(strips, "a", *facts) == ""


def test_what_it_shows_is_text(strips: Strips) -> None:
    strips.note("fit", {**FIT, "cls": "<script>"})
    found = strips.end("a")
    assert found is not None
    assert "<script>" not in found["text/html"]


def test_a_replay_is_a_program() -> None:
    cells = [{"cell": 1, "text": "%matplotlib inline\nx = 1", "ok": True}, {"cell": 2, "text": "x = y", "ok": False},
             {"cell": 4, "text": "%%time\nx += 1", "ok": True}, {"cell": 5, "text": "!ls\nx", "ok": True}]  # fmt: skip
    text = replay(cells)
    ast.parse(text)
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == ["x = 1", "x"]
    assert "# %% [2] failed" in text
    assert replay([]) == ""


def test_in_a_kernel(tmp_path: Path) -> None:
    recorder = Recorder()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BOOT)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON"))}
    env |= {"PYTHONPATH": str(tmp_path / "site"), "HEADWAY_SPOOL": str(tmp_path / "spool"), "HEADWAY_RUNTIME": str(SOURCE),
            "HEADWAY_URL": recorder.url, "HEADWAY_PROJECT": "p"}  # fmt: skip
    manager = KernelManager()
    manager.start_kernel(env=env, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        setup = "from sklearn.linear_model import Ridge\nnames = set(dir())"
        fit = "m = Ridge(alpha={}).fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.5])\nm.score([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.5])"
        execute(client, setup, [])
        outputs = [execute(client, fit.format(alpha), tags) for alpha, tags in ((1, []), (2, []), (3, ["no-strip"]))]
        strips = [[m for m in cell if m["content"].get("metadata", {}).get("headway")] for cell in outputs]
        assert [len(found) for found in strips] == [1, 1, 0]
        assert "Ridge · version 2 | score" in strips[1][0]["content"]["data"]["text/plain"]
        assert "text/html" in strips[1][0]["content"]["data"]
        [seen] = [
            m
            for m in execute(client, "sorted(n for n in set(dir()) - names if n[0] != '_')", [])
            if "data" in m["content"]
        ]
        assert seen["content"]["data"]["text/plain"] == "['m', 'names']"
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
        client.context.destroy()
        recorder.http.shutdown()
        recorder.http.server_close()
