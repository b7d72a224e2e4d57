"""Loops rest until something comes: an event, a commit of anybody, the time that a step named."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headway import loops
from headway.clock import now_ms
from headway.engines.host import Host
from headway.engines.local import LocalEngine
from headway.events import VersionRegistered, publish
from headway.loops import Loops, _Loop
from headway.settings import Settings
from headway.storage import leases
from headway.storage.blobs import Blobs
from headway.storage.database import Database
from headway.storage.vault import Vault

from .engines.waiting import wait_for


@pytest.fixture
def host(database: Database, tmp_path: Path) -> Host:
    settings = Settings(home=tmp_path)
    return Host(
        settings, database, Blobs(tmp_path / "blobs"), Vault.open(tmp_path / "key"), LocalEngine(settings), tmp_path
    )


@pytest.fixture
def serve(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Starts loops that would rest for an hour, of steps by name."""
    monkeypatch.setattr(loops, "REST_S", 3600.0)
    monkeypatch.setattr(loops, "BEAT_S", 0.01)
    monkeypatch.setattr(loops, "SWARM_S", 0.0)
    running: list[Loops] = []

    def start(interval_s: float = 0.0, **steps: Callable[[Host, int], Any]) -> None:
        modules: Any = [(name, SimpleNamespace(step=step, INTERVAL_S=interval_s)) for name, step in steps.items()]
        running.append(Loops(host, modules))

    yield start
    for one in running:
        one.stop()


class Count:
    """A step that counts, and says when it wants to look again."""

    def __init__(self, again: Callable[[int], int | None] = lambda now: None) -> None:
        self.steps, self._again = 0, again

    def __call__(self, host: Host, now: int) -> int | None:
        self.steps += 1
        return self._again(now)

    def goes_on(self, before: int) -> None:
        wait_for(lambda: self.steps > before, what="the next step")


def test_a_commit_of_another_server_brings_a_step(host: Host, serve: Callable[..., None]) -> None:
    step = Count()
    serve(step=step)
    step.goes_on(0)
    other = Database(host.database.url.render_as_string(hide_password=False))
    for turn in range(3):
        before = step.steps
        with other.write() as db:
            leases.take(db, f"turn-{turn}", "another server", 10)
        step.goes_on(before)
    other.close()


def test_an_event_wakes_every_loop(host: Host, serve: Callable[..., None]) -> None:
    first, second = Count(), Count()
    serve(3600.0, first=first, second=second)  # so long that no commit brings a step
    first.goes_on(0)
    second.goes_on(0)
    before = first.steps, second.steps
    with host.database.write() as db:
        publish(db, VersionRegistered("version", "project"))
    first.goes_on(before[0])
    second.goes_on(before[1])


def test_a_step_comes_at_the_time_that_the_last_one_named(serve: Callable[..., None]) -> None:
    soon = Count(lambda now: now + 1)
    serve(3600.0, soon=soon)
    soon.goes_on(2)


def test_a_commit_during_a_step_brings_another(host: Host, serve: Callable[..., None]) -> None:
    under_way, go_on = threading.Event(), threading.Event()
    steps: list[int] = []

    def step(_host: Host, now: int) -> None:
        steps.append(now)
        if len(steps) == 1:
            under_way.set()
            assert go_on.wait(30)

    serve(step=step)
    assert under_way.wait(30)
    with host.database.write() as db:
        leases.take(db, "meanwhile", "me", 10)
    go_on.set()
    wait_for(lambda: len(steps) > 1, what="a step for what came during the first")


def loop(again: Callable[[int], int | None], interval_s: float = 0.5) -> _Loop:
    return _Loop("test", lambda _host, now: again(now), interval_s)


@pytest.mark.parametrize(
    ("again", "least", "most"),
    [
        (lambda now: None, loops.REST_S, loops.REST_S),
        (lambda now: now + 3_600_000, loops.REST_S, loops.REST_S),
        (lambda now: now - 3_600_000, loops.SOONEST_S, loops.SOONEST_S),
        (lambda now: now + 20_000, loops.SOONEST_S, 20.0),
    ],
)
def test_how_long_a_loop_rests(host: Host, again: Callable[[int], int | None], least: float, most: float) -> None:
    assert least <= loop(again).turn(host) <= most


def test_failures_are_tried_again_ever_more_seldom(host: Host) -> None:
    def fail(now: int) -> int:
        raise RuntimeError("no")

    failing = loop(fail)
    assert [failing.turn(host) for _ in range(3)] == [1.0, 1.5, 2.0]
    for _ in range(100):
        last = failing.turn(host)
    assert last == loops.REST_S


def test_a_busy_database_brings_no_more_steps_than_the_interval_allows() -> None:
    one = loop(lambda now: None, 0.5)
    woken = []
    for tenth in range(1, 21):
        one.beat(changed=True, now=tenth / 10)
        if one._wake.is_set():
            woken.append(tenth)
            one._wake.clear()
            one._began = tenth / 10
    assert woken == [5, 10, 15, 20]
    one.beat(changed=False, now=100.0)
    assert not one._wake.is_set(), "nothing has changed"


def test_a_change_that_came_too_soon_is_not_forgotten() -> None:
    one = loop(lambda now: None, 0.5)
    one._began = 1.0
    one.beat(changed=True, now=1.1)
    assert not one._wake.is_set()
    one.beat(changed=False, now=1.5)
    assert one._wake.is_set()


def test_steps_name_times_of_the_wall_clock(host: Host) -> None:
    heard: list[int] = []
    loop(lambda now: heard.append(now)).turn(host)
    assert abs(heard[0] - now_ms()) < 60_000


class Memory:
    """What some pillar keeps between two steps."""


def test_what_a_pillar_keeps_is_the_servers_own_whatever_its_name(host: Host) -> None:
    other = dataclasses.replace(host, name=host.name)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: host.own(Memory), range(200)))
    assert found == {host.own(Memory)}
    assert other.own(Memory) not in found
