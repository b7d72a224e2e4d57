"""The tree of errors is what its docstring draws."""

from __future__ import annotations

import re

import pytest

from headway import errors


def test_the_docstring_draws_every_error_with_its_status_and_code() -> None:
    drawn = dict(re.findall(r"(\w+) +(\d{3}  \w+)", errors.__doc__ or ""))
    own = [kind for kind in errors.tree().values() if kind.__module__ == errors.__name__]
    assert drawn == {kind.__name__: f"{kind.status}  {kind.code}" for kind in own}


@pytest.mark.parametrize("kind", errors.tree().values())
def test_an_error_tells_what_to_do(kind: type[errors.HeadwayError]) -> None:
    body = kind("It broke.", hint="Mend it.", field="name").as_dict()
    assert body == {"error": {"code": kind.code, "message": "It broke.", "hint": "Mend it.", "field": "name"}}
