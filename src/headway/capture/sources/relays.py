"""Functions of the user's that only hand a text on: `def log(text): print(text); file.write(text)`.

What is printed there was put together by their caller: the line is noted as the caller's, with what it gave them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.sites import Sites

__all__ = ["relayed"]

DEPTH = 3
SHORT = 6  # characters: a shorter text is a word, not a line


def relayed(frame: FrameType, shown: Any, sites: Sites) -> tuple[FrameType, tuple[Any, ...]] | None:
    """The frame whose call put `shown` together, and the arguments that it gave; None where `frame` did that itself."""
    found = None
    for _ in range(DEPTH):
        if type(shown) is not str or len(shown) < SHORT or frame.f_code.co_name == "<module>":
            break
        given = _given(frame, shown)
        above = frame.f_back
        if given is None or above is None or not sites.is_user(above.f_code.co_filename):
            break
        frame, (args, shown) = above, given
        found = frame, args
    return found


def _given(frame: FrameType, shown: str) -> tuple[tuple[Any, ...], str] | None:
    """A function's arguments by position, and the one among them that `shown` is or ends with; None where none is."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount]
    if not names:
        return None
    from headway.capture.values import held

    known = held(frame)
    values = [known.get(n) for n in names]
    if code.co_flags & 0x04:  # *args
        values += known.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    if names[0] in ("self", "cls"):
        del values[0]
    for value in values:
        if type(value) is str and len(value) >= SHORT and (value is shown or shown.rstrip().endswith(value.rstrip())):
            return tuple(values), value
    return None
