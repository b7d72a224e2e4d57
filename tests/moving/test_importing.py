"""A store that was moved is, to the official client, the store that it was; and what could not be moved was said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.errors import BadInput
from headway.moving import importing
from headway.moving.importing import Import, Report
from headway.moving.opening import open_store
from headway.sdk.client import Client
from tests.moving.stores import everything, fill
from tests.tracking.serving import Server, serve, serve_on


@pytest.fixture(scope="module", autouse=True)
def old_stores() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, dict[str, str], dict[str, Any]]]:
    """By kind: how MLflow names the store, how headway does, its ids, and all that the official client reads of it."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("folder", "database"):
            folder = tmp_path_factory.mktemp(kind)
            patch.chdir(folder)  # where MLflow puts the artifacts of a database
            uri = f"file://{folder}/mlruns" if kind == "folder" else f"sqlite:///{folder}/mlflow.db"
            ids = fill(uri, folder)
            found[kind] = (uri, str(folder / ("mlruns" if kind == "folder" else "mlflow.db")), ids, everything(uri))
    return found


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], scope="module")
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_on(request.param, request, tmp_path_factory) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path / "home") as server:
        yield server


def move(where: str, server: Server, project: str = "") -> Report:
    store, client = open_store(where), Client(server.url, server.token)
    try:
        return Import(store, client, project or server.project.slug).run()
    finally:
        store.close()
        client.close()


def same(one: Any, other: Any, where: str = "") -> None:
    """Equal; else the first place where they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert sorted(one) == sorted(other), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    else:
        assert one == other, where


def seen(server: Server, project: str = "") -> dict[str, Any]:
    """All that the official client reads of a project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_TOKEN", server.token)
        patch.setenv("MLFLOW_WORKSPACE", project or server.project.slug)
        return everything(server.url)


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_the_official_client_reads_the_same_afterwards(kind: str, any_server: Server, sources: Any) -> None:
    _, where, _, before = sources[kind]
    world = any_server.world
    project = world.project(f"From {kind}", any_server.who)
    report = move(where, any_server, project.slug)
    assert report.wrong == []
    assert report.runs == 2
    after = seen(any_server, project.slug)
    same(after["experiments"], before["experiments"])
    same(after["models"], before["models"])
    assert {what for what, _ in report.left} == {"experiment flowers gone", "1 runs of flowers"}

    again = move(where, any_server, project.slug)
    assert (again.runs, again.runs_there, again.points, again.files, again.versions) == (0, 2, 0, 0, 0)
    assert seen(any_server, project.slug) == after


