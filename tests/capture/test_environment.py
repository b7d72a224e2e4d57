"""The packages of a process: read once for all models of a run, and anew when one comes, goes or is another version."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from headway.capture import environment


def _install(folder: Path, name: str, version: str, requires: str = "") -> Path:
    told = folder / f"{name}-{version}.dist-info"
    told.mkdir()
    text = f"Name: {name}\nVersion: {version}\n{f'Requires-Dist: {requires}' if requires else ''}\n\nAbout it.\n"
    (told / "METADATA").write_text(text)
    (told / "RECORD").write_text(f"x\n{name}/__init__.py,,\n")
    return told


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    _install(tmp_path, "learner", "1.2", "numbers_of >=1")
    _install(tmp_path, "numbers_of", "3.0")
    return tmp_path


def _changed(folder: Path) -> None:
    """As a later change would leave it, however coarse the clock of the disk."""
    status = folder.stat()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def test_pins_are_those_of_the_folders(site: Path) -> None:
    assert environment.pins() == ["learner==1.2", "numbers-of==3.0"]
    assert environment.needed({"learner"}) == ["learner==1.2", "numbers-of==3.0"]
    assert (environment.version("learner"), environment.version("other")) == ("1.2", "0")


def test_a_package_that_comes_or_is_another_version_is_told(site: Path) -> None:
    assert environment.needed({"learner"}) == ["learner==1.2", "numbers-of==3.0"]
    shutil.rmtree(site / "learner-1.2.dist-info")
    _install(site, "learner", "2.0", "words")
    _install(site, "words", "0.1")
    _changed(site)
    assert environment.needed({"learner"}) == ["learner==2.0", "words==0.1"]
    assert environment.pins() == ["learner==2.0", "numbers-of==3.0", "words==0.1"]


def test_another_path_is_another_environment(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.version("learner") == "1.2"
    other = site / "other"
    other.mkdir()
    _install(other, "learner", "9.9")
    monkeypatch.setattr(sys, "path", [str(other), str(site)])
    assert environment.version("learner") == "9.9"


def test_the_folders_are_listed_once_for_many_models(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = environment.needed({"learner"})
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("listed again"))
    assert environment.needed({"learner"}) == first
    assert environment.version("numbers_of") == "3.0"
