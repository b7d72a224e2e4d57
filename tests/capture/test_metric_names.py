"""What metrics are called, which of them are one, and which are none: by programs that people write around models."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from headway.capture.naming import as_name, core_name, is_spread, mean_of, of_a_list, one_of
from headway.capture.reduce import reduce

from .conftest import Run

DATA = """
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
X, y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(0, 1.5, X.shape)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
"""

PROGRAMS: dict[str, tuple[str, set[str]]] = {
    # name: (program after DATA, all its metrics)
    "folds, with mean and deviation": (
        "scores = []\nfor train, test in KFold(4, shuffle=True, random_state=0).split(X):\n"
        "    model = KNeighborsClassifier().fit(X[train], y[train])\n    acc = accuracy_score(y[test], model.predict(X[test]))\n"
        "    scores.append(acc)\nprint('%.3f +/- %.3f' % (np.mean(scores), np.std(scores)))\n"
        "print(np.mean(scores) - 2 * np.std(scores))",
        {"acc", "mean_scores"},
    ),
    "a mean, taken in three ways": (
        "scores = cross_val_score(KNeighborsClassifier(), X, y, cv=7, scoring='accuracy')\nprint(scores.mean())\n"
        "print('mean', np.average(scores))\nbest = np.mean(scores)",
        {"cv_accuracy"},
    ),
    "models one after the other": (
        "tree = DecisionTreeClassifier(random_state=0).fit(X_train, y_train)\n"
        "print('accuracy', accuracy_score(y_test, tree.predict(X_test)))\n"
        "knn = KNeighborsClassifier(3).fit(X_train, y_train)\nprint('accuracy', accuracy_score(y_test, knn.predict(X_test)))\n"
        "knn = KNeighborsClassifier(9).fit(X_train, y_train)\nprint('accuracy', accuracy_score(y_test, knn.predict(X_test)))",
        {"accuracy", "accuracy/KNeighborsClassifier", "accuracy/KNeighborsClassifier n_neighbors_9"},
    ),
    "two sets in one line": (
        "m = LogisticRegression(max_iter=500).fit(X_train, y_train)\n"
        "m_train = f1_score(y_train, m.predict(X_train), average='macro')\n"
        "m_test = f1_score(y_test, m.predict(X_test), average='macro')\nprint(f'train/test F1 {m_train:.3f}/{m_test:.3f}')",
        {"train_f1_score", "test_f1_score"},
    ),
    "a helper that several models are scored by": (
        "def rate(model, train, test):\n    model.fit(X[train], y[train])\n    return model.score(X[test], y[test])\n"
        "scores_near, scores_tree = [], []\nfor train, test in KFold(3, shuffle=True, random_state=0).split(X):\n"
        "    scores_near.append(rate(KNeighborsClassifier(), train, test))\n"
        "    scores_tree.append(rate(DecisionTreeClassifier(max_depth=2), train, test))",
        {"scores_near", "scores_tree"},
    ),
    "the first and last of a course": (
        "costs = []\nw = 2.0\nfor i in range(30):\n    w *= 0.9\n    costs.append(w ** 2 / 7)\n"
        "print('Initial cost: {:.3f}'.format(costs[0]))\nprint('Final cost: {:.3f}'.format(costs[-1]))",
        {"costs"},
    ),
    "a measure of two words, shown now and then": (
        "def cross_entropy(T, Y):\n    return -float(np.sum(T * np.log(Y) + (1 - T) * np.log(1 - Y)))\n"
        "T, w = np.array([0.0, 1.0, 1.0]), np.array([0.4, 0.5, 0.6])\n"
        "for i in range(40):\n    if i % 10 == 0:\n        print(cross_entropy(T, w))\n    w = w + 0.01 * (T - w)",
        {"cross_entropy"},
    ),
    "an outcome that was never computed": (
        "from sklearn.base import BaseEstimator\n"
        "class Map(BaseEstimator):\n    def fit(self, X, y=None):\n        self.kl_divergence_ = np.finfo(float).max\n"
        "        self.inertia_ = 12.625\n        return self\nMap().fit(X)",
        {"inertia"},
    ),
    "a measure of their own": (
        "def agreement(a, b):\n    return float((a == b).mean())\ncompare = agreement\n"
        "model = KNeighborsClassifier().fit(X_train, y_train)\ny_pred = model.predict(X_test)\n"
        "print(f'The agreement is {compare(y_test, y_pred):.3f}')",
        {"agreement"},
    ),
}


@pytest.mark.parametrize("case", sorted(PROGRAMS))
def test_names(run: Run, case: str) -> None:
    program, expected = PROGRAMS[case]
    done = run(DATA + program)
    assert done.code == 0, done.err
    assert set(done.metrics) == expected


def test_settings_and_models(run: Run) -> None:
    """What varies at one line is a list, with its default among it; parts of one's own model are no models."""
    done = run(
        DATA + "for seed in range(6):\n"
        "    a, b, c, d = train_test_split(X, y, random_state=seed)\n"
        "for k in (3, 5, 7, 9):\n    cross_val_score(KNeighborsClassifier(n_neighbors=k), X, y, cv=3)\n"
        "class Stumps:\n    def __init__(self, size=4):\n        self.size = size\n"
        "    def fit(self, X, y):\n"
        "        self.parts = [DecisionTreeClassifier(max_depth=1).fit(X, y) for _ in range(self.size)]\n        return self\n"
        "stumps = Stumps().fit(X, y)"
    )
    assert done.code == 0, done.err
    assert done.params["random_state_tried"] == [1, 0, 2, 3, 4, 5] or done.params["random_state_tried"] == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]
    assert done.params["n_neighbors_tried"] == [3, 5, 7, 9]
    models = [m["class"] for m in done.record["models"]]
    assert "Stumps" in models and "DecisionTreeClassifier" not in models


