"""What people and their things may be called. Pure."""

from __future__ import annotations

import re
import unicodedata

from headway.errors import Unprocessable

LONGEST = 120
_USER = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def user_name(name: str) -> str:
    """A user name as it is kept: small letters, digits, dots, dashes, underscores. Raises Unprocessable."""
    found = unicodedata.normalize("NFKC", name).strip().lower()
    if not _USER.fullmatch(found):
        raise Unprocessable(
            "A user name has 1 to 64 small letters, digits, dots, dashes or underscores.",
            hint="It starts and ends with a letter or a digit.",
            field="name",
        )
    return found


def one_line(text: str, field: str, longest: int = LONGEST) -> str:
    """A name for people to read: one line, without control and direction characters. Raises Unprocessable if too long."""
    found = " ".join("".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text).split())
    if len(found) > longest:
        raise Unprocessable(f"At most {longest} characters; this has {len(found)}.", field=field)
    return found


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
            ("Linux", "Linux"))  # fmt: skip


def browser(agent: str) -> str:
    """`Firefox on Linux`, as a person knows it, of a browser's long User-Agent; its beginning where it is none we know."""
    which = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(part for part in (which, system) if part) if which else agent[:60] or "unknown"
