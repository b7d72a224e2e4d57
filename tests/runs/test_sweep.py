"""Folders of runs and sources go when no run needs them, and not before."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.clock import now_ms
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.runs import launch, service, sources, states, sweep
from headway.runs.tables import Execution
from headway.tracking import service as tracking
from headway.tracking.store import purge
from tests.world import World, world

DAY = 86_400_000


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "home") as made:
        yield made


@pytest.fixture
def who(here: World) -> Who:
    return here.user("ada", admin=True)


@pytest.fixture
def project(here: World, who: Who) -> Project:
    return here.project("Churn", who)


def archive(content: bytes) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    made.seek(0)
    return made


def a_run(here: World, who: Who, project: Project, source: str, *, over: bool = True) -> Path:
    """A run of a sent folder, prepared, and ended if it is `over`; returns its folder."""
    with here.host.database.write() as db:
        row = service.submit(db, here.host, who, project, "train.py", source=source)
        run_id = row.run_id
    launch.prepare(here.host, row, service.folder_of(here.host, project, source))
    with here.host.database.write() as db:
        fresh = db.get(Execution, run_id)
        assert fresh is not None
        fresh.node, fresh.prepared_at = launch.here(here.host), now_ms()
        if over:
            service.begin(db, fresh, now_ms())
            service.end(db, fresh, states.Verdict(states.FINISHED, ""))
    folder = here.host.settings.path("runs", run_id)
    assert (folder / "a1" / "work" / "train.py").is_file()
    return folder


def purge_run(here: World, run_id: str) -> None:
    with here.host.database.write() as db:
        row = tracking.by_uuid(db, run_id)
        assert row is not None
        purge.run(db, row.id)


def test_a_purged_run_leaves_no_folder_and_no_source(here: World, who: Who, project: Project) -> None:
    one, two = (sources.keep(here.host, project.id, archive(text)) for text in (b"print(1)\n", b"print(2)\n"))
    first, second = a_run(here, who, project, one), a_run(here, who, project, one)
    third = a_run(here, who, project, two)
    base = here.host.settings.path("sources", project.id)
    later = now_ms() + 2 * DAY
    assert sweep.sweep(here.host, later) == 0
    purge_run(here, first.name)
    assert sweep.sweep(here.host, later) == 1
    assert not first.exists() and second.exists() and (base / one).is_dir()
    purge_run(here, second.name)
    assert sweep.sweep(here.host, later) == 2  # with the last run of a source goes the source
    assert not second.exists() and third.exists()
    assert sorted(path.name for path in base.iterdir()) == [two]
    with here.host.database.read() as db:
        assert [row.run_id for row in db.query(Execution)] == [third.name]


def test_a_deleted_run_keeps_its_folder(here: World, who: Who, project: Project) -> None:
    """It can be restored, and run again, until it is purged."""
    folder = a_run(here, who, project, sources.keep(here.host, project.id, archive(b"1\n")))
    with here.host.database.write() as db:
        tracking.delete_run(db, who, folder.name)
    assert sweep.sweep(here.host, now_ms() + 2 * DAY) == 0
    assert folder.exists()


def test_what_goes_on_is_left_alone(here: World, who: Who, project: Project) -> None:
    folder = a_run(here, who, project, sources.keep(here.host, project.id, archive(b"1\n")), over=False)
    purge_run(here, folder.name)
    assert sweep.sweep(here.host, now_ms() + 2 * DAY) == 0
    assert folder.exists()


def test_another_servers_runs_are_its_own(here: World, who: Who, project: Project) -> None:
    folder = a_run(here, who, project, sources.keep(here.host, project.id, archive(b"1\n")))
    with here.host.database.write() as db:
        fresh = db.get(Execution, folder.name)
        assert fresh is not None
        fresh.node = "elsewhere:/srv"
    purge_run(here, folder.name)
    assert sweep.sweep(here.host, now_ms() + 2 * DAY) == 0


def test_a_source_that_was_just_sent_waits_for_its_run(here: World, project: Project) -> None:
    source = sources.keep(here.host, project.id, archive(b"1\n"))
    path = here.host.settings.path("sources", project.id, source)
    assert sweep.sweep(here.host, now_ms() + DAY - 60_000) == 0
    os.utime(path, (1, 1))
    assert sources.keep(here.host, project.id, archive(b"1\n")) == source  # sent again: it counts as new
    assert sweep.sweep(here.host, now_ms()) == 0
    os.utime(path, (1, 1))
    assert sweep.sweep(here.host, now_ms()) == 1
    assert not path.exists()


def test_what_a_crash_left_goes_after_a_day(here: World, project: Project) -> None:
    stray = here.host.settings.path("runs", "0" * 32)
    part = here.host.settings.path("sources", project.id, ".half")
    for path in (stray, part):
        path.mkdir(parents=True)
    assert sweep.sweep(here.host, now_ms()) == 0
    assert sweep.sweep(here.host, now_ms() + 2 * DAY) == 2
    assert not stray.exists() and not part.exists()


def test_the_step_sweeps_once_an_hour(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(sweep, "sweep", lambda _host, now: done.append(now))
    for minutes in (0, 59, 61, 100, 122):
        sweep.step(here.host, minutes * 60_000)
    assert done == [61 * 60_000, 122 * 60_000]
