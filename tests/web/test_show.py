"""How values are written for people."""

from __future__ import annotations

import pytest

from headway.web import show

NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (NOW, "just now"),
        (NOW - 9_000, "just now"),
        (NOW - 10_000, "10 s ago"),
        (NOW - 59_900, "59 s ago"),
        (NOW - 60_000, "1 min ago"),
        (NOW - 3_599_000, "59 min ago"),
        (NOW - 3_600_000, "1 h ago"),
        (NOW - 86_400_000, "1 day ago"),
        (NOW - 3 * 86_400_000, "3 days ago"),
        (NOW + 7_300_000, "in 2 h"),
        (NOW - 30 * 86_400_000, "22 Aug"),
        (NOW - 400 * 86_400_000, "17 Aug 2025"),
        (None, "–"),
        (1e30, "–"),
    ],
)
def test_ago(ms: float | None, text: str) -> None:
    assert show.ago(ms, NOW) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (820.4, "820 ms"),
        (999, "999 ms"),
        (4200, "4.2 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 00 s"),
        (185_000, "3 min 05 s"),
        (7_800_000, "2 h 10 min"),
        (273_600_000, "3 d 4 h"),
        (-5, "0 ms"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_duration(ms: float | None, text: str) -> None:
    assert show.duration(ms) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1400, "1.4 kB"),
        (9_960, "10 kB"),
        (23_400_000, "23 MB"),
        (999_600, "1.0 MB"),
        (5e15, "5.0 PB"),
        (None, "–"),
    ],
)
def test_size(n: float | None, text: str) -> None:
    assert show.size(n) == text


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (0.93, ("0", ".9300")),
        (-0.25, ("−0", ".2500")),
        (1234567.891, ("1,234,567", ".8910")),
        (12000, ("12,000", "")),
        (100.0, ("100", "")),
        (0.00000123, ("1", ".23e−6")),
        (3.5e12 + 0.5, ("3", ".50e12")),
        (0, ("0", "")),
        (None, ("–", "")),
        (float("nan"), ("NaN", "")),
        (float("-inf"), ("−∞", "")),
        ("adam", ("adam", "")),
        (True, ("True", "")),
    ],
)
def test_number(x: object, parts: tuple[str, str]) -> None:
    assert show.number(x) == parts


def test_every_state_has_a_word_and_an_icon_that_exists() -> None:
    from headway.web import assets

    for name, shown in show._STATES.items():
        assert shown.word and "_" not in shown.word, name
        assert shown.icon in assets.icons(), name
        assert shown.tone in {"ok", "run", "wait", "warn", "bad", "off"}, name
    assert show.status_of("never heard_of").word == "never heard of"
    assert show.status_of(None).word == "unknown"


@pytest.mark.parametrize(
    ("name", "letters"), [("Ada Lovelace", "AL"), ("ada@example.org", "AE"), ("x", "X"), ("", "?"), ("<b>", "<")]
)
def test_initials(name: str, letters: str) -> None:
    assert show.initials(name) == letters


def test_highlighted_source_is_escaped() -> None:
    for language in ("python", "text", "no such language", "bash", "json"):
        html = str(show.highlight("x = '<script>alert(1)</script>'", language))
        assert "<script" not in html
        assert "&lt;" in html or language == "json"


def test_a_very_long_text_is_left_plain_and_escaped() -> None:
    html = str(show.highlight("<" * 300_000, "python"))
    assert html == "&lt;" * 300_000


def test_sparkline_keeps_inside_its_box_and_breaks_at_gaps() -> None:
    path = show.sparkline([1, 5, 3, None, 8, float("nan"), 2])
    assert path.count("M") == 3
    numbers = [float(part) for piece in path.replace("M", "L").split("L") if piece for part in piece.split()]
    assert all(2 <= x <= 94 for x in numbers[::2])
    assert all(2 <= y <= 22 for y in numbers[1::2])
    assert show.sparkline([1]) == ""
    assert show.sparkline([4, 4, 4]).count("12.0") == 3
