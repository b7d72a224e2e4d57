"""The live hub: what viewers are told, what it costs, and when it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import event, select

from headway.clock import now_ms
from headway.errors import BadInput, TooMany
from headway.people import members
from headway.people.rules import Who
from headway.people.tables import Member, User
from headway.projects.tables import Project
from headway.storage.database import Database
from headway.tracking import experiments, service
from headway.tracking.live import changes, following, hub
from headway.tracking.live.hub import Hub, Message, Viewer
from headway.tracking.store import merge, series
from headway.tracking.store.record import Metric
from headway.tracking.tables import Run

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """On a thread of its own: this one may have the browser's event loop already."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


class Site:
    """A project with a member and a run that goes on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write() as db:
            db.add(User(id="u" * 32, name="ada", full_name="Ada", created_at=now_ms()))
            db.flush()
            db.add(Project(id="p" * 32, slug="p", name="P", created_at=now_ms(), created_by="u" * 32))
            db.flush()
            db.add(Member(project_id="p" * 32, user_id="u" * 32, role="editor", since=now_ms()))
            db.flush()
            self.ada = Who("u" * 32, "ada")
            self.experiment = experiments.ensure(db, "p" * 32, "train.py").id
        self.run = self.begin()

    def begin(self) -> str:
        with self.database.write() as db:
            row = service.create_run(db, self.ada, project_id="p" * 32, experiment_id=self.experiment, name="one")
            return row.uuid

    def log(self, *points: tuple[str, float, int], **more: Any) -> None:
        with self.database.write() as db:
            found = [Metric(key, value, 1000 + step, step) for key, value, step in points]
            service.log_batch(db, self.run, found, who=self.ada, **more)

    def viewer(self, seen: dict[str, int] | None = None, news: bool = False) -> Viewer:
        return Viewer(self.ada, "p" * 32, seen or {}, news)

    def version(self) -> int:
        with self.database.read() as db:
            return int(db.scalar(select(Run.version).where(Run.uuid == self.run)) or 0)


@pytest.fixture
def site(database: Database) -> Iterator[Site]:
    yield Site(database)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that looks only when it is told to."""
    monkeypatch.setattr(Hub, "_run", lambda _: None)


async def taken(viewer: Viewer) -> list[Message]:
    """What lies in a viewer's queue, once the loop has handed out what is under way."""
    await asyncio.sleep(0)
    found = []
    while (message := viewer.take()) is not None:
        found.append(message)
    return found


def data(message: Message) -> Any:
    return orjson.loads(message.data)


@pytest.mark.usefixtures("still")
def test_a_viewer_is_told_what_changed_and_nothing_else(site: Site) -> None:
    site.log(("loss", 0.5, 1), params=[("lr", "0.1")])

    async def view() -> None:
        it, viewer = Hub(site.database), site.viewer()
        it.follow(viewer, [site.run])
        it.step(0)
        assert await taken(viewer) == []
        site.log(("loss", 0.25, 2), ("auc", float("nan"), 2), params=[("depth", "3")], tags={"a": "b"})
        it.step(0)
        (message,) = await taken(viewer)
        told = data(message)
        assert told["points"] == {
            "loss": {"steps": [2], "times": [1002], "values": [0.25]},
            "auc": {"steps": [2], "times": [1002], "values": [None]},
        }
        assert told["metrics"]["loss"]["low"] == 0.25 and told["metrics"]["loss"]["shown"]["last"] == ["0", ".2500"]
        assert (told["params"], told["tags"], told["state"]) == ({"depth": "3"}, {"a": "b"}, "running")
        with site.database.write() as db:
            service.end_run(db, site.run, "FAILED", cause="out_of_memory")
        it.step(0)
        (message,) = await taken(viewer)
        told = data(message)
        assert (told["state"], told["status"], told["points"], told["metrics"]) == ("out_of_memory", "FAILED", {}, {})

    run(view())


@pytest.mark.usefixtures("still")
def test_folding_meanwhile_repeats_nothing(site: Site) -> None:
    for step in range(70):
        site.log(("loss", float(step), step))

    async def view() -> None:
        it, viewer = Hub(site.database), site.viewer()
        it.follow(viewer, [site.run])
        with site.database.write() as db:
            for run_id, key in merge.due(db):
                merge.fold(db, run_id, key)
        site.log(("loss", 7.0, 70))
        it.step(0)
        assert [data(m)["points"]["loss"]["steps"] for m in await taken(viewer)] == [[70]]

    run(view())


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("told", [True, False])
def test_who_comes_back_gets_what_was_missed_or_loads_anew(site: Site, told: bool) -> None:
    site.log(("loss", 1.0, 1))

    async def view() -> list[Message]:
        it, first, before = Hub(site.database), site.viewer(), site.version()
        if told:
            it.follow(first, [site.run])
        for step in (2, 3):
            site.log(("loss", 1.0, step))
            it.step(0)
        again = site.viewer({site.run: before})
        it.follow(again, [site.run])
        return await taken(again)

    found = run(view())
    if told:
        assert [data(m)["points"]["loss"]["steps"] for m in found] == [[2], [3]]
    else:
        assert [m.name for m in found] == ["stale"]


