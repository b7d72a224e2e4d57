"""A record in the protocol's terms."""

from __future__ import annotations

from typing import Any

import pytest

from headway.capture import wording


@pytest.mark.parametrize(
    ("value", "shown"),
    [("adam", "adam"), (3, "3"), ([1, 2], "[1, 2]"), ({"a": 1}, '{"a": 1}'), ("x" * 501, "x" * 499 + "…")],
)
def test_values_are_told_as_text(value: Any, shown: str) -> None:
    assert wording.text(value) == shown


@pytest.mark.parametrize(
    ("told", "tags"),
    [
        ({"n": 3, "total": 10, "text": "epochs"}, {"headway.progress": "3/10 epochs"}),
        ({"n": 2.5, "total": 10}, {"headway.progress": "2.5/10"}),
        ({"n": 3, "total": None}, {}),
        (None, {}),
    ],
)
def test_progress_is_a_tag(told: Any, tags: dict[str, str]) -> None:
    assert wording.progress({"progress": told}) == tags


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ({"main": "/w/p/train.py", "cwd": "/w/p"}, "train.py"),
        ({"main": "/w/p/sub/train.py", "cwd": "/w/p"}, "sub/train.py"),
        ({"main": "/elsewhere/train.py", "cwd": "/w/p"}, "/elsewhere/train.py"),
        ({"name": "notebook"}, "notebook"),
        ({}, "interactive"),
    ],
)
def test_experiments_are_called_as_their_programs(start: dict[str, Any], name: str) -> None:
    assert wording.experiment_name(start) == name


def test_data_sets_are_known_by_what_they_hold() -> None:
    file = {"kind": "file", "path": "/w/train.csv", "size": 9, "mtime": 5.5, "sha256": ""}
    assert wording.dataset(file) == {
        "name": "train.csv", "digest": "9-5", "source_type": "local", "source": '{"uri": "/w/train.csv"}',
    }  # fmt: skip
    hashed = wording.dataset({**file, "sha256": "ab" * 32})
    assert hashed is not None and hashed["digest"] == "ab" * 18
    shape = {"rows": 2, "columns": ["a"], "dtypes": ["int64"]}
    call = {"kind": "call", "name": "read_csv", "path": "/w/a.csv", "params": {}, "shape": shape}
    read, other = wording.dataset(call), wording.dataset({**call, "params": {"sep": ";"}})
    assert read is not None and other is not None and read["digest"] != other["digest"]
    assert (read["name"], read["profile"]) == ("a.csv", '{"num_rows": 2}')
    assert wording.dataset({"kind": "folder", "path": "/w"}) is None


def test_code_lies_as_it_lay() -> None:
    code = [{"file": "/w/p/train.py"}, {"file": "/w/p/lib/net.py"}]
    assert [wording.code_name(c, {"code": code}) for c in code] == ["train.py", "lib/net.py"]
    assert wording.code_name({"cell": 7}, {"code": []}) == "cells/0007.py"
