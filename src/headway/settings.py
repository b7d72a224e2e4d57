"""Every setting, declared once: name, default, help. The documentation is made from this table.

A setting comes from, in this order: an argument (a flag of `headway up`), the environment (`HEADWAY_PORT`), the file
`headway.toml` in the home folder, the default. An unknown name is refused with the list of those that exist.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from headway.errors import BadInput, BadPath

_SOCKET_BYTES = 100  # sun_path holds 108 bytes on Linux; a little is left for suffixes


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


def default_home() -> Path:
    """`$HEADWAY_HOME`, else `~/.headway`."""
    return Path(os.environ.get("HEADWAY_HOME") or Path.home() / ".headway").expanduser().absolute()


@dataclass(frozen=True)
class Settings:
    """The settings in force; frozen, so a value that was read never changes."""

    home: Path = _setting(None, "Folder that holds everything headway keeps.")
    host: str = _setting("127.0.0.1", "Address the server listens on. A public one needs --behind-proxy or TLS files.")
    port: int = _setting(8640, "Port of the pages and the API.")
    gateway_port: int = _setting(8641, "Port of the gateway, where endpoints answer.")
    notebooks_port: int = _setting(
        0, "Port of the notebooks' own origin. 0: the port after the gateway's, or a free one."
    )
    notebooks_idle_h: int = _setting(
        24, "Hours without browser and busy kernel after which JupyterLab stops. 0: never."
    )
    notebooks_url: str = _setting(
        "", "The notebooks' address, if a proxy stands in front: public_url with another port."
    )
    public_url: str = _setting("", "The address people use, if a proxy stands in front, e.g. https://ml.example.org.")
    behind_proxy: bool = _setting(False, "A trusted proxy in front ends TLS; allows a public address.")
    tls_certificate: str = _setting("", "PEM file with the certificate chain; turns TLS on.")
    tls_key: str = _setting("", "PEM file with the certificate's key.")
    allowed_hosts: str = _setting("", "Further host names, by comma, under which the server may be reached.")
    database_url: str = _setting("", "SQLAlchemy URL. Empty: SQLite in the home folder. postgresql+psycopg://...")
    slots: int = _setting(0, "Runs that may be active at once on this machine. 0: the number of cores.")
    run_timeout_s: int = _setting(0, "Time limit of a run that sets none, in seconds. 0: none.")
    run_memory_mb: int = _setting(0, "Memory limit of a run that sets none, in MiB. 0: none.")
    upload_mb: int = _setting(2048, "Largest file that may be uploaded, in MiB.")
    body_mb: int = _setting(8, "Largest body of a JSON request, in MiB. Artifacts and files have their own limit.")
    private_webhooks: bool = _setting(False, "Let webhooks go to private addresses and over plain http.")
    request_mb: int = _setting(32, "Largest body of a prediction request, in MiB.")
    in_flight: int = _setting(512, "Requests an endpoint may have in flight before it answers 503.")
    default_requirements: str = _setting("", "A new project's packages, by comma. Empty: the usual data science set.")
    session_days: int = _setting(30, "Days after which a browser must sign in again.")
    sample: bool = _setting(True, "Make the sample project at the first start.")
    open_browser: bool = _setting(False, "Open the sign-in link in a browser at the start.")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from overrides, environment, `headway.toml`, defaults. Raises `BadInput` naming what is wrong."""
        environ = os.environ if environ is None else environ
        home = (
            Path(overrides.pop("home", None) or environ.get("HEADWAY_HOME") or default_home()).expanduser().absolute()
        )
        values: dict[str, Any] = {}
        known = {f.name: f for f in fields(cls) if f.name != "home"}
        for name, value in _read_toml(home / "headway.toml").items():
            if name not in known:
                raise BadInput(f"headway.toml: unknown setting '{name}'.", hint="Known: " + ", ".join(sorted(known)))
            values[name] = value
        for name in known:
            if (raw := environ.get("HEADWAY_" + name.upper())) is not None:
                values[name] = raw
        values.update({k: v for k, v in overrides.items() if v is not None})
        hints = get_type_hints(cls)
        for name, value in values.items():
            if name not in known:
                raise BadInput(f"Unknown setting '{name}'.", hint="Known: " + ", ".join(sorted(known)))
            values[name] = _convert(name, value, hints[name])
        return cls(home=home, **values)

    @classmethod
    def table(cls) -> list[tuple[str, Any, str]]:
        """(name, default, help) of each setting, for the documentation and `headway doctor`."""
        return [(f.name, f.default, f.metadata["help"]) for f in fields(cls)]

    @property
    def url(self) -> str:
        """The address to print and to link to, without a slash at its end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        return f"{scheme}://{self._shown_host}:{self.port}"

    @property
    def gateway_url(self) -> str:
        """The gateway's address without a slash at its end."""
        return self.public_url.rstrip("/") if self.public_url else f"http://{self._shown_host}:{self.gateway_port}"

    @property
    def _shown_host(self) -> str:
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'headway.db'}"

    def path(self, *parts: str) -> Path:
        """A path below the home folder. Raises `BadPath` for parts that would leave it."""
        found = self.home.joinpath(*parts)
        if any(not p or ".." in Path(p).parts or Path(p).is_absolute() or "\0" in p for p in parts):
            raise BadPath(f"Not a path below the home folder: {'/'.join(parts)!r}")
        return found

    def socket(self, name: str) -> Path:
        """A path for a UNIX socket, short enough for the kernel, in a folder only this user may enter."""
        folder = self.home / "run"
        if len(os.fsencode(folder / name)) > _SOCKET_BYTES:
            mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"headway-{os.getuid()}-{mark}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise BadPath(f"{folder} belongs to another user.", hint="Remove it, or set TMPDIR to a folder of yours.")
        return folder / name


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from None


def _convert(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
                    "": False}[str(value).strip().lower()]  # fmt: skip
        if kind is int:
            number = int(value)
            if number < 0 or ("port" in name and number > 65535):
                raise ValueError
            return number
        return str(value)
    except (KeyError, ValueError):
        raise BadInput(f"Setting '{name}': expected {kind.__name__}, got {value!r}.") from None