@pytest.mark.usefixtures("still")
def test_a_slow_viewer_loses_its_queue_and_not_the_servers_memory(site: Site) -> None:
    async def view() -> list[Message]:
        viewer = site.viewer({site.run: 1})
        for n in range(hub.QUEUED + 1):
            viewer.offer(Message("run", b"{}", site.run, n))
        return await taken(viewer)

    assert [m.name for m in run(view())] == ["stale"]


@pytest.mark.usefixtures("still")
def test_twenty_viewers_cost_what_one_costs(site: Site) -> None:
    said: list[str] = []
    event.listen(site.database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))

    async def look(viewers: int) -> int:
        it, all_ = Hub(site.database), [site.viewer() for _ in range(viewers)]
        for viewer in all_:
            it.follow(viewer, [site.run])
        site.log(("loss", 1.0, 1))
        it._checked = -hub.CHECK_S  # rights are asked for too
        said.clear()
        it.step(0.0)
        count = len(said)
        for viewer in all_:
            assert len(await taken(viewer)) == 1
        return count

    assert run(look(20)) == run(look(1)) <= 12


@pytest.mark.usefixtures("still")
def test_a_removed_member_is_let_go_at_the_next_look(site: Site) -> None:
    async def view() -> None:
        it, viewer = Hub(site.database), site.viewer()
        it.follow(viewer, [site.run])
        it.step(1.0)
        assert not viewer.closed
        with site.database.write() as db:
            db.add(User(id="o" * 32, name="olga", full_name="Olga", created_at=now_ms()))
            db.flush()
            members.add(db, "p" * 32, "o" * 32, "owner")
            members.remove(db, Who("o" * 32, "olga"), "p" * 32, site.ada.user_id)
        it.step(1.1)
        await asyncio.sleep(0)
        assert viewer.closed

    run(view())


@pytest.mark.usefixtures("still")
def test_new_runs_of_the_project(site: Site) -> None:
    async def view() -> list[Message]:
        it, viewer = Hub(site.database), site.viewer(news=True)
        it.follow(viewer, [])
        begun = site.begin()
        it.step(0)
        it.step(0)
        found = await taken(viewer)
        assert [data(m)["run"] for m in found] == [begun] and viewer.mark([]) == f"n{viewer.newest}"
        it.leave(viewer)
        missed = site.begin()  # while the page was away
        again = Viewer(site.ada, "p" * 32, {}, True, viewer.newest)
        it.follow(again, [])
        assert [data(m)["run"] for m in await taken(again)] == [missed]
        return found

    assert [m.name for m in run(view())] == ["new"]


@pytest.mark.usefixtures("still")
def test_the_number_of_viewers_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "VIEWERS", 1)

    async def view() -> None:
        it, first = Hub(site.database), site.viewer()
        it.follow(first, [site.run])
        with pytest.raises(TooMany):
            it.follow(site.viewer(), [site.run])
        it.leave(first)
        it.follow(site.viewer(), [site.run])

    run(view())


def test_the_thread_ends_when_nobody_looks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TICK_S", 0.001)
    monkeypatch.setattr(hub, "LINGER_S", 0.0)

    async def view() -> None:
        it, viewer = Hub(site.database), site.viewer()
        it.follow(viewer, [site.run])
        thread = it._thread
        assert thread is not None
        site.log(("loss", 1.0, 1))
        await asyncio.wait_for(viewer.wake.wait(), 20)
        it.leave(viewer)
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive() and it._thread is None

    run(view())


@pytest.mark.parametrize(
    ("runs", "last", "seen", "newest"),
    [
        ("a,b", "", {"a": None, "b": None}, None),
        ("a:3,b", "", {"a": 3, "b": None}, None),
        ("a:3,b", "7.9", {"a": 7, "b": 9}, None),
        ("a:3,b", "7.9n12", {"a": 7, "b": 9}, 12),
        ("a:3,b", "7", {"a": 3, "b": None}, None),
        ("a:-3", "x", {"a": None}, None),
        ("", "n5", {}, 5),
        ("", "", {}, None),
    ],
)
def test_what_a_stream_is_asked_for(runs: str, last: str, seen: dict[str, int | None], newest: int | None) -> None:
    assert following.asked(runs, last) == (seen, newest)


def test_too_many_runs() -> None:
    with pytest.raises(BadInput):
        following.asked(",".join(map(str, range(101))), "")


def test_a_burst_is_thinned_and_keeps_its_spike() -> None:
    values = [0.0] * 5000
    values[3210] = 9.0
    found = changes.thinned(series.points(range(5000), range(5000), values), 5000, 300)
    assert len(found) <= 310 and 9.0 in found.values and found.steps[-1] == 4999
