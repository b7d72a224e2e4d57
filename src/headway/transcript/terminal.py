"""Text as a terminal shows it: carriage returns, backspaces and cursor movements are carried out, colours are kept.

A progress bar that redrew itself ten thousand times is one line here. Memory is bounded: of a very long text the head and
the tail are kept, and how much was left out is known.
"""

from __future__ import annotations

import re
from collections import deque

HEAD_CHARS = 8_000_000
TAIL_CHARS = 2_000_000
LIVE_LINES = 64
"""Lines at the end that cursor movements can still reach."""

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_CSI = r"\x1b\[[0-?]*[ -/]*[@-~]"
_OSC = r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
_TOKEN = re.compile(rf"({_CSI}|{_OSC}|\x1b[ -/]*[0-~]|[\r\n\x08\x07\x0b\x0c\x1b])")
_SPECIAL = re.compile(r"[\r\x08\x07\x0b\x0c]|\x1b(?!\[[0-9;:]*m)")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -/]*)?\Z")


class Capped:
    """A growing text of which the head and the tail are kept."""

    def __init__(self, head: int = HEAD_CHARS, tail: int = TAIL_CHARS) -> None:
        self._head: list[str] = []
        self._head_max = self._head_left = head
        self._tail: deque[str] = deque()
        self._tail_size, self._tail_max = 0, tail
        self.dropped = 0

    def add(self, text: str) -> None:
        """Append; what falls out between head and tail is counted in `dropped`."""
        if self._head_left:
            part, text = text[: self._head_left], text[self._head_left :]
            self._head.append(part)
            self._head_left -= len(part)
        if not text:
            return
        if len(text) > self._tail_max:
            self.dropped += len(text) - self._tail_max
            text = text[len(text) - self._tail_max :]
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= self._tail_max:
            gone = len(self._tail.popleft())
            self._tail_size -= gone
            self.dropped += gone

    @property
    def size(self) -> int:
        """Characters held."""
        return self._head_max - self._head_left + self._tail_size

    def text(self) -> str:
        """What is kept, with a line that says how much is not."""
        notice = (
            f"\n[... {self.dropped:,} characters are left out here; the log has them all ...]\n" if self.dropped else ""
        )
        return "".join(self._head) + notice + "".join(self._tail)

    def last(self, chars: int) -> str:
        """About the last `chars` characters."""
        parts: list[str] = []
        size = 0
        for part in [*reversed(self._tail), *reversed(self._head)]:
            parts.append(part)
            size += len(part)
            if size >= chars:
                break
        return "".join(reversed(parts))[-chars:]


