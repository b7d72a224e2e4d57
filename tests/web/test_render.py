"""Pages are escaped, strict about names, free of inline code; messages are shown once."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from jinja2 import UndefinedError

from headway.web import assets, render
from tests.web.gallery.app import HOSTILE as BAD
from tests.web.gallery.app import build


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(build(), follow_redirects=False)


@pytest.mark.parametrize("path", ["/", "/p/churn/runs", "/p/churn/run", "/bare", "/error"])
def test_hostile_names_stay_text_and_nothing_is_inline(client: TestClient, path: str) -> None:
    html = client.get(path).text
    assert "<img src=x" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)=", re.sub(r'"[^"]*"', '""', html))
    assert "<style" not in html
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html)


def test_hostile_names_are_shown_whole(client: TestClient) -> None:
    from markupsafe import escape

    assert str(escape(BAD)) in client.get("/").text


def test_every_macro_escapes_what_it_is_given() -> None:
    kit = render.environment().get_template("web/kit.html").module
    calls = [
        kit.badge(BAD), kit.badge("finished", BAD), kit.dot(BAD), kit.tag(BAD), kit.avatar(BAD), kit.kbd(BAD),
        kit.copy(BAD), kit.mono(BAD), kit.crumb(BAD, "/" + BAD), kit.button(BAD, attrs={"data-x": BAD}),
        kit.link_button(BAD, "/" + BAD), kit.post_button(BAD, "/x", BAD, confirm=BAD, fields={"a": BAD}),
        kit.empty(BAD, BAD, "/x", BAD), kit.kv([(BAD, BAD)]), kit.stat(BAD, BAD, note=BAD, url=BAD),
        kit.tabs([(BAD, BAD, BAD)], ""), kit.progress(3, BAD), kit.meter(1, 2, BAD), kit.notice(BAD, title=BAD),
        kit.code(BAD, "python"), kit.snippet([(BAD, "python", BAD)]), kit.same_in([(BAD, "python", BAD)]),
        kit.steps([(BAD, "queued", BAD)]), kit.pagination(BAD, BAD, BAD), kit.table_open(BAD, csv=BAD),
        kit.chart(BAD, BAD), kit.terminal(BAD, BAD, BAD), kit.form_errors({BAD: BAD}), kit.num(BAD),
        *(kit.field(BAD, BAD, kind, BAD, BAD, BAD, [BAD]) for kind in
          ("text", "password", "textarea", "code", "select", "checkbox", "switch", "radio", "range", "file", "hidden")),
    ]  # fmt: skip
    for html in map(str, calls):
        assert "<img" not in html, html
        # the quote of the hostile name did not end an attribute
        assert "onerror=alert(1)>" not in html, html


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render.environment().from_string("{{ nobody_gave_this }}").render()


def test_a_message_is_shown_once(client: TestClient) -> None:
    answer = client.post("/go")
    assert answer.status_code == 303
    assert "httponly" in answer.headers["set-cookie"].lower()
    shown = client.get("/")
    assert "Run 14 is live as endpoint churn." in shown.text
    assert "Run 14 is live" not in client.get("/").text


def test_htmx_does_not_use_up_the_message(client: TestClient) -> None:
    client.post("/go")
    client.get("/", headers={"hx-request": "true"})
    assert "Run 14 is live as endpoint churn." in client.get("/").text


@pytest.mark.parametrize("value", ["", "ok", "evil:x", "ok:", "%zz", "ok%3A%3Cscript%3E"])
def test_a_forged_message_is_only_text(client: TestClient, value: str) -> None:
    client.cookies.set(render.FLASH_COOKIE, value)
    html = client.get("/").text
    client.cookies.delete(render.FLASH_COOKIE)
    assert "<script>" not in html


def test_the_theme_is_written_by_the_server(client: TestClient) -> None:
    client.cookies.set(render.THEME_COOKIE, "dark")
    assert '<html lang="en" data-theme="dark">' in client.get("/").text
    client.cookies.set(render.THEME_COOKIE, '"><b>')
    assert '<html lang="en">' in client.get("/").text
    client.cookies.delete(render.THEME_COOKIE)


def test_an_error_says_cause_and_next_step(client: TestClient) -> None:
    answer = client.get("/error")
    assert answer.status_code == 404
    assert "There is no model “churn”" in answer.text
    assert "Look at the list of models" in answer.text
    part = client.get("/error", headers={"hx-request": "true"})
    assert part.status_code == 404
    assert "<html" not in part.text and "There is no model" in part.text


def test_assets_are_kept_only_under_their_own_hash(client: TestClient) -> None:
    address = assets.url("css/app.css")
    kept = client.get(address)
    assert kept.status_code == 200
    assert "immutable" in kept.headers["cache-control"]
    old = client.get(address.replace(assets.version(), "0" * 12))
    assert old.status_code == 200
    assert old.headers["cache-control"] == "no-cache"
    assert client.get("/static/css/app.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/../render.py").status_code == 404
    assert client.get(f"/static/{assets.version()}/%2e%2e/render.py").status_code == 404
