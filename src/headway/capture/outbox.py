"""What goes to the server, once: every call leaves behind, on disk, what the server has. Idempotent."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway.capture import gathering, wording
from headway.capture.wire import Refused, Server
from headway.errors import BadInput
from headway.sdk.points import Columns, pack

__all__ = ["Outbox", "Sent"]

POINTS_A_CALL, PARAMS_A_CALL = 50_000, 100


@dataclass
class Sent:
    """What the server has, kept in `shipped.json` of the spool."""

    run_id: str = ""
    experiment_id: str = ""
    project: str = ""
    root: str = ""
    created: bool = False
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    finished: bool = False

    @staticmethod
    def load(path: Path) -> Sent:
        try:
            return Sent(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Sent()

    def save(self, path: Path) -> None:
        part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)


class Outbox:
    """One spool's calls to the server. Each raises Unreachable when the server is away; what it refuses is noted."""

    def __init__(self, server: Server, spool: Path) -> None:
        self.server = server
        self.spool = spool
        self._path = spool / "shipped.json"
        self.sent = Sent.load(self._path)
        self.gathered = gathering.gathered(spool)

    def save(self) -> None:
        self.sent.save(self._path)

    def batch(self, run: str, params: dict[str, Any], points: dict[str, list[Any]], tags: dict[str, str]) -> None:
        """What is new of a run's parameters, series and tags."""
        new_params = {
            k: text for k, v in params.items() if (text := wording.text(v)) and f"{run}:{k}" not in self.sent.params
        }
        new_tags = {k: v for k, v in tags.items() if self.sent.tags.get(f"{run}:{k}") != v}
        todo_params = list(new_params.items())
        while todo_params or new_tags:
            few, todo_params = todo_params[:PARAMS_A_CALL], todo_params[PARAMS_A_CALL:]
            self._log(run, dict(few), new_tags)
            self.sent.params.update({f"{run}:{k}": v for k, v in few})
            self.sent.tags.update({f"{run}:{k}": v for k, v in new_tags.items()})
            new_tags = {}
            self.save()
        waiting = {k: new for k, series in points.items() if (new := series[self.sent.metrics.get(f"{run}:{k}", 0) :])}
        while waiting:
            some, left = {}, POINTS_A_CALL
            for name in list(waiting)[:POINTS_A_CALL]:
                some[name], rest = waiting[name][:left], waiting.pop(name)[left:]
                left -= len(some[name])
                if rest:
                    waiting[name] = rest
                if not left:
                    break
            self._points(run, some)
            for name, told in some.items():
                key = f"{run}:{name}"
                self.sent.metrics[key] = self.sent.metrics.get(key, 0) + len(told)
            self.save()

    def _points(self, run: str, some: dict[str, list[Any]]) -> None:
        """Columns of points ([step, value, milliseconds] each); one bad name must not lose the others."""
        try:
            columns = {
                k: Columns([int(p[0]) for p in rows], [int(p[2]) for p in rows], [float(p[1]) for p in rows])
                for k, rows in some.items()
            }
            self.server.points(run, pack(columns))
        except (Refused, BadInput, ValueError, TypeError, OverflowError) as error:
            if len(some) == 1:
                name, rows = next(iter(some.items()))
                self.sent.refused.append(f"{name}, {len(rows)} points: {error}"[:500])
                return
            for name, rows in some.items():
                self._points(run, {name: rows})

    def _log(self, run: str, params: dict[str, str], tags: dict[str, str]) -> None:
        body = {"run_id": run, "params": wording.pairs(params), "tags": wording.pairs(tags)}
        try:
            self.server.call("POST", "runs/log-batch", body)
        except Refused as error:
            if len(params) + len(tags) <= 1:
                self.sent.refused.append(f"{str(params or tags)[:200]}: {error}"[:500])
                return
            # One bad value must not lose the others.
            for name, value in params.items():
                self._log(run, {name: value}, {})
            for name, value in tags.items():
                self._log(run, {}, {name: value})

    def upload(self, name: str, content: bytes | Path) -> None:
        """A file of the run, unless the server has it as it is. One that is given by its path need not fit into memory."""
        if not self.sent.root:
            return
        digest = _digest(content)
        if self.sent.files.get(name) == digest:
            return
        try:
            self.server.put(f"{self.sent.root}/{name}", content)
        except Refused as error:
            self.sent.refused.append(f"{name}: {error}"[:500])
        self.sent.files[name] = digest
        self.save()


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
