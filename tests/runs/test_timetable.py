"""Times of schedules: words for bad ones, and a whole year of clocks that change, against an oracle that counts minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from headway.errors import Unprocessable
from headway.runs import timetable

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata"]
START = datetime(2026, 6, 1, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def year(cron: str, zone: str) -> list[int]:
    return [
        at for at in timetable.upcoming(cron, ZoneInfo(zone), ms(START), 9000) if at < ms(START + timedelta(days=365))
    ]


def daily_oracle(hour: int, minute: int, zone: str) -> list[int]:
    """One fire for each local day: at the time, its first occurrence, or right after the gap that swallowed it."""
    place, found = ZoneInfo(zone), []
    wanted = hour * 60 + minute
    day, done = None, False
    moment = START - timedelta(days=2)
    while moment < START + timedelta(days=367):
        local = moment.astimezone(place)
        if local.date() != day:
            day, done = local.date(), False
        if not done and local.hour * 60 + local.minute >= wanted:
            found.append(ms(moment))
            done = True
        moment += timedelta(minutes=1)
    return [at for at in found if ms(START) < at < ms(START + timedelta(days=365))]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("hour", "minute"), [(2, 30), (0, 15)])
def test_a_daily_time_comes_once_a_day_through_a_year_of_changing_clocks(zone: str, hour: int, minute: int) -> None:
    assert year(f"{minute} {hour} * * *", zone) == daily_oracle(hour, minute, zone)


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_that_there_is(zone: str) -> None:
    place, found = ZoneInfo(zone), []
    moment = START + timedelta(minutes=1)
    while moment < START + timedelta(days=365):
        if moment.astimezone(place).minute == 0:
            found.append(ms(moment))
        moment += timedelta(minutes=1)
    assert year("0 * * * *", zone) == found


def test_the_gap_and_the_fold_of_berlin() -> None:
    zone = ZoneInfo("Europe/Berlin")
    gap = timetable.upcoming("30 2 * * *", zone, ms(datetime(2027, 3, 27, 12, tzinfo=UTC)), 2)
    assert gap[0] == ms(datetime(2027, 3, 28, 1, 0, tzinfo=UTC)), "skipped by the clock: right after the jump"
    fold = timetable.upcoming("30 2 * * *", zone, ms(datetime(2026, 10, 24, 12, tzinfo=UTC)), 2)
    assert fold == [ms(datetime(2026, 10, 25, 0, 30, tzinfo=UTC)), ms(datetime(2026, 10, 26, 1, 30, tzinfo=UTC))], (
        "once"
    )


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        ("2026-06-01T07:00", "2026-06-01T07:00", "2026-06-01T07:00"),
        ("2026-06-01T07:00", "2026-06-01T07:00:30", "2026-06-01T07:00"),
        ("2026-06-01T07:00", "2026-06-02T06:59", "2026-06-01T07:00"),
        ("2026-06-01T07:00", "2026-06-02T07:00", "2026-06-02T07:00"),
        ("2026-06-01T07:00", "2029-01-01T00:00", "2028-12-31T07:00"),
    ],
)
def test_the_latest_of_those_that_were_missed(first: str, now: str, expected: str) -> None:
    def at(text: str) -> int:
        return ms(datetime.fromisoformat(text).replace(tzinfo=UTC))

    assert timetable.latest_due("0 7 * * *", ZoneInfo("UTC"), at(first), at(now)) == at(expected)


@pytest.mark.parametrize(
    "text", ["", "x", "* * * *", "61 * * * *", "* 25 * * *", "0 0 30 2 *", "@fortnightly", "0 0 * * * *", "a b c d e"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(Unprocessable):
        timetable.clean_cron(text)


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "europe/berlin", "UTC\0"])
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(Unprocessable):
        timetable.clean_zone(name)


def test_presets() -> None:
    assert timetable.clean_cron(" @Daily ") == "0 0 * * *" and timetable.clean_cron("5   4 * *  1") == "5 4 * * 1"