@pytest.mark.parametrize(
    ("function", "expression", "expected"),
    [
        (is_spread, "np.std(scores)", True),
        (is_spread, "scores.std() * 2", True),
        (is_spread, "auc_mean - auc_std", True),
        (is_spread, "cv['test_std'][0]", False),
        (is_spread, "np.mean(scores)", False),
        (is_spread, "std_scaler.score(X)", False),
        (mean_of, "np.average(scores)", "scores"),
        (mean_of, "scores.mean()", "scores"),
        (mean_of, "np.mean(a == b)", ""),
        (one_of, "costs[-1]", "costs"),
        (one_of, "history['loss'][0]", "loss"),
        (one_of, "costs[i]", ""),
        (core_name, "cross_val_score(m, X, y, scoring='neg_mean_squared_error').mean()", "cv_neg_mean_squared_error"),
        (
            core_name,
            "np.sqrt(-cross_val_score(m, X, y, scoring='neg_mean_squared_error')).mean()",
            "root_cv_mean_squared_error",
        ),
        (core_name, "np.sqrt(mean_squared_error(y, p))", "root_mean_squared_error"),
    ],
)
def test_expressions(function: Any, expression: str, expected: Any) -> None:
    assert function(ast.parse(expression, mode="eval").body) == expected


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("The geometric mean is", "geometric_mean"),
        ("accuracy on the test set", "accuracy_on_the_test_set"),
        ("of the", ""),
    ],
)
def test_labels(label: str, name: str) -> None:
    assert as_name(label) == name


@pytest.mark.parametrize(
    ("expression", "core", "name"), [("np.mean(losses)", "losses", "mean_losses"), ("loss.mean()", "loss", "")]
)
def test_averages(expression: str, core: str, name: str) -> None:
    assert of_a_list(ast.parse(expression, mode="eval").body, core) == name


