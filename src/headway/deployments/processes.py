"""The processes of a revision as Specs, and the files they leave: proof, replicas, their logs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from headway.deployments.tables import Revision
from headway.engines.base import Limits, Spec
from headway.engines.host import Host

_PROOF_S = 600.0
_LOG_BYTES = 256 << 10


def folder(host: Host, revision_id: str) -> Path:
    """All of a revision's files."""
    return host.settings.path("deployments", revision_id)


def bundle_folder(host: Host, revision_id: str) -> Path:
    """The bundle as a replica reads it."""
    return folder(host, revision_id) / "bundle"


def _environment(host: Host) -> dict[str, str]:
    # Only the package's own parts are importable, not the server's libraries; one thread a replica until it asks for more:
    # numeric libraries that each take all cores make each other slow.
    return {"PYTHONPATH": str(host.runtime), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}  # fmt: skip


def proof(host: Host, row: Revision, python: Path) -> Spec:
    """Loads the bundle in its clean environment and replays its examples."""
    where = folder(host, row.id)
    argv = (
        str(python),
        "-m",
        "headway.modelserver",
        "prove",
        "--verdict",
        str(where / "verdict.json"),
        str(where / "bundle"),
    )
    limits = Limits(memory_mb=row.memory_mb, timeout_s=_PROOF_S)
    return Spec(f"proof-{row.id}", argv, str(where), str(where / "proof"), env=_environment(host), limits=limits)


def replica_key(revision_id: str, index: int) -> str:
    """The key of a replica's process."""
    return f"replica-{revision_id}-{index}"


def socket_of_key(host: Host, key: str) -> str:
    """Where the replica of that key listens."""
    _, revision_id, index = key.split("-")
    return str(host.settings.socket(f"r{revision_id[:16]}-{index}"))


def replica(host: Host, row: Revision, index: int, python: Path) -> Spec:
    """Answers frames on its socket."""
    where = folder(host, row.id)
    key = replica_key(row.id, index)
    argv = (
        str(python),
        "-m",
        "headway.modelserver",
        "serve",
        "--socket",
        socket_of_key(host, key),
        str(where / "bundle"),
    )
    limits = Limits(memory_mb=row.memory_mb)
    return Spec(key, argv, str(where), str(where / f"replica-{index}"), env=_environment(host), limits=limits, grace_s=12.0,
                stop_signal="TERM")  # fmt: skip


def forget_verdict(host: Host, revision_id: str) -> None:
    """A proof begins anew."""
    (folder(host, revision_id) / "verdict.json").unlink(missing_ok=True)


def verdict(host: Host, revision_id: str) -> dict[str, Any] | None:
    """What the proof found; None if it left nothing sound."""
    try:
        value = json.loads((folder(host, revision_id) / "verdict.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"ok", "reason", "hint"} <= value.keys() else None


def proof_log(host: Host, revision_id: str) -> str:
    """What the proof printed."""
    return tail(folder(host, revision_id) / "proof" / "output.log")


def replica_log(host: Host, revision_id: str, index: int = 0) -> str:
    """What the replica printed, over its last starts."""
    where = folder(host, revision_id)
    name = re.compile(rf"replica-{index}(?:\.(\d+))?")
    starts = [(int(m[1] or 1), p) for p in where.glob(f"replica-{index}*") if (m := name.fullmatch(p.name))]
    return "".join(tail(path / "output.log") for _, path in sorted(starts))


def newest_log(host: Host, revision_id: str, index: int = 0) -> Path:
    """The file that the replica which runs now writes."""
    where = folder(host, revision_id)
    found = [p / "output.log" for p in where.glob(f"replica-{index}*") if (p / "output.log").is_file()]
    return max(found, key=lambda p: p.stat().st_mtime_ns, default=where / f"replica-{index}" / "output.log")


def tail(path: Path, size: int = _LOG_BYTES) -> str:
    """The end of a log; empty while there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - size))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_line(text: str) -> str:
    """The last line that says something, cut to a sentence's length."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:300]
