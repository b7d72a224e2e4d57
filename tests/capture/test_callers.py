"""Functions that are told in words what they work on: each word's results are metrics of their own."""

from __future__ import annotations

import pytest

from .conftest import Run

DATA = """
import numpy as np
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
X, y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(0, 1.5, X.shape)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
"""

MODELS = """
judge("guess", DummyClassifier().fit(X_train, y_train))
judge("tree", DecisionTreeClassifier(random_state=0).fit(X_train, y_train))
judge("neighbors", KNeighborsClassifier().fit(X_train, y_train))
"""

PROGRAMS: dict[str, tuple[str, set[str]]] = {
    # name: (program after DATA, all its metrics)
    "a helper that prints": (
        "def judge(name, model):\n    predicted = model.predict(X_test)\n    acc = accuracy_score(y_test, predicted)\n"
        "    f1 = f1_score(y_test, predicted, average='macro')\n    print(f'{name}: acc={acc:.3f} f1={f1:.3f}')\n" + MODELS,
        {f"{m}/{w}" for m in ("acc", "f1") for w in ("guess", "tree", "neighbors")},
    ),
    "a helper that prints no name": (
        "def judge(name, model):\n    acc = accuracy_score(y_test, model.predict(X_test))\n    print('acc', acc)\n" + MODELS,
        {f"acc/{w}" for w in ("guess", "tree", "neighbors")},
    ),
    "a helper whose answers are kept": (
        "results = []\ndef judge(name, model):\n    acc = accuracy_score(y_test, model.predict(X_test))\n"
        "    results.append({'model': name, 'acc': acc})\n    return acc\n"
        + MODELS
        + "best = judge('tree again', DecisionTreeClassifier(max_depth=2, random_state=0).fit(X_train, y_train))\nprint(best)\n",
        {f"acc/{w}" for w in ("guess", "tree", "neighbors", "tree again")},
    ),
    "two sets, by turns": (
        "def measure(which, X, y):\n    acc = accuracy_score(y, model.predict(X))\n    print(which, 'acc', acc)\n"
        "for depth in (1, 2, 3):\n    model = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X_train, y_train)\n"
        "    measure('train', X_train, y_train)\n    measure('test', X_test, y_test)\n",
        {"acc/train", "acc/test"},
    ),
    "one word only tells nothing apart": (
        "def judge(name, model):\n    acc = accuracy_score(y_test, model.predict(X_test))\n    print(name, 'acc', acc)\n"
        "judge('tree', DecisionTreeClassifier(random_state=0).fit(X_train, y_train))\n",
        {"acc"},
    ),
    "names that no store takes as they are": (
        "for name, model in {'tree, tuned (1)': DecisionTreeClassifier(random_state=0), '\\n': KNeighborsClassifier()}.items():\n"
        "    acc = accuracy_score(y_test, model.fit(X_train, y_train).predict(X_test))\n    print('acc', acc)\n",
        {"acc/tree tuned 1", "acc"},
    ),
    "a loop over texts": (
        "for word in [f'a line of text, number {i}' for i in range(120)]:\n    loss = 1 / (1 + int(word.split()[-1]))\n"
        "    print('loss', loss)\n",
        {"loss"},
    ),
    "words that are metrics' names": (
        "def show(label, value):\n    print(f'{label}: {value:.3f}')\n"
        "model = DecisionTreeClassifier(random_state=0).fit(X_train, y_train)\n"
        "predicted = model.predict(X_test)\nshow('accuracy', accuracy_score(y_test, predicted))\n"
        "show('macro f1', f1_score(y_test, predicted, average='macro'))\n",
        {"test_accuracy", "test_f1_score"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROGRAMS)
def test_metrics(run: Run, case: str) -> None:
    program, wanted = PROGRAMS[case]
    done = run(DATA + program)
    assert done.code == 0, done.err
    assert set(done.metrics) == wanted
    if case == "two sets, by turns":
        assert [len(points) for points in done.metrics.values()] == [3, 3]


def test_a_name_is_no_parameter_and_a_setting_is_one(run: Run) -> None:
    program = """
def judge(name, criterion):
    model = DecisionTreeClassifier(criterion=criterion, random_state=0).fit(X_train, y_train)
    print(name, "acc", accuracy_score(y_test, model.predict(X_test)))
judge("first", "gini")
judge(name="second", criterion="entropy")
"""
    done = run(DATA + program)
    assert done.code == 0, done.err
    assert "first" not in done.params.values() and "second" not in done.params.values()
    assert any("entropy" in str(value) for value in done.params.values())
    assert set(done.metrics) == {"accuracy/first", "accuracy/second"}
