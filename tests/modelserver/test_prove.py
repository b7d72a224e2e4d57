"""The proof before traffic: sound bundles of every flavour pass, sabotaged ones fail and say what is at fault."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headway import bundle
from headway.deployments import prepare
from headway.modelserver.prove import Verdict, prove
from tests.modelserver.bundles import PYTHON, people, save
from tests.modelserver.oddities import Odd

FRAME = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "b": [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]})
TARGET = [0, 0, 0, 1, 1, 1]


def proved(folder: Path) -> Verdict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prove(folder)


def test_sound_bundles_pass(numbers: Path, mixed: Path, tensor: Path) -> None:
    for folder in (numbers, mixed, tensor):
        verdict = proved(folder)
        assert (verdict.ok, verdict.stage, verdict.examples) == (True, "done", 5), verdict
        assert verdict.methods == ["predict", "predict_proba"]


# ---- what MLflow's own client saves ----


def _sklearn(folder: Path, **more: Any) -> None:
    import mlflow
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(random_state=0).fit(FRAME, TARGET)
    mlflow.sklearn.save_model(model, str(folder), serialization_format="cloudpickle", pip_requirements=["x"], **more)


def _xgboost(folder: Path, **more: Any) -> None:
    import mlflow
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=3).fit(FRAME, TARGET)
    mlflow.xgboost.save_model(model, str(folder), pip_requirements=["x"], **more)


def _booster(folder: Path, **more: Any) -> None:
    import mlflow
    import xgboost

    model = xgboost.train({}, xgboost.DMatrix(FRAME, TARGET), 3)
    mlflow.xgboost.save_model(model, str(folder), pip_requirements=["x"], **more)


def _lightgbm(folder: Path, **more: Any) -> None:
    import lightgbm
    import mlflow

    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, min_child_samples=1).fit(FRAME, TARGET)
    mlflow.lightgbm.save_model(model, str(folder), pip_requirements=["x"], **more)


def _pyfunc(folder: Path, **more: Any) -> None:
    import mlflow

    class Sums(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input.sum(axis=1)

    mlflow.pyfunc.save_model(str(folder), python_model=Sums(), pip_requirements=["x"], **more)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [_sklearn, _xgboost, _booster, _lightgbm, _pyfunc], ids=lambda f: f.__name__[1:])
def test_what_mlflow_saved_is_prepared_and_proved(tmp_path: Path, make: Callable[..., None]) -> None:
    from mlflow.models import infer_signature

    make(tmp_path / "b", signature=infer_signature(FRAME, np.array([0.5])), input_example=FRAME.head(2))
    manifest = prepare.prepare(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "MLmodel").read_text())["flavors"]
    assert [c.name for c in bundle.read(tmp_path / "b").signature.columns] == ["a", "b"]  # type: ignore[union-attr]
    needed = prepare.requirements(tmp_path / "b", manifest)
    assert needed[-1] == "x"
    assert (len(needed) > 1) == (make is _pyfunc)  # only there does the replica need MLflow
    verdict = proved(tmp_path / "b")
    assert (verdict.ok, verdict.examples) == (True, 2), verdict


# ---- sabotage ----


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads((folder / "MLmodel").read_text())
    change(value)
    (folder / "MLmodel").write_text(json.dumps(value))


def _truncate(folder: Path) -> None:
    raw = (folder / "model.pkl").read_bytes()
    (folder / "model.pkl").write_bytes(raw[: len(raw) // 2])


def _unhash(value: dict[str, Any]) -> None:
    value["metadata"]["headway"].pop("files")


def _cut(folder: Path) -> None:
    _truncate(folder)
    _edit(folder, _unhash)


def _no_pickle(folder: Path) -> None:
    (folder / "model.pkl").unlink()
    _edit(folder, _unhash)


def _not_a_pickle(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"GIF89a")
    _edit(folder, _unhash)


def _other_version(folder: Path) -> None:
    _edit(folder, lambda v: v["flavors"]["sklearn"].update(sklearn_version="0.1.0"))


def _other_answers(folder: Path) -> None:
    value = json.loads((folder / bundle.EXAMPLES).read_text())
    value["predictions"][3] = 7
    (folder / bundle.EXAMPLES).write_text(json.dumps(value))
    _edit(folder, _unhash)


def _other_column(folder: Path) -> None:
    value = json.loads((folder / bundle.EXAMPLES).read_text())
    value["inputs"]["columns"][1] = "c"
    (folder / bundle.EXAMPLES).write_text(json.dumps(value))
    _edit(folder, _unhash)


def _wrong_type(folder: Path) -> None:
    value = json.loads((folder / bundle.EXAMPLES).read_text())
    value["inputs"]["data"][2][1] = "text"
    (folder / bundle.EXAMPLES).write_text(json.dumps(value))
    _edit(folder, _unhash)


def _signature_of_another(folder: Path) -> None:
    _edit(folder, lambda v: v["signature"].update(inputs=json.dumps([{"type": "double", "name": n} for n in "abc"])))


def _no_predict(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps({"weights": [1, 2]}))
    _edit(folder, _unhash)


def _unfitted(folder: Path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    (folder / "model.pkl").write_bytes(pickle.dumps(DecisionTreeClassifier()))
    _edit(folder, _unhash)


def _evil(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"cos\n_exit\n(I3\ntR.".replace(b"_exit", b"abort_x"))
    _edit(folder, _unhash)


def _outside(folder: Path) -> None:
    _edit(folder, lambda v: v["flavors"]["sklearn"].update(pickled_model="../../model.pkl"))
    _edit(folder, _unhash)


def _unknown_flavor(folder: Path) -> None:
    _edit(folder, lambda v: v.update(flavors={"python_function": {"loader_module": "no_such_loader"}}))


def _yaml(folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors:\n  sklearn: {}\n")


SABOTAGE: list[tuple[Callable[[Path], None], str, str]] = [
    (_truncate, "manifest", "'model.pkl' is not the one that was saved"),
    (_cut, "load", "can't be loaded"),
    (_no_pickle, "load", "lacks its file 'model.pkl'"),
    (_not_a_pickle, "load", "can't be loaded: UnpicklingError"),
    (_other_version, "versions", "scikit-learn 0.1.0 saved this model"),
    (_other_answers, "examples", "Example 3 is answered otherwise than when it was trained: recorded 7, here 1"),
    (_other_column, "examples", "Missing column: 'b'"),
    (_wrong_type, "examples", "Row 2, column 'b': expected a number, got text"),
    (_signature_of_another, "examples", "Missing column: 'c'"),
    (_no_predict, "load", "a dict, has no predict()"),
    (_unfitted, "examples", "fails on its own example: NotFittedError"),
    (_evil, "load", "abort_x"),
    (_outside, "load", "lacks its file"),
    (_unknown_flavor, "load", "no_such_loader"),
    (_yaml, "manifest", "not JSON"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("sabotage", "stage", "message"), SABOTAGE, ids=[s[0].__name__[1:] for s in SABOTAGE])
def test_a_sabotaged_bundle_does_not_pass(
    numbers: Path, tmp_path: Path, sabotage: Callable[[Path], None], stage: str, message: str
) -> None:
    folder = tmp_path / "b"
    shutil.copytree(numbers, folder)
    sabotage(folder)
    verdict = proved(folder)
    assert (verdict.ok, verdict.stage) == (False, stage), verdict
    assert message in verdict.reason


def run(folder: Path, *more: str, cwd: Path) -> tuple[int, dict[str, Any]]:
    """As the platform runs it: a clean process that knows the package, and not our test modules."""
    root = Path(bundle.__file__).parent.parent
    argv = [sys.executable, "-m", "headway.modelserver", "prove", *more, str(folder)]
    env = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd, env=env, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret_sauce.py").write_text(
        "class Model:\n    def predict(self, frame):\n        return [1.0] * len(frame)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import secret_sauce  # type: ignore[import-not-found]

        folder = save(tmp_path / "b", secret_sauce.Model(), np.zeros((3, 2)), examples=False)
    finally:
        sys.path.remove(str(tmp_path))
    status, verdict = run(folder, cwd=Path("/"))
    assert (status, verdict["at"]) == (1, "secret_sauce")
    assert "needs the module 'secret_sauce'" in verdict["reason"]
    code = folder / "code"
    code.mkdir()
    shutil.copy(tmp_path / "secret_sauce.py", code)
    _edit(folder, lambda v: v["flavors"]["python_function"].update(code="code"))
    assert run(folder, cwd=Path("/"))[0] == 0  # with its code in the bundle it loads


def test_a_class_of_the_notebook_is_named(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import pickle, sys\nclass Mine:\n    def predict(self, x):\n        return x\n"
        "pickle.dump(Mine(), open(sys.argv[1], 'wb'))\n"
    )
    subprocess.run([sys.executable, str(script), str(tmp_path / "model.pkl")], check=True)
    flavors = bundle.flavors("sklearn", "model.pkl", version=_installed(), python=PYTHON)
    bundle.write(tmp_path / "b", bundle.Manifest(flavors), lambda to: shutil.copy(tmp_path / "model.pkl", to))
    status, verdict = run(tmp_path / "b", cwd=Path("/"))
    assert status == 1
    assert "class 'Mine' is not in the module '__main__'" in verdict["reason"]
    assert "cloudpickle" in verdict["hint"]


def _installed() -> str:
    import sklearn

    return str(sklearn.__version__)


def test_what_the_model_prints_is_not_the_verdict(tmp_path: Path, numbers: Path) -> None:
    status, verdict = run(numbers, "--verdict", str(tmp_path / "verdict.json"), cwd=Path("/"))
    assert (status, verdict["ok"]) == (0, True)
    assert json.loads((tmp_path / "verdict.json").read_text()) == verdict


def test_without_examples_it_must_load_at_least(tmp_path: Path) -> None:
    folder = save(tmp_path / "b", Odd(1.0), FRAME, examples=False)
    verdict = proved(folder)
    assert (verdict.ok, verdict.examples) == (True, 0)


def test_gaps_and_categories_come_back_as_they_were(tmp_path: Path) -> None:
    import lightgbm

    frame, target = people()
    frame["city"] = frame["city"].astype("category")
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=2).fit(frame, target)
    folder = save(tmp_path / "b", model, frame, categories={"city": ["Bergen", "Oslo"]})
    verdict = proved(folder)
    assert verdict.ok, verdict
