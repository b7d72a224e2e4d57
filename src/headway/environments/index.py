"""Where packages come from: the index that this machine's administrator configured, and no other.

uv reads its own settings (`uv.toml`, `UV_*`). Many machines are set up for pip only, so where uv has no index of its own,
pip's settings are handed on. An index named in requirements is never used (`ask` refuses it).
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

_UV_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX")


def uv_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that make uv use pip's index settings; empty where uv is configured itself."""
    if any(environ.get(name) for name in _UV_INDEX) or any(path.is_file() for path in _uv_files(environ)):
        return {}
    settings = _pip_settings(environ)
    found = {
        "UV_DEFAULT_INDEX": settings.get("index-url", "").strip(),
        "UV_INDEX": " ".join(url for url in settings.get("extra-index-url", "").split() if _reachable(url)),
        "UV_FIND_LINKS": ",".join(place for place in settings.get("find-links", "").split() if _reachable(place)),
        "UV_NO_INDEX": "1" if settings.get("no-index", "").strip().lower() in ("1", "true", "yes", "on") else "",
    }
    if found["UV_INDEX"] and not environ.get("UV_INDEX_STRATEGY"):
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # what pip does with these very settings
    return {name: value for name, value in found.items() if value}


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    named = environ.get("UV_CONFIG_FILE")
    return [config / "uv/uv.toml", Path("/etc/uv/uv.toml"), Path("/etc/xdg/uv/uv.toml")] + (
        [Path(named)] if named else []
    )


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's `[global]` and `[install]` settings by its own order: machine, user, named file, environment."""
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if named := environ.get("PIP_CONFIG_FILE"):
        files = [] if named == os.devnull else [*files, Path(named)]
    settings: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip itself reports a broken file; it says nothing about an index that we could use
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for name in ("index-url", "extra-index-url", "find-links", "no-index"):
        if value := environ.get("PIP_" + name.upper().replace("-", "_")):
            settings[name] = value
    return settings


def _reachable(place: str) -> bool:
    """False for a local folder that is not there: pip passes over it, uv would stop."""
    if place.startswith("file://"):
        return Path(place.removeprefix("file://")).is_dir()
    return "://" in place or Path(place).exists()
