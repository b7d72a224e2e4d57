"""A backup that was taken while twenty write is of one moment, whole, and starts somewhere else, on either database."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from headway.backup import archive, snapshot
from headway.backup.restore import restore
from headway.errors import BadInput, Conflict, HeadwayError, Unprocessable
from headway.sdk.client import Client
from headway.settings import Settings
from tests.tracking.serving import Server, serve, serve_on

WRITERS = 20


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_on(request.param, request, tmp_path_factory) as server:
        yield server


def new_database(postgres_url: str) -> str:
    url = make_url(postgres_url)
    name = f"restored_{time.monotonic_ns()}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


class Writers:
    """Clients that log numbers and files as fast as they are answered, and remember what was acknowledged when."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = Client(server.url, server.token)
        self.headers = {"X-MLflow-Workspace": server.project.slug, "Content-Type": "application/json"}
        self.known: list[tuple[float, str, int]] = []  # (when it was acknowledged, run, step); each step has a file too
        self.runs = [self.post("runs/create", {"experiment_id": "0"})["run"]["info"] for _ in range(WRITERS)]
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(run,)) for run in self.runs]

    def post(self, what: str, body: dict[str, Any]) -> Any:
        answer = self.client.request("POST", f"/api/2.0/mlflow/{what}", json.dumps(body).encode(), headers=self.headers)
        return json.loads(answer.body)

    def write(self, run: dict[str, Any]) -> None:
        folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        step = 0
        while not self.over.is_set():
            moment = {"run_id": run["run_id"], "key": "step", "value": step, "timestamp": 1, "step": step}
            data = io.BytesIO(f"{run['run_id']} {step}".encode() * 50)
            self.client.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{folder}/{step}.txt", data, headers={
                "Content-Length": str(len(data.getbuffer())), "X-MLflow-Workspace": self.server.project.slug})  # fmt: skip
            self.post("runs/log-metric", moment)
            self.known.append((time.monotonic(), run["run_id"], step))
            step += 1
        self.client.close()

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        while len(self.known) < 3 * WRITERS:
            self.over.wait(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        self.client.close()


def test_a_backup_under_writers_holds_all_that_was_acknowledged(server: Server, tmp_path: Path) -> None:
    with Writers(server) as writers:
        for _ in range(20):  # a backup of so little may be over before any writer's turn comes
            (tmp_path / "b.tar.gz").unlink(missing_ok=True)
            before = time.monotonic()
            made = archive.write(server.world.host.settings, tmp_path / "b.tar.gz")
            meanwhile = sum(1 for moment, *_ in writers.known if moment > before)
            if meanwhile:
                break
    assert meanwhile > 0  # nobody had to wait for it
    assert archive.read(tmp_path / "b.tar.gz").blobs == made.blobs
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in server.world.host.settings.home.glob("backup-*")] == []
    restore(tmp_path / "b.tar.gz", tmp_path / "home")
    database = tmp_path / "home" / "headway.db"
    with closing(sqlite3.connect(database)) as db:
        paths = dict(db.execute("SELECT owner || '/' || path, sha256 FROM artifacts"))
        for sha256 in paths.values():
            assert (tmp_path / "home" / "blobs" / sha256[:2] / sha256).is_file()
        points: dict[str, int] = dict(
            db.execute(
                "SELECT r.uuid, SUM(c.points) FROM series_chunks c JOIN runs r ON r.id = c.run_id GROUP BY r.uuid"
            )
        )
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    last: dict[str, int] = {}
    for moment, run, step in writers.known:
        if moment < before:
            last[run] = max(last.get(run, 0), step)
    assert len(last) == WRITERS
    for run, step in last.items():
        assert points[run] > step  # steps begin at 0: at least so many points
        assert f"{run}/{step}.txt" in paths
        # of one moment: the file of a step is logged before its point
        assert f"{run}/{points[run] - 1}.txt" in paths

    with serve_again(tmp_path / "home", server) as client:
        run = writers.runs[0]["run_id"]
        headers = {"X-MLflow-Workspace": server.project.slug}
        shown = json.loads(
            client.request("GET", "/api/2.0/mlflow/runs/get", query={"run_id": run}, headers=headers).body
        )
        assert int(shown["run"]["data"]["metrics"][0]["value"]) == points[run] - 1
        folder = writers.runs[0]["artifact_uri"].removeprefix("mlflow-artifacts:/")
        url = f"/api/2.0/mlflow-artifacts/artifacts/{folder}/0.txt"
        assert client.request("GET", url, headers=headers).body == f"{run} 0".encode() * 50


