"""The form of a run that begins with another's parameters: unchanged, it submits exactly those."""

from __future__ import annotations

from typing import Any

import pytest

from headway.runs import forms
from headway.runs.launch import RunLimits
from headway.runs.parameters import Found, Parameter
from headway.web.forms import Form

FOUND = Found(
    (
        Parameter("lr", "float", 0.1),
        Parameter("name", "str", "base"),
        Parameter("deep", "bool", False),
        Parameter("size", "str", "s", choices=("s", "m")),
        Parameter("layers", "int", None, many=True),
    ),
    True,
)


@pytest.mark.parametrize(
    "given",
    [{}, {"lr": "0.5"}, {"deep": True, "name": "other"}, {"size": "m", "layers": "1 2 3"}, {"extra": "9", "lr": "0.2"}],
)
def test_unchanged_it_is_the_same_run(given: dict[str, Any]) -> None:
    posted = forms.again(FOUND, given, RunLimits(memory_mb=512, timeout_s=90))
    form = Form(posted)
    assert forms.values(FOUND, posted, form) == given and form.ok
    assert forms.limits(form) == RunLimits(512, 90.0)