def test_a_kernel_is_started_by_nobodys_choice(record: Any) -> None:
    found = record(
        "x = 1", {"k": "start", "t": 0, "role": "main", "argv": ["python", "-m", "ipykernel_launcher", "--a.b=1"]}
    )
    assert "a.b" not in found["params"]


MORE: dict[str, tuple[str, set[str]]] = {
    "orders that are tried": (
        "for depth in [1, 2, 3]:\n    m = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X_train, y_train)\n"
        "    print('accuracy of depth %s: %.3f' % (depth, m.score(X_test, y_test)))",
        {"test_score"},
    ),
    "weights of a model": (
        "m = DecisionTreeClassifier(random_state=0).fit(X, y)\n"
        "for name, score in zip('abcd', m.feature_importances_):\n    print(name, score)",
        set(),
    ),
    "a root": (
        "from sklearn.metrics import mean_squared_error\nm = KNeighborsClassifier().fit(X_train, y_train)\n"
        "rmse = np.sqrt(mean_squared_error(y_test, m.predict(X_test)))\nprint('RMSE', rmse)",
        {"rmse"},
    ),
    "models of a list, told by their class": (
        "for m in (KNeighborsClassifier(), DecisionTreeClassifier(random_state=0)):\n    m.fit(X_train, y_train)\n"
        "    print(m.__class__.__name__, accuracy_score(y_test, m.predict(X_test)))",
        {"accuracy/KNeighborsClassifier", "accuracy/DecisionTreeClassifier"},
    ),
    "counts on the way": (
        "m = KNeighborsClassifier().fit(X_train, y_train)\ny_pred = m.predict(X_test)\n"
        "tp = ((y_pred == 1) & (y_test == 1)).sum()\nfp = ((y_pred == 1) & (y_test != 1)).sum()\nprecision = tp / (tp + fp)",
        {"precision"},
    ),
    "a share of right ones without a name": (
        "m = KNeighborsClassifier().fit(X_train, y_train)\ny_pred = m.predict(X_test)\nprint((y_pred == y_test).mean())",
        {"accuracy"},
    ),
    "an array that a function fills": (
        "def descend(steps):\n    cost = np.zeros(steps)\n    w = 3.0\n    for i in range(steps):\n        w -= 0.1 * w\n"
        "        cost[i] = w * w\n    return w, cost\nw, cost = descend(40)",
        {"cost"},
    ),
    "a course that nobody looks at": (
        "from sklearn.ensemble import GradientBoostingClassifier\n"
        "m = GradientBoostingClassifier(n_estimators=5, subsample=0.5).fit(X_train, y_train)\nprint(m.score(X_test, y_test))",
        {"test_score"},
    ),
}


@pytest.mark.parametrize("case", sorted(MORE))
def test_no_metric_too_many(run: Run, case: str) -> None:
    program, expected = MORE[case]
    done = run(DATA + program)
    assert done.code == 0, done.err
    assert set(done.metrics) == expected


def test_a_cell_counted_before_it_is_compiled() -> None:
    """IPython 9 counts a cell before it compiles it: names at a cell's end are those of the cell that ran under that number."""
    first, second = "error = mean_squared_error(y, p)", "error = mean_squared_error(y, q)"
    facts: list[dict[str, Any]] = [{"k": "start", "t": 0, "role": "main", "argv": []}]
    for n, (file, text, value) in enumerate((("/c/1.py", first, 0.5), ("/c/2.py", second, 0.25)), 1):
        facts += [
            {"k": "source", "t": n, "file": file, "text": text, "cell": n + 1},
            {"k": "cell", "t": n, "n": n, "file": file, "text": text, "ok": True},
            {"k": "names", "t": n, "file": "", "fn": "<module>", "cell": n, "values": {"error": {"v": value}}},
        ]
    found = reduce(facts)["metrics"]
    assert sorted(m["points"][-1][1] for m in found.values()) == [0.25, 0.5]
