"""What was exported is, to the official client and to another headway, what was in the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headway.errors import BadInput
from headway.moving.exporting import Export
from headway.moving.opening import open_store
from headway.moving.remote import HeadwayStore
from headway.sdk.address import Address
from tests.moving.stores import everything
from tests.moving.test_importing import move, old_stores, same, seen, server, sources  # noqa: F401  fixtures
from tests.tracking.serving import Server, serve


def export(server: Server, folder: Path, filter: str = "") -> Any:  # noqa: F811
    store = HeadwayStore(Address(server.url, server.token), server.project.slug, filter=filter)
    try:
        return Export(store, folder).run()
    finally:
        store.close()


def test_plain_mlflow_opens_what_was_exported(server: Server, sources: Any, tmp_path: Path) -> None:  # noqa: F811
    move(sources["folder"][1], server)
    before = seen(server)
    report = export(server, tmp_path / "out")
    assert report.left == []
    assert (report.runs, report.logged_models, report.models, report.versions) == (2, 1, 3, 3)
    same(everything(f"file://{tmp_path}/out"), before)

    with serve(tmp_path / "other") as other:  # and so does another headway
        assert move(str(tmp_path / "out"), other).wrong == []
        same(seen(other), before)


@pytest.mark.story
def test_mlflow_migrates_it_into_a_database_of_its_own(server: Server, sources: Any, tmp_path: Path) -> None:  # noqa: F811
    move(sources["database"][1], server)
    export(server, tmp_path / "out")
    command = [Path(sys.executable).parent / "mlflow", "migrate-filestore", "--source", str(tmp_path / "out"),
               "--target", f"sqlite:///{tmp_path}/mlflow.db", "--no-progress"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    store = open_store(str(tmp_path / "mlflow.db"))
    found = store.amount(lambda _: None)
    store.close()
    assert (found.runs, found.logged_models, found.registered_models, found.files) == (2, 1, 3, 7)


def test_only_the_runs_that_fit(server: Server, sources: Any, tmp_path: Path) -> None:  # noqa: F811
    move(sources["folder"][1], server)
    report = export(server, tmp_path / "out", "metrics.loss > 2")
    assert report.runs == 1
    assert [what for what, _ in report.left] == []
    found = everything(f"file://{tmp_path}/out")
    assert list(found["experiments"]["flowers"]["runs"]) == [sources["folder"][2]["child"]]


def test_a_folder_that_is_there_is_not_touched(server: Server, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(BadInput, match="is there already"):
        export(server, tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(BadInput):
        export(server, tmp_path / "out", "this is no filter")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "mine"]
