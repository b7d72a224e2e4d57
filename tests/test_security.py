"""Hostile inputs at the door: foreign sites, foreign hosts, forged forms, names that bite, paths that climb.

The numbers in the names are those of the project's list of hostile inputs.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from httpx import Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from headway.settings import Settings
from headway.web import safety
from tests.requests import fill
from tests.routes import Known, all_routes
from tests.scene import Scene, make
from tests.world import HOST
from tests.world import world as open_world

MEGABYTE = 1 << 20
BITING = [
    "<script>alert(1)</script>",
    "a\u202eb",
    "\"'><img src=x onerror=alert(1)>",
    "{{7*7}}",
    "${7*7}",
    "'; DROP TABLE users;--",
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_world(tmp_path_factory.mktemp("security") / "home") as world:
        yield make(world)


@pytest.fixture(autouse=True)
def fresh(scene: Scene) -> None:
    scene.restore()


@pytest.fixture
def owner(scene: Scene) -> TestClient:
    return scene.world.client(scene.people["owner"], page=True)


@pytest.fixture(scope="module")
def routes(scene: Scene) -> list[Known]:
    return all_routes(scene.world.app)


def unsafe(routes: list[Known]) -> list[Known]:
    """Routes that change something, and are not there to let somebody in."""
    free = ("/login", "/welcome", "/join", "/logout", "/endpoints/", "/notebooks/")
    return [r for r in routes if r.method in ("POST", "PUT", "PATCH", "DELETE") and not r.path.startswith(free)]


# ------------------------------------------------------------------ 19: forged requests


def test_19_every_write_with_a_cookie_needs_the_csrf_token(
    scene: Scene, routes: list[Known], owner: TestClient
) -> None:
    del owner.headers["x-csrf-token"]
    let_in = []
    for route in unsafe(routes):
        answer = fill(route, scene).send(owner)
        if answer.status_code != 403:
            let_in.append(f"{route.name}: {answer.status_code}")
    assert not let_in


def test_19_a_foreign_csrf_token_is_none(scene: Scene, owner: TestClient) -> None:
    other = scene.world.client(scene.people["editor"])
    owner.headers["x-csrf-token"] = other.headers["x-csrf-token"]
    assert owner.post("/api/v1/projects", json={"name": "x"}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", ""])
def test_19_json_smuggled_as_text(owner: TestClient, kind: str) -> None:
    del owner.headers["x-csrf-token"]
    answer = owner.post("/api/v1/projects", content=b'{"name": "x"}', headers={"content-type": kind})
    assert answer.status_code == 403


def test_19_text_plain_is_no_json_even_with_a_token(scene: Scene) -> None:
    client = scene.world.client(token=scene.world.token(scene.people["owner"]))
    answer = client.post("/api/v1/projects", content=b'{"name": "x"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{HOST}.evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8640"},
        {"origin": f"ftp://{HOST}"},
        {"origin": "http://[::1"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_19_writes_from_other_sites(
    scene: Scene, routes: list[Known], owner: TestClient, headers: dict[str, str]
) -> None:
    for path in ("/api/v1/projects", "/login", "/welcome", "/join", "/settings/profile"):
        answer = owner.post(path, headers=headers, json={"name": "x"})
        assert (answer.status_code, "another site" in answer.text) == (403, True)
    assert owner.get("/api/v1/me", headers=headers).status_code == 200  # looking is harmless: no other site can read it
    assert "access-control-allow-origin" not in owner.get("/api/v1/me", headers=headers).headers


@pytest.mark.parametrize(
    "headers", [{"origin": f"http://{HOST}"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {}]
)
def test_19_writes_from_our_own_pages(owner: TestClient, headers: dict[str, str]) -> None:
    assert owner.post("/api/v1/projects", headers=headers, json={"name": "x"}).status_code == 201


def test_19_a_program_with_a_token_may_come_from_anywhere(scene: Scene) -> None:
    client = scene.world.client(token=scene.world.token(scene.people["owner"]))
    assert (
        client.post("/api/v1/projects", headers={"origin": "https://app.example"}, json={"name": "x"}).status_code
        == 201
    )


def test_20_a_websocket_from_another_site_is_refused_before_it_opens(scene: Scene, routes: list[Known]) -> None:
    sockets = [fill(route, scene).path for route in routes if route.method == "WEBSOCKET"]
    assert sockets
    for path in sockets:
        client = scene.world.client(scene.people["owner"])
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect(path, headers={"origin": "https://evil.example"}),
        ):
            pass
        assert refused.value.code == 1008


# ------------------------------------------------------------------ 21: hosts


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8640", "127.0.0.2", "0.0.0.0", "localhost.evil", "[::2]", "[::1",
     "a b", "127.0.0.1@evil.example", "evil.example#127.0.0.1", ""],
)  # fmt: skip
def test_21_a_host_that_is_not_ours(owner: TestClient, host: str) -> None:
    for path in ("/", "/api/v1/me", "/login", "/static/css/app.css"):
        answer = owner.get(path, headers={"host": host})
        assert answer.status_code in (400, 421), (path, answer.status_code)
        assert "<script>" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8640", "LOCALHOST", "[::1]:8640", HOST])
def test_21_hosts_that_are(owner: TestClient, host: str) -> None:
    assert owner.get("/health", headers={"host": host}).status_code == 200


def test_21_which_hosts_a_setting_adds() -> None:
    def hosts(**settings: Any) -> frozenset[str]:
        return safety.hosts_of(Settings.load({}, home="/tmp/x", **settings))

    own = {"127.0.0.1", "localhost", "::1"}
    assert hosts() == own
    assert hosts(public_url="https://ML.example.org/") == own | {"ml.example.org"}
    assert hosts(allowed_hosts="a.example, [::5]") == own | {"a.example", "::5"}
    assert hosts(host="10.0.0.5") == own | {"10.0.0.5"}
    assert "0.0.0.0" not in hosts(host="0.0.0.0")


def test_a_write_through_a_tls_proxy(scene: Scene) -> None:
    """The proxy speaks http to us and https to the browser: the browser's origin is the public address."""
    with open_world(
        scene.world.host.settings.home / "proxied", public_url="https://ml.example.org", behind_proxy=True
    ) as world:
        client = world.client(world.user("ada"))
        headers = {"host": "ml.example.org", "origin": "https://ml.example.org"}
        assert client.post("/api/v1/projects", headers=headers, json={"name": "x"}).status_code == 201
        headers["origin"] = "https://other.example.org"
        assert client.post("/api/v1/projects", headers=headers, json={"name": "x"}).status_code == 403


