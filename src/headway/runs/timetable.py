"""When a schedule fires: five cron fields in the time of a zone. Pure.

Debian's rules where clocks change: a time that the spring jump skips fires once, right after the jump; one that the autumn
fold repeats fires once. `0 * * * *` fires each hour that there is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from headway.errors import Unprocessable

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


def clean_cron(text: str) -> str:
    """The expression with single spaces, presets written out. Raises `Unprocessable` that says what is wrong."""
    cron = PRESETS.get(text.strip().lower(), " ".join(text.split()))
    if len(cron.split()) != 5:
        raise Unprocessable(
            f"'{text.strip()[:80]}' is not a schedule: it needs five fields (minute, hour, day, month, weekday).",
            hint="e.g. '0 7 * * 1-5' for 7:00 on working days, or @hourly, @daily, @weekly, @monthly.", field="cron",
        )  # fmt: skip
    try:
        sim = CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
        next(sim)
    except CronSimError as error:
        raise Unprocessable(
            f"'{cron[:80]}' is not a schedule: {error}.", hint="e.g. '0 7 * * 1-5'", field="cron"
        ) from None
    except StopIteration:
        raise Unprocessable(
            f"'{cron[:80]}' never comes: there is no such day.", hint="e.g. '0 7 1 * *'", field="cron"
        ) from None
    return cron


def clean_zone(name: str) -> ZoneInfo:
    """The IANA zone. Raises `Unprocessable` for one that does not exist."""
    if name not in available_timezones():
        raise Unprocessable(
            f"There is no time zone '{name[:64]}'.", hint="e.g. Europe/Berlin, America/New_York, UTC.", field="zone"
        )
    return ZoneInfo(name)


def upcoming(cron: str, zone: ZoneInfo, after_ms: int, count: int = 5) -> list[int]:
    """The next `count` times after a moment, in milliseconds since the epoch; fewer if the schedule ends."""
    start = datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(zone)
    return [_ms(moment) for moment in islice(CronSim(cron, start), count)]


def next_after(cron: str, zone: ZoneInfo, after_ms: int) -> int | None:
    """The next time after a moment; None if there is none."""
    return next(iter(upcoming(cron, zone, after_ms, 1)), None)


def latest_due(cron: str, zone: ZoneInfo, first_ms: int, now_ms: int) -> int:
    """The last time that was due from `first_ms` (a time of the schedule) to `now_ms`: it stands for all that were missed."""
    start = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone) + timedelta(seconds=1)
    candidates = (_ms(moment) for moment in islice(CronSim(cron, start, reverse=True), 3))
    return max((moment for moment in candidates if first_ms <= moment <= now_ms), default=first_ms)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
