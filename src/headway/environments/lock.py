"""Locks: the exact version of every package, and the name of an environment that has precisely those.

Pure: what uv answered comes in as text, and `build` is what runs uv.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from headway.environments.interpreters import Interpreter
from headway.errors import Unprocessable

FORMAT = "1"  # raise it when a build of the same packages would give another folder
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=(?P<hash>[a-z0-9]+:[0-9a-f]+)")


def pins(text: str) -> list[str]:
    """`name==version` of each package of a lock, names normalised, sorted: what decides whether two locks are one."""
    found = {}
    for line in text.splitlines():
        if match := _PIN.match(line.strip()):
            found[canonicalize_name(match["name"])] = match["version"]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def exact(requirements: Iterable[str]) -> list[str] | None:
    """The pins if every requirement is one (`==`, no wildcard, no marker), else None."""
    found = []
    for text in requirements:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:
            return None
        clauses = list(parsed.specifier)
        if len(clauses) != 1 or clauses[0].operator != "==" or clauses[0].version.endswith("*") or parsed.marker:
            return None
        found.append(f"{canonicalize_name(parsed.name)}=={clauses[0].version}")
    return sorted(set(found))


def digest(pinned: Iterable[str], interpreter: Interpreter) -> str:
    """The environment's name: 32 hex characters over packages, Python, platform and the format of our builds."""
    lines = [f"format {FORMAT}", f"python {interpreter.version}", f"platform {interpreter.platform}", *sorted(pinned)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def narrowed(text: str, allowed: Mapping[str, tuple[str, ...]]) -> str:
    """The lock with only those file hashes that were asked for. Raises `Unprocessable` where none of them is on the index."""
    if not allowed:
        return text
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    return "".join(_narrow(block, allowed) for block in blocks)


def _narrow(block: str, allowed: Mapping[str, tuple[str, ...]]) -> str:
    match = _PIN.match(block)
    wanted = allowed.get(canonicalize_name(match["name"])) if match else None
    if match is None or not wanted:
        return block
    kept = [found["hash"] for found in _HASH.finditer(block) if found["hash"] in wanted]
    if not kept:
        raise Unprocessable(
            f"No file of {match['name']} {match['version']} on the package index has one of the hashes that were given.",
            hint="The hashes are for another version or another index. Check them, or leave them out.",
        )
    return f"{match['name']}=={match['version']} \\\n" + " \\\n".join(f"    --hash={value}" for value in kept) + "\n"


def difference(old: str, new: str) -> list[tuple[str, str, str]]:
    """(package, old version, new version) of each package that differs; an empty version: it is not there."""
    before = dict(pin.split("==", 1) for pin in pins(old))
    after = dict(pin.split("==", 1) for pin in pins(new))
    names = sorted(before.keys() | after.keys())
    return [(n, before.get(n, ""), after.get(n, "")) for n in names if before.get(n) != after.get(n)]
