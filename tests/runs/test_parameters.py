"""Parameters: found without running anything, checked, and handed on as values, never as code."""

from __future__ import annotations

import argparse
import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Unprocessable
from headway.runs import parameters
from headway.runs.parameters import Found, Parameter

CELL = """
from typing import Literal
epochs: int = 10   # how many rounds
lr = 1e-3
fast = True
name = "a # b"  # a name
columns = ["x", "y"]
mode: Literal["small", "large"] = "small"
need: float
low = -5
conn = connect()
a, b = 1, 2
epochs = 20
"""


def test_those_of_a_cell() -> None:
    found = parameters.of_cell(CELL)
    assert [(p.name, p.type, p.default, p.required, p.help) for p in found.parameters] == [
        ("epochs", "int", 20, False, ""),
        ("lr", "float", 0.001, False, ""),
        ("fast", "bool", True, False, ""),
        ("name", "str", "a # b", False, "a name"),
        ("columns", "list", ["x", "y"], False, ""),
        ("mode", "str", "small", False, ""),
        ("need", "float", None, True, ""),
        ("low", "int", -5, False, ""),
    ]
    assert found.by_name("mode").choices == ("small", "large")  # type: ignore[union-attr]
    assert parameters.of_cell("x = (") == Found()


SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("data", help="the file")
parser.add_argument("--learning-rate", "-l", type=float, default=0.1, help="step  size")
parser.add_argument("--fast", action="store_true")
parser.add_argument("--no-cache", dest="cache", action="store_false")
parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--model", choices=["a", "b"], default="a")
parser.add_argument("--layers", type=int, nargs="+", default=[8, 4])
parser.add_argument("--name", required=True)
parser.add_argument("--out", default=compute())
parser.add_argument("--version", action="version", version="1")
args = parser.parse_args()
"""


def parser_of(source: str) -> argparse.ArgumentParser:
    scope: dict = {"compute": lambda: "o"}
    exec(source.replace("args = parser.parse_args()", ""), scope)
    return scope["parser"]


def test_those_of_a_script() -> None:
    found = parameters.of_script(SCRIPT)
    assert found.complete
    assert [(p.name, p.type, p.default, p.required, p.many) for p in found.parameters if p.type != "code"] == [
        ("data", "str", None, True, False),
        ("learning_rate", "float", 0.1, False, False),
        ("fast", "bool", False, False, False),
        ("cache", "bool", True, False, False),
        ("shuffle", "bool", True, False, False),
        ("model", "str", "a", False, False),
        ("layers", "int", [8, 4], False, True),
        ("name", "str", None, True, False),
        ("out", "str", None, False, False),
    ]
    assert not parameters.of_script("p.parse_known_args()\np.add_argument('--x')").complete
    assert parameters.of_script("print(1)") == Found() and parameters.of_script("(") == Found()


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ({"data": "f.csv", "name": "n"}, {}),
        ({"data": "f.csv", "name": "n", "learning-rate": "0.5"}, {"learning_rate": 0.5}),
        ({"data": "f.csv", "name": "n", "--learning_rate": "-0.5"}, {"learning_rate": -0.5}),
        ({"data": "f.csv", "name": "-dash", "fast": "true"}, {"fast": True, "name": "-dash"}),
        (
            {"data": "f.csv", "name": "n", "fast": False, "cache": False, "shuffle": "no"},
            {"cache": False, "shuffle": False},
        ),
        ({"data": "f.csv", "name": "n", "layers": "1, 2 3"}, {"layers": [1, 2, 3]}),
        ({"data": "f.csv", "name": "a b; $(x) '", "model": "b"}, {"model": "b", "name": "a b; $(x) '"}),
    ],
)
def test_a_real_argparse_understands_the_arguments(given_values: dict, expected: dict) -> None:
    found = parameters.of_script(SCRIPT)
    values = parameters.typed(given_values, found, identifiers=False)
    read = vars(parser_of(SCRIPT).parse_args(parameters.arguments(values, found)))
    assert read["data"] == "f.csv"
    assert {name: read[name] for name in expected} == expected


def test_options_of_a_script_nobody_could_read() -> None:
    values = parameters.typed(
        {"lr": "0.1", "flag": "true", "off": "false", "words": ["a", "b"]}, Found(), identifiers=False
    )
    assert parameters.arguments(values, Found()) == ["--lr", "0.1", "--flag", "--words", "a", "b"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"data": "f"}, "name"),
        ({"name": "n"}, "data"),
        ({"data": "f", "name": "n", "epochs": 1}, "epochs"),
        ({"data": "f", "name": "n", "model": "c"}, "model"),
        ({"data": "f", "name": "n", "learning_rate": "fast"}, "learning_rate"),
        ({"data": "f", "name": "n", "learning_rate": "nan"}, "learning_rate"),
        ({"data": "f", "name": "n", "fast": "maybe"}, "fast"),
        ({"data": "f", "name": "n" * 200_000}, "name"),
    ],
)
def test_what_is_refused_names_its_field(values: dict, field: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        parameters.typed(values, parameters.of_script(SCRIPT), identifiers=False)
    assert caught.value.details["field"] == field


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@given(LITERALS)
def test_an_injected_value_is_that_value_and_nothing_else(value: object) -> None:
    source = parameters.injected({"x": value})
    tree = ast.parse(source)
    assert len(tree.body) == 1 and isinstance(tree.body[0], ast.Assign)
    assert ast.literal_eval(tree.body[0].value) == value


@given(st.text())
def test_a_text_for_a_text_stays_as_it_is(text: str) -> None:
    found = Found((Parameter("x", "str"),), True)
    if len(text) < 1000:
        assert parameters.typed({"x": text}, found, identifiers=True) == {"x": text}
