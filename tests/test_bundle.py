"""The bundle: written whole or not at all, readable by MLflow, and honest about what is wrong with it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headway import bundle
from headway.bundle import BundleError, Column, Examples, Manifest, Signature, Tensor

FRAME = pd.DataFrame(
    {
        "age": [31, 40, 52],
        "income": [1.5, None, 3.0],
        "city": ["Oslo", None, "Bergen"],
        "member": [True, False, True],
        "since": pd.to_datetime(["2020-01-01", "2021-06-01", "2022-01-01"]),
        "visits": pd.array([1, None, 3], dtype="Int64"),
        "plan": pd.Categorical(["a", "b", "a"]),
        "level": np.array([1, 2, 3], dtype="int32"),
        "ratio": np.array([1, 2, 3], dtype="float32"),
        "raw": [b"x", b"y", b"z"],
    }
)


def write(folder: Path, **kinds: Any) -> Manifest:
    flavors = bundle.flavors("sklearn", "model.pkl", version="1.9.1", python="3.11.7")
    manifest = Manifest(flavors, Signature((Column("x", "double"),)), {"class": "Model"}, run_id="r1")
    return bundle.write(
        folder, manifest, lambda to: (to / "model.pkl").write_bytes(b"model"), requirements=["numpy==2.0"], **kinds
    )


@pytest.mark.parametrize(
    ("name", "type_", "required"),
    [
        ("age", "long", True),
        ("income", "double", False),
        ("city", "string", False),
        ("member", "boolean", True),
        ("since", "datetime", True),
        ("visits", "long", False),
        ("plan", "string", True),
        ("level", "integer", True),
        ("ratio", "float", True),
        ("raw", "binary", True),
    ],
)
def test_a_column_is_told_from_its_values(name: str, type_: str, required: bool) -> None:
    found = next(c for c in bundle.infer(FRAME).columns if c.name == name)
    assert (found.type, found.required) == (type_, required)


def test_an_array_is_a_tensor_of_any_number_of_rows() -> None:
    signature = bundle.infer(np.zeros((5, 3), dtype="float32"), np.zeros(5, dtype="int64"))
    assert signature.inputs == (Tensor("float32", (-1, 3)),)
    assert signature.outputs == (Tensor("int64", (-1,)),)


def test_what_is_neither_frame_nor_array_has_no_signature() -> None:
    with pytest.raises(BundleError, match="dict"):
        bundle.infer({"a": 1})


@pytest.mark.filterwarnings("ignore")  # MLflow warns at its own import
def test_a_signature_comes_back_as_it_was_written_and_mlflow_reads_it() -> None:
    from mlflow.models import ModelSignature

    signature = bundle.infer(FRAME, np.zeros(3))
    assert Signature.from_mlflow(signature.to_mlflow()) == signature
    theirs = ModelSignature.from_dict(signature.to_mlflow())
    assert theirs.inputs.input_names() == list(FRAME.columns)


def test_compound_types_are_kept_as_they_were_written() -> None:
    spec = {"type": "array", "items": {"type": "double"}, "name": "v", "required": False}
    signature = Signature.from_mlflow({"inputs": json.dumps([spec])})
    assert signature.columns[0].type == "array"
    assert not signature.columns[0].required
    assert json.loads(signature.to_mlflow()["inputs"]) == [spec]


def test_examples_hold_nulls_dates_and_numbers_as_json_can() -> None:
    examples = bundle.record(FRAME.drop(columns="raw"), np.array([0, 1, 0]), limit=2)
    assert examples is not None
    assert examples.columns == list(FRAME.columns[:-1])
    assert examples.data[1] == [40, None, None, False, "2021-06-01T00:00:00", None, "b", 2, 2.0]
    assert examples.predictions == [0, 1]
    assert Examples.from_json(json.loads(json.dumps(examples.to_json()))) == examples


def test_what_json_can_not_hold_is_not_recorded() -> None:
    assert bundle.record(FRAME, np.array([0, 1, 0])) is None  # bytes
    assert bundle.record(np.zeros((2, 2)), np.array([1])) is None  # not one prediction a row


def test_a_bundle_is_written_and_read(tmp_path: Path) -> None:
    written = write(tmp_path / "b", examples=Examples([[1.0]], [2.0], ["x"]))
    read = bundle.read(tmp_path / "b")
    assert read.to_json() == written.to_json()
    assert (read.library, read.python, read.run_id, read.headway["class"]) == ("sklearn", "3.11.7", "r1", "Model")
    assert bundle.read_requirements(tmp_path / "b") == ["numpy==2.0"]
    assert bundle.read_examples(tmp_path / "b") == Examples([[1.0]], [2.0], ["x"])
    bundle.check(tmp_path / "b", read)


@pytest.mark.filterwarnings("ignore")
def test_a_plain_mlflow_client_loads_it(tmp_path: Path) -> None:
    import mlflow
    import sklearn
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = LinearRegression().fit(frame, [2.0, 4.0, 6.0])
    flavors = bundle.flavors("sklearn", "model.pkl", version=sklearn.__version__, python="3.11.7")
    manifest = Manifest(flavors, bundle.infer(frame, model.predict(frame)))
    bundle.write(tmp_path / "b", manifest, lambda to: (to / "model.pkl").write_bytes(pickle.dumps(model)))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "b"))
    assert loaded.predict(pd.DataFrame({"x": [10.0]})).tolist() == pytest.approx([20.0])


def test_a_failed_save_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    write(tmp_path / "b")
    before = (tmp_path / "b" / "MLmodel").read_text()

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        bundle.write(tmp_path / "b", bundle.read(tmp_path / "b"), fail)
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b" / "MLmodel").read_text() == before


TWICE = json.dumps(
    {"flavors": {"sklearn": {}}, "signature": {"inputs": json.dumps([{"type": "long", "name": "a"}] * 2)}}
)
BROKEN: list[tuple[str, str]] = [
    ("", "not JSON"),
    ("flavors:\n  sklearn: {}", "not JSON"),
    ("[]", "no flavor"),
    ("{}", "no flavor"),
    ('{"flavors": []}', "no flavor"),
    ('{"flavors": {"sklearn": {}}, "signature": {"inputs": "nonsense"}}', "inputs can't be read"),
    ('{"flavors": {"sklearn": {}}, "signature": {"inputs": "[{}]"}}', "inputs can't be read"),
    (TWICE, "name one field twice"),
    ("[" * 100_000, "not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_manifest_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(BundleError, match=message):
        bundle.read(tmp_path)


def test_a_missing_manifest_and_broken_examples_say_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No MLmodel"):
        bundle.read(tmp_path)
    assert bundle.read_examples(tmp_path) is None
    for text, message in (
        ("{", "can't be read"),
        ("{}", "inputs"),
        ('{"inputs": {"array": [1]}, "predictions": []}', "1 inputs"),
    ):
        (tmp_path / bundle.EXAMPLES).write_text(text)
        with pytest.raises(BundleError, match=message):
            bundle.read_examples(tmp_path)


def test_a_changed_or_missing_or_foreign_file_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    manifest = write(folder)
    (folder / "model.pkl").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"'model\.pkl' is not the one"):
        bundle.check(folder, manifest)
    (folder / "model.pkl").unlink()
    with pytest.raises(BundleError, match=r"lacks its file 'model\.pkl'"):
        bundle.check(folder, manifest)
    outside = Manifest(manifest.flavors, None, {"files": {"../secret": "0"}})
    with pytest.raises(BundleError, match="outside"):
        bundle.check(folder, outside)