# ------------------------------------------------------------------ 18: sign-in, sessions (see also tests/people)


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t//evil.example", "javascript:alert(1)"]
)
def test_no_open_redirect(scene: Scene, target: str) -> None:
    client = scene.world.client(scene.people["owner"], page=True)
    assert client.get("/login", params={"next": target}).headers["location"] == "/"
    page = scene.world.client(page=True).get("/login", params={"next": target})
    assert 'name="next" value="/"' in page.text


def test_the_way_to_the_sign_in_comes_back_here(scene: Scene) -> None:
    answer = scene.world.client(page=True).get("/p/churn/runs?q=a%26b&next=//evil")
    assert answer.headers["location"].startswith("/login?next=/p/churn/runs")
    assert "\n" not in answer.headers["location"]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: stolen=1", "a\nX-Evil: 1", "%0d%0aX-Evil:%201"])
def test_no_header_injection(scene: Scene, owner: TestClient, value: str) -> None:
    answers = [
        owner.get("/login", params={"next": "/" + value}),
        owner.get("/p/churn/files/download", params={"path": value}),
        owner.post("/p/churn/files/folder", data={"path": "", "name": value}),
        owner.post("/settings/profile", data={"name": "olga", "full_name": value}),
        owner.get("/p/churn/runs", params={"q": value}),
    ]
    for answer in answers:
        assert "x-evil" not in answer.headers
        assert "stolen" not in answer.headers.get("set-cookie", "").partition(";")[0].replace("hw_flash", "")


# ------------------------------------------------------------------ 26: names that bite