class serve_again:
    """A server on a restored home, asked with the token of the one that was backed up."""

    def __init__(self, home: Path, old: Server, **settings: Any) -> None:
        self._home, self._old, self._settings = home, old, settings

    def __enter__(self) -> Client:
        from tests.world import World

        self._world = World(self._home, **self._settings)
        self._server = Again(self._world)
        self.client = Client(self._server.url, self._old.token)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.stop()
        self._world.host.database.close()


class Again(Server):
    """As `Server`, with the people and projects that are there."""

    def __init__(self, world: Any) -> None:
        world.user, world.project, world.token = (lambda *_, **__: None,) * 3
        super().__init__(world)


def rows(url: str) -> dict[str, list[Any]]:
    """All that a database holds, table by table."""
    engine = create_engine(url)
    with engine.connect() as db:
        held = {
            name: sorted(([_plain(value) for value in row] for row in db.execute(_all(db, name))), key=repr)
            for name in inspect(db).get_table_names()
        }
    engine.dispose()
    return held


def _all(db: Any, name: str) -> Any:
    columns = ", ".join(f'"{column}"' for column in sorted(c["name"] for c in inspect(db).get_columns(name)))
    return text(f'SELECT {columns} FROM "{name}"')


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else json.dumps(value) if isinstance(value, dict | list) else value


