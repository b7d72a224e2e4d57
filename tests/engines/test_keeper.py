"""Wanted state becomes actual state: started once, watched, stopped, restarted with patience, whoever dies on the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.clock import now_ms
from headway.engines import keeper
from headway.engines.base import Spec
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.engines.tables import Process
from headway.errors import Unavailable
from headway.events import ProcessChanged, ProcessStirred
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Database
from headway.storage.vault import Vault

from .waiting import wait_for

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def host(database: Database, tmp_path: Path) -> Iterator[Host]:
    host = make_host(database, tmp_path)
    yield host
    for _, handle, status in host.engine.list():
        if not status.over:
            host.engine.cancel(handle, 0.0)
            wait_for(lambda handle=handle: host.engine.status(handle).settled)


def make_host(database: Database, home: Path) -> Host:
    settings = Settings(home=home)
    return Host(
        settings, database, Blobs(home / "blobs"), Vault.open(home / "key"), LocalEngine(settings), home / "runtime"
    )


def want(host: Host, source: str, kind: str = "run", key: str = "k") -> str:
    home = host.settings.home
    spec = Spec(key, (sys.executable, "-c", source), str(home), str(home / "processes-of" / key), grace_s=0.2)
    with host.database.write() as db:
        return keeper.want(db, kind=kind, owner_id="owner", spec=spec, project_id=None).id


def row(host: Host, process_id: str) -> Process:
    with host.database.read() as db:
        found = db.get(Process, process_id)
        assert found is not None
        return found


def turn(host: Host, now: int | None = None) -> None:
    keeper.step(host, now_ms() if now is None else now)


def until(host: Host, process_id: str, **expected: object) -> Process:
    def reached() -> Process | None:
        turn(host)
        found = row(host, process_id)
        return found if all(getattr(found, name) == value for name, value in expected.items()) else None

    return wait_for(reached, what=f"{expected} of {process_id}")


def stop(host: Host, process_id: str) -> None:
    with host.database.write() as db:
        process = db.get(Process, process_id)
        assert process is not None
        keeper.stop(db, process)


def test_a_wanted_process_runs_and_its_end_is_told_once(host: Host) -> None:
    heard: list[ProcessChanged] = []
    host.bus.subscribe(ProcessChanged, lambda _, event: heard.append(event))
    process_id = want(host, "import sys; sys.exit(3)")
    found = until(host, process_id, settled=True)
    assert (found.state, found.cause, found.exit_code) == ("exited", "exited", 3)
    turn(host)
    ends = [event for event in heard if event.state == "exited"]
    assert len({(event.state, event.cause, event.exit_code) for event in ends}) == 1
    assert len(ends) <= 2, "the end of the process, and of its sidecar"
    assert row(host, process_id).attempt == 1, "a run is not restarted"


def test_stop_ends_it_and_it_stays_ended(host: Host) -> None:
    process_id = want(host, SLEEP, kind="replica")
    until(host, process_id, state="running")
    stop(host, process_id)
    found = until(host, process_id, settled=True)
    assert found.cause == "cancelled"
    turn(host)
    assert row(host, process_id).state == "exited"


def test_stop_before_the_start_never_starts(host: Host) -> None:
    process_id = want(host, SLEEP)
    stop(host, process_id)
    found = until(host, process_id, settled=True)
    assert (found.state, found.cause, found.handle) == ("exited", "cancelled", "")
    assert host.engine.list() == []


def test_a_server_that_died_between_start_and_record(host: Host) -> None:
    process_id = want(host, SLEEP)
    spec = keeper._spec(row(host, process_id))
    handle = host.engine.submit(spec)
    stop(host, process_id)
    found = until(host, process_id, settled=True)
    assert (found.cause, found.handle) == ("cancelled", handle)


def test_two_servers_start_one_process(host: Host, tmp_path: Path) -> None:
    other = make_host(host.database, tmp_path)
    process_id = want(host, SLEEP)
    with host.database.read() as db:
        rows = keeper._unsettled(db, host)
    turn(other)
    change = keeper._look(host, rows[0], now_ms())
    keeper._write(host, rows[0], change, now_ms())
    assert [key for key, _, _ in host.engine.list()] == ["k"]
    assert row(host, process_id).version == 1, "the slower server's write is fenced"


@pytest.mark.parametrize("kind", sorted(keeper.KEPT_UP))
def test_what_must_stay_up_comes_back_and_waits_longer_each_time(host: Host, kind: str) -> None:
    process_id = want(host, "import sys; sys.exit(1)", kind=kind)
    until(host, process_id, attempt=2)
    found = until(host, process_id, attempt=3)
    assert found.failures == 2 and found.retry_at >= found.changed_at + 1000
    turn(host, found.retry_at - 1)
    assert row(host, process_id).state == "wanted", "not before its time"
    turn(host, found.retry_at)
    assert row(host, process_id).handle.endswith("/k.3")
    folders = {path.name for path in (host.settings.home / "processes-of").iterdir()}
    assert folders == {"k", "k.2", "k.3"}


def test_a_process_that_lived_long_is_forgiven(host: Host) -> None:
    process_id = want(host, SLEEP, kind="replica")
    found = until(host, process_id, state="running")
    with host.database.write() as db:
        db.get(Process, process_id).failures = 7  # type: ignore[union-attr]
    host.engine.cancel(found.handle, 0.0)
    wait_for(lambda: host.engine.status(found.handle).settled)
    turn(host, now_ms() + keeper.STEADY_MS + 1)
    assert (row(host, process_id).failures, row(host, process_id).attempt) == (0, 2)


def test_want_again_after_stop(host: Host) -> None:
    process_id = want(host, SLEEP, kind="gateway")
    until(host, process_id, state="running")
    stop(host, process_id)
    until(host, process_id, settled=True)
    assert want(host, SLEEP, kind="gateway") == process_id
    assert until(host, process_id, state="running").attempt == 2


def test_halt_ends_services_and_not_runs_and_the_next_server_starts_them_again(host: Host, tmp_path: Path) -> None:
    run, replica = want(host, SLEEP, "run", "r"), want(host, SLEEP, "replica", "s")
    until(host, run, state="running")
    before = until(host, replica, state="running")
    assert keeper.halt(host, kinds=("replica", "gateway")) == 1
    assert host.engine.status(before.handle).over
    assert host.engine.status(row(host, run).handle).state == "running"
    again = make_host(host.database, tmp_path)
    assert until(again, replica, state="running", attempt=2).wanted == "running"


def test_the_row_tells_why_a_start_failed_and_it_is_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    process_id = want(host, "pass")
    real = host.engine.submit

    def refuse(spec: Spec) -> str:
        raise Unavailable("no room for a process")

    monkeypatch.setattr(host.engine, "submit", refuse)
    turn(host)
    found = row(host, process_id)
    assert (found.state, found.detail) == ("wanted", "no room for a process")
    monkeypatch.setattr(host.engine, "submit", real)
    turn(host, found.retry_at)
    assert until(host, process_id, settled=True).exit_code == 0


def test_a_killed_process_is_told(host: Host) -> None:
    process_id = want(host, "import os; os.kill(os.getpid(), 9)")
    found = until(host, process_id, settled=True)
    assert (found.cause, found.signal) == ("killed", 9)


def test_a_process_below_another_home_is_left_alone(host: Host, tmp_path: Path) -> None:
    process_id = want(host, SLEEP)
    other = make_host(host.database, tmp_path / "elsewhere")
    turn(other)
    assert row(host, process_id).state == "wanted"


def test_backoff_is_bounded() -> None:
    assert [keeper.backoff_ms(n) for n in (0, 1, 2, 3, 4)] == [0, 0, 1000, 2000, 4000]
    assert keeper.backoff_ms(10_000) == 30_000


def test_it_rests_while_what_runs_runs_and_hears_of_its_end(host: Host) -> None:
    stirred: list[str] = []
    host.bus.subscribe(ProcessStirred, lambda _, event: stirred.append(event.handle))
    process_id = want(host, SLEEP)
    until(host, process_id, state="running")
    wait_for(lambda: keeper.step(host, now_ms()) is None, what="a keeper at rest")
    assert not stirred
    stop(host, process_id)
    assert keeper.step(host, now := now_ms()) == now + keeper.LOOK_MS, "it is being ended"
    wait_for(lambda: stirred == [row(host, process_id).handle], what="the news of its end")
    until(host, process_id, settled=True)
    assert keeper.step(host, now_ms()) is None


def test_it_looks_again_when_a_restart_is_due(host: Host) -> None:
    process_id = want(host, SLEEP, kind="gateway")
    with host.database.write() as db:
        waiting = db.get(Process, process_id)
        assert waiting is not None
        waiting.retry_at = 5_000
    assert keeper.step(host, 1_000) == 5_000
