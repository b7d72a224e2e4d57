"""Where the server is, and who we are there: found in what was said, the environment, the home folder, or the login."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from headway.errors import BadInput, Unavailable

DEFAULT_URL = "http://127.0.0.1:8640"


@dataclass(frozen=True)
class Address:
    """A server's URL without a slash at its end, a token ("" for none), and where both were found."""

    url: str
    token: str = field(default="", repr=False)
    source: str = ""
    pid: int = 0


def find(url: str | None = None, token: str | None = None, environ: Mapping[str, str] | None = None) -> Address:
    """The address in force: given, `HEADWAY_URL` with `HEADWAY_TOKEN` or `HEADWAY_TOKEN_FILE`, the server of the home
    folder on this machine, the one of `headway login`. Raises `Unavailable` when there is none.
    """
    environ = os.environ if environ is None else environ
    said = token or environ.get("HEADWAY_TOKEN") or _from_file(environ.get("HEADWAY_TOKEN_FILE"))
    if url or environ.get("HEADWAY_URL"):
        where = clean_url(url or environ["HEADWAY_URL"])
        return Address(where, said or _known_token(where, environ), "argument" if url else "HEADWAY_URL")
    here, there = local(environ), logged_in(environ)
    if here is not None and there is not None and not alive(here.pid) and "HEADWAY_HOME" not in environ:
        here = None
    found = here or there
    if found is None:
        raise Unavailable(
            f"No headway server is known here: {home(environ)} has none running, and nobody logged in to one.",
            hint="Start one with `headway up`, or use another machine's with `headway login URL`.",
        )
    return Address(found.url, said or found.token, found.source, found.pid)


def home(environ: Mapping[str, str] | None = None) -> Path:
    """`$HEADWAY_HOME`, else `~/.headway`."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("HEADWAY_HOME") or "~/.headway").expanduser().absolute()


def local(environ: Mapping[str, str] | None = None) -> Address | None:
    """The server that was started last on the home folder, whether or not it still runs."""
    path = home(environ) / "cli.json"
    return read(path)


def logged_in(environ: Mapping[str, str] | None = None) -> Address | None:
    """The server of `headway login`."""
    return read(login_file(environ))


def login_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where `headway login` keeps its server and token; only this user may read it."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "headway" / "login.json"


def log_in(url: str, token: str, environ: Mapping[str, str] | None = None) -> Path:
    """Remember a server and a token for this user of this machine; returns the file."""
    path = login_file(environ)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=path.parent, prefix=".login-")  # 0600 from the start
    with os.fdopen(handle, "w") as file:
        json.dump({"url": clean_url(url), "token": token}, file)
        file.flush()
        os.fsync(file.fileno())
    Path(new).replace(path)
    return path


def clean_url(url: str) -> str:
    """The URL as it is kept. `host:port` is taken as http. Raises `BadInput` for what can't be an address."""
    text = url.strip() if "://" in url else "http://" + url.strip()
    text = text.rstrip("/")
    parts = urlsplit(text)
    try:
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username:
        raise BadInput(f"Not an address of a server: {url!r}.", hint=f"It looks like {DEFAULT_URL}")
    return text


def alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # one that was killed and that nobody has waited for yet is not alive
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return True


def _known_token(url: str, environ: Mapping[str, str]) -> str:
    """The token kept for this very server, if somebody named only its URL."""
    for found in (local(environ), logged_in(environ)):
        if found is not None and found.url == url:
            return found.token
    return ""


def _from_file(path: str | None) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInput(f"HEADWAY_TOKEN_FILE: {path} can't be read: {error.strerror}.") from None


def read(path: Path) -> Address | None:
    """What a file of ours says; None if it is not there. Raises `BadInput` for a damaged one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        pid = values.get("pid", 0)
        return Address(clean_url(values["url"]), str(values["token"]), str(path), pid if isinstance(pid, int) else 0)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(
            f"{path} can't be read: {error.strerror}.", hint="Run as the user who started the server."
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError, BadInput):
        raise BadInput(
            f"{path} is damaged.", hint="Start the server again, or `headway login` again: both write it anew."
        ) from None
