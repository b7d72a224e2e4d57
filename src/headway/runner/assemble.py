"""The executed notebook from the input and the log, in bounded memory: one cell's outputs at a time.

A cell that is done is put aside in a file; an update that comes later (a display handle, a thread) takes it back for a
moment. The same input and log always give the same notebook, byte for byte, however often the runner was killed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, TextIO

from headway.transcript.log import Event, Reader, cells_sent
from headway.transcript.outputs import CellOutputs, Transcript

Json = dict[str, Any]
_OPEN_CELLS = 2


class _Shelf(Transcript):
    """A transcript that keeps finished cells on disk."""

    def __init__(self, sent: dict[str, int], folder: Path) -> None:
        super().__init__(sent)
        self.folder = folder
        self._shown_in: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, event: Event) -> None:
        """Feed one event, with the cell it belongs to brought back if it was put aside."""
        content = event["c"]
        shown = (content.get("transient") or {}).get("display_id")
        number = self.sent.get(event.get("p") or "")
        if event["k"] == "update_display_data":
            number = self._shown_in.get(str(shown))
        if number is not None:
            self._fetch(number)
        if event["k"] in ("display_data", "execute_result") and shown and number is not None:
            self._shown_in[str(shown)] = number
        self.feed(event)
        done = [n for n, cell in self.cells.items() if cell.done and n != number]
        for n in done[: max(0, len(self.cells) - _OPEN_CELLS)]:
            self.put_aside(n)

    def put_aside(self, number: int) -> None:
        """Write a cell to its file and forget it."""
        cell = self.cells.pop(number)
        state = {"items": [_packed(item) for item in cell.items], "count": cell.count, "started_at": cell.started_at,
                 "ended_at": cell.ended_at, "outputs": cell.as_list()}  # fmt: skip
        with (self.folder / f"{number}.json").open("w", encoding="utf-8") as file:
            json.dump(state, file)

    def _fetch(self, number: int) -> None:
        path = self.folder / f"{number}.json"
        if number in self.cells or not path.exists():
            return
        state = json.loads(path.read_text(encoding="utf-8"))
        cell = CellOutputs()
        cell.count, cell.started_at, cell.ended_at = state["count"], state["started_at"], state["ended_at"]
        for item in state["items"]:
            if item["output_type"] == "stream":
                cell.stream(item["name"], item["text"])
            else:
                cell.items.append(item)
                cell.error = item if item["output_type"] == "error" else cell.error
        self.cells[number] = cell


def _packed(item: Json) -> Json:
    return (
        item if "screen" not in item else {"output_type": "stream", "name": item["name"], "text": item["screen"].text()}
    )


def assemble(folder: Path) -> None:
    """Write `out.ipynb` of a run folder from its `in.ipynb`, `events.jsonl` and `cursor.jsonl`."""
    notebook = json.loads((folder / "in.ipynb").read_bytes())
    shelf = _Shelf(cells_sent(folder / "cursor.jsonl"), folder / "cells")
    for event in Reader(folder / "events.jsonl").events():
        shelf.take(event)
    for number in list(shelf.cells):
        shelf.put_aside(number)
    temporary = folder / "out.ipynb.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        _write(file, notebook, shelf)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / "out.ipynb")
    shutil.rmtree(shelf.folder, ignore_errors=True)


def _write(file: TextIO, notebook: Json, shelf: _Shelf) -> None:
    file.write('{\n "cells": [')
    for number, cell in enumerate(notebook["cells"]):
        file.write(",\n" if number else "\n")
        json.dump(_executed(cell, shelf.folder / f"{number}.json"), file, ensure_ascii=True)
    file.write('\n ],\n "metadata": ')
    metadata = dict(notebook.get("metadata", {}))
    metadata.pop("widgets", None)
    if shelf.widgets:
        states = {"version_major": 2, "version_minor": 0, "state": shelf.widgets}
        metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": states}
    json.dump(metadata, file)
    file.write(
        f',\n "nbformat": {notebook.get("nbformat", 4)},\n "nbformat_minor": {notebook.get("nbformat_minor", 5)}\n}}\n'
    )


def _executed(cell: Json, state: Path) -> Json:
    if cell.get("cell_type") != "code":
        return cell
    cell = cell | {"outputs": [], "execution_count": None}
    if not state.exists():
        return cell
    known = json.loads(state.read_text(encoding="utf-8"))
    times = {name: known[name] for name in ("started_at", "ended_at") if known.get(name)}
    metadata = cell.get("metadata", {}) | ({"headway": times} if times else {})
    return cell | {"outputs": known["outputs"], "execution_count": known["count"], "metadata": metadata}
