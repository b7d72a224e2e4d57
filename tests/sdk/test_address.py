"""Where the client finds its server and its token."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headway.errors import BadInput, Unavailable
from headway.sdk import address


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user with neither a server nor a login."""
    return {"HEADWAY_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def server_of(environ: dict[str, str], url: str, pid: int) -> None:
    home = Path(environ["HEADWAY_HOME"])
    home.mkdir(exist_ok=True)
    (home / "cli.json").write_text(json.dumps({"url": url, "token": "hw_home", "pid": pid}))


def test_nothing_known_says_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(Unavailable) as caught:
        address.find(environ=environ)
    assert "headway up" in caught.value.hint
    assert "headway login" in caught.value.hint


def test_the_order_of_sources(environ: dict[str, str], tmp_path: Path) -> None:
    address.log_in("https://elsewhere.example", "hw_login", environ)
    assert address.find(environ=environ).token == "hw_login"
    server_of(environ, "http://127.0.0.1:9", os.getpid())
    assert address.find(environ=environ).token == "hw_home"
    (tmp_path / "token").write_text("hw_file\n")
    environ |= {"HEADWAY_URL": "http://127.0.0.1:10", "HEADWAY_TOKEN_FILE": str(tmp_path / "token")}
    found = address.find(environ=environ)
    assert (found.url, found.token) == ("http://127.0.0.1:10", "hw_file")
    environ["HEADWAY_TOKEN"] = "hw_variable"
    assert address.find(environ=environ).token == "hw_variable"
    found = address.find("http://127.0.0.1:11", "hw_said", environ)
    assert (found.url, found.token) == ("http://127.0.0.1:11", "hw_said")


def test_a_url_alone_takes_the_token_kept_for_it_and_no_other(environ: dict[str, str]) -> None:
    address.log_in("https://elsewhere.example/", "hw_login", environ)
    assert address.find("https://elsewhere.example", environ=environ).token == "hw_login"
    assert address.find("https://third.example", environ=environ).token == ""


def test_a_dead_local_server_gives_way_to_a_login_unless_the_home_was_named(environ: dict[str, str]) -> None:
    server_of(environ, "http://127.0.0.1:9", 2**22 + 1)
    address.log_in("https://elsewhere.example", "hw_login", environ)
    assert address.find(environ=environ).token == "hw_home"
    unnamed = {"HOME": environ["HEADWAY_HOME"], "XDG_CONFIG_HOME": environ["XDG_CONFIG_HOME"]}
    assert address.find(environ=unnamed).token == "hw_login"


def test_the_login_is_for_this_user_only(environ: dict[str, str]) -> None:
    path = address.log_in("http://127.0.0.1:9", "hw_login", environ)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["login.json"]


def test_the_token_is_not_in_the_repr(environ: dict[str, str]) -> None:
    assert "hw_secret" not in repr(address.find("http://127.0.0.1:9", "hw_secret", environ))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"url": 3}', '{"url": "http://x"}', '{"url": "ftp://x", "token": "t"}']
)
def test_a_damaged_file_is_named(environ: dict[str, str], content: str) -> None:
    home = Path(environ["HEADWAY_HOME"])
    home.mkdir()
    (home / "cli.json").write_text(content)
    with pytest.raises(BadInput, match=r"cli\.json is damaged"):
        address.find(environ=environ)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("http://127.0.0.1:8640/", "http://127.0.0.1:8640"),
        ("ml.example.org", "http://ml.example.org"),
        ("localhost:9000", "http://localhost:9000"),
        ("https://ml.example.org/headway/", "https://ml.example.org/headway"),
        (" http://[::1]:8640 ", "http://[::1]:8640"),
    ],
)
def test_clean_url(said: str, kept: str) -> None:
    assert address.clean_url(said) == kept


@pytest.mark.parametrize(
    "said", ["", "ftp://x", "http://", "http://x:99999", "http://x:a", "http://u:p@x", "http://x?q=1"]
)
def test_what_is_no_address(said: str) -> None:
    with pytest.raises(BadInput, match="Not an address"):
        address.clean_url(said)


def test_a_token_file_that_is_not_there(environ: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="HEADWAY_TOKEN_FILE"):
        address.find(environ=environ | {"HEADWAY_URL": "http://x", "HEADWAY_TOKEN_FILE": "/nowhere/token"})
