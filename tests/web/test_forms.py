"""Posted values: each mistake beside its field, all of them at once."""

from __future__ import annotations

import pytest

from headway.errors import Unprocessable
from headway.web.forms import Form


def test_good_values() -> None:
    form = Form.of({"name": "  churn ", "n": "1_000", "lr": "1e-3", "kind": "a", "on": "on", "text": "a\r\n b"})
    assert form.text("name", required=True) == "churn"
    assert form.integer("n", least=1) == 1000
    assert form.number("lr") == 0.001
    assert form.choice("kind", ["a", "b"]) == "a"
    assert form.flag("on") and not form.flag("off")
    assert form.block("text") == "a\n b"
    assert form.integer("missing", default=3) == 3
    assert form.ok
    form.check()


@pytest.mark.parametrize(
    ("read", "value", "says"),
    [
        (lambda f: f.text("x", required=True), "  ", "fill this in"),
        (lambda f: f.text("x", limit=3), "abcd", "At most 3 characters"),
        (lambda f: f.text("x", pattern="[a-z]+", says="Small letters only."), "A", "Small letters"),
        (lambda f: f.text("x"), "a\0b", "null character"),
        (lambda f: f.integer("x"), "1.5", "whole number"),
        (lambda f: f.integer("x"), "9" * 40, "whole number"),
        (lambda f: f.integer("x", least=1), "0", "At least 1"),
        (lambda f: f.integer("x", most=9), "10", "At most 9"),
        (lambda f: f.number("x"), "nan", "A number"),
        (lambda f: f.number("x"), "1e999", "A number"),
        (lambda f: f.number("x"), "<b>", "A number"),
        (lambda f: f.choice("x", ["a", "b"]), "c", "One of a, b"),
        (lambda f: f.block("x", limit=2), "abc", "At most 2"),
    ],
)
def test_bad_values(read: object, value: str, says: str) -> None:
    form = Form.of({"x": value})
    read(form)  # type: ignore[operator]
    assert says in form.errors["x"]
    with pytest.raises(Unprocessable) as raised:
        form.check()
    assert raised.value.details["field"] == "x"
    assert "Nothing was saved" in raised.value.hint


def test_all_fields_are_named_at_once_and_an_upload_is_not_text() -> None:
    class Upload:
        filename = "x.csv"

    form = Form.of({"a": "", "b": "x", "file": Upload()})
    form.text("a", required=True)
    form.integer("b")
    form.text("file", required=True)
    assert set(form.errors) == {"a", "b", "file"}
