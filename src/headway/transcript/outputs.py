"""Outputs of cells, folded from the log as a notebook shows them: streams joined, displays updated, cleared when asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from headway.transcript.log import Event
from headway.transcript.terminal import Screen

TEXT_CHARS = 10_000_000
"""Text of one cell that is kept for showing; the log has all of it."""
RICH_BYTES = 40_000_000
MOST_OUTPUTS = 2_000
_FIRST = 200
"""Outputs at a cell's start that stay when there are too many; then the latest ones are kept."""

Output = dict[str, Any]


class CellOutputs:
    """One cell's outputs. `as_list` gives them in the notebook format, version 4."""

    def __init__(self, text_chars: int = TEXT_CHARS) -> None:
        self.items: list[Output] = []
        self._most = text_chars
        self.count: int | None = None
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.error: Output | None = None
        self.dropped = 0
        self._clear_next = False
        self._rich = 0
        self._text = 0

    @property
    def done(self) -> bool:
        """Whether the kernel is through with the cell."""
        return self.ended_at is not None

    def apply(self, event: Event) -> None:
        """Take one event of this cell."""
        kind, content = event["k"], event["c"]
        if kind == "stream":
            self.stream(str(content.get("name", "stdout")), str(content.get("text", "")))
        elif kind in ("display_data", "execute_result"):
            self._rich_output(kind, content)
        elif kind == "error":
            self._error(content)
        elif kind == "clear_output":
            self._clear_next = bool(content.get("wait"))
            if not self._clear_next:
                self._empty()
        elif kind == "execute_input":
            self.count = content.get("execution_count")
        elif kind == "status":
            if content.get("execution_state") == "busy":
                self.started_at = self.started_at or event.get("t")
            elif content.get("execution_state") == "idle":
                self.ended_at = event.get("t") or 0

    def stream(self, name: str, text: str) -> None:
        """Append text to the stream `name`."""
        self._clear_if_asked()
        last = self.items[-1] if self.items else None
        if last is None or last["output_type"] != "stream" or last["name"] != name:
            screen = Screen(int(self._most * 0.8), int(self._most * 0.2))
            last = {"output_type": "stream", "name": name, "screen": screen}
            self._add(last)
        before = last["screen"].size
        last["screen"].write(text)
        self._text += last["screen"].size - before
        self._trim()

    def update(self, display_id: str, content: Mapping[str, Any]) -> bool:
        """Replace what was displayed under `display_id`; whether there was any."""
        found = False
        for item in self.items:
            if item.get("transient", {}).get("display_id") == display_id:
                item["data"], item["metadata"] = dict(content.get("data", {})), dict(content.get("metadata", {}))
                found = True
        return found

    def display_ids(self) -> set[str]:
        """The ids under which something of this cell may be updated later."""
        return {item["transient"]["display_id"] for item in self.items if item.get("transient", {}).get("display_id")}

    def as_list(self) -> list[Output]:
        """The outputs as a notebook file holds them."""
        found = []
        for item in self.items:
            if item["output_type"] == "stream":
                found.append({"output_type": "stream", "name": item["name"], "text": item["screen"].text()})
            else:
                found.append({key: value for key, value in item.items() if key != "transient"})
        if self.dropped:
            notice = f"[{self.dropped:,} outputs of this cell are left out here; the log has them all]\n"
            found.insert(min(_FIRST, len(found)), {"output_type": "stream", "name": "stderr", "text": notice})
        return found

    def _rich_output(self, kind: str, content: Mapping[str, Any]) -> None:
        self._clear_if_asked()
        data = dict(content.get("data", {}))
        size = _size(data)
        if size > RICH_BYTES // 2:
            data = {"text/plain": f"[an output of {size:,} bytes is too large to show; the log has it]"}
            size = 100
        item: Output = {"output_type": kind, "data": data, "metadata": dict(content.get("metadata", {}))}
        if kind == "execute_result":
            item["execution_count"] = content.get("execution_count")
        if transient := content.get("transient"):
            item["transient"] = dict(transient)
        self._rich += size
        self._add(item)

    def _error(self, content: Mapping[str, Any]) -> None:
        self._clear_if_asked()
        traceback = [str(line) for line in content.get("traceback", [])]
        item = {"output_type": "error", "ename": str(content.get("ename", "")), "evalue": str(content.get("evalue", "")),
                "traceback": traceback}  # fmt: skip
        self.error = item
        self._add(item)

    def _add(self, item: Output) -> None:
        self.items.append(item)
        self._trim()

    def _trim(self) -> None:
        while len(self.items) > 1 and (
            len(self.items) > MOST_OUTPUTS
            or self._rich > RICH_BYTES
            or (self._text > self._most * 1.05 + 400_000 and len(self.items) > 2)
        ):
            gone = self.items.pop(_FIRST if len(self.items) > _FIRST + 1 else 0)
            if gone["output_type"] == "stream":
                self._text -= gone["screen"].size
            else:
                self._rich -= _size(gone.get("data", {}))
            self.dropped += 1

    def _clear_if_asked(self) -> None:
        if self._clear_next:
            self._clear_next = False
            self._empty()

    def _empty(self) -> None:
        self.items.clear()
        self._rich = self._text = self.dropped = 0


class Transcript:
    """All cells of a run, by number, folded from events. `changed` collects the numbers of those that changed."""

    def __init__(self, sent: Mapping[str, int], text_chars: int = TEXT_CHARS) -> None:
        self.sent = dict(sent)
        self._most = text_chars
        self.cells: dict[int, CellOutputs] = {}
        self.widgets: dict[str, dict[str, Any]] = {}
        self.changed: set[int] = set()
        self._displays: dict[str, set[int]] = {}

    def feed(self, event: Event) -> int | None:
        """Take one event; the number of its cell, None if it belongs to none."""
        kind = event["k"]
        if kind.startswith("comm_"):
            self._comm(event)
            return None
        number = self.sent.get(event.get("p") or "")
        if kind == "update_display_data":
            self._update(event["c"])
            return number
        if number is None:
            return None
        cell = self.cells.setdefault(number, CellOutputs(self._most))
        cell.apply(event)
        if kind in ("display_data", "execute_result") and (shown := event["c"].get("transient", {}).get("display_id")):
            self._displays.setdefault(shown, set()).add(number)
        self.changed.add(number)
        return number

    def _update(self, content: Mapping[str, Any]) -> None:
        shown = content.get("transient", {}).get("display_id")
        for number in self._displays.get(shown or "", ()):
            if self.cells[number].update(str(shown), content):
                self.changed.add(number)

    def _comm(self, event: Event) -> None:
        """Widgets: the last state of each model, as the notebook format keeps it."""
        content = event["c"]
        model, data = str(content.get("comm_id", "")), content.get("data") or {}
        if event["k"] == "comm_open" and content.get("target_name") == "jupyter.widget":
            state = dict(data.get("state", {}))
            self.widgets[model] = {
                "model_name": state.get("_model_name", ""),
                "model_module": state.get("_model_module", ""),
                "model_module_version": state.get("_model_module_version", ""),
                "state": state,
            }
        elif event["k"] == "comm_msg" and model in self.widgets and data.get("method") == "update":
            self.widgets[model]["state"].update(data.get("state", {}))
            self.changed |= {number for number, cell in self.cells.items() if _has_widget(cell)}


def _has_widget(cell: CellOutputs) -> bool:
    return any("application/vnd.jupyter.widget-view+json" in item.get("data", {}) for item in cell.items)


def _size(data: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value, default=str)) for value in data.values())
