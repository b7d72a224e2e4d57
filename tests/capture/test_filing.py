"""Model files that a program wrote itself: kept, or with the reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from headway.capture import filing
from headway.capture.outbox import Outbox


class _Uploads:
    def __init__(self) -> None:
        self.names: list[str] = []

    def upload(self, name: str, data: bytes | Path) -> None:
        self.names.append(name)


def test_each_checkpoint_is_kept_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "CHECKPOINTS", 3)
    monkeypatch.setattr(filing, "FILE_LIMIT", 1024**2)
    files: list[dict[str, Any]] = [
        {"name": n, "path": str(tmp_path / n)} for n in ("old.pt", "gone.pt", "large.pt", "best.pt", "net.onnx")
    ]
    for name, size in (("old.pt", 1), ("large.pt", 1024**2 + 1), ("best.pt", 1), ("net.onnx", 1)):
        (tmp_path / name).write_bytes(b"0" * size)
    out = _Uploads()
    filing._checkpoints(cast(Outbox, out), {"checkpoints": files})
    assert out.names == ["checkpoints/best.pt"]
    assert [f.get("reason") for f in files] == [
        "only the last 3 model files of a run are kept",
        "the file was gone when the run was sent",
        "the file is larger than 1 MiB",
        None,
        None,
    ]
