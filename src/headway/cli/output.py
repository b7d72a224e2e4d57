"""How commands answer: one JSON object, or lines for people."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

MARKS = {
    "queued": ("○", "yellow"), "running": ("●", "blue"), "finished": ("✓", "green"), "failed": ("✗", "red"),
    "cancelled": ("–", None), "timed_out": ("✗", "red"), "out_of_memory": ("✗", "red"), "killed": ("✗", "red"),
    "lost": ("?", "red"), "ready": ("✓", "green"), "live": ("●", "green"), "building": ("○", "yellow"),
}  # fmt: skip


def show(value: Any, as_json: bool, people: Callable[[], None]) -> None:
    """Print `value` as one JSON object, or call `people` to say it in words."""
    if as_json:
        typer.echo(json.dumps(value, indent=None if not sys.stdout.isatty() else 2, ensure_ascii=False, default=str))
    else:
        people()


def say(text: str = "") -> None:
    """A line for people, on standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """A line beside the answer, on standard error: it never disturbs what a script reads."""
    typer.echo(typer.style(text, dim=True), err=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Aligned columns; numbers to the right. On a terminal the last column is cut at its edge."""
    cells = [[text(value) for value in row] for row in rows]
    if not cells:
        say(empty)
        return
    right = [all(_number(row[i]) for row in cells) for i in range(len(headers))]
    widths = [max(len(str(row[i])) for row in [list(headers), *cells]) for i in range(len(headers))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    say(typer.style(_line(headers, widths, right, room), bold=True))
    for row in cells:
        say(_line(row, widths, right, room))


def _line(row: Sequence[str], widths: list[int], right: list[bool], room: int) -> str:
    parts = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    ]
    line = "  ".join(parts).rstrip()
    return line[: room - 1] + "…" if room and len(line) > room else line


def pairs(values: dict[str, Any]) -> None:
    """Names and values, one a line; what is None or empty is left out."""
    shown = {name: text(value) for name, value in values.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        say(f"{typer.style(name.ljust(width), dim=True)}  {value}")


def text(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split("\n"))


def mark(state: str) -> str:
    """A state with its shape, coloured on a terminal."""
    shape, colour = MARKS.get(state, ("·", None))
    return typer.style(f"{shape} {state}", fg=colour)


def plain_mark(state: str) -> str:
    """A state with its shape, for tables."""
    return f"{MARKS.get(state, ('·', None))[0]} {state}"


def ago(ms: int | None) -> str:
    """A time in milliseconds since 1970 as people say it: "3 min ago"."""
    if not ms:
        return ""
    seconds = time.time() - ms / 1000
    ahead = seconds < -1
    for size, unit in ((86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            count = f"{int(abs(seconds) // size)} {unit}"
            return f"in {count}" if ahead else f"{count} ago"
    return "now"


def moment(ms: int | None) -> str:
    """A time in milliseconds since 1970 in this machine's zone."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def took(ms: float | None) -> str:
    """A duration in milliseconds: 1.4 s, 2 min 5 s, 3 h 20 min."""
    if ms is None:
        return ""
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Bytes as people read them: 12.3 MiB."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True
