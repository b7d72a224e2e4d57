"""Which paths a project's file may have. Pure: text in, parts out, or BadPath that says why."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote

from headway.errors import BadPath

PATH_BYTES, NAME_BYTES = 1024, 255
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))})
_NOT_OURS = frozenset({".git"})


def parts_of(path: str) -> tuple[str, ...]:
    """`data/sales.csv` -> `("data", "sales.csv")`. The path has been decoded once, by whoever took it off the wire.

    Refused: nothing at all, absolute and home paths, steps up, backslashes and drives, control and direction characters,
    device names, what would be one of these after another decoding, and what no file system takes.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise BadPath("The path is not valid text.", hint="Use UTF-8.") from None
    if not path:
        raise BadPath("A path is needed.", hint="e.g. data/sales.csv")
    if size > PATH_BYTES:
        raise BadPath(f"The path is {size} bytes long; at most {PATH_BYTES} are allowed.")
    if path.startswith(("/", "~")) or "\\" in path:
        raise BadPath(
            f"'{_shown(path)}' is not a path inside the project.",
            hint="Write it from the project's folder on, with '/'.",
        )
    return tuple(_part(part, path) for part in path.rstrip("/").split("/"))


def folder_of(path: str) -> tuple[str, ...]:
    """As `parts_of`; an empty path is the project's folder itself."""
    return parts_of(path) if path.strip("/") else ()


def _part(part: str, path: str) -> str:
    decoded = unquote(unquote(part))
    if part in ("", ".", "..") or decoded in (".", "..") or "/" in decoded or "\\" in decoded:
        raise BadPath(f"'{_shown(path)}' is not a path inside the project.", hint="It has an empty step, or a step up.")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in part):
        raise BadPath(
            f"'{_shown(path)}' has a character that can't be seen.", hint="Use letters, digits, spaces, dashes, dots."
        )
    if len(part.encode()) > NAME_BYTES:
        raise BadPath(f"'{_shown(part)}' is too long for a file name: at most {NAME_BYTES} bytes.")
    if part.split(".")[0].strip().lower() in _DEVICES or part[1:2] == ":" or part != part.strip() or part.endswith("."):
        raise BadPath(f"'{_shown(part)}' is not a file name on every system.", hint="Choose another name.")
    if part.lower() in _NOT_OURS:
        raise BadPath(f"'{_shown(part)}' belongs to git.", hint="Change it with git.")
    return part


def _shown(text: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= 80 else plain[:77] + "..."
