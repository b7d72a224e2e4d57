"""How values are written for people: times, numbers, sizes, states, code. Pure functions; the template filters."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

from headway import clock

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_CODE_LIMIT = 200_000
_SHORT = 8_000  # characters: snippets are remembered, whole files would fill the memory


@dataclass(frozen=True)
class Shown:
    """A state as it is shown: always a word and a shape, never a colour alone."""

    word: str
    tone: str
    icon: str


# tone: ok, run, wait, warn, bad, off
_STATES: dict[str, Shown] = {
    **{
        name: Shown(name, "ok", "circle-check")
        for name in ("finished", "ready", "live", "healthy", "passed", "active", "done")
    },
    "serving": Shown("serving", "ok", "circle-check"),
    **{
        name: Shown(name, "run", "loader-circle")
        for name in ("running", "building", "starting", "locking", "proving", "deploying", "stopping", "cancelling")
    },
    **{
        name: Shown(name, "wait", "circle-dashed")
        for name in ("queued", "asked", "scheduled", "pending", "waiting", "candidate")
    },
    **{
        name: Shown(name, "warn", "triangle-alert")
        for name in ("warning", "degraded", "drifting", "stale", "unhealthy")
    },
    **{name: Shown(name, "bad", "circle-x") for name in ("failed", "error", "rejected")},
    "timed_out": Shown("timed out", "bad", "timer-off"),
    "out_of_memory": Shown("out of memory", "bad", "memory-stick"),
    "killed": Shown("killed", "bad", "octagon-x"),
    "lost": Shown("lost", "bad", "unplug"),
    **{name: Shown(name, "off", "circle-slash") for name in ("cancelled", "skipped")},
    **{name: Shown(name, "off", "circle-pause") for name in ("paused", "stopped", "idle", "retired", "superseded")},
    "champion": Shown("champion", "ok", "crown"),
}


def status_of(status: object) -> Shown:
    """The word, tone and icon of a state; a state that is not known is shown as its own word."""
    name = str(getattr(status, "value", status) or "").strip()
    return _STATES.get(name.lower(), Shown(name.lower().replace("_", " ") or "unknown", "off", "circle"))


def moment(ms: int | float | None) -> datetime | None:
    """Epoch milliseconds as an aware datetime; None for none or what no calendar holds."""
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def iso(ms: int | float | None) -> str:
    """`2026-11-23T14:05:12Z`, the machine's form for `<time datetime>`."""
    at = moment(ms)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def exact(ms: int | float | None) -> str:
    """`Mon 23 Nov 2026, 14:05:12 UTC`."""
    at = moment(ms)
    return at.strftime("%a %d %b %Y, %H:%M:%S UTC") if at else ""


def ago(ms: int | float | None, now_ms: int | None = None) -> str:
    """`just now`, `3 min ago`, `in 2 h`, `yesterday`, `12 Nov`, `12 Nov 2024`. The same words as static/js/when.js."""
    at = moment(ms)
    if at is None or ms is None:
        return "–"
    seconds = ((clock.now_ms() if now_ms is None else now_ms) - ms) / 1000
    size = abs(seconds)
    if size < 10:
        return "just now"
    if size < 7 * _DAY:
        amount, unit = _largest(size)
        return f"in {amount} {unit}" if seconds < 0 else f"{amount} {unit} ago"
    same_year = size < 300 * _DAY
    return f"{at.day} {at:%b}" if same_year else f"{at.day} {at:%b %Y}"


