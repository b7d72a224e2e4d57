"""The package as users' processes see it: a folder that holds only `headway`'s parts that need the standard library alone.

Users' processes get this folder, and not our site-packages, so nothing of our dependencies leaks into their environments, and
an upgrade does not change a process that already runs.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path

PARTS = ("boot.py", "bundle.py", "clock.py", "errors.py", "frames.py", "parts.py", "signature.py", "__init__.py", "py.typed",
         "capture", "runner", "modelserver", "sdk")  # fmt: skip


def install(root: Path) -> Path:
    """The folder below `root` for `HEADWAY_RUNTIME`; made once for each content of the parts, whole or not at all."""
    package = Path(__file__).resolve().parent
    files = sorted(path for part in PARTS for path in _files(package / part))
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    folder = root / digest.hexdigest()[:16]
    if folder.is_dir():
        return folder
    building = root / f".{folder.name}.{secrets.token_hex(4)}"
    for path in files:
        target = building / "headway" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    try:
        building.rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [found for found in path.rglob("*") if found.is_file() and "__pycache__" not in found.parts]
    return [path] if path.exists() else []
