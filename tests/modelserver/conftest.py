"""Models as bundles, trained once: what replicas and proofs are tested with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from headway import bundle
from headway.modelserver.loading import load
from headway.modelserver.predictor import Predictor
from tests.modelserver.bundles import people, save


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two required doubles, a classifier with probabilities."""
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "b": [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]})
    model = DecisionTreeClassifier(random_state=0).fit(frame, [0, 0, 0, 1, 1, 1])
    return save(tmp_path_factory.mktemp("bundles") / "numbers", model, frame)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long, an optional double and a text column behind a ColumnTransformer."""
    from sklearn.impute import SimpleImputer

    frame, target = people()
    columns = ColumnTransformer([
        ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        ("c", OneHotEncoder(handle_unknown="error"), ["city"]),
    ])  # fmt: skip
    model = make_pipeline(columns, LogisticRegression()).fit(frame, target)
    return save(tmp_path_factory.mktemp("bundles") / "mixed", model, frame)


@pytest.fixture(scope="session")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes arrays of three floats."""
    inputs = np.arange(30, dtype="float64").reshape(10, 3)
    model = DecisionTreeClassifier(random_state=0).fit(inputs, [0] * 5 + [1] * 5)
    return save(tmp_path_factory.mktemp("bundles") / "tensor", model, inputs)


@pytest.fixture(scope="session")
def predictor() -> Callable[[Path], Predictor]:
    """A predictor over a bundle."""
    return lambda folder: Predictor(load(folder), bundle.read_examples(folder))