class Screen:
    """What a terminal shows after `write`s. Lines that scrolled out of reach are final."""

    def __init__(self, head: int = HEAD_CHARS, tail: int = TAIL_CHARS) -> None:
        self._done = Capped(head, tail)
        self._lines = [""]
        self._row = 0
        self._column: int | None = None  # None: at the end of the line
        self._style = ""
        self._rest = ""

    def write(self, text: str) -> None:
        """Show more text; an escape sequence may be cut between two writes."""
        text = self._rest + text
        self._rest = ""
        if (cut := _UNFINISHED.search(text, max(0, len(text) - 4200))) and cut.group():
            text, self._rest = text[: cut.start()], cut.group()
        if self._column is None and self._row == len(self._lines) - 1 and not _SPECIAL.search(text):
            self._lines[-1:] = (self._lines[-1] + text).split("\n")
            self._row = len(self._lines) - 1
        else:
            for token in _TOKEN.split(text):
                if token:
                    self._take(token)
        self._settle()

    @property
    def dropped(self) -> int:
        """Characters left out of the middle."""
        return self._done.dropped

    @property
    def size(self) -> int:
        """Characters held."""
        return self._done.size + sum(map(len, self._lines))

    def text(self) -> str:
        """All that is kept, with colour codes."""
        return self._done.text() + "\n".join(self._lines)

    def last(self, chars: int) -> tuple[str, bool]:
        """About the last `chars` characters from a line's start, and whether there is more before them."""
        live = "\n".join(self._lines)
        before = self._done.last(max(0, chars - len(live)))
        text = before + live
        more = self._done.size > len(before) or self._done.dropped > 0 or len(text) > chars
        if more:
            text = text[-chars:]
            start = text.find("\n")
            text = text[start + 1 :] if 0 <= start < len(text) - 1 else text
        return text, more

    def _settle(self) -> None:
        extra = len(self._lines) - LIVE_LINES
        if extra > 0:
            self._done.add("\n".join(self._lines[:extra]) + "\n")
            del self._lines[:extra]
            self._row = max(0, self._row - extra)
        if len(self._lines[-1]) > 200_000 and self._column is None:  # one endless line
            *above, line = self._lines
            self._done.add("".join(f"{one}\n" for one in above) + line[:-100_000])
            self._lines, self._row = [line[-100_000:]], 0

    def _take(self, code: str) -> None:
        first = code[0]
        if code == "\n":
            self._down(1)
            self._column = 0 if self._lines[self._row] else None
        elif code == "\r":
            self._column = 0 if self._lines[self._row] else None
        elif code == "\b":
            self._column = max(0, self._at() - 1)
        elif first == "\x1b":
            if code[1:2] == "[":
                self._control(code)
        elif first not in "\x07\x0b\x0c":
            self._put(code)

    def _at(self) -> int:
        return _width(self._lines[self._row]) if self._column is None else self._column

    def _down(self, count: int) -> None:
        for _ in range(min(count, 500)):
            self._row += 1
            if self._row == len(self._lines):
                self._lines.append("")
        if len(self._lines) > 4 * LIVE_LINES:
            self._settle()

    def _control(self, token: str) -> None:
        kind, argument = token[-1], token[2:-1]
        if kind == "m":
            self._style = "" if argument.strip("0;") == "" else self._style + token
            if self._column is None:
                self._lines[self._row] += token
            return
        count = min(int(argument), 1000) if argument.isdigit() else 0
        steps = count or 1
        if kind == "A":
            self._column, self._row = self._at(), max(0, self._row - steps)
        elif kind == "B":
            self._column = self._at()
            self._down(steps)
        elif kind in "EF":
            self._row = max(0, self._row - steps) if kind == "F" else self._row
            self._down(steps if kind == "E" else 0)
            self._column = 0
        elif kind == "C":
            self._column = self._at() + steps
        elif kind == "D":
            self._column = max(0, self._at() - steps)
        elif kind == "G":
            self._column = steps - 1
        elif kind == "K":
            self._erase(count)
        elif kind == "J":
            self._erase(count if count < 2 else 2)
            if count in (0, 2, 3):
                del self._lines[self._row + 1 :]

    def _erase(self, which: int) -> None:
        cells, at = _cells(self._lines[self._row]), self._at()
        if which == 0:
            cells = cells[:at]
        elif which == 1:
            cells[: at + 1] = [("", " ")] * min(at + 1, len(cells))
        else:
            cells = []
        self._column = at
        self._lines[self._row] = _join(cells)

    def _put(self, text: str) -> None:
        line = self._lines[self._row]
        if self._column is None:
            self._lines[self._row] = line + text
            return
        at, end = self._column, self._column + len(text)
        if "\x1b" not in line and not self._style:
            line = line.ljust(at)[:at] + text + line[end:]
            self._lines[self._row] = line
            self._column = end if end < len(line) else None
            return
        cells = _cells(line)
        cells += [("", " ")] * (at - len(cells))
        cells[at:end] = [(self._style, char) for char in text]
        self._lines[self._row] = _join(cells)
        self._column = end


def _width(line: str) -> int:
    return len(_SGR.sub("", line)) if "\x1b" in line else len(line)


def _cells(line: str) -> list[tuple[str, str]]:
    """(colour codes in force, character) of each visible character."""
    found: list[tuple[str, str]] = []
    style, position = "", 0
    for code in _SGR.finditer(line):
        found += [(style, char) for char in line[position : code.start()]]
        style = "" if code.group()[2:-1].strip("0;") == "" else style + code.group()
        position = code.end()
    return found + [(style, char) for char in line[position:]]


def _join(cells: list[tuple[str, str]]) -> str:
    parts: list[str] = []
    style = ""
    for wanted, char in cells:
        if wanted != style:
            parts.append(("\x1b[0m" if style else "") + wanted)
            style = wanted
        parts.append(char)
    return "".join(parts) + ("\x1b[0m" if style else "")
