"""Asking, building, choosing, cancelling: with real uv, real processes and real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headway.engines.tables import Process
from headway.environments import loop, service
from headway.errors import BadInput, Conflict, Forbidden, NotFound
from headway.projects import service as projects

from .conftest import World

SMALL = "iniconfig==2.1.0"
OTHER = "iniconfig==2.0.0"


def test_an_ask_becomes_an_environment_that_works(world: World) -> None:
    (row,) = world.over(world.ask_lock(SMALL).id)
    assert (row.state, row.message) == ("ready", "")
    assert row.lock == "iniconfig==2.1.0\n" and row.packages == 1 and row.size > 0
    assert row.path == world.store.path(row.hash)
    program = "import iniconfig, sys, importlib.metadata as m; print(m.version('iniconfig'), sys.prefix)"
    said = subprocess.run([row.python, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["2.1.0", str(row.path)]
    assert "iniconfig==2.1.0" in world.log(row) and "Ready in" in world.log(row)


def test_pip_says_where_packages_are_changed(world: World) -> None:
    (row,) = world.over(world.ask_lock(SMALL).id)
    for command in ([row.python, "-m", "pip"], [row.python.parent / "pip"], [row.python.parent / "pip3"]):
        said = subprocess.run([*command, "install", "six"], capture_output=True, text=True, check=False)
        assert said.returncode == 1 and "Environments page" in said.stderr


def test_one_lock_is_built_once_for_everybody(world: World) -> None:
    with world.host.database.write() as db:
        second = projects.create(db, world.owner, "Second")
        db.add(service.ProjectEnvironment(project_id=second.id))
    first, other = world.over(world.ask_lock(SMALL).id, world.ask_lock(SMALL, project=second).id)
    assert first.id != other.id and first.hash == other.hash
    assert sorted([first.reused, other.reused]) == [False, True]
    built = [row for row in (first, other) if "modules compiled" in world.log(row)]
    assert len(built) == 1
    # and once it is there, pins answer without any process
    third = world.ask_lock(SMALL)
    assert third.id == first.id and third.ready


def test_the_present_environment_stays_until_the_new_one_is_ready(world: World) -> None:
    (first,) = world.over(world.ask(SMALL).id)
    assert world.current().id == first.id  # type: ignore[union-attr]
    asked = world.ask("a-package-that-nobody-has-published-4711")
    assert world.current().id == first.id  # type: ignore[union-attr]
    (failed,) = world.over(asked.id)
    assert failed.state == "failed"
    assert failed.message == "There is no package called a-package-that-nobody-has-published-4711 on the package index."
    assert world.current().id == first.id  # type: ignore[union-attr]
    second = world.ask(OTHER, use=False)
    world.over(second.id)
    assert world.current().id == first.id  # type: ignore[union-attr]
    with world.host.database.write() as db:
        service.use(db, world.owner, world.project, second.id)
    assert world.current().id == second.id  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("requirement", "message", "hint"),
    [
        ("iniconfig==99.0", "The package index has no iniconfig==99.0.", "Ask for another version"),
        ("iniconfig>2.0\niniconfig<2.0", "contradict", "Loosen"),
        ("sklearn-but-not-published", "no package called sklearn-but-not-published", "spelling"),
    ],
)
def test_what_can_not_be_had_is_said_in_words(world: World, requirement: str, message: str, hint: str) -> None:
    (row,) = world.over(world.ask_lock(*requirement.splitlines()).id)
    assert row.state == "failed"
    assert message in row.message and hint in row.hint
    assert not world.store.root.is_dir() or not [
        one for one in world.store.root.iterdir() if not one.name.startswith(".")
    ]


def test_a_python_that_is_not_here(world: World) -> None:
    text = '[project]\nrequires-python = ">=3.99"\ndependencies = ["iniconfig"]\n'
    with world.host.database.write() as db:
        row = service.ask(db, world.owner, world.project, text, "pyproject")
    (row,) = world.over(row.id)
    assert row.state == "failed"
    assert row.message.startswith("Python >=3.99 is asked for, and this machine has ")
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in row.message


def test_files_have_the_hashes_that_were_given(world: World) -> None:
    (row,) = world.over(world.ask(f"{SMALL} --hash=sha256:{'0' * 64}").id)
    assert row.state == "failed" and "iniconfig 2.1.0" in row.message and "hashes" in row.message
    locked = (loop.folder(world.host, row.id) / "requirements.lock").read_text()
    real = [word for word in locked.split() if word.startswith("--hash=")]
    (row,) = world.over(world.ask(" ".join([SMALL, *real])).id)
    assert row.state == "ready", row.message


def test_what_a_person_asks_for_has_a_kernel(world: World) -> None:
    (row,) = world.over(world.ask(SMALL, kernel=True).id)
    assert "ipykernel==" in row.lock
    said = subprocess.run(
        [row.python, "-m", "ipykernel_launcher", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() in row.lock


def test_cancel_in_the_middle_leaves_nothing(world: World) -> None:
    row = world.ask("iniconfig\ntzdata")
    world.until(lambda: world.row(row.id).state == "building")
    with world.host.database.write() as db:
        service.cancel(db, world.owner, world.project, row.id)
    (row,) = world.over(row.id)
    assert (row.state, row.message) == ("cancelled", "The build was cancelled; nothing of it was kept.")
    assert world.store.sweep(set(), older_s=0) is not None
    assert [one.name for one in world.store.root.iterdir() if not one.name.startswith(".")] == []
    with world.host.database.write() as db, pytest.raises(Conflict, match="nothing to cancel"):
        service.cancel(db, world.owner, world.project, row.id)
    assert world.current() is None


def test_cancel_before_it_began(world: World) -> None:
    row = world.ask(SMALL)
    with world.host.database.write() as db:
        service.cancel(db, world.owner, world.project, row.id)
    assert world.row(row.id).state == "cancelled"
    world.turn()
    assert world.row(row.id).process_id is None


def test_a_killed_build_leaves_no_half_environment_and_goes_on(world: World) -> None:
    row = world.ask("iniconfig\ntzdata", use=True)
    world.until(lambda: bool(list(world.store.root.glob(".build-*/lib/*/site-packages/*"))))
    assert not [one for one in world.store.root.iterdir() if not one.name.startswith(".")]
    pids = _builders(row.id)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    (row,) = world.over(row.id)
    assert row.state == "ready"
    assert subprocess.run([row.python, "-c", "import tzdata, iniconfig"], check=True).returncode == 0
    left = [one.name for one in world.store.root.iterdir() if one.name.startswith(".build-")]
    assert left == []


def _builders(environment_id: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"headway.environments.build" in line and any(environment_id.encode() in part for part in line):
                found.append(int(entry.name))
    return found


def test_hostile_lines_are_refused_before_anything_is_kept(world: World) -> None:
    with pytest.raises(BadInput, match="Line 2: --index-url"):
        world.ask("iniconfig\n--index-url http://127.0.0.1:9/simple")
    with world.host.database.read() as db:
        assert service.listed(db, world.owner, world.project) == []


def test_who_may(world: World) -> None:
    (row,) = world.over(world.ask_lock(SMALL).id)
    viewer, stranger = world.member("grace", "viewer"), world.member("mallory", "viewer")
    with world.host.database.write() as db:
        other = projects.create(db, world.owner, "Other")
        assert service.get(db, viewer, world.project, row.id).id == row.id
        for verb in (
            lambda: service.use(db, viewer, world.project, row.id),
            lambda: service.cancel(db, viewer, world.project, row.id),
        ):
            with pytest.raises(Forbidden):
                verb()
        with pytest.raises(NotFound, match="no such project"):
            service.get(db, stranger, other, row.id)
        with pytest.raises(NotFound, match="in this project"):
            service.get(db, world.owner, other, row.id)
    with pytest.raises(Forbidden):
        world.ask(SMALL, who=viewer)


def test_an_environment_that_went_from_the_disk_is_built_again(world: World) -> None:
    from headway.environments import loop, store

    (row,) = world.over(world.ask(SMALL).id)
    store.remove(row.path)
    world.host.own(loop._Tidied).next = 0.0
    world.turn()
    (again,) = world.over(row.id)
    assert again.ready and again.python.exists() and again.lock == row.lock
    assert world.current().id == row.id  # type: ignore[union-attr]


def test_a_new_project_gets_the_usual_set(world: World) -> None:
    with world.host.database.write() as db:
        fresh = projects.create(db, world.owner, "Fresh")
        row = service.ensure_default(db, fresh.id)
        assert row is not None and "scikit-learn" in row.asked
        assert service.ensure_default(db, fresh.id) is None
        assert service.coming(db, fresh) is row
        assert db.query(Process).count() == 0
        service.cancel(db, world.owner, fresh, row.id)
