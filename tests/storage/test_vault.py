"""Secrets at rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.errors import BadInput
from headway.storage.vault import Vault


def test_what_is_sealed_comes_back_and_does_not_show(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "key")
    sealed = vault.seal("s3cret-pässword")
    assert "s3cret" not in sealed
    assert Vault.open(tmp_path / "key").unseal(sealed) == "s3cret-pässword"
    assert vault.seal("s3cret-pässword") != sealed


def test_the_key_is_for_this_user_alone(tmp_path: Path) -> None:
    Vault.open(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    sealed = Vault.open(tmp_path / "one").seal("x")
    with pytest.raises(BadInput, match="another key"):
        Vault.open(tmp_path / "two").unseal(sealed)


@pytest.mark.parametrize("sealed", ["", "v1:", "v1:AAAA", "rubbish!", "v1:" + "A" * 64])
def test_rubbish_is_refused(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(BadInput):
        Vault.open(tmp_path / "key").unseal(sealed)


def test_a_short_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(BadInput, match="32 bytes"):
        Vault.open(tmp_path / "key")


def test_a_signature_is_bound_to_its_purpose(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "key")
    assert vault.sign("csrf", "a") == vault.sign("csrf", "a") != vault.sign("cookie", "a")
