"""Where the files of an experiment go: into the server's own store, or to a place that the client reaches by itself.

A foreign place (`s3://bucket/x`, `file:///mnt/x`) is kept and handed to the client, which reads and writes it with its own
credentials; the server never touches it, so it can neither show, nor deploy, nor delete what lies there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from headway.errors import BadInput
from headway.tracking import limits

LONGEST = 400
OURS = "mlflow-artifacts:"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


def check(location: Any) -> str:
    """A sound location without a slash at its end; "" for none. Raises `BadInput`."""
    if location in (None, ""):
        return ""
    text = limits.text(location, "artifact_location", LONGEST)
    if climbs(text) or any(ord(char) < 32 for char in text) or "#" in text:
        raise BadInput(
            f"Invalid value for parameter 'artifact_location': '{text[:80]}' holds '..', '#' or control characters.",
            hint="Leave artifact_location out to keep the files on this server.",
            field="artifact_location",
        )
    if text.startswith(OURS):
        parts = text.removeprefix(OURS).strip("/").split("/")
        if text.startswith(f"{OURS}//") or not all(re.fullmatch(r"[\w.\- ]+", part) for part in parts):
            raise BadInput(
                "Invalid value for parameter 'artifact_location': a place on this server is mlflow-artifacts:/name.",
                hint="Leave artifact_location out.",
                field="artifact_location",
            )
    if is_local(text) and not text.startswith(("/", "file:")):
        text = str(Path.cwd() / text)  # one place, as MLflow makes it, not one for each client's working folder
    return text.rstrip("/") or "/"


def climbs(text: str) -> bool:
    """Whether a path in it has a part `..`, however it is encoded."""
    for _ in range(4):
        if ".." in re.split(r"[/\\]", urlsplit(text, allow_fragments=False).path if "://" in text else text):
            return True
        plain = unquote(text)
        if plain == text:
            return False
        text = plain
    return True  # encoded five times: nobody means well


def is_local(uri: str) -> bool:
    """Whether it is a path of some machine."""
    return uri.startswith("file:") or _SCHEME.match(uri) is None


def within(uri: str, folder: str) -> bool:
    """Whether a local path lies in a local folder."""
    inner, outer = (unquote(re.sub(r"^file:/*", "/", one)).rstrip("/") for one in (uri, folder))
    return not climbs(uri) and f"{inner}/".startswith(f"{outer}/")


def below(location: str, *names: str) -> str:
    """A place below a location; a query stays at the end."""
    scheme, host, path, query, _ = urlsplit(location, allow_fragments=False)
    if not query:
        return "/".join([location.rstrip("/"), *names])
    return urlunsplit((scheme, host, "/".join([path.rstrip("/"), *names]), query, ""))
