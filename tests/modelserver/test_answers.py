"""What a replica answers: every accepted form, every kind of bad input, and batches that nobody suffers from."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headway import frames
from headway.modelserver.predictor import Asked, Predictor
from tests.modelserver.bundles import save
from tests.modelserver.oddities import Centred, Odd

Make = Callable[[Path], Predictor]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():  # as `serve` does: scikit-learn warns of arrays without names
        warnings.simplefilter("ignore")
        yield


def ask(
    predictor: Predictor, body: Any, *, kind: int = frames.INVOCATIONS, content: int = frames.JSON
) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    [(status, answer)] = predictor.answer([Asked(kind, content, 0.0, raw)])
    return status, json.loads(answer)


def split(columns: list[str], *rows: list[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(rows)}}


AB = ["a", "b"]
NESTED = b'{"dataframe_split": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"

GOOD: list[tuple[str, Any, list[int]]] = [
    ("split", split(AB, [0.5, 1.0], [4.5, 1.0]), [0, 1]),
    ("split with an index", {"dataframe_split": {"columns": AB, "index": [7], "data": [[0, 1]]}}, [0]),
    ("columns in another order", split(["b", "a"], [1.0, 0.5], [1.0, 4.5]), [0, 1]),
    ("an extra column", split(["x", "b", "a"], ["?", 1.0, 4.5]), [1]),
    ("whole numbers for doubles", split(AB, [4, 1]), [1]),
    ("no names, by position", {"dataframe_split": {"data": [[4.5, 1.0]]}}, [1]),
    ("records", {"dataframe_records": [{"b": 1.0, "a": 0.5}, {"a": 4.5, "b": 0, "x": "extra"}]}, [0, 1]),
    ("instances as records", {"instances": [{"a": 4.5, "b": 0}]}, [1]),
    ("instances as rows", {"instances": [[4.5, 0.0], [0.0, 0.0]]}, [1, 0]),
    ("inputs by column", {"inputs": {"a": [4.5, 0.5], "b": [0, 1]}}, [1, 0]),
    ("inputs as rows", {"inputs": [[4.5, 1.0]]}, [1]),
]


@pytest.mark.parametrize(("body", "expected"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_every_form_is_understood(predictor: Make, numbers: Path, body: Any, expected: list[int]) -> None:
    assert ask(predictor(numbers), body) == (200, {"predictions": expected})


BAD: list[tuple[str, Any, int, str]] = [
    ("empty", b"", 400, "empty"),
    ("white space", b" \n", 400, "empty"),
    ("broken JSON", b'{"dataframe_split": {"columns"', 400, "not JSON"),
    ("not UTF-8", b'{"a": "\xff\xfe\xff"}', 400, "UTF-8"),
    ("a list", [1, 2], 400, "must be a JSON object, not a list"),
    ("nothing known", {"data": [[1, 2]]}, 400, "exactly one of"),
    ("two forms", {"instances": [[1, 2]], "inputs": [[1, 2]]}, 400, "exactly one of"),
    ("no data", {"dataframe_split": {"columns": AB}}, 400, '"columns" and "data"'),
    ("data of another kind", {"dataframe_split": {"columns": AB, "data": {"a": 1}}}, 400, "must be a list, not an object"),
    ("columns of another kind", {"dataframe_split": {"columns": "ab", "data": [[1, 2]]}}, 400, "list of column names"),
    ("an unknown key", {"dataframe_split": {"columns": AB, "data": [[1, 2]], "dtype": "f"}}, 400, "unknown keys: 'dtype'"),
    ("no rows", split(AB), 422, "no rows"),
    ("a missing column", split(["a"], [1.0]), 422, "Missing column: 'b'"),
    ("a column twice", split(["a", "b", "a"], [1.0, 2.0, 3.0]), 422, "'a' is given twice"),
    ("a misspelt column", split(["a", "B"], [1.0, 1.0]), 422, "Missing column: 'b'"),
    ("a short row", split(AB, [1.0, 1.0], [1.0]), 422, "Row 1 has 1 values"),
    ("a short row in another order", split(["b", "a"], [1.0]), 422, "Row 0 has 1 values for 2 columns"),
    ("text in a number", split(AB, [1.0, 1.0], [1.0, "1.0"]), 422, "Row 1, column 'b': expected a number, got text"),
    ("a boolean in a number", split(AB, [True, 1.0]), 422, "column 'a': expected a number, got a boolean"),
    ("null in a required number", split(AB, [None, 1.0]), 422, "column 'a': expected a number, got null"),
    ("NaN in a required number", b'{"instances": [[NaN, 1.0]]}', 422, "column 'a': expected a number, got NaN"),
    ("infinity", b'{"instances": [[1.0, Infinity]]}', 422, "column 'b': expected a number, got infinity"),
    ("a number beyond all doubles", b'{"instances": [[1e999, 1.0]]}', 422, "too large"),
    ("a whole number beyond all doubles", b'{"instances": [[1%b, 1.0]]}' % (b"0" * 400), 422, "too large"),
    ("a number of ten thousand digits", b'{"instances": [[1%b, 1.0]]}' % (b"0" * 10_000), 400, "too long"),
    ("a record lacks a column", {"dataframe_records": [{"a": 1.0, "b": 1.0}, {"a": 1.0}]}, 422, "Row 1, column 'b'"),
    ("a record is none", {"dataframe_records": [[1.0, 2.0]]}, 400, "row 0 must be an object, not a list"),
    ("records and rows", {"instances": [{"a": 1, "b": 1}, [1, 2]]}, 400, "row 1 must be an object"),
    ("a row is a number", {"dataframe_split": {"columns": AB, "data": [[1, 1], 7]}}, 422, "Row 1 must be a list"),
    ("unequal columns", {"inputs": {"a": [1.0], "b": [1.0, 2.0]}}, 422, "unequal lengths"),
    ("an unknown method", split(AB, [1.0, 1.0]) | {"params": {"method": "explain"}}, 400, "Unknown method 'explain'"),
    ("unknown params", split(AB, [1.0, 1.0]) | {"params": {"seed": 1}}, 400, '"params"'),
    ("a megabyte of nested lists", NESTED, 400, "nested too deeply"),
    ("a nested value", split(AB, [[1.0], 1.0]), 422, "expected a number, got a list"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_told_what_is_wrong(predictor: Make, numbers: Path, body: Any, status: int, message: str) -> None:
    replica = predictor(numbers)
    found, answer = ask(replica, body)
    assert found == status
    assert message in answer["error"]["message"]
    assert "Traceback" not in json.dumps(answer)
    assert ask(replica, split(AB, [4.5, 1.0])) == (200, {"predictions": [1]})  # it lives


def test_an_error_names_row_column_expected_and_got(predictor: Make, numbers: Path) -> None:
    _, answer = ask(predictor(numbers), split(AB, [1.0, 1.0], [1.0, "secret-value"]))
    error = answer["error"]
    assert (error["row"], error["column"], error["expected"], error["got"]) == (1, "b", "double", "text")
    assert "secret-value" not in json.dumps(answer)


MIXED = ["age", "income", "city"]
MIXED_CASES: list[tuple[str, list[Any], int, str]] = [
    ("as trained", [60, 50.0, "Oslo"], 200, ""),
    ("a null where nulls were", [60, None, "Oslo"], 200, ""),
    ("a whole float for a whole number", [60.0, 50.0, "Oslo"], 200, ""),
    ("a fraction for a whole number", [60.5, 50.0, "Oslo"], 422, "expected a whole number (64 bits), got a fraction"),
    ("a number beyond 64 bits", [2**63, 50.0, "Oslo"], 422, "got a number beyond 64 bits"),
    ("a number for text", [60, 50.0, 7], 422, "column 'city': expected text, got a number"),
    ("null in required text", [60, 50.0, None], 422, "column 'city': expected text, got null"),
    ("what the model itself refuses", [60, 50.0, "Paris"], 422, "The model refused this input: ValueError"),
]


@pytest.mark.parametrize(("row", "status", "message"), [c[1:] for c in MIXED_CASES], ids=[c[0] for c in MIXED_CASES])
def test_types_are_kept(predictor: Make, mixed: Path, row: list[Any], status: int, message: str) -> None:
    replica = predictor(mixed)
    for _ in range(2):  # the second time the row's types may be known already
        found, answer = ask(replica, split(MIXED, row))
        assert found == status, answer
        assert message in answer.get("error", {}).get("message", "")


def test_known_types_do_not_hide_bad_values(predictor: Make, mixed: Path) -> None:
    replica = predictor(mixed)
    assert ask(replica, split(MIXED, [60, 50.0, "Oslo"]))[0] == 200
    assert ask(replica, split(MIXED, [2**70, 50.0, "Oslo"]))[0] == 422
    assert ask(replica, b'{"instances": [[60, 1e999, "Oslo"]]}')[0] == 422
    assert ask(replica, split(MIXED, [True, 50.0, "Oslo"]))[0] == 422


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("age,income,city\n60,50.5,Oslo\n20,,Bergen\n", 200, ""),
        ("city,age,income\nOslo,60,50.5\nBergen,20,NaN\n", 200, ""),
        ('\ufeffage,income,city\r\n60,50,"Oslo"\r\n20,1,Bergen\r\n', 200, ""),
        ("", 400, "empty"),
        ("age,income,city\n", 422, "no rows"),
        ("age,income\n60,50\n", 422, "Missing column: 'city'"),
        ("age,income,city\n60,fifty,Oslo\n", 422, "column 'income': expected a number, got text"),
        ("age,income,city\n60,50\n", 422, "Line 2 has 2 cells for 3 columns"),
        ("age,income,city\n60.5,50,Oslo\n", 422, "got a fraction"),
        ('age,income,city\n60,50,"Os\n', 400, "can't be read"),
    ],
)
def test_csv(predictor: Make, mixed: Path, text: str, status: int, message: str) -> None:
    found, answer = ask(predictor(mixed), text.encode(), content=frames.CSV)
    assert found == status, answer
    if status == 200:
        assert answer == {"predictions": ["old", "young"]}
    assert message in answer.get("error", {}).get("message", "")


TENSOR_CASES: list[tuple[str, Any, int, str]] = [
    ("inputs", {"inputs": [[0, 1, 2], [27, 28, 29]]}, 200, ""),
    ("instances", {"instances": [[0, 1, 2.0], [27, 28, 29]]}, 200, ""),
    ("too few", {"inputs": [[0, 1]]}, 422, "shape (1, 2), the model takes (any, 3)"),
    ("flat", {"inputs": [0, 1, 2]}, 422, "shape (3)"),
    ("uneven", {"inputs": [[0, 1, 2], [1]]}, 422, "unequal lengths"),
    ("text", {"inputs": [[0, 1, 2], [0, "x", 2]]}, 422, "inputs[1][1]: expected float64, got text"),
    ("a boolean", {"inputs": [[0, True, 2]]}, 422, "inputs[0][1]: expected float64, got a boolean"),
    ("infinity", b'{"inputs": [[0, 1, 1e999]]}', 422, "inputs[0][2]: infinity"),
    ("nothing", {"inputs": []}, 422, "no rows"),
    ("a number", {"inputs": {"x": 3}}, 400, "must be nested lists"),
    ("too deep", b'{"inputs": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "inputs"),
]


@pytest.mark.parametrize(("body", "status", "message"), [c[1:] for c in TENSOR_CASES], ids=[c[0] for c in TENSOR_CASES])
def test_tensors(predictor: Make, tensor: Path, body: Any, status: int, message: str) -> None:
    found, answer = ask(predictor(tensor), body)
    assert found == status, answer
    if status == 200:
        assert answer == {"predictions": [0, 1]}
    assert message in answer.get("error", {}).get("message", "")


def test_probabilities_come_when_asked(predictor: Make, numbers: Path) -> None:
    status, answer = ask(predictor(numbers), split(AB, [4.5, 1.0]) | {"params": {"method": "predict_proba"}})
    assert status == 200
    assert answer == {"predictions": [1], "probabilities": [[0.0, 1.0]], "classes": [0, 1]}


def v2(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def one(name: str, shape: list[int], data: Any, datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


V2_CASES: list[tuple[str, Any, int, str]] = [
    ("a tensor a column", v2(one("b", [2], [1, 1]), one("a", [2, 1], [[0.5], [4.5]]), id="q1"), 200, ""),
    ("one matrix", v2(one("input-0", [2, 2], [0.5, 1, 4.5, 1])), 200, ""),
    ("one nested matrix", v2(one("input-0", [2, 2], [[0.5, 1], [4.5, 1]])), 200, ""),
    ("no inputs", {"inputs": []}, 400, "list of tensors"),
    ("wrong count", v2(one("input-0", [2, 2], [1, 2, 3])), 422, "wants 4 values, data has 3"),
    ("wrong width", v2(one("input-0", [1, 3], [1, 2, 3])), 422, "3 columns, the model takes 2"),
    ("unknown datatype", v2(one("a", [1], [1], "FLOAT")), 400, "unknown datatype"),
    ("shape of text", v2(one("a", ["1"], [1])), 400, "whole numbers"),  # type: ignore[list-item]
    ("missing", v2(one("a", [1], [1])), 422, "Missing column: 'b'"),
    ("text", v2(one("a", [1], ["x"]), one("b", [1], [1])), 422, "column 'a': expected a number, got text"),
]


@pytest.mark.parametrize(("body", "status", "message"), [c[1:] for c in V2_CASES], ids=[c[0] for c in V2_CASES])
def test_open_inference(predictor: Make, numbers: Path, body: Any, status: int, message: str) -> None:
    found, answer = ask(predictor(numbers), body, kind=frames.V2_INFER)
    assert found == status, answer
    assert message in answer.get("error", {}).get("message", "")
    if status == 200:
        assert answer["outputs"] == [{"name": "predictions", "shape": [2], "datatype": "INT64", "data": [0, 1]}]
        assert answer.get("id") == body.get("id")


def test_what_comes_together_is_answered_as_if_it_came_alone(predictor: Make, mixed: Path) -> None:
    replica = predictor(mixed)
    assert replica.batches
    rows = [[20 + i, 50.0 + i, ["Oslo", "Bergen"][i % 2]] for i in range(50)]
    bodies = [split(MIXED, row) for row in rows]
    bodies[7] = split(MIXED, [1, 2.0, "Paris"])  # passes the signature, fails in the model
    bodies[9] = split(MIXED, [1, 2.0])  # fails the signature
    bodies[11] = split(MIXED, *rows[:3])
    asked = [Asked(frames.INVOCATIONS, frames.JSON, 0.0, json.dumps(b).encode()) for b in bodies]
    together = replica.answer(asked)
    assert together == [replica.answer([a])[0] for a in asked]
    assert [s for s, _ in together].count(200) == 48


def test_one_predict_serves_many(predictor: Make, numbers: Path) -> None:
    replica = predictor(numbers)
    calls: list[int] = []
    original = replica.loaded.methods["predict"]
    replica.loaded.methods["predict"] = lambda data: calls.append(len(data)) or original(data)  # type: ignore[func-returns-value]
    body = json.dumps(split(AB, [4.5, 1.0])).encode()
    replica.answer([Asked(frames.INVOCATIONS, frames.JSON, 0.0, body)] * 64)
    assert calls == [64]


def test_a_request_whose_deadline_passed_is_not_computed(predictor: Make, numbers: Path) -> None:
    replica = predictor(numbers)
    body = json.dumps(split(AB, [4.5, 1.0])).encode()
    assert [s for s, _ in replica.answer([Asked(frames.INVOCATIONS, frames.JSON, 1.0, body)])] == [504]


def test_a_model_whose_rows_depend_on_each_other_is_asked_one_request_at_a_time(
    predictor: Make, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 6.0], "b": [0.0, 0.0, 0.0]})
    replica = predictor(save(tmp_path / "b", Centred(), frame))
    assert not replica.batches
    body = json.dumps(split(AB, [5.0, 1.0])).encode()
    answers = replica.answer([Asked(frames.INVOCATIONS, frames.JSON, 0.0, body)] * 3)
    assert [json.loads(a) for _, a in answers] == [{"predictions": [0.0]}] * 3


def test_answers_are_always_json(predictor: Make, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    for value, told in (
        (np.nan, None),
        (np.inf, None),
        (np.float32(0.5), 0.5),
        (pd.Timestamp("2020-01-01"), "2020-01-01T00:00:00"),
    ):
        folder = save(tmp_path / f"b{told}", Odd(value), frame, examples=False)
        assert ask(predictor(folder), {"instances": [[1.0]]}) == (200, {"predictions": [told]})
    folder = save(tmp_path / "short", Odd(1.0, short=True), frame, examples=False)
    status, answer = ask(predictor(folder), {"instances": [[1.0], [2.0]]})
    assert status == 422
    assert "1 predictions for 2 rows" in answer["error"]["message"]
