"""What a project may be called, and the slug that is made of its name. Pure."""

from __future__ import annotations

import re
import unicodedata

from headway.errors import Unprocessable

NAME_LIMIT, SLUG_LIMIT, DESCRIPTION_LIMIT = 80, 40, 1000
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(name: str) -> str:
    """The name on one line, without control and direction characters. Raises Unprocessable if nothing or too much is left."""
    found = " ".join("".join(c if unicodedata.category(c) not in _HIDDEN else " " for c in name).split())
    if not found:
        raise Unprocessable("A project needs a name.", field="name")
    if len(found) > NAME_LIMIT:
        raise Unprocessable(f"A name has at most {NAME_LIMIT} characters; this has {len(found)}.", field="name")
    return found


def clean_description(text: str) -> str:
    """A few sentences; line ends are kept, control characters are not."""
    found = "".join(
        c for c in text.replace("\r\n", "\n") if c == "\n" or unicodedata.category(c) not in _HIDDEN
    ).strip()
    if len(found) > DESCRIPTION_LIMIT:
        raise Unprocessable(f"At most {DESCRIPTION_LIMIT} characters; this has {len(found)}.", field="description")
    return found


def slug_of(name: str) -> str:
    """`Churn model (2026)` -> `churn-model-2026`; `project` where no letter or digit is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LIMIT].rstrip("-") or "project"
