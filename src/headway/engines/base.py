"""What every engine speaks: a process is a `Spec`, placed by an `Engine`, known by its key, and it has a `Status`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["queued", "running", "exited", "lost"]
Cause = Literal["", "exited", "cancelled", "timed_out", "out_of_memory", "killed", "lost"]

# What a child may see of the server's own environment: where things lie, how to reach the network, nothing secret by name.
_ALLOWED = frozenset({
    "PATH", "LANG", "LANGUAGE", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_NO_INDEX",
    "UV_FIND_LINKS", "UV_NO_INDEX", "UV_INDEX_STRATEGY", "UV_KEYRING_PROVIDER", "UV_HTTP_TIMEOUT", "XDG_CONFIG_HOME",
    "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_CACHE_DIR", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    "UV_CONFIG_FILE", "UV_PYTHON_DOWNLOADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_HOME",
})  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a process may use: memory of its whole tree in MiB, wall time in seconds, cores (a hint to numeric libraries)."""

    memory_mb: int | None = None
    timeout_s: float | None = None
    cpu: float | None = None


@dataclass(frozen=True)
class Spec:
    """A process as it is wanted.

    `key` names it for ever: submitting a key twice starts one process. `folder` is where its record and output go.
    `sidecar` runs beside it, learns of its end by the end of its own input, and then has `sidecar_s` seconds.
    `secrets` are environment variables whose values are read from files (0600) at the start, so that no record holds them.
    `respawn`: how often the process is started again, on the same folder, when a signal killed it (one that can take up
    where it was). `stop_signal` is the first of INT/TERM -> `grace_s` -> TERM -> KILL.
    """

    key: str
    argv: tuple[str, ...]
    cwd: str
    folder: str
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    sidecar: tuple[str, ...] = ()
    grace_s: float = 10.0
    secrets: Mapping[str, str] = field(default_factory=dict)
    sidecar_s: float = 60.0
    respawn: int = 0
    stop_signal: Literal["INT", "TERM"] = "INT"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"env": dict(self.env), "secrets": dict(self.secrets)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Spec:
        """The inverse of `as_dict`; names it does not know are left out, so that an older row is still read."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["limits"] = Limits(**known.get("limits", {}))
        known["argv"], known["sidecar"] = tuple(known["argv"]), tuple(known.get("sidecar", ()))
        return cls(**known)


@dataclass(frozen=True)
class Status:
    """How a process is. Times are milliseconds since the epoch; `settled` says that its sidecar is done too.

    `cause` is empty while it lives. `exit_code` is None when a signal ended it, and `signal` None when none did.
    `memory_kills` counts processes below it that the kernel killed for memory; `detail` is a sentence for people.
    """

    state: State
    cause: Cause = ""
    exit_code: int | None = None
    signal: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    peak_memory_mb: float | None = None
    settled: bool = False
    memory_kills: int = 0
    detail: str = ""

    @property
    def over(self) -> bool:
        """Whether the process has ended, however it did."""
        return self.state in ("exited", "lost")


@dataclass(frozen=True)
class Node:
    """A machine of the engine: cores, memory in MiB (0 = unknown)."""

    id: str
    cpu: float
    memory_mb: int
    free_memory_mb: int
    state: str = "up"


class Engine(Protocol):
    """Places processes. Every verb is idempotent; a handle is a string that outlives the server."""

    name: str

    def submit(self, spec: Spec) -> str:
        """Start `spec` unless its key was started before; the handle. Raises `Unavailable` when it can't be started now."""
        ...

    def status(self, handle: str) -> Status:
        """How the process is. An unknown handle is `lost`, never an error."""
        ...

    def cancel(self, handle: str, grace_s: float | None = None) -> None:
        """Ask it to end: first signal, `grace_s` seconds, TERM, KILL of the whole tree. Nothing happens if it is over."""
        ...

    def watch(self, handle: str, call: Callable[[], None]) -> bool:
        """Call `call` once, from another thread, when a process that runs has ended or may have. Asked for again before that, it
        changes nothing. False if this can't be promised: who wants to know looks by itself."""
        ...

    def logs(self, handle: str, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Up to `limit` bytes of its standard output and error from byte `offset`; empty past the end."""
        ...

    def resources(self) -> list[Node]:
        """The machines and what is free on them."""
        ...

    def forget(self, handle: str) -> None:
        """Drop the record of a process that is over (its folder stays)."""
        ...

    def list(self, prefix: str = "") -> list[tuple[str, str, Status]]:
        """(key, handle, status) of all processes known whose key begins with `prefix`."""
        ...


def child_environment(extra: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: the allow-list of the server's own, then `extra`."""
    own = os.environ if environ is None else environ
    kept = {name: value for name, value in own.items() if name in _ALLOWED or name.startswith("LC_")}
    kept.setdefault("PATH", os.defpath)
    kept.setdefault("HOME", str(Path.home()))
    kept.setdefault("LANG", "C.UTF-8")
    return kept | dict(extra)
