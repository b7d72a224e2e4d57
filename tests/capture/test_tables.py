"""Reports, matrices and importances as tables, and scikit-learn's results where one number does not say it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report

from headway.capture import tables

from .conftest import Run

CLASSES: dict[str, tuple[list[Any], list[Any], dict[str, Any]]] = {
    "numbers": ([0, 1, 1, 2], [0, 1, 2, 2], {}),
    "words with spaces": (["a cat", "a dog 2", "a dog 2"], ["a cat", "a dog 2", "a cat"], {}),
    "a label that is not there": ([0, 1], [0, 1], {"labels": [0, 1, 2], "zero_division": 0}),
    "several labels a row": (np.eye(3, dtype=int), np.eye(3, dtype=int), {"zero_division": 0}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_printed_report_says_what_the_dict_says(name: str) -> None:
    true, predicted, options = CLASSES[name]
    printed = tables.report(classification_report(true, predicted, digits=8, **options))
    told = tables.report(classification_report(true, predicted, output_dict=True, **options))
    assert printed is not None
    assert told is not None
    assert printed.keys() == told.keys()
    assert tables.summary(printed) == pytest.approx(tables.summary(told), abs=1e-7)
    table = tables.report_table(printed)
    assert len(table["data"]) == len(printed)
    assert "f1-score" in table["columns"]


@pytest.mark.parametrize("value", ["", "no report at all", "a b c\nx 1 two 3", None, 3, {}, {"a": "b"}])
def test_what_is_no_report_gives_no_table(value: Any) -> None:
    assert not tables.report(value)


def test_only_a_square_matrix_of_a_few_classes_is_a_confusion_matrix() -> None:
    assert tables.confusion(np.array([[3, 1], [0, 2]]), ["no", "yes"]) == {
        "columns": ["true \\ predicted", "no", "yes"],
        "data": [["no", 3, 1], ["yes", 0, 2]],
    }
    for other in (np.zeros((2, 3)), np.zeros(4), np.zeros((200, 200)), [[1, 2], [3, 4]]):
        assert tables.confusion(other) is None


def test_importances_go_down_by_size() -> None:
    table = tables.importances(["a", "b", "c"], {"mean": [0.1, -0.7, 0.2], "std": [1.0, 2.0, 3.0]})
    assert table is not None
    assert [row[0] for row in table["data"]] == ["b", "c", "a"]
    assert tables.importances(["a"], {"mean": [0.1, 0.2]}) is None


SKLEARN = """
import numpy as np
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.model_selection import (RandomizedSearchCV, cross_validate, learning_curve, permutation_test_score, train_test_split)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
columns = make_column_transformer((StandardScaler(), list(X.columns[:2])), remainder="passthrough")
model = make_pipeline(columns, RandomForestClassifier(20, random_state=0)).fit(X_train, y_train)
print(classification_report(y_test, model.predict(X_test)))
matrix = confusion_matrix(y_test, model.predict(X_test))
importance = permutation_importance(model, X_test, y_test, n_repeats=2, random_state=0)
plain = LogisticRegression(max_iter=300)
chance = permutation_test_score(plain, X, y, n_permutations=3, cv=3, random_state=0)
several = cross_validate(plain, X, y, cv=3, scoring=["accuracy", "f1_macro"])
sizes, train_scores, test_scores = learning_curve(plain, X, y, cv=3, train_sizes=[40, 60, 90], shuffle=True, random_state=1)
search = RandomizedSearchCV(plain, {"C": [0.1, 1.0, 10.0]}, n_iter=2, cv=3, random_state=0).fit(X, y)
for k in range(2, 6):
    groups = KMeans(k, n_init=2, random_state=0).fit(X)
parts = SGDClassifier(random_state=0)
for start in range(0, 150, 10):
    parts.partial_fit(X[start:start + 10], y[start:start + 10], classes=[0, 1, 2])
print(np.random.rand() < 2)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from .conftest import run as fixture

    start: Run = fixture.__wrapped__(tmp_path_factory.mktemp("tables"))  # type: ignore[attr-defined]
    done = start(SKLEARN)
    assert done.code == 0, done.err
    return done


def test_what_scikit_learn_tells_is_a_metric_a_series_or_a_table(ran: Any) -> None:
    found = {k: len(v) for k, v in ran.metrics.items()}
    wanted = {"accuracy": 1, "macro_avg_f1": 1, "cv_pvalue": 1, "cv_test_f1_macro": 1, "best_score": 1, "train_score": 3,
              "test_score": 3, "inertia": 4}  # fmt: skip
    assert {k: found.get(k) for k in wanted} == wanted
    assert [p[0] for p in ran.record["metrics"]["test_score"]["points"]] == [40, 60, 90]
    names = [t["name"] for t in ran.record["tables"]]
    assert names == ["classification_report", "confusion_matrix", "permutation_importance", "Pipeline importances",
                     "RandomizedSearchCV coefficients", "SGDClassifier coefficients"]  # fmt: skip
    assert ran.record["notes"] == []


def test_a_pipelines_importances_have_the_names_of_its_columns(ran: Any) -> None:
    table = next(t for t in ran.record["tables"] if t["name"] == "Pipeline importances")
    assert {row[0].split("__")[0] for row in table["data"]} == {"standardscaler", "remainder"}


def test_parts_are_one_training_and_clusterings_of_a_loop_are_a_sweep(ran: Any) -> None:
    trainings = {t["class"]: len(t.get("sweep", [1])) for t in ran.record["trainings"]}
    assert (trainings["SGDClassifier"], trainings["KMeans"], trainings["RandomizedSearchCV"]) == (1, 4, 1)
    assert [m["class"] for m in ran.record["models"] if m["folder"]] == [
        "Pipeline",
        "RandomizedSearchCV",
        "KMeans",
        "SGDClassifier",
    ]