def test_from_server_to_server(server: Server, sources: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, where, _, before = sources["folder"]
    move(where, server)
    with serve(tmp_path / "other") as other:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", server.token)
        monkeypatch.setenv("MLFLOW_WORKSPACE", server.project.slug)
        report = move(server.url, other)
        assert (report.wrong, report.left) == ([], [])
        after = seen(other)
        same(after["experiments"], before["experiments"])
        same(after["models"], before["models"])


def test_an_import_that_broke_off_is_taken_up(server: Server, sources: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at every request in turn, and the last try makes it whole: no point twice, no file missing."""
    _, where, _, before = sources["folder"]
    real = Client.request
    left = [0]

    def failing(self: Client, *args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(self, *args, **more)

    monkeypatch.setattr(Client, "request", failing)
    monkeypatch.setattr(importing, "WORKERS", 1)
    tries = 0
    while True:
        tries += 1
        left[0] = tries
        report = move(where, server)
        if not report.stopped:
            break
    assert tries > 10
    assert report.wrong == []
    left[0] = 0
    same(seen(server)["experiments"], before["experiments"])
    same(seen(server)["models"], before["models"])


def test_sums_that_differ_are_told_and_the_run_stays_open(
    server: Server, sources: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, where, ids, before = sources["folder"]
    real = Import._flush
    monkeypatch.setattr(
        Import, "_flush", lambda self, run, batch, kept: real(self, run, batch, kept) or kept.update(loss=301)
    )
    report = move(where, server)
    assert (f"run {ids['parent']}", "points of loss: 300 of 301") in report.wrong
    monkeypatch.undo()
    assert move(where, server).wrong == []
    same(seen(server)["experiments"], before["experiments"])


def test_names_that_are_taken(server: Server, sources: Any, tmp_path: Path) -> None:
    """Runs join an experiment of their name; a model of the same name that is another one is kept apart."""
    client = Client(server.url, server.token)
    headers = {"X-MLflow-Workspace": server.project.slug, "Content-Type": "application/json"}
    for what in ("experiments", "registered-models"):
        name = "flowers" if what == "experiments" else "iris"
        client.request("POST", f"/api/2.0/mlflow/{what}/create", f'{{"name": "{name}"}}'.encode(), headers=headers)
    client.close()
    first = move(sources["folder"][1], server)
    assert (first.joined, first.renamed) == (["Default", "flowers"], {"iris": "iris-imported"})
    second = move(sources["database"][1], server)
    assert second.renamed == {"iris": "iris-imported-2", "greet": "greet-imported"}
    found = seen(server)
    assert len(found["experiments"]["flowers"]["runs"]) == 4
    assert found["models"]["iris"]["versions"] == {}
    same(found["models"]["iris-imported"]["versions"], sources["folder"][3]["models"]["iris"]["versions"])
    same(found["models"]["iris-imported-2"]["versions"], sources["database"][3]["models"]["iris"]["versions"])


def test_a_run_of_another_project_is_never_touched(server: Server, sources: Any) -> None:
    _, where, ids, before = sources["folder"]
    move(where, server)
    other = server.world.project("Other", server.who)
    report = move(where, server, other.slug)
    assert report.runs == 0
    assert {what for what, _ in report.left} >= {
        f"run {ids['parent']}",
        f"run {ids['child']}",
        f"logged model {ids['model']}",
    }
    same(seen(server)["experiments"], before["experiments"])


def test_an_old_schema_reads_as_far_as_it_goes(server: Server, tmp_path: Path) -> None:
    """MLflow 0.9: no steps, no marks of NaN, no names of runs, no registry."""
    path = tmp_path / "old.db"
    run_id = "0123456789abcdef" * 2
    with sqlite3.connect(path) as db:
        db.executescript(
            f"""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, source_type TEXT, user_id TEXT, status TEXT, start_time BIGINT,
                               end_time BIGINT, lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (1, 'old', 's3://bucket/1', 'active');
            INSERT INTO runs VALUES ('{run_id}', '', 'LOCAL', 'bo', 'FINISHED', 1, 2, 'active', 's3://bucket/1/x/artifacts', 1);
            INSERT INTO metrics VALUES ('acc', 0.5, 10, '{run_id}'), ('acc', 0.6, 11, '{run_id}');
            INSERT INTO params VALUES ('a', '1', '{run_id}');
            """
        )
    db.close()
    report = move(str(path), server)
    assert report.wrong == []
    assert [what for what, _ in report.left] == [f"files of run {run_id}"]
    run = seen(server)["experiments"]["old"]["runs"][run_id]
    assert run["history"] == {"acc": [(0, 10, "0.5"), (0, 11, "0.6")]}
    assert run["params"] == {"a": "1"}


def test_damaged_files_are_told_and_the_rest_is_taken(server: Server, sources: Any, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "mlruns"
    shutil.copytree(sources["folder"][1], root)
    ids = sources["folder"][2]
    (place,) = root.glob(f"*/{ids['parent']}")
    with (place / "metrics" / "loss").open("a") as file:
        file.write("what is this\n17 nonsense 4\n")
    (place / "params" / "bad*name").write_text("1")
    (place / "artifacts" / "con.txt").write_text("x")
    (root / "12345").mkdir()
    report = move(str(root), server)
    assert report.wrong == []
    told = dict(report.left)
    assert told[f"2 points of loss of run {ids['parent']}"] == "their lines are damaged"
    assert "can't be a file's name" in told[f"con.txt of run {ids['parent']}"]
    assert "bad*name" in told[f"of run {ids['parent']}"]
    moved = seen(server)["experiments"]["flowers"]["runs"][
        ids["parent"]
    ]  # the store lies elsewhere than it was written
    assert len(moved["history"]["loss"]) == 300
    assert moved["files"] == sources["folder"][3]["experiments"]["flowers"]["runs"][ids["parent"]]["files"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "There is no"),
        (lambda path: path.mkdir(), "holds no experiments"),
        (lambda path: path.write_text("hello"), "is no SQLite database"),
        (lambda path: sqlite3.connect(path).executescript("CREATE TABLE a (b)").close(), "no database of MLflow"),
    ],
    ids=["absent", "empty", "text", "another database"],
)  # fmt: skip
def test_what_is_no_store(make: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "store"
    make(path)
    with pytest.raises(BadInput, match=said) as error:
        open_store(str(path))
    assert error.value.hint