@pytest.mark.parametrize("name", BITING)
def test_26_names_are_text_wherever_they_are_shown(scene: Scene, owner: TestClient, name: str) -> None:
    made = owner.post("/api/v1/projects", json={"name": name, "description": name})
    assert made.status_code == 201
    slug = made.json()["slug"]
    owner.post("/settings/profile", data={"name": "olga", "full_name": name})
    owner.post("/api/v1/tokens", json={"name": name})
    owner.post(f"/p/{slug}/people/invite", data={"role": "viewer", "note": name})
    for path in (
        "/",
        f"/p/{slug}",
        f"/p/{slug}/people",
        f"/p/{slug}/settings",
        "/settings",
        "/settings/tokens",
        "/settings/audit",
    ):
        page = owner.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "\u202e" not in page.text
        assert "49" not in re.findall(r">\s*(49)\s*<", page.text)
    assert owner.get("/search", params={"q": name}).headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/api/v1/projects", "/api/v1/tokens"])
def test_26_a_name_of_10_kilobytes(owner: TestClient, path: str) -> None:
    answer = owner.post(path, json={"name": "x" * 10_240})
    assert answer.status_code == 422
    assert len(answer.text) < 20_000


@pytest.mark.parametrize(
    "text", ["%", "_", "\\", "%_\\", "'", '"; DROP TABLE projects', "\0", "x" * 5000, "\ud83d", "*:*"]
)
def test_34_a_search_is_literal(owner: TestClient, text: str) -> None:
    answer = owner.get("/search", params={"q": text.encode("utf-8", "replace").decode()})
    assert answer.status_code == 200
    assert not [item for item in answer.json()["items"] if item["kind"] == "project"]


def test_34_ids_that_are_no_ids(scene: Scene, routes: list[Known], owner: TestClient) -> None:
    """Whatever stands in an address where an id belongs: 400, 404 or 422, and never 500."""
    broken = []
    for route in routes:
        if (
            route.method != "GET"
            or route.route is None
            or "{" not in route.path
            or route.path.startswith(("/endpoints", "/notebooks"))
        ):
            continue
        if route.path.endswith(("/live", "/stream")):
            continue
        for bad in ("'", "%00", "..", "%2e%2e%2f", "-1", "99999999999999999999", "é" * 50, "a%0ab"):
            names = [name for name in re.findall(r"\{(\w+)", route.path) if name != "slug"]
            if not names:
                continue
            answer = fill(route, scene, **dict.fromkeys(names, bad)).send(owner)
            if answer.status_code >= 500 and answer.status_code != 503:
                broken.append(f"{route.name} {bad!r}: {answer.status_code}")
    assert not broken


# ------------------------------------------------------------------ 1-5: paths

CLIMBING = [
    "../headway.db", "../../key", "%2e%2e%2fkey", "%252e%252e%252fkey", "..%2fkey", "..%5ckey", "..\\key", "/etc/passwd",
    "//etc/passwd", "~/.ssh/id_rsa", "C:\\x", "a/../../key", "a\0b", "CON", "x" * 4097, ".git/config",
]  # fmt: skip


@pytest.mark.parametrize("path", CLIMBING)
def test_1_to_4_paths_that_climb(owner: TestClient, path: str) -> None:
    for answer in (
        owner.get("/p/churn/files", params={"path": path}),
        owner.get("/p/churn/files/view", params={"path": path}),
        owner.get("/p/churn/files/raw", params={"path": path + ".png"}),
        owner.get("/p/churn/files/download", params={"path": path}),
        owner.post("/p/churn/files/delete", data={"path": path}),
        owner.post("/p/churn/files/move", data={"path": "train.py", "to": path}),
        owner.post("/p/churn/files/folder", data={"path": "", "name": path}),
        owner.post("/p/churn/files/upload", data={"path": path}, files=[("files", ("a.txt", b"x"))]),
        owner.post("/api/v1/projects/churn/files/move", json={"path": "train.py", "to": path}),
    ):
        assert answer.status_code == 400, answer.text[-200:]


