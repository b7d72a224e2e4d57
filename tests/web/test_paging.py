"""Cursors survive the trip; foreign ones are bad input."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import BadInput
from headway.web.paging import cursor, limit, uncursor

VALUES = st.lists(
    st.one_of(st.text(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.none()),
    max_size=4,
)


@settings(deadline=None)
@given(VALUES)
def test_round_trip(values: list[str | int | float | None]) -> None:
    text = cursor(values)
    assert text.isascii() and not set(text) & set("+/=&?#")
    if len(text) <= 4096:
        assert uncursor(text, len(values)) == values


@settings(deadline=None)
@given(st.text())
def test_anything_else_is_bad_input(text: str) -> None:
    try:
        uncursor(text, 2)
    except BadInput as error:
        assert error.details["field"] == "cursor"


@pytest.mark.parametrize("raw", ["[1]", "[1,2,3]", "{}", "[[],1]", "[" * 3000, "nope", ""])
def test_wrong_shapes(raw: str) -> None:
    with pytest.raises(BadInput):
        uncursor(base64.urlsafe_b64encode(raw.encode()).decode(), 2)


def test_limit() -> None:
    assert [limit(None), limit(0), limit(20), limit(10**9)] == [50, 1, 20, 500]
