"""What is pure in the client: server-sent events, folders that are sent, tables in and out."""

from __future__ import annotations

import datetime
import io
import math
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from headway.errors import BadInput, TooLarge
from headway.sdk import events, frames, sending

STREAM = (
    'id: 5\nevent: output\ndata: {"text": "héllo"}\n\n: still here\n\nid: 9\nevent: end\ndata: a\ndata: b\n\n'.encode()
)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 1000])
def test_events_may_be_cut_anywhere(width: int) -> None:
    pieces = [STREAM[at : at + width] for at in range(0, len(STREAM), width)]
    assert list(events.read(pieces)) == [
        events.Event('{"text": "héllo"}', "output", "5"),
        events.Event("a\nb", "end", "9"),
    ]


def test_an_event_that_is_cut_off_is_no_event() -> None:
    assert list(events.read([STREAM[:-1]])) == [events.Event('{"text": "héllo"}', "output", "5")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "churn"
    for name in ("train.py", "lib/parts.py", "data/cars.csv", ".env", ".git/config", "venv/pyvenv.cfg", "own/pyvenv.cfg",
                 "own/lib/x.py", "__pycache__/x.pyc", "node_modules/x.js", "lib/.ipynb_checkpoints/x.py"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "linked.csv").symlink_to(root / "data" / "cars.csv")
    (root / "dangling.csv").symlink_to("nowhere")
    (root / "elsewhere").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    return root


def test_what_is_sent(folder: Path) -> None:
    found = [member.name for member in sending.members(folder, folder / "train.py")]
    assert found == ["data/cars.csv", "lib/parts.py", "linked.csv", "train.py"]


def test_the_script_itself_goes_even_if_it_is_hidden(folder: Path) -> None:
    (folder / ".hidden.py").write_text("x")
    assert ".hidden.py" in [member.name for member in sending.members(folder, folder / ".hidden.py")]


def test_the_archive_holds_plain_files(folder: Path) -> None:
    out = io.BytesIO()
    sending.pack(sending.members(folder, folder / "train.py"), out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        members = archive.getmembers()
        assert all(member.isreg() for member in members)
        linked = archive.extractfile("linked.csv")
        assert linked is not None
        assert linked.read() == b"data/cars.csv"


def test_too_much_names_the_largest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MOST_BYTES", 5)
    with pytest.raises(TooLarge) as caught:
        sending.members(folder, folder / "train.py")
    assert "data/cars.csv" in caught.value.hint
    assert "--folder" in caught.value.hint


def test_which_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "lib" / "parts.py"
    monkeypatch.chdir(folder)
    assert sending.root_of(script) == folder
    monkeypatch.chdir(folder / "data")
    assert sending.root_of(script) == folder / "lib"
    assert sending.root_of(script, folder) == folder
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    assert sending.root_of(script) == folder / "lib"
    with pytest.raises(BadInput, match="does not lie in"):
        sending.root_of(script, folder / "data")


DAY = datetime.datetime(2026, 3, 1, 12, 30)
FRAME = pandas.DataFrame(
    {"n": [1, 2], "x": [0.1 + 0.2, math.nan], "s": ["a", None], "b": [True, False], "t": [pandas.Timestamp(DAY), pandas.NaT],
     "i": pandas.array([1, None], dtype="Int64")}
)  # fmt: skip
PAYLOADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "frame": (FRAME, {"dataframe_split": {"columns": list("nxsbti"), "data": [
        [1, 0.1 + 0.2, "a", True, "2026-03-01T12:30:00", 1], [2, None, None, False, None, None]]}}),
    "record": ({"x": numpy.float32(0.5), "day": DAY.date()}, {"dataframe_records": [{"x": 0.5, "day": "2026-03-01"}]}),
    "records": ([{"x": 1}, {"x": math.nan}], {"dataframe_records": [{"x": 1}, {"x": None}]}),
    "array": (numpy.array([[1, 2], [3, 4]]), {"inputs": [[1, 2], [3, 4]]}),
    "lists": ([[1.5, numpy.int64(2)]], {"inputs": [[1.5, 2]]}),
    "empty frame": (FRAME.iloc[:0], {"dataframe_split": {"columns": list("nxsbti"), "data": []}}),
}  # fmt: skip


@pytest.mark.parametrize("case", PAYLOADS)
def test_payloads(case: str) -> None:
    data, wanted = PAYLOADS[case]
    assert frames.payload_of(data) == wanted


@pytest.mark.parametrize("data", ["text", b"bytes", 3, None, [], object(), [{"x": object()}], [[object()]]])
def test_what_can_not_be_sent(data: Any) -> None:
    with pytest.raises(BadInput, match="can't be sent"):
        frames.payload_of(data)


def test_runs_as_a_table() -> None:
    base = {"parent_run_id": None, "name": "n", "path": "train.py", "status": "finished", "cause": "", "ended_at": None}
    found = [
        base | {"run_id": "b", "started_at": 1_700_000_000_000, "params": {"lr": "0.1"}, "metrics": {"auc": 0.9}},
        base | {"run_id": "a", "started_at": None, "params": {}, "metrics": {}},
    ]
    table = frames.of_runs(found)
    assert list(table.columns[-2:]) == ["params.lr", "metrics.auc"]
    assert str(table["started_at"].dt.tz) == "UTC"
    assert table["metrics.auc"].tolist()[0] == 0.9
    assert math.isnan(table["metrics.auc"][1])
    assert list(frames.of_runs([]).columns)[:2] == ["run_id", "parent_run_id"]
