"""What a terminal shows: each case is what was written, and what stands there."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headway.transcript.terminal import Capped, Screen

CASES = [
    ("", ""),
    ("a", "a"),
    ("a\nb\n", "a\nb\n"),
    ("one\rtwo", "two"),
    ("long line\rshort", "shortline"),
    ("windows\r\nline\r\n", "windows\nline\n"),
    ("abc\b\bX", "aXc"),
    ("\b\b", ""),
    ("a\x07b", "ab"),
    ("1%\r2%\r3%\nnext", "3%\nnext"),
    ("half\x1b[K", "half"),
    ("gone\r\x1b[Kstays", "stays"),
    ("gone\x1b[2K", ""),
    ("gone\x1b[2K\rhere", "here"),
    ("a\nb\nc\x1b[2A\rX", "X\nb\nc"),
    ("bar1\nbar2\x1b[A\rBAR1\n\rBAR2", "BAR1\nBAR2"),
    ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ("\x1b[31mred\x1b[0m\rblu", "blu"),
    ("abc\r\x1b[1mX\x1b[0m", "\x1b[1mX\x1b[0mbc"),
    ("abc\x1b[1GX", "Xbc"),
    ("ab\x1b[3CX", "ab   X"),
    ("abc\x1b[2DX", "aXc"),
    ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"),
    ("\x1b(Btext", "text"),
    ("a\nb\x1b[J", "a\nb"),
    ("\x1b[1;1Hhome", "home"),
    ("tail \x1b[99999999999Ax", "tail x"),
    ("snow \u2603 \U0001f600\r\u2603", "\u2603now \u2603 \U0001f600"),
]


def shown(*writes: str) -> str:
    screen = Screen()
    for text in writes:
        screen.write(text)
    return screen.text()


@pytest.mark.parametrize(("written", "expected"), CASES, ids=[repr(written) for written, _ in CASES])
def test_what_is_shown(written: str, expected: str) -> None:
    assert shown(written) == expected


@pytest.mark.parametrize(("written", "expected"), CASES, ids=[repr(written) for written, _ in CASES])
def test_it_does_not_matter_where_the_text_was_cut(written: str, expected: str) -> None:
    for cut in range(len(written) + 1):
        assert shown(written[:cut], written[cut:]) == expected
    assert shown(*written) == expected


def test_a_progress_bar_is_one_line() -> None:
    screen = Screen()
    for percent in range(10_001):
        screen.write(f"\r{percent / 100:.2f}%|{'#' * (percent // 1000):10}|")
    assert screen.text() == "100.00%|##########|"


def test_nested_bars_stand_below_each_other() -> None:
    screen = Screen()
    for outer in range(5):
        screen.write(f"\router {outer}")
        for inner in range(5):
            screen.write(f"\n\rinner {inner}\x1b[A")
    assert screen.text() == "outer 4\ninner 4"


def test_many_lines_are_all_there() -> None:
    screen = Screen()
    for number in range(5_000):
        screen.write(f"{number}\n")
    assert screen.text().split() == [str(number) for number in range(5_000)]
    assert screen.last(20) == ("4997\n4998\n4999\n", True)
    assert shown("".join(f"{number}\r\n" for number in range(5_000))).split() == [
        str(number) for number in range(5_000)
    ]


@pytest.mark.parametrize("piece", ["x" * 1000 + "\n", "x" * 1000, "x" * 1000 + "\r\n"])
def test_memory_is_bounded_and_what_is_left_out_is_counted(piece: str) -> None:
    screen = Screen(head=300_000, tail=100_000)
    screen.write("HEAD")
    for _ in range(2_000):
        screen.write(piece)
    screen.write("TAIL")
    text = screen.text()
    assert text.startswith("HEAD") and text.endswith("TAIL")
    assert screen.size < 900_000
    assert f"{screen.dropped:,} characters are left out" in text
    assert screen.dropped > 1_000_000


@given(st.lists(st.text(max_size=30), max_size=30), st.integers(0, 50), st.integers(1, 50))
def test_capped_keeps_head_and_tail(pieces: list[str], head: int, tail: int) -> None:
    capped = Capped(head, tail)
    for piece in pieces:
        capped.add(piece)
    whole = "".join(pieces)
    assert capped.size + capped.dropped == len(whole)
    assert capped.text().startswith(whole[:head])
    assert capped.text().endswith(whole[-min(tail, max(0, len(whole) - head)) :] if len(whole) > head else whole)
    if not capped.dropped:
        assert capped.text() == whole


@example("0\x1b\x1b", 1)
@example("0\x1b\n0", 3)
@given(st.text(alphabet="ab\r\n\b\x1b[]0;1mKAJ\x07", max_size=60), st.integers(0, 60))
def test_nothing_makes_it_fail_and_cuts_do_not_matter(text: str, cut: int) -> None:
    whole, parts = Screen(), Screen()
    whole.write(text)
    parts.write(text[:cut])
    parts.write(text[cut:])
    assert whole.text() == parts.text()