@pytest.mark.parametrize(
    "path", ["%2e%2e/headway.db", "%2e%2e%2fheadway.db", "%252e%252e%252fheadway.db", "..%5ckey", "a/%2e%2e/%2e%2e/key"]
)
def test_2_paths_in_the_address(scene: Scene, owner: TestClient, path: str) -> None:
    home = scene.world.host.settings.home
    before = (home / "key").read_bytes()
    for method in ("GET", "PUT", "DELETE"):
        answer = owner.request(
            method, f"/api/v1/projects/churn/files/{path}", content=b"x" if method == "PUT" else None
        )
        assert answer.status_code in (400, 404), (method, answer.status_code)
    assert (home / "key").read_bytes() == before
    assert (home / "headway.db").read_bytes()[:6] == b"SQLite"


def test_5_a_link_in_the_project_is_never_followed(scene: Scene, owner: TestClient) -> None:
    folder = scene.world.host.settings.home / "projects" / "churn"
    (folder / "away").symlink_to("/etc")
    (folder / "passwd.txt").symlink_to("/etc/passwd")
    for path in ("passwd.txt", "away/passwd", "away"):
        for url in ("/p/churn/files/view", "/p/churn/files/download"):
            answer = owner.get(url, params={"path": path})
            assert answer.status_code in (400, 404, 409)
            assert "root:" not in answer.text
    assert owner.put("/api/v1/projects/churn/files/away/x", content=b"x").status_code in (400, 409)
    assert "away" in owner.get("/p/churn/files").text


def test_22_a_downloaded_page_is_no_page_of_ours(scene: Scene, owner: TestClient) -> None:
    folder = scene.world.host.settings.home / "projects" / "churn"
    (folder / 'evil "name";.html').write_text("<script>alert(1)</script>")
    answer = owner.get("/p/churn/files/download", params={"path": 'evil "name";.html'})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"
    shown = owner.get("/p/churn/files/view", params={"path": 'evil "name";.html'})
    assert "<script>alert" not in shown.text


def test_23_html_called_a_picture(scene: Scene, owner: TestClient) -> None:
    folder = scene.world.host.settings.home / "projects" / "churn"
    (folder / "x.png").write_text("<script>alert(1)</script>")
    (folder / "x.svg").write_text("<svg onload=alert(1)>")
    picture = owner.get("/p/churn/files/raw", params={"path": "x.png"})
    assert (picture.headers["content-type"], picture.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert picture.headers["content-security-policy"].startswith("sandbox")
    assert owner.get("/p/churn/files/raw", params={"path": "x.svg"}).status_code == 400


# ------------------------------------------------------------------ headers


def pages(routes: list[Known]) -> list[Known]:
    other = ("/api/", "/ajax-api/", "/endpoints", "/notebooks", "/static")
    return [r for r in routes if r.method == "GET" and r.route is not None and not r.path.startswith(other)
            and not r.path.endswith(("/live", "/stream", "/log"))]  # fmt: skip


def test_every_answer_tells_the_browser_what_it_must_not_do(
    scene: Scene, routes: list[Known], owner: TestClient
) -> None:
    weak = []
    for route in pages(routes):
        answer = fill(route, scene).send(owner)
        policy = answer.headers.get("content-security-policy", "")
        if answer.headers.get("x-content-type-options") != "nosniff" or not policy:
            weak.append(f"{route.name}: no policy")
        if "text/html" in answer.headers.get("content-type", ""):
            if "unsafe-inline" in policy.replace("style-src 'unsafe-inline'", "") or "unsafe-eval" in policy:
                weak.append(f"{route.name}: {policy}")
            if re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\son\w+=\"|\sstyle=\"|<style", answer.text):
                weak.append(f"{route.name}: inline script or style")
            if re.search(r"(?:src|href|action)=\"(?:https?:)?//", answer.text):
                weak.append(f"{route.name}: an address of another host")
    assert not weak


