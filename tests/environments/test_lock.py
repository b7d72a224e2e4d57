"""Locks, hashes, interpreters, index settings and explanations: pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.environments import index, lock
from headway.environments.explain import explain
from headway.environments.interpreters import Interpreter, choose
from headway.environments.states import ending
from headway.errors import Unprocessable

PYTHON = Interpreter("/usr/bin/python3.11", "3.11.7", "linux-x86_64-gnu")
LOCK = """\
numpy==2.4.6 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
Six==1.17.0 \\
    --hash=sha256:cc
"""


def test_pins_ignore_what_does_not_decide() -> None:
    assert lock.pins(LOCK) == ["numpy==2.4.6", "six==1.17.0"]
    assert lock.pins("# a comment\nsix==1.17.0  # via x\nnumpy==2.4.6\n") == lock.pins(LOCK)


def test_digest_is_of_packages_python_and_platform() -> None:
    name = lock.digest(lock.pins(LOCK), PYTHON)
    assert len(name) == 32
    assert lock.digest(reversed(lock.pins(LOCK)), Interpreter("/elsewhere", "3.11.7", "linux-x86_64-gnu")) == name
    others = [
        lock.digest(["numpy==2.4.6"], PYTHON),
        lock.digest(lock.pins(LOCK), Interpreter("/x", "3.11.8", "linux-x86_64-gnu")),
        lock.digest(lock.pins(LOCK), Interpreter("/x", "3.11.7", "linux-aarch64-gnu")),
    ]
    assert len({name, *others}) == 4


@pytest.mark.parametrize(
    ("requirements", "pinned"),
    [
        (["Six==1.17.0", "numpy==2.0"], ["numpy==2.0", "six==1.17.0"]),
        (["six>=1"], None),
        (["six==1.*"], None),
        (['six==1.0; python_version < "4"'], None),
        (["six"], None),
    ],
)
def test_exact(requirements: list[str], pinned: list[str] | None) -> None:
    assert lock.exact(requirements) == pinned


def test_given_hashes_narrow_the_lock() -> None:
    narrowed = lock.narrowed(LOCK, {"numpy": ("sha256:bb",)})
    assert "sha256:bb" in narrowed and "sha256:aa" not in narrowed and "sha256:cc" in narrowed
    assert lock.pins(narrowed) == lock.pins(LOCK)
    with pytest.raises(Unprocessable, match=r"numpy 2\.4\.6"):
        lock.narrowed(LOCK, {"numpy": ("sha256:ff",)})


def test_difference() -> None:
    assert lock.difference("a==1\nb==1\n", "b==2\nc==1\n") == [("a", "1", ""), ("b", "1", "2"), ("c", "", "1")]


def test_choose() -> None:
    new, old = Interpreter("/n", "3.13.1", "x"), Interpreter("/o", "3.12.4", "x")
    assert choose("", [new, old], PYTHON) is PYTHON
    assert choose(">=3.11", [new, old, PYTHON], PYTHON) is PYTHON
    assert choose(">=3.12", [new, old, PYTHON], PYTHON) is new
    assert choose("==3.12.*", [new, old, PYTHON], PYTHON) is old
    with pytest.raises(Unprocessable, match=r"this machine has 3\.13\.1, 3\.12\.4") as caught:
        choose("==3.9.*", [new, old], PYTHON)
    assert caught.value.details["present"] == ["3.13.1", "3.12.4"]


def test_index_settings_come_from_uv_or_else_from_pip(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text(
        f"[global]\nindex-url = https://mirror.example/simple\nfind-links = {tmp_path}\n   /nowhere/at/all\n"
    )
    home = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / ".config/pip/pip.conf")}
    found = index.uv_settings(home)
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert found["UV_FIND_LINKS"] == str(tmp_path)
    assert (
        index.uv_settings(home | {"PIP_INDEX_URL": "https://other.example"})["UV_DEFAULT_INDEX"]
        == "https://other.example"
    )
    assert index.uv_settings(home | {"UV_DEFAULT_INDEX": "https://uv.example"}) == {}
    (tmp_path / ".config/uv").mkdir()
    (tmp_path / ".config/uv/uv.toml").write_text("")
    assert index.uv_settings(home) == {}


MISSING = """error: No solution found when resolving dependencies
  cause: Because {} was not found in the package registry and you require {}, \
we can conclude that your requirements are unsatisfiable.
"""
CONFLICT = """Resolving ...
error: No solution found when resolving dependencies
  cause: Because pandas==2.2.0 depends on numpy{python_full_version < '3.12'}>=1.23.2,<2 and you require pandas==2.2.0, we can \
conclude that you require numpy>=1.23.2,<2.
         And because you require numpy==1.20, we can conclude that your requirements are unsatisfiable.
"""
OLD_STYLE = """  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of numpy==1.99 and you require numpy==1.99, we can conclude that your requirements are
      unsatisfiable.
"""
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because all versions of {} have no usable wheels and you require {}, \
we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for it because building from source is disabled for all packages (i.e., with `--no-build`)
"""


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            MISSING.format("pandsa", "pandsa"),
            "There is no package called pandsa on the package index.",
            "Did you mean pandas?",
        ),
        (MISSING.format("cv2", "cv2"), "no package called cv2", "Its name there is opencv-python-headless."),
        (MISSING.format("zzzz", "zzzz"), "no package called zzzz", "Check the spelling"),
        (
            CONFLICT,
            "These requirements contradict each other. pandas==2.2.0 depends on numpy>=1.23.2,<2 and you require pandas==2.2.0, "
            "so you require numpy>=1.23.2,<2. And you require numpy==1.20.",
            "Loosen or remove",
        ),
        (OLD_STYLE, "The package index has no numpy==1.99.", "another version"),
        (NO_WHEEL.format("docopt", "docopt"), "docopt has no ready-made wheel", "allow building from source"),
        (NO_WHEEL.format("sklearn", "sklearn"), "sklearn is the name to import.", "scikit-learn"),
        (
            "error: Request failed after 3 retries\n  cause: Failed to fetch: https://u:secret@mirror.example/simple/x/\n"
            "  cause: tcp connect error\n  cause: Connection refused (os error 111)\n",
            "The package index did not answer. (Connection refused (os error 111))",
            "network",
        ),
        ("[Errno 28] No space left on device", "The disk is full", "Free some space"),
        ("error: something new", "something new", "log"),
    ],
)
def test_explanations(said: str, message: str, hint: str) -> None:
    told = explain(said)
    assert message in told.message and hint in told.hint
    assert "secret" not in told.message + told.hint


@pytest.mark.parametrize(
    ("cause", "signal", "state", "words"),
    [
        ("cancelled", 15, "cancelled", "cancelled"),
        ("killed", 9, "failed", "signal 9"),
        ("out_of_memory", None, "failed", "memory"),
        ("timed_out", None, "failed", "too long"),
        ("lost", None, "failed", "went down"),
        ("exited", None, "failed", "without saying why"),
    ],
)
def test_endings(cause: str, signal: int | None, state: str, words: str) -> None:
    found = ending(cause, signal)
    assert found[0] == state and words in found[1]