def _largest(seconds: float) -> tuple[int, str]:
    if seconds < _MINUTE:
        return int(seconds), "s"
    if seconds < _HOUR:
        return int(seconds // _MINUTE), "min"
    if seconds < _DAY:
        return int(seconds // _HOUR), "h"
    days = int(seconds // _DAY)
    return days, "day" if days == 1 else "days"


def duration(ms: int | float | None) -> str:
    """`820 ms`, `4.2 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if ms is None or not math.isfinite(ms):
        return "–"
    seconds = max(ms, 0) / 1000
    if seconds < 1:
        return f"{round(max(ms, 0))} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def size(n: int | float | None) -> str:
    """`512 B`, `1.4 kB`, `23 MB`: powers of 1000, as disks are sold."""
    if n is None:
        return "–"
    value = float(n)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 9.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"


def number(x: Any, digits: int = 4) -> tuple[str, str]:
    """A number as (whole part, fraction with its dot), so that a column can stand on its decimal point.

    Integers get thousands separators and no fraction; floats `digits` decimals; very small and very large ones a power of ten.
    None is `–`; what is not a number comes back as text.
    """
    if x is None:
        return "–", ""
    if isinstance(x, bool) or not isinstance(x, (int, float)):
        return str(x), ""
    if isinstance(x, float) and not math.isfinite(x):
        return ("NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"), ""
    if x == int(x) and abs(x) < 1e15:
        return f"{int(x):,}".replace("-", "−"), ""
    if abs(x) >= 1e9 or abs(x) < 10.0**-digits:
        mantissa, _, exponent = f"{x:.2e}".partition("e")
        whole, _, fraction = f"{mantissa}e{int(exponent)}".replace("-", "−").partition(".")
        return whole, f".{fraction}"
    whole, _, fraction = f"{x:,.{digits}f}".partition(".")
    return whole.replace("-", "−"), f".{fraction}" if fraction else ""


def plain(x: Any, digits: int = 4) -> str:
    """`number` in one piece."""
    return "".join(number(x, digits))


def initials(name: str) -> str:
    """Two letters for an avatar: `Ada Lovelace` -> `AL`."""
    words = [word for word in name.replace("@", " ").replace(".", " ").replace("_", " ").split() if word[0].isalnum()]
    return ("".join(word[0] for word in words[:2]) or name[:1] or "?").upper()


def hue(name: str) -> int:
    """One of eight avatar colours, always the same for a name."""
    return sum(ord(char) * (index + 1) for index, char in enumerate(name)) % 8


def highlight(text: str, language: str = "text") -> Markup:
    """Source as escaped HTML with token classes (`tok-...`); unknown languages and very long texts stay plain."""
    if len(text) > _CODE_LIMIT:
        return escape(text)
    return _remembered(text, language) if len(text) <= _SHORT else _highlight(text, language)


@lru_cache(maxsize=256)
def _remembered(text: str, language: str) -> Markup:
    return _highlight(text, language)


def _highlight(text: str, language: str) -> Markup:
    # Imported here: a server that shows no code does without.
    from pygments import highlight as pygments_highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.lexers.special import TextLexer
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False)
    # the formatter escapes the text itself
    return Markup(pygments_highlight(text, lexer, HtmlFormatter(nowrap=True, classprefix="tok-")))  # noqa: S704


def sparkline(values: Sequence[float | None], width: int = 96, height: int = 24) -> str:
    """The `d` of an SVG path through the values, 2 px inside the box; gaps where a value is missing; "" under two values."""
    points = [(i, float(v)) for i, v in enumerate(values) if v is not None and math.isfinite(v)]
    if len(points) < 2:
        return ""
    low, high = min(v for _, v in points), max(v for _, v in points)
    across = (width - 4) / max(len(values) - 1, 1)
    scale = (height - 4) / (high - low) if high > low else 0.0
    parts, last = [], None
    for i, v in points:
        y = height - 2 - (v - low) * scale if scale else height / 2
        parts.append(f"{'L' if last == i - 1 else 'M'}{2 + i * across:.1f} {y:.1f}")
        last = i
    return "".join(parts)


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "exact": exact,
    "iso": iso,
    "duration": duration,
    "size": size,
    "number": number,
    "plain": plain,
    "initials": initials,
    "hue": hue,
    "highlight": highlight,
    "sparkline": sparkline,
}