def test_errors_and_refusals_have_the_same_headers(scene: Scene, owner: TestClient) -> None:
    answers = [
        owner.get("/nothing"),
        owner.get("/", headers={"host": "evil.example"}),
        owner.post("/login", headers={"origin": "null"}),
        scene.world.client().get("/api/v1/me"),
        owner.get("/static/none.css"),
        owner.get("/static/css/app.css"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_pages_are_kept_by_nobody(owner: TestClient) -> None:
    assert owner.get("/settings/tokens").headers["cache-control"] == "no-store"


# ------------------------------------------------------------------ secrets


def test_a_tokens_secret_is_shown_once(scene: Scene, owner: TestClient) -> None:
    made = owner.post("/settings/tokens", data={"name": "laptop", "scope": "run", "project": "every", "life": "90"})
    secret = re.search(r"hw_[\w-]{43}", made.text)
    assert secret
    assert made.headers["cache-control"] == "no-store"
    for path in ("/settings/tokens", "/settings/audit", "/settings", "/", "/api/v1/tokens", "/api/v1/audit"):
        assert secret[0] not in owner.get(path).text


def test_secrets_never_reach_the_log(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = scene.world.client(page=True)
    client.post("/login", data={"name": "olga", "password": "a secret password"})
    client.get("/welcome?token=a-secret-link")
    client.get("/api/v1/me?token=a-secret-query", headers={"authorization": "Bearer hw_a-secret-token"})
    text = caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("headway"))
    assert "a secret password" not in text
    assert "a-secret-token" not in text
    assert "a-secret-link" not in ours
    assert "a-secret-query" not in ours


def test_an_error_of_ours_tells_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.people import service

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the database password is hunter2")

    clients = [
        ("/settings", scene.world.client(scene.people["owner"], page=True)),
        ("/api/v1/me", scene.world.client(scene.people["owner"])),
    ]
    monkeypatch.setattr(service, "by_id", broken)
    for path, client in clients:
        answer = client.get(path)
        assert answer.status_code == 500
        assert "hunter2" not in answer.text
        assert "Traceback" not in answer.text


# ------------------------------------------------------------------ bad input on every JSON route


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "application/json"),
    "no JSON": (b"{", "application/json"),
    "a number": (b"1", "application/json"),
    "null": (b"null", "application/json"),
    "a list": (b"[]", "application/json"),
    "text as JSON": (b'{"name": "x"}', "text/plain"),
    "a form": (b"name=x", "application/x-www-form-urlencoded"),
    "no text": (b"\xff\xfe\x00", "application/json"),
    "NaN": (b'{"name": NaN}', "application/json"),
    "a megabyte nested": (nested(MEGABYTE // 2), "application/json"),
    "a megabyte of objects": (b'{"a":' * 150_000 + b"1" + b"}" * 150_000, "application/json"),
    "a name of the wrong kind": (json.dumps({"name": {"a": [1]}}).encode(), "application/json"),
    "a huge number": (b'{"days": 1e400, "name": "x"}', "application/json"),
    "a lone surrogate": (b'{"name": "\\ud800"}', "application/json"),
    "unknown fields": (b'{"no_such_field_anywhere": 1}', "application/json"),
}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_bad_bodies_on_every_json_route(kind: str, scene: Scene, routes: list[Known], owner: TestClient) -> None:
    """4xx with the error's code and sentence, on each route that takes JSON; never a traceback, never half-written."""
    body, content_type = BAD_BODIES[kind]
    fine = {"unknown fields", "a huge number", "a lone surrogate", "NaN"}
    broken = []
    for route in routes:
        if route.route is None or route.method == "GET" or not (ask := fill(route, scene)).json:
            continue
        answer = owner.request(route.method, ask.path, content=body, headers={"content-type": content_type})
        if not (400 <= answer.status_code < 500 or (kind in fine and answer.status_code < 300)):
            broken.append(f"{route.name}: {answer.status_code}")
        elif answer.status_code >= 400 and not _says_what(answer):
            broken.append(f"{route.name}: {answer.text[:200]}")
    assert not broken


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_bad_bodies_on_the_mlflow_protocol(kind: str, scene: Scene) -> None:
    from headway.tracking.wire import call

    body, content_type = BAD_BODIES[kind]
    client = scene.world.client(token=scene.world.token(scene.people["owner"]))
    broken = []
    for method, path in call.EXACT:
        if method == "GET" or path == "upload-artifact":
            continue
        answer = client.request(method, f"/api/2.0/mlflow/{path}", content=body, headers={"content-type": content_type})
        if answer.status_code >= 500 or (answer.status_code >= 400 and "error_code" not in answer.json()):
            broken.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
    assert not broken


def _says_what(answer: Response) -> bool:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(error.get("code")) and bool(error.get("message")) and "Traceback" not in answer.text


def test_32_a_body_that_is_too_large(scene: Scene, owner: TestClient) -> None:
    limit = scene.world.host.settings.body_mb << 20
    answer = owner.post(
        "/api/v1/projects", content=b'"' + b"x" * limit + b'"', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "TOO_LARGE"


def test_32_a_body_that_says_it_is_small(scene: Scene, owner: TestClient) -> None:
    """Chunked, so that no length announces it: it is counted as it comes."""
    limit = scene.world.host.settings.body_mb << 20

    def chunks() -> Iterator[bytes]:
        for _ in range(limit // MEGABYTE + 2):
            yield b"x" * MEGABYTE

    answer = owner.post("/api/v1/projects", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_32_no_kind_of_body_is_read_into_memory_for_a_stranger(tmp_path: Path) -> None:
    """FastAPI reads a body before it knows who asks, whatever its type: that must end at the small limit, on every route."""
    body = b"x" * (MEGABYTE + 1)
    with open_world(tmp_path / "home", body_mb=1) as world:
        small, stranger, greedy = make(world), world.client(), []
        for route in unsafe(all_routes(world.app)):
            for kind in ("application/octet-stream", "multipart/form-data; boundary=x"):
                ask = fill(route, small)
                answer = stranger.request(ask.method, ask.path, content=iter([body]), headers={"content-type": kind})
                if answer.status_code not in (303, 400, 401, 403, 404, 413):
                    greedy.append(f"{route.name}: {answer.status_code}")
        assert not greedy
        announced = {"content-length": str(MEGABYTE + 1), "content-type": "application/octet-stream"}
        assert stranger.post("/api/v1/tokens", content=b"x", headers=announced).status_code == 413


def test_32_a_body_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Asked without a client in between, so that what is read can be counted."""
    with open_world(tmp_path / "home", body_mb=1) as world:
        pieces, answers = 0, []
        headers = [(b"host", HOST.encode()), (b"content-type", b"application/octet-stream")]
        scope = {"type": "http", "method": "POST", "path": "/api/v1/tokens", "raw_path": b"/api/v1/tokens", "query_string": b"",
                 "scheme": "http", "headers": headers, "server": ("127.0.0.1", 8640), "client": ("127.0.0.1", 1),
                 "http_version": "1.1", "root_path": ""}  # fmt: skip

        async def receive() -> dict[str, Any]:
            nonlocal pieces
            pieces += 1
            return {"type": "http.request", "body": b"x" * (MEGABYTE // 4), "more_body": True}

        async def send(message: Any) -> None:
            answers.append(message)

        async def ask() -> None:
            await world.app(scope, receive, send)

        with ThreadPoolExecutor(1) as other:  # the browser of other tests keeps a loop on this thread
            other.submit(anyio.run, ask).result()
        assert answers[0]["status"] == 413
        assert pieces <= 6


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "1, 1"])
def test_32_a_length_that_is_no_number(owner: TestClient, length: str) -> None:
    answer = owner.post(
        "/api/v1/projects", content=b"{}", headers={"content-length": length.encode("utf-8").decode("latin-1")}
    )
    assert answer.status_code == 400


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    with open_world(tmp_path / "home", upload_mb=1) as world:
        ada = world.user("ada")
        project = world.project("Churn", ada)
        client = world.client(ada)
        url = f"/api/v1/projects/{project.slug}/files/big.bin"
        assert client.put(url, content=b"x" * (MEGABYTE + 1)).status_code == 413
        assert client.put(url, content=iter([b"x" * MEGABYTE, b"x"])).status_code == 413
        assert client.get(f"/api/v1/projects/{project.slug}/files").json()["files"] == []
        assert client.put(url, content=b"x" * MEGABYTE).status_code == 201
