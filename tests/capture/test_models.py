"""Fitted models become bundles that plain MLflow loads, with the predictions that the program itself would have got."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from headway import bundle

from .conftest import SOURCE, Done, Run

pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own, and those of old pickles' friends

PROGRAM = """
import numpy as np
import pandas as pd
import lightgbm
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

rng = np.random.default_rng(0)
frame = pd.DataFrame({
    "age": pd.array(rng.integers(18, 80, 60), dtype="Int64"),
    "pay": rng.normal(3000, 500, 60),
    "town": rng.choice(["Bonn", "Kiel"], 60),
    "old": rng.choice([True, False], 60),
})
y = (frame.pay > 3000).astype(int)

def train():
    columns = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["town"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression())
    model.fit(frame, y)
    return model.score(frame, y)

print(train())
X = frame[["age", "pay"]].astype(float).to_numpy()
search = GridSearchCV(RandomForestClassifier(random_state=0), {"max_depth": [2, 3]}, cv=2).fit(X, y)
classifier = xgboost.XGBClassifier(n_estimators=3).fit(frame[["pay"]], y)
regressor = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(frame[["pay"]], y)
booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(frame[["pay"]], y), 3)
native = lightgbm.train({"verbose": -1}, lightgbm.Dataset(frame[["pay"]], y), 3)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Done:
    from .conftest import run as fixture

    done: Done = fixture.__wrapped__(tmp_path_factory.mktemp("models"))(PROGRAM)  # type: ignore[attr-defined]
    assert done.code == 0, done.err
    return done


def folders(done: Done) -> dict[str, Path]:
    return {
        f"{m['inner'] or m['class']}:{n}": Path(m["folder"]) for n, m in enumerate(done.record["models"]) if m["folder"]
    }


def test_each_model_is_saved_once(trained: Done) -> None:
    assert [m["class"] for m in trained.record["models"]] == [
        "Pipeline",
        "GridSearchCV",
        "XGBClassifier",
        "LGBMRegressor",
        "Booster",
        "Booster",
    ]
    assert len(folders(trained)) == 6
    assert trained.record["notes"] == []


def test_plain_mlflow_loads_each_and_predicts_what_was_recorded(trained: Done) -> None:
    for name, folder in folders(trained).items():
        examples = bundle.read_examples(folder)
        assert examples is not None, name
        data: Any = np.array(examples.data, dtype=examples.dtype)
        if examples.columns is not None:
            data = pd.DataFrame(examples.data, columns=examples.columns)
        model = mlflow.pyfunc.load_model(str(folder))
        found = np.asarray(model.predict(data)).reshape(-1)
        assert found == pytest.approx(np.asarray(examples.predictions).reshape(-1), rel=1e-5), name


def test_the_signature_is_that_of_the_first_fit(trained: Done) -> None:
    folder = next(f for n, f in folders(trained).items() if "Pipeline" in n)
    signature = bundle.read(folder).signature
    assert signature is not None
    assert {c.name: c.type for c in signature.columns} == {
        "age": "long",
        "pay": "double",
        "town": "string",
        "old": "boolean",
    }
    array = next(f for n, f in folders(trained).items() if "RandomForest" in n)
    found = bundle.read(array).signature
    assert found is not None
    assert [(t.dtype, t.shape) for t in found.tensors] == [("float64", (-1, 2))]


def test_requirements_are_exact_and_no_more_than_the_model_needs(trained: Done) -> None:
    folder = next(f for n, f in folders(trained).items() if "Pipeline" in n)
    names = [line.split("==")[0] for line in bundle.read_requirements(folder)]
    assert {"scikit-learn", "pandas", "numpy", "scipy"} <= set(names)
    assert not {"mlflow", "pytest", "xgboost", "headway"} & set(names)
    assert all("==" in line for line in bundle.read_requirements(folder))


def test_a_class_of_the_users_own_comes_with_the_bundle(run: Run, tmp_path: Path) -> None:
    done = run(
        """
        import numpy as np
        from mean import Mean
        from sklearn.base import BaseEstimator
        class Here(BaseEstimator):
            def fit(self, X, y): self.m_ = float(np.mean(y)); return self
            def predict(self, X): print("noisy"); return np.full(len(X), self.m_)
        a = Here().fit(np.zeros((4, 1)), np.arange(4.0))
        b = Mean().fit(np.zeros((4, 1)), np.arange(4.0))
        """,
        files={
            "mean.py": """
            import numpy as np
            from sklearn.base import BaseEstimator
            class Mean(BaseEstimator):
                def fit(self, X, y): self.m_ = float(np.mean(y)); return self
                def predict(self, X): return np.full(len(X), self.m_)
        """
        },
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    for folder in folders(done).values():
        assert mlflow.pyfunc.load_model(str(folder)).predict(np.zeros((2, 1))).tolist() == [1.5, 1.5]
    assert len(folders(done)) == 2


def test_the_manifest_is_json_and_names_the_versions(trained: Done) -> None:
    folder = next(iter(folders(trained).values()))
    manifest = json.loads((folder / "MLmodel").read_text())
    assert manifest["metadata"]["headway"]["class"] == "sklearn.pipeline.Pipeline"
    assert "scikit-learn" in manifest["metadata"]["headway"]["versions"]


OWN = """
import numpy as np
from helper import scaled
class Line:
    def __init__(self, lr=0.5): self.lr = lr
    def fit(self, X, y):
        self.w = np.zeros(X.shape[1])
        for _ in range(20): self.w -= self.lr * X.T @ (X @ self.w - y) / len(y)
    {method}(self, X): return scaled(X) @ self.w
def main():
    X = np.eye(3); model = Line(); model.fit(X, np.ones(3))
    print("mse", float(np.mean((scaled(X) @ model.w - 1) ** 2)))
{call}
"""
CLEAN = """
import sys, numpy
from pathlib import Path
from headway.modelserver.loading import load
print(load(Path(sys.argv[1])).methods["predict"](numpy.eye(3)).round(3).tolist())
"""


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("def predict", "main()"),
        ("def forward", "main()"),
        ("def __call__", "main()"),
        ("def predict", "X = np.eye(3); model = Line(); model.fit(X, np.ones(3))"),
    ],
)
def test_an_object_of_a_plain_class_is_saved_with_the_code_it_needs(method: str, call: str, run: Run) -> None:
    helper = {"helper.py": "from more import one\ndef scaled(X): return X * one\n", "more.py": "one = 1.0\n"}
    done = run(OWN.replace("{method}", method).replace("{call}", call), files=helper)
    assert (done.code, done.err, done.record["notes"]) == (0, "", [])
    [model] = done.record["models"]
    assert (model["class"], model["library"]) == ("Line", "user")
    keep = {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", CLEAN, model["folder"]]
    told = subprocess.run(command, env=keep, cwd="/", capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == pytest.approx([0.98] * 3, abs=0.05)


def test_what_no_other_process_could_read_is_said_and_not_saved(run: Run) -> None:
    done = run("""
        import threading
        class Held:
            def __init__(self): self.lock = threading.Lock()
            def fit(self): self.mean = 1.0
            def predict(self, x): return self.mean
        held = Held(); held.fit()
        """)
    assert [m["folder"] for m in done.record["models"]] == [None]
    assert [n for n in done.record["notes"] if "Held was not saved: TypeError" in n]
