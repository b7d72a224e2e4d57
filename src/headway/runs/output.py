"""What a run printed and showed, as it happens: text for terminals, cells for pages. Offsets are bytes of the run's log.

A script's log is `output.log`; a notebook's is `events.jsonl`, whose every event says what a terminal would have shown of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from headway.transcript.log import Event, Reader, cells_sent
from headway.transcript.outputs import CellOutputs, Transcript
from headway.web import cells

PIECE = 256 << 10
SHOWN_CHARS = 200_000
"""Text of one cell that a page holds; the whole log can be downloaded."""
_WIDGET = "application/vnd.jupyter.widget-view+json"


def log_path(place: Path, kind: str) -> Path:
    """The file that offsets count in."""
    return place / ("output.log" if kind == "script" else "events.jsonl")


def read(place: Path, kind: str, offset: int, limit: int = PIECE) -> tuple[str, int]:
    """What was printed from `offset` on, up to about `limit` bytes of log, and the offset behind it.

    Characters and events that are not complete yet are left for the next time.
    """
    if kind == "script":
        return _text(log_path(place, kind), offset, limit)
    reader = Reader(log_path(place, kind), offset)
    return "".join(spoken(event) for event in reader.events(limit)), reader.offset


def _text(path: Path, offset: int, limit: int) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
    except FileNotFoundError:
        return "", offset
    for cut in range(min(3, len(data))):  # a character may be cut in two
        byte = data[len(data) - 1 - cut]
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            data = data[: len(data) - 1 - cut] if width > cut + 1 and len(data) > cut + 1 else data
            break
        if byte < 0x80:
            break
    return data.decode("utf-8", "replace"), offset + len(data)


def spoken(event: Event) -> str:
    """What a terminal would have shown of an event of a notebook."""
    kind, content = event["k"], event["c"]
    if not event.get("p"):
        return ""
    if kind == "stream":
        return str(content.get("text", ""))
    if kind in ("execute_result", "display_data"):
        text = (content.get("data") or {}).get("text/plain", "")
        return f"{''.join(text) if isinstance(text, list) else text}\n" if text else ""
    if kind == "error":
        return "\n".join(str(line) for line in content.get("traceback", [])) + "\n"
    return ""


def whole(place: Path, kind: str) -> Iterator[bytes]:
    """The whole log as it was printed, in pieces."""
    offset = 0
    while True:
        text, after = read(place, kind, offset)
        if after == offset:
            return
        offset = after
        if text:
            yield text.encode("utf-8", "replace")


@dataclass(frozen=True)
class ShownCell:
    """A cell as a page shows it now. `state`: waiting, running, done, failed."""

    number: int
    state: str
    count: int | None
    outputs: tuple[cells.Output, ...]


class Notebook:
    """A viewer's picture of a running notebook; `catch_up` takes what is new in the log and returns the cells that changed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._reader = Reader(place / "events.jsonl")
        self._transcript = Transcript({}, SHOWN_CHARS)

    @property
    def offset(self) -> int:
        """How far the log was read."""
        return self._reader.offset

    def catch_up(self, limit: int = 8 << 20, *, until: int | None = None) -> list[ShownCell]:
        """Read on, up to `limit` bytes, or to the offset `until`."""
        self._transcript.sent.update(cells_sent(self._place / "cursor.jsonl"))
        for event in self._reader.events(limit):
            self._transcript.feed(event)
            if until is not None and self._reader.offset >= until:
                break
        changed = sorted(self._transcript.changed)
        self._transcript.changed.clear()
        return [self._shown(number) for number in changed]

    def _shown(self, number: int) -> ShownCell:
        cell = self._transcript.cells[number]
        state = "failed" if cell.error and cell.done else "done" if cell.done else "running"
        return ShownCell(number, state, cell.count, tuple(outputs(cell, self._transcript.widgets)))


def outputs(cell: CellOutputs, widgets: Mapping[str, Any]) -> list[cells.Output]:
    """A cell's outputs, safe to show."""
    found = []
    for item in cell.as_list():
        model = (item.get("data") or {}).get(_WIDGET, {})
        drawn = widget(str(model.get("model_id", "")), widgets) if isinstance(model, dict) and model else None
        found.append(cells.Output("html", html=drawn) if drawn else cells.shown(item))
    return found


def widget(model: str, widgets: Mapping[str, Any], depth: int = 0) -> Markup | None:
    """Progress bars, labels and boxes of them as they stand; None for what can only live in a notebook."""
    known = widgets.get(model)
    if known is None or depth > 4:
        return None
    state, name = known["state"], known["model_name"]
    if name in ("IntProgressModel", "FloatProgressModel"):
        low, high, value = (
            _number(state.get(key), default) for key, default in (("min", 0.0), ("max", 100.0), ("value", 0.0))
        )
        span = max(high - low, 1e-12)
        return Markup('<progress max="{}" value="{}"></progress>').format(span, min(max(value - low, 0.0), span))
    if name in ("HTMLModel", "LabelModel", "HTMLMathModel"):
        text = str(state.get("value", ""))
        return escape(text) if name == "LabelModel" else cells.clean(text)
    if name in ("HBoxModel", "VBoxModel", "BoxModel"):
        children = [str(child).removeprefix("IPY_MODEL_") for child in state.get("children") or []]
        drawn = [part for child in children if (part := widget(child, widgets, depth + 1)) is not None]
        return Markup(" ").join(drawn) if drawn else None
    return None


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default


def executed(place: Path) -> dict[str, Any] | None:
    """The executed notebook, once it is there."""
    try:
        found: dict[str, Any] = json.loads((place / "out.ipynb").read_bytes())
    except (OSError, ValueError):
        return None
    return found