@pytest.mark.postgres
def test_from_either_database_into_the_other(server: Server, postgres_url: str, tmp_path: Path) -> None:
    with Writers(server):
        pass
    settings = server.world.host.settings
    before = rows(settings.database)
    archive.write(settings, tmp_path / "one.tar")
    restore(tmp_path / "one.tar", tmp_path / "lite")
    archive.write(Settings.load({}, home=tmp_path / "lite"), tmp_path / "two.tar.gz")
    url = new_database(postgres_url)
    restore(tmp_path / "two.tar.gz", tmp_path / "pg", database_url=url)
    for held in (rows(f"sqlite:///{tmp_path}/lite/headway.db"), rows(url)):
        assert held.keys() >= before.keys()
        for table in before:
            assert held[table] == before[table], table
    assert Settings.load({}, home=tmp_path / "pg").database == url

    with serve_again(tmp_path / "pg", server, database_url=url) as client:  # and numbers go on where they were
        headers = {"X-MLflow-Workspace": server.project.slug, "Content-Type": "application/json"}
        made = json.loads(
            client.request("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}', headers=headers).body
        )
        body = {"run_id": made["run"]["info"]["run_id"], "params": [{"key": "new", "value": "1"}]}
        client.request("POST", "/api/2.0/mlflow/runs/log-batch", json.dumps(body).encode(), headers=headers)
    with pytest.raises(Conflict, match="holds a headway already"):
        restore(tmp_path / "two.tar.gz", tmp_path / "again", database_url=url)
    assert not (tmp_path / "again").exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small plain tar of a home with a file of a project."""
    folder = tmp_path_factory.mktemp("sound")
    with serve(folder / "home") as server:
        (server.world.host.settings.path("projects", server.project.slug) / "train.py").write_text("print(1)")
        home = server.world.host.settings.home
        (home / "headway.toml").write_text('port = 9000\ndatabase_url = "postgresql://me:secret@x/y"\n')
        (home / "runs" / "r" / "a1" / "work").mkdir(parents=True)
        (home / "runs" / "r" / "a1" / "work" / "big.csv").write_text("x")
        (home / "runs" / "r" / "a1" / "output.log").write_text("hello")
        blob = server.world.host.blobs.put(b"bytes" * 1000)
        with server.world.host.database.write() as db:
            from headway.storage import blobs

            blobs.hold(db, blob, "test:1")
        archive.write(server.world.host.settings, folder / "b.tar")
        archive.write(server.world.host.settings, folder / "nokey.tar", with_key=False)
    return folder / "b.tar"


def test_what_is_in_it_and_what_is_not(sound: Path, tmp_path: Path) -> None:
    with tarfile.open(sound) as tar:
        names = tar.getnames()
    assert names[0] == archive.HEAD
    assert names[-1] == archive.MANIFEST
    assert {"home/key", "home/projects/churn/train.py", "home/runs/r/a1/output.log", "home/headway.toml"} <= set(names)
    assert not [name for name in names if "work/" in name or "cli.json" in name or "lock" in name]
    assert b"me:secret" not in sound.read_bytes()
    made = restore(sound, tmp_path / "home")
    assert made.head["key"]
    assert (tmp_path / "home" / "headway.toml").read_text() == "port = 9000\n"
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "key").stat().st_mode & 0o777 == 0o600
    restore(sound.with_name("nokey.tar"), tmp_path / "nokey")
    assert not (tmp_path / "nokey" / "key").exists()


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _without_its_end(data: bytes) -> bytes:
    at = data.rindex(archive.MANIFEST.encode())
    return data[: at - at % 512] + b"\0" * 1024


def _flipped(data: bytes) -> bytes:
    at = data.index(b"bytesbytes")
    return data[:at] + b"B" + data[at + 1 :]


def _foreign(_: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    return out.getvalue()


def _newer(data: bytes) -> bytes:
    return data.replace(b'"format": 1', b'"format": 9')


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (_cut, Unprocessable, "damaged or cut off"),
        (_without_its_end, Unprocessable, "its end is missing"),
        (_flipped, Unprocessable, "is not what was written"),
        (lambda data: gzip.compress(_cut(gzip.compress(data, 1)))[:-20], BadInput, "is no backup"),
        (_foreign, BadInput, "is no backup"),
        (lambda _: b"hello", BadInput, "is no backup"),
        (_newer, Conflict, "newer headway"),
    ],
    ids=["half", "no end", "a byte", "half of gzip", "another tar", "text", "newer"],
)
def test_a_damaged_backup_changes_nothing(
    spoil: Any, kind: type[HeadwayError], said: str, sound: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(spoil(sound.read_bytes()))
    with pytest.raises(kind, match=said) as error:
        archive.read(bad)
    assert error.value.hint
    with pytest.raises(kind):
        restore(bad, tmp_path / "home")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_nothing_that_is_there_is_overwritten(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine").write_text("precious")
    with pytest.raises(Conflict, match="is not empty"):
        restore(sound, tmp_path / "home")
    with pytest.raises(Conflict, match="is there already"):
        archive.write(Settings.load({}, home=tmp_path / "home"), sound)
    with pytest.raises(BadInput, match="no home folder"):
        archive.write(Settings.load({}, home=tmp_path / "home"), tmp_path / "new.tar")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "mine"]


def test_what_lived_on_the_old_machine_begins_anew(tmp_path: Path) -> None:
    """Else a home restored beside its source would take hold of the source's processes."""
    from tests.world import world

    with world(tmp_path / "home") as made:
        url = made.host.settings.database
        with made.host.database.write() as db:
            db.execute(text(
                "INSERT INTO processes (id, kind, owner_id, key, spec, node, handle, wanted, state, cause, detail, memory_kills,"
                " settled, attempt, failures, retry_at, version, created_at, changed_at) VALUES ('p', 'gateway', 'gateway', 'k',"
                " '{}', 'n', '/x', 'running', 'running', '', '', 0, 0, 1, 0, 0, 0, 1, 1)"))  # fmt: skip
    file = tmp_path / "s.db"
    snapshot.take(url, file)
    snapshot.settle(file)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT COUNT(*) FROM processes").fetchone() == (0,)
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    named = {words[2] if words[0] == "DELETE" else words[1] for words in map(str.split, snapshot._SETTLE)}
    assert named <= tables  # a table that is renamed one day is noticed
