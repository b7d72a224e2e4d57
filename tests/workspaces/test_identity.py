"""Identity tokens: ours, for one workspace, for a minute."""

from __future__ import annotations

import base64
import json

import pytest

from headway.workspaces.identity import Identity, mint, new_key, public_of, verify

KEY = new_key()
PUBLIC = public_of(KEY)
ADA = Identity("a" * 32, "Ada Lövelace")
NOW = 1_800_000_000.0


def test_round_trip() -> None:
    token = mint(KEY, ADA, "workspace:x", NOW)
    assert token.isascii() and " " not in token
    assert verify(PUBLIC, token, "workspace:x", NOW) == ADA
    assert verify(PUBLIC, token, "workspace:x", NOW + 59) == ADA


@pytest.mark.parametrize("later", [66, 3600, -70])
def test_only_for_a_minute(later: float) -> None:
    assert verify(PUBLIC, mint(KEY, ADA, "workspace:x", NOW), "workspace:x", NOW + later) is None


def _changed(token: str, **claims: object) -> str:
    body, _, signature = token.partition(".")
    value = json.loads(base64.urlsafe_b64decode(body + "=="))
    text = base64.urlsafe_b64encode(json.dumps(value | claims).encode()).rstrip(b"=").decode()
    return f"{text}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "x.y",
        "é.é",
        mint(new_key(), ADA, "workspace:x", NOW),
        mint(KEY, ADA, "workspace:y", NOW),
        mint(KEY, ADA, "workspace:x", NOW).partition(".")[0],
        mint(KEY, ADA, "workspace:x", NOW)[:-4],
        _changed(mint(KEY, ADA, "workspace:x", NOW), name="Grace"),
        _changed(mint(KEY, ADA, "workspace:x", NOW), exp=NOW + 1e9),
    ],
)
def test_nothing_else_passes(token: str) -> None:
    assert verify(PUBLIC, token, "workspace:x", NOW) is None
