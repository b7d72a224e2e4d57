"""The MLflow REST protocol, as much of it as the shipper speaks, and points in columns. Standard library only."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from headway.sdk.points import MEDIA_TYPE

__all__ = ["Refused", "Server", "Unreachable"]

TIMEOUT_S = 60
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unreachable(Exception):
    """The server is away, overloaded or failing: try again later."""


class Refused(Exception):
    """The server will not take this, however often it is sent. `.status` is its answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Server:
    """A tracking server at `url`; the bearer token is read from its file at each call, as it may be renewed."""

    def __init__(self, url: str, token_file: str | None = None, project: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._project = project
        local = urllib.parse.urlsplit(url).hostname in _LOOPBACK
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One JSON call below `/api/2.0/mlflow/`. Raises Unreachable or Refused."""
        url = f"{self.url}/api/2.0/mlflow/{path}"
        data = None
        if method == "GET":
            url += "?" + urllib.parse.urlencode(body or {})
        elif body is not None:
            data = json.dumps(_finite(body)).encode()
        answer = self._send(urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method))
        try:
            value = json.loads(answer or b"{}")
        except ValueError as error:
            raise Unreachable(f"{path}: the answer is no JSON") from error
        return value if isinstance(value, dict) else {}

    def points(self, run: str, body: bytes) -> None:
        """Columns of points (`sdk/points.py`) into a run; the same body counts once, however often it is sent."""
        url = f"{self.url}/api/v1/runs/{urllib.parse.quote(run, safe='')}/points"
        headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": hashlib.sha256(body).hexdigest()}
        self._send(urllib.request.Request(url, body, headers, method="POST"))

    def put(self, path: str, content: bytes | Path) -> None:
        """Uploads one artifact to its path below the artifact root."""
        url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path)}"
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(content, bytes):
            self._send(urllib.request.Request(url, content, headers, method="PUT"))
            return
        with content.open("rb") as stream:
            headers["Content-Length"] = str(content.stat().st_size)
            self._send(urllib.request.Request(url, _Body(stream), headers, method="PUT"))

    def _send(self, request: urllib.request.Request) -> bytes:
        token = self._token()
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if self._project:
            request.add_header("X-MLFLOW-WORKSPACE", self._project)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            message = error.read(2000).decode("utf-8", "replace")
            if error.code >= 500 or error.code in (408, 425, 429):
                raise Unreachable(f"{error.code}: {message[:300]}") from error
            raise Refused(error.code, message[:500]) from error
        except (OSError, ValueError) as error:
            raise Unreachable(str(error)) from error

    def _token(self) -> str:
        if not self._token_file:
            return ""
        try:
            return Path(self._token_file).read_text(encoding="utf-8").strip()
        except OSError:
            return ""


class _Body:
    """A file as an upload's body, in pieces."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = 1 << 20) -> bytes:
        return self._stream.read(size)

    def __iter__(self) -> Iterable[bytes]:
        while piece := self.read():
            yield piece


def artifact_path(uri: str) -> str | None:
    """`mlflow-artifacts:/1/abc/artifacts` (with or without a host) as the path that `put` takes; None for others."""
    parts = urllib.parse.urlsplit(uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" else None


def _finite(value: Any) -> Any:
    """Numbers that JSON has no literal for, in the words that the protocol takes."""
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
