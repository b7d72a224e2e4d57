"""What lies in the files of stores, read: lines of metrics, folders that were moved, sources of versions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from headway.moving.artifacts import Places
from headway.moving.filestore import read_metric
from headway.moving.store import source_of

RUN, MODEL = "0123456789abcdef" * 2, "m-" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("data", "points", "bad"),
    [
        (b"", [], 0),
        (b"10 0.5 3\n", [(3, 10, 0.5)], 0),
        (b"10 0.5 3\n11 1e-3 4", [(3, 10, 0.5), (4, 11, 0.001)], 0),
        (b"10 0.5\n", [(0, 10, 0.5)], 0),  # before MLflow 1.0
        (b"10 0.5 3 iris 5a5c68bf\n", [(3, 10, 0.5)], 0),  # a metric of a dataset, MLflow 3
        (b"10 0.5 3\n11 0.6 4 iris 5a\n", [(3, 10, 0.5), (4, 11, 0.6)], 0),
        (b"10 inf -2\n", [(-2, 10, math.inf)], 0),
        (b"10 0.5 3\nnonsense\n\n12 x 3\n13 0.7 5\n", [(3, 10, 0.5), (5, 13, 0.7)], 2),
        (b"10 0.5\n11 0.6 1 2\n", [(0, 10, 0.5), (1, 11, 0.6)], 0),  # as many words as three a line
    ],
)
def test_lines_of_a_metric(data: bytes, points: list[tuple[int, int, float]], bad: int) -> None:
    found, damaged = read_metric(data)
    assert list(zip(found.steps, found.times, found.values, strict=True)) == points
    assert damaged == bad


@pytest.mark.parametrize(
    ("source", "model", "said"),
    [
        (f"runs:/{RUN}/model", "", f"runs:/{RUN}/model"),
        (f"models:/{MODEL}", "", f"models:/{MODEL}"),
        (f"file:///home/bo/mlruns/1/{RUN}/artifacts/deep/model", "", f"runs:/{RUN}/deep/model"),
        (f"/home/bo/mlruns/1/{RUN}/artifacts/model/", "", f"runs:/{RUN}/model"),
        (f"mlflow-artifacts:/1/{RUN}/artifacts/model", "", f"runs:/{RUN}/model"),
        (f"s3://bucket/1/{RUN}/artifacts/model", "", f"runs:/{RUN}/model"),
        (f"mlflow-artifacts:/1/models/{MODEL}/artifacts", "", f"models:/{MODEL}"),
        (f"s3://bucket/1/models/{MODEL}/artifacts/", "", f"models:/{MODEL}"),
        ("", MODEL, f"models:/{MODEL}"),
        ("dummy-source", "", "dummy-source"),
        ("models:/other/3", "", "models:/other/3"),
    ],
)
def test_sources_of_versions(source: str, model: str, said: str) -> None:
    assert source_of(source, model) == said


def test_files_are_found_where_the_store_lies_now(tmp_path: Path) -> None:
    there = tmp_path / "moved" / "1" / RUN / "artifacts"
    there.mkdir(parents=True)
    (there / "a.txt").write_text("a")
    (there / "in").mkdir()
    (there / "in" / "b.txt").write_text("bb")
    places = Places((tmp_path / "moved",))
    for uri in (f"file:///gone/mlruns/1/{RUN}/artifacts", f"/gone/1/{RUN}/artifacts", f"mlflow-artifacts:/1/{RUN}/artifacts",
                f"mlflow-artifacts://host:5000/1/{RUN}/artifacts", f"./mlruns/1/{RUN}/artifacts"):  # fmt: skip
        assert places.find(uri) == there, uri
    left: list[tuple[str, str]] = []
    assert [(file.path, file.size) for file in places.files(f"/gone/1/{RUN}/artifacts", left, "x")] == [
        ("a.txt", 1),
        ("in/b.txt", 2),
    ]
    assert places.find("/etc/passwd/../../1") is None
    assert list(places.files(f"s3://bucket/1/{RUN}/artifacts", left, "run x")) == []
    assert list(places.files("mlflow-artifacts:/9/x/artifacts", left, "run y")) == []
    assert list(places.files("/gone/9/x/artifacts", left, "run z")) == []  # it left no file
    assert [what for what, _ in left] == ["files of run x", "files of run y"]
