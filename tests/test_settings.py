"""Where a setting comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.errors import BadInput, BadPath
from headway.settings import Settings


def load(home: Path, environ: dict[str, str] | None = None, **overrides: object) -> Settings:
    return Settings.load(environ or {}, home=home, **overrides)


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    assert load(tmp_path).port == 8640
    (tmp_path / "headway.toml").write_text("port = 1000\nslots = 3")
    assert load(tmp_path).port == 1000
    assert load(tmp_path, {"HEADWAY_PORT": "2000"}).port == 2000
    assert load(tmp_path, {"HEADWAY_PORT": "2000"}, port=3000).port == 3000
    assert load(tmp_path, {"HEADWAY_PORT": "2000"}, port=None).slots == 3


@pytest.mark.parametrize(
    ("toml", "environ", "words"),
    [
        ("prot = 1", {}, "unknown setting 'prot'"),
        ("port = 'x'", {}, "'port': expected int"),
        ("port = ", {}, "not valid TOML"),
        ("", {"HEADWAY_PORT": "70000"}, "'port'"),
        ("", {"HEADWAY_PORT": "-1"}, "'port'"),
        ("", {"HEADWAY_SAMPLE": "maybe"}, "'sample': expected bool"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, toml: str, environ: dict[str, str], words: str) -> None:
    (tmp_path / "headway.toml").write_text(toml)
    with pytest.raises(BadInput, match=words):
        load(tmp_path, environ)


@pytest.mark.parametrize(("raw", "value"), [("1", True), ("true", True), ("No", False), ("off", False), ("", False)])
def test_yes_and_no(tmp_path: Path, raw: str, value: bool) -> None:
    assert load(tmp_path, {"HEADWAY_SAMPLE": raw}).sample is value


@pytest.mark.parametrize("parts", [("..",), ("runs", "../../x"), ("/etc",), ("runs", ""), ("a\0b",)])
def test_a_path_stays_below_the_home(tmp_path: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadPath):
        load(tmp_path).path(*parts)


def test_a_socket_path_is_short_even_in_a_deep_home(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    path = load(deep).socket("replica.sock")
    assert len(str(path)) < 108
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load(deep).socket("other").parent == path.parent != load(tmp_path / ("e" * 120)).socket("other").parent


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8640"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"tls_certificate": "c.pem"}, "https://127.0.0.1:8640"),
        ({"public_url": "https://ml.example.org/"}, "https://ml.example.org"),
    ],
)
def test_the_address_people_use(tmp_path: Path, values: dict[str, object], url: str) -> None:
    assert load(tmp_path, **values).url == url
