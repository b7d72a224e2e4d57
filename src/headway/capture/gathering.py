"""What only the machine of a run can tell: hashes of the files it read, git's state, the figures it saved elsewhere.

Where the record is sent later or from elsewhere (`headway track --to`), it is gathered into the spool when the program ends.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from headway.capture.redact import redact, redact_code

__all__ = ["FILE", "gather", "gathered", "git_state", "hash_key", "hash_of"]

FILE = "gathered.json"
HASH_LIMIT = 4 * 1024**3
FIGURE_LIMIT = 20 * 1024**2
FIGURES = 60
DIFF_LIMIT = 1024 * 1024


def gather(spool: Path, record: dict[str, Any], folder: str) -> None:
    """Write `gathered.json`, and copies of figures that lie outside the spool."""
    hashes = {hash_key(d): hash_of(d) for d in record["data"] if d["kind"] == "file"}
    figures: dict[str, str] = {}
    for number, figure in enumerate(record["figures"][:FIGURES], 1):
        path = Path(figure["path"])
        try:
            if not path.is_relative_to(spool) and path.stat().st_size <= FIGURE_LIMIT:
                kept = spool / "figures" / f"kept-{number:02d}-{path.name}"
                kept.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, kept)
                figures[figure["path"]] = kept.name
        except OSError:
            continue
    value = {"hashes": hashes, "figures": figures, "git": git_state(folder)}
    new = spool / f"{FILE}.tmp"
    new.write_text(json.dumps(value), encoding="utf-8")
    new.replace(spool / FILE)


def gathered(spool: Path) -> dict[str, Any]:
    """What `gather` left, {} if it did not run."""
    try:
        value = json.loads((spool / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def hash_key(item: dict[str, Any]) -> str:
    """By which a file of one state is known."""
    return f"{item['path']}:{item['size']}:{item['mtime']}"


def hash_of(item: dict[str, Any]) -> str:
    """The sha256 of a file that was read; "" if it is gone, has changed since, or is very large."""
    try:
        status = Path(item["path"]).stat()
        if status.st_mtime == item["mtime"] and status.st_size <= HASH_LIMIT:
            with Path(item["path"]).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        pass
    return ""


def git_state(folder: str) -> dict[str, Any]:
    """`{"tags": {...}, "diff": text}` of the commit and the uncommitted changes of a folder; {} where there is no commit."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return {}
    diff = redact_code(_git(folder, "diff", "HEAD", "--no-ext-diff") or "")[:DIFF_LIMIT]
    tags = {
        "mlflow.source.git.commit": head,
        "mlflow.source.git.branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "",
        "headway.git.dirty": str(bool(diff)).lower(),
    }
    remote = str(redact(_git(folder, "config", "--get", "remote.origin.url") or ""))
    if remote:
        tags["mlflow.source.git.repoURL"] = remote
    return {"tags": tags, "diff": diff}


def _git(folder: str, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
