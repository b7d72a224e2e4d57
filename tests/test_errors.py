"""The tree of errors is what its docstring draws."""

from __future__ import annotations

import re

import pytest

from headway import errors


def test_the_docstring_draws_every_error_with_its_status_and_code() -> None:
    drawn = dict(re.findall(r"(\w+) +(\d{3}  \w+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__: f"{kind.status}  {kind.code}" for kind in errors.tree().values()}


@pytest.mark.parametrize("kind", errors.tree().values())
def test_an_error_tells_what_to_do(kind: type[errors.HeadwayError]) -> None:
    body = kind("It broke.", hint="Mend it.", field="name").as_dict()
    assert body == {"error": {"code": kind.code, "message": "It broke.", "hint": "Mend it.", "field": "name"}}
