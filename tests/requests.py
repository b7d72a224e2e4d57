"""A request for any route: its path filled with what there is, and a body that passes its validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import params
from httpx import Response
from pydantic import BaseModel
from starlette.testclient import TestClient

from headway.sdk import points
from tests.routes import Known
from tests.scene import Scene

# A value that makes sense for a field of this name, wherever it stands.
SAMPLES: dict[str, Any] = {
    "to": "moved.py", "role": "viewer", "scope": "read", "text": "numpy\n", "cron": "0 6 * * *", "zone": "UTC", "key": "loss",
    "kind": "proof", "revision": 1, "number": 1, "percent": 10, "replicas": 1, "verb": "delete", "what": "requests",
    "admin": "no", "disabled": "no", "archived": "yes", "life": "30", "full_name": "Some One", "old": "",
    "new": "a good password", "again": "a good password", "theme": "dark", "description": "words", "days": 3,
}  # fmt: skip
# What a route needs beyond that.
MORE: dict[str, dict[str, Any]] = {
    "POST /api/v1/tokens": {"name": "mine", "scope": "read"},
    "POST /settings/tokens": {"name": "mine", "project": "every"},
    "POST /api/v1/users": {"name": "newcomer"},
    "POST /settings/profile": {"name": "renamed"},
    "POST /new-project": {"name": "New"},
    "POST /api/v1/projects": {"name": "New"},
    "POST /p/{slug}/settings": {"name": "Renamed"},
    "POST /p/{slug}/files/folder": {"name": "folder", "path": ""},
    "POST /p/{slug}/files/upload": {"path": ""},
    "GET /p/{slug}/files": {"path": ""},
    "GET /api/v1/projects/{slug}/files": {"path": ""},
    "GET /p/{slug}/files/raw": {"path": "plot.png"},
    "POST /settings/theme": {"theme": "dark"},
    "PATCH /api/v1/users/{user_id}": {"admin": False},
    "POST /api/v1/projects/{slug}/import/traces/absent": {"trace_ids": []},
    "POST /api/v1/projects/{slug}/import/traces": {"traces": []},
}
# Bodies that are no JSON.
CONTENT: dict[str, bytes] = {
    "POST /api/v1/runs/{run_id}/points": points.pack({"loss": points.Columns([1], [2], [0.5])}),
}


@dataclass
class Ask:
    """A request, ready to be sent by anybody."""

    method: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    form: dict[str, Any] | None = None
    content: bytes | None = None
    files: Any = None

    def send(self, client: TestClient, **more: Any) -> Response:
        body = {"json": self.json, "data": self.form, "content": self.content, "files": self.files}
        given = {name: value for name, value in body.items() if value is not None}
        return client.request(self.method, self.path, params=self.query or None, **given, **more)


def fill(route: Known, scene: Scene, **objects: str) -> Ask:
    """The request for a route; `objects` take the place of the scene's own."""
    known = scene.objects | objects
    path = route.path
    if "/notebooks/{path" in path:
        known = known | {"path": "note.ipynb"}
    for name in _names(path):
        value = str(known.get(name, SAMPLES.get(name, "x")))
        path = path.replace("{" + name + "}", value).replace("{" + name + ":path}", value)
    ask = Ask(route.method, path)
    if route.route is None:
        return ask
    more = MORE.get(route.name, {})
    ask.query = {
        p.name: _sample(p.name, known, more)
        for p in route.route.dependant.query_params
        if p.field_info.is_required() or p.name in more
    }
    _body(ask, route, known, more)
    return ask


def _body(ask: Ask, route: Known, known: dict[str, str], more: dict[str, Any]) -> None:
    assert route.route is not None
    fields = list(_fields(route.route.dependant))
    forms = [f for f in fields if isinstance(f.field_info, params.Form) and not isinstance(f.field_info, params.File)]
    models = [f for f in fields if not isinstance(f.field_info, params.Form)]
    if route.name in CONTENT:
        ask.content = CONTENT[route.name]
    elif route.method == "PUT" and route.path.endswith("{path:path}"):
        ask.content = b"print(2)\n"
    elif route.path.endswith("/files/upload"):
        ask.form, ask.files = dict(more), [("files", ("new.txt", b"new"))]
    elif forms:
        ask.form = {f.name: _sample(f.name, known, more) for f in forms}
    elif models:
        model = models[0].field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        needed = {name: _sample(name, known, more) for name, one in model.model_fields.items() if one.is_required()}
        ask.json = needed | {name: value for name, value in more.items() if name in model.model_fields}


def _fields(dependant: Any) -> Iterator[Any]:
    yield from dependant.body_params
    for inner in dependant.dependencies:
        yield from _fields(inner)


def _sample(name: str, known: dict[str, str], more: dict[str, Any]) -> Any:
    if name in more:
        return more[name]
    if name in SAMPLES:
        return SAMPLES[name]
    return {"runs": known["run_id"], "model_name": "churn"}.get(name, known.get(name, "x"))


def _names(path: str) -> list[str]:
    return [
        part[1:-1].partition(":")[0]
        for part in path.replace("/", " /").replace("/", "").split()
        if part.startswith("{")
    ]
