"""Schedules fire once: with two servers, after a downtime, through a year of changing clocks; never half."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, text, update

from headway.clock import now_ms
from headway.people.tables import User
from headway.runs import schedules, timetable
from headway.runs.tables import Execution, Fire, Schedule
from headway.storage.database import Database

from .conftest import Bench, make_host
from .test_timetable import ZONES, ms

HOUR = 3_600_000


def add(bench: Bench, cron: str, zone: str = "UTC", first: int | None = None, path: str = "s.py") -> str:
    bench.script("print('fired')", path)
    with bench.host.database.write() as db:
        row = schedules.add(db, bench.host, bench.who, bench.project, path, cron, zone)
        if first is not None:
            row.next_at = first
        return row.id


def fires(bench: Bench, schedule_id: str) -> list[Fire]:
    with bench.host.database.read() as db:
        return list(db.scalars(select(Fire).where(Fire.schedule_id == schedule_id).order_by(Fire.due_at)))


def end_all(bench: Bench) -> None:
    with bench.host.database.write() as db:
        db.execute(update(Execution).values(status="finished"))


def test_it_fires_at_its_time_and_its_run_runs(bench: Bench) -> None:
    due = now_ms() // HOUR * HOUR
    one = add(bench, "0 * * * *", first=due)
    assert schedules.fire_due(bench.host, now_ms()) == 1
    assert schedules.fire_due(bench.host, now_ms()) == 0
    [fire] = fires(bench, one)
    assert fire.due_at == due and fire.run_id is not None
    assert bench.over(fire.run_id).status == "finished" and bench.output(fire.run_id) == "fired\n"
    assert bench.row(fire.run_id).schedule_id == one


def test_what_was_missed_while_down_runs_once(bench: Bench) -> None:
    now = now_ms()
    due = now // HOUR * HOUR
    one = add(bench, "0 * * * *", first=due - 50 * HOUR)
    assert schedules.fire_due(bench.host, now) == 1
    [fire] = fires(bench, one)
    assert (fire.due_at, fire.outcome) == (due, "started late: the server was down")
    with bench.host.database.read() as db:
        assert db.get(Schedule, one).next_at == due + HOUR  # type: ignore[union-attr]


def test_a_run_that_goes_on_is_not_overlapped(bench: Bench) -> None:
    due = now_ms() // HOUR * HOUR
    one = add(bench, "0 * * * *", first=due)
    schedules.fire_due(bench.host, due)
    schedules.fire_due(bench.host, due + HOUR)
    assert [fire.outcome.split(":")[0] for fire in fires(bench, one)] == ["started", "skipped"]
    end_all(bench)
    schedules.fire_due(bench.host, due + 2 * HOUR)
    assert fires(bench, one)[2].outcome == "started"


def test_a_paused_one_rests_and_does_not_make_up_for_it(bench: Bench) -> None:
    due = now_ms() // HOUR * HOUR
    one = add(bench, "0 * * * *", first=due)
    with bench.host.database.write() as db:
        schedules.pause(db, bench.who, db.get(Schedule, one))  # type: ignore[arg-type]
    assert schedules.fire_due(bench.host, due + 5 * HOUR) == 0
    with bench.host.database.write() as db:
        row = schedules.resume(db, bench.who, db.get(Schedule, one))  # type: ignore[arg-type]
        assert row.next_at is not None and row.next_at > now_ms()


@pytest.mark.parametrize("trouble", ["file", "person"])
def test_what_cannot_be_submitted_is_said_and_the_schedule_goes_on(bench: Bench, trouble: str) -> None:
    due = now_ms() // HOUR * HOUR
    one = add(bench, "0 * * * *", first=due)
    if trouble == "file":
        (bench.folder / "s.py").unlink()
    else:
        with bench.host.database.write() as db:
            db.get(User, bench.who.user_id).disabled_at = 1  # type: ignore[union-attr]
    schedules.fire_due(bench.host, due)
    [fire] = fires(bench, one)
    assert fire.run_id is None and fire.outcome.startswith("failed: ")
    with bench.host.database.read() as db:
        row = db.get(Schedule, one)
        assert row is not None and row.next_at == due + HOUR and row.trouble
        assert db.scalar(select(func.count()).select_from(Execution)) == 0


def test_a_year_in_five_zones_with_two_servers(bench: Bench) -> None:
    """Every fire of a year, looked at each two hours by two servers in turn, each away for a while now and then."""
    start = ms(datetime(2026, 6, 1, tzinfo=UTC))
    ids = {
        zone: add(bench, "30 2 * * *", zone, timetable.next_after("30 2 * * *", ZoneInfo(zone), start))
        for zone in ZONES
    }
    now, end = start, ms(datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=365))
    step = 0
    while now < end:
        step += 1
        for server in (0, 1):
            if (step + server * 7) % 24:
                schedules.fire_due(bench.host, now)
        now += 2 * HOUR
    schedules.fire_due(bench.host, end)
    for zone, one in ids.items():
        expected = [at for at in timetable.upcoming("30 2 * * *", ZoneInfo(zone), start, 400) if at <= end]
        assert [fire.due_at for fire in fires(bench, one)] == expected, zone


RACER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from runs.driver import host_on
from sqlalchemy import update
from headway.runs import schedules
from headway.runs.tables import Execution
host = host_on(Path({home!r}), {url!r})
print("up", flush=True)
sys.stdin.readline()
fired = 0
for at in range({start}, {start} + {count} * 60_000, 60_000):
    fired += schedules.fire_due(host, at)
    with host.database.write() as db:
        db.execute(update(Execution).where(Execution.status == "queued").values(status="finished"))
print(fired, flush=True)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench whose database two processes use."""
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        empty = Database(url)
        with empty.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        empty.close()
    bench = Bench(make_host(tmp_path / "home", url))
    yield bench
    bench.host.database.close()


def test_two_processes_on_one_database_never_fire_twice(shared: Bench) -> None:
    bench = shared
    start, count = ms(datetime(2027, 1, 1, tzinfo=UTC)), 60
    one = add(bench, "* * * * *", first=start)
    source = RACER.format(tests=str(Path(__file__).parent.parent), home=str(bench.host.settings.home),
                          url=bench.host.settings.database_url, start=start, count=count)  # fmt: skip
    racers = [
        subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "up\n"
    totals = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        said, _ = racer.communicate(timeout=120)
        assert racer.returncode == 0
        totals.append(int(said))
    found = fires(bench, one)
    dues = [fire.due_at for fire in found]
    assert dues == sorted(set(dues)) and dues[0] == start and dues[-1] == start + (count - 1) * 60_000
    assert sum(totals) == len(found), "no fire was counted by both"
    started = [fire.run_id for fire in found if fire.run_id]
    with bench.host.database.read() as db:
        runs = list(db.scalars(select(Execution.run_id).where(Execution.schedule_id == one)))
    assert sorted(runs) == sorted(started), "each run belongs to one fire"
