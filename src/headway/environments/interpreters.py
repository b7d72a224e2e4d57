"""The Pythons of this machine. headway never downloads one: a version that is missing is an error that names those present."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from headway.errors import Unprocessable

OLDEST = (3, 11)


@dataclass(frozen=True)
class Interpreter:
    """A CPython of this machine: its path, its version (`3.11.7`) and its platform (`linux-x86_64-gnu`)."""

    path: str
    version: str
    platform: str

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])


def own() -> Interpreter:
    """The one that headway itself runs on."""
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl" if sys.platform == "linux" else "none"
    path = getattr(sys, "_base_executable", None) or sys.executable
    name = f"{sysconfig.get_platform()}-{libc}"
    return Interpreter(path, platform.python_version(), name)


def installed(uv: str, environ: Mapping[str, str]) -> list[Interpreter]:
    """Every CPython that uv finds on this machine, newest first; headway's own is among them."""
    command = [uv, "python", "list", "--only-installed", "--no-python-downloads", "--output-format", "json"]
    answer = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=60, check=False)
    mine = own()
    found = {mine.version: mine}
    for entry in json.loads(answer.stdout) if answer.returncode == 0 else []:
        version = str(entry["version"])
        usable = entry["implementation"] == "cpython" and entry["variant"] == "default" and entry["path"]
        if usable and Version(version).release[:2] >= OLDEST:
            name = f"{entry['os']}-{entry['arch']}-{entry['libc']}"
            found.setdefault(version, Interpreter(entry["path"], version, name))
    return sorted(found.values(), key=lambda item: Version(item.version), reverse=True)


def choose(specifier: str, present: Sequence[Interpreter], preferred: Interpreter) -> Interpreter:
    """The preferred interpreter if it fits `specifier`, else the newest that does. Raises `Unprocessable`."""
    wanted = SpecifierSet(specifier)
    if wanted.contains(preferred.version, prereleases=True):
        return preferred
    for candidate in present:
        if wanted.contains(candidate.version, prereleases=True):
            return candidate
    names = ", ".join(item.version for item in present) or "none"
    raise Unprocessable(
        f"Python {specifier} is asked for, and this machine has {names}.",
        hint=f"Install a matching Python (e.g. with the system's packages) or ask for {preferred.minor}.",
        present=[item.version for item in present],
    )
