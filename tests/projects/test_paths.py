"""Which paths a file may have, and names a project may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import BadPath, Unprocessable
from headway.projects import names, preview
from headway.projects.paths import folder_of, parts_of

GOOD = {
    "a": ("a",),
    "train.py": ("train.py",),
    "data/sales 2026.csv": ("data", "sales 2026.csv"),
    "data/": ("data",),
    "Übung/日本.csv": ("Übung", "日本.csv"),
    ".gitignore": (".gitignore",),
    "50%/x": ("50%", "x"),
    "a..b": ("a..b",),
    "$(id)": ("$(id)",),
    "-rf": ("-rf",),
    "x" * 255: ("x" * 255,),
}
BAD = [
    "", ".", "..", "../x", "a/../b", "a/..", "/etc/passwd", "//x", "~", "~/x", "a//b", "./x", "a/./b",
    "%2e%2e/x", "%2e%2e%2fetc", "%252e%252e%252fetc", "a/%2e%2e", "a%2fb", "a%5cb", "a%255cb",
    "..\\x", "a\\b", "C:\\x", "C:x", "\\\\srv\\x", "a\0b", "a\nb", "a\x1bb", "a\u202eb", "a\u200bb", "\ud800",
    "CON", "con.txt", "a/NUL", "COM1", "lpt9.log", "x" * 256, "é" * 128, "a/" * 600, "a.", "a ", " a", "a/ /b",
    ".git/hooks/pre-commit", "x/.GIT/config", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize(("path", "parts"), GOOD.items())
def test_good_paths(path: str, parts: tuple[str, ...]) -> None:
    assert parts_of(path) == parts


@pytest.mark.parametrize("path", BAD)
def test_bad_paths(path: str) -> None:
    with pytest.raises(BadPath) as refused:
        parts_of(path)
    assert "\0" not in refused.value.message
    assert "\u202e" not in refused.value.message
    assert len(refused.value.message) < 300


@given(st.text(max_size=60))
def test_whatever_comes_stays_below_the_root(path: str) -> None:
    try:
        parts = parts_of(path)
    except BadPath:
        return
    assert parts
    assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)


@pytest.mark.parametrize("path", ["", "/", "//"])
def test_the_folder_itself(path: str) -> None:
    assert folder_of(path) == ()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Churn model (2026)", "churn-model-2026"),
        ("  Übung  ", "ubung"),
        ("日本", "project"),
        ("---", "project"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("../../etc", "etc"),
        ("x" * 80, "x" * 40),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert names.slug_of(names.clean(name)) == slug


@pytest.mark.parametrize("name", ["", "   ", "\n\t", "\u202e", "x" * 81, "x" * 10_240])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Unprocessable):
        names.clean(name)


def test_a_name_loses_its_tricks() -> None:
    assert names.clean("a\u202eb\r\nc") == "a b c"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("A.JPG", "image/jpeg"),
        ("a.svg", None),
        ("a.html", None),
        ("png", None),
        ("a.png.html", None),
    ],
)
def test_only_pictures_without_scripts_are_shown(name: str, kind: str | None) -> None:
    assert preview.picture_kind(name) == kind
