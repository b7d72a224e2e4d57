"""A notebook's session as a script: the cells in the order in which they ran, the ones that failed as comments. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["replay"]


def replay(cells: list[dict[str, Any]]) -> str:
    """The script; `cells` are `{"cell": number, "text": ..., "ok": ...}` in their order. "" where there are none."""
    parts = []
    for cell in cells:
        lines = str(cell.get("text") or "").rstrip().split("\n")
        failed = cell.get("ok") is False
        whole = failed or lines[0].lstrip().startswith("%%")
        body = [_comment(line) if whole or _is_magic(line) else line for line in lines]
        parts.append(f"# %% [{cell['cell']}]{' failed' if failed else ''}\n" + "\n".join(body))
    head = "# What this notebook ran, in the order in which it ran. Lines that only a notebook understands are comments.\n\n"
    return head + "\n\n".join(parts) + "\n" if parts else ""


def _is_magic(line: str) -> bool:
    word = line.lstrip()
    return word.startswith(("%", "!")) or (word.startswith("?") or word.endswith("?"))


def _comment(line: str) -> str:
    return f"# {line}".rstrip()
