"""Small programs whose facts are known by construction: what capture finds in them, by mechanism."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Run

LOOPS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[int, float]]]] = {
    # name: (program, parameters, {metric: (points, last value)})
    "print with values": (
        "lr = 0.1\nw = 5.0\nfor epoch in range(4):\n    loss = w * w\n    w -= lr * 2 * w\n    print(epoch, loss)",
        {"lr": 0.1, "epochs": 4},
        {"loss": (4, 6.5536)},
    ),
    "f-string": (
        "w = 5.0\nfor step in range(3):\n    w = w / 2\n    print(f'step {step}: train loss {w * w:.4f}')",
        {"steps": 3},
        {"train_loss": (3, 0.3906)},
    ),
    "percent": (
        "def cost(i): return 1 / (i + 1)\nfor t in range(5):\n    print('%d cost = %.6f' % (t, cost(t)))",
        {"iterations": 5},
        {"cost": (5, 0.2)},
    ),
    "format": (
        "err = 8.0\nfor i in range(4):\n    err = err / 2\n    print('iter {}, error {:.3f}'.format(i, err))",
        {},
        {"err": (4, 0.5)},
    ),
    "concatenation": (
        "acc = 0.0\nfor i in range(3):\n    acc = acc + 0.25\n    print('accuracy: ' + str(acc) + ' in round ' + str(i))",
        {},
        {"acc": (3, 0.75)},
    ),
    "logging": (
        "import logging\nlogging.basicConfig(level='INFO')\nfor epoch in range(3):\n    l = 1 / (epoch + 2)\n"
        "    logging.info('epoch %d val loss %f', epoch, l)",
        {"epochs": 3},
        {"val_loss": (3, 0.25)},
    ),
    "a list that grew": (
        "losses = []\nw = 3.0\nfor i in range(6):\n    losses.append(w * w)\n    w *= 0.5",
        {"iterations": 6},
        {"losses": (6, 9 * 0.25**5)},
    ),
    "in main": (
        "def main(rate=0.5):\n    w = 4.0\n    for epoch in range(3):\n        w -= rate * w\n        loss = w\n"
        "        print(epoch, loss)\nmain()",
        {"rate": 0.5, "epochs": 3},
        {"loss": (3, 0.5)},
    ),
    "a while loop": (
        "i = 0\nerr = 1.0\nwhile err > 0.1:\n    err = err / 2\n    i += 1\n    print('error', err)",
        {},
        {"err": (4, 0.0625)},
    ),
    "a class of the user's": (
        "class Mean:\n    def __init__(self, rate=0.5, rounds=3):\n        self.rate, self.rounds = rate, rounds\n"
        "        self.losses = []\n"
        "    def fit(self, xs):\n        self.m = 0.0\n        for _ in range(self.rounds):\n"
        "            self.losses.append((self.m - xs[0]) ** 2)\n"
        "            self.m += self.rate * (xs[0] - self.m)\n        return self\n"
        "m = Mean(rate=0.25).fit([2.0])",
        {"rate": 0.25, "rounds": 3},
        {"losses": (3, 1.265625)},
    ),
    "what is no metric": (
        "import time\nstart = time.time()\nn = 100\nfor i in range(3):\n"
        "    print('step', i, 'of', n, 'took', time.time() - start, 'lr', 0.1)",
        {"n": 100},
        {},
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_written_by_hand(run: Run, name: str) -> None:
    program, params, metrics = LOOPS[name]
    done = run(program)
    assert done.code == 0, done.err
    found = done.params
    assert {k: found.get(k) for k in params} == params
    assert {k: (len(v), pytest.approx(v[-1])) for k, v in done.metrics.items()} == metrics


SKLEARN = """
import argparse
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, default=0.5)
parser.add_argument("--api-key", default="hunter2hunter2")
args = parser.parse_args()
X, y = load_diabetes(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=3)
model = make_pipeline(StandardScaler(), Ridge(alpha=args.alpha)).fit(X_train, y_train)
mse = mean_squared_error(y_test, model.predict(X_test))
print("Mean squared error: %.2f" % mse)
print(f"R2 on train: {r2_score(y_train, model.predict(X_train)):.3f}")
search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=3).fit(X_train, y_train)
scores = cross_val_score(LinearRegression(), X, y, cv=4)
print("mean", scores.mean())
for k in range(1, 9):
    knn = KNeighborsRegressor(n_neighbors=k).fit(X_train, y_train)
    print(k, knn.score(X_test, y_test))
"""


@pytest.fixture(scope="module")
def sklearn_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from .conftest import run as fixture

    return fixture.__wrapped__(tmp_path_factory.mktemp("sklearn"))(SKLEARN, "--alpha", "0.3")  # type: ignore[attr-defined]


def test_sklearn_parameters(sklearn_run: Any) -> None:
    params = sklearn_run.params
    expected = {"alpha": 0.3, "test_size": 0.25, "random_state": 3, "best_alpha": 0.1}
    assert {k: params.get(k) for k in expected} == expected
    assert params["n_neighbors_tried"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_sklearn_metrics_are_one_each_with_their_witnesses(sklearn_run: Any) -> None:
    metrics = sklearn_run.record["metrics"]
    assert {w["source"] for w in metrics["mse"]["witnesses"]} == {"score", "names", "print"}
    assert sum("r2" in name for name in metrics) == 1
    assert "cv_score" in metrics
    assert "best_score" in metrics
    assert [len(m["points"]) for n, m in metrics.items() if len(m["points"]) > 1] == [8]


def test_sklearn_fits_at_one_line_are_one_sweep(sklearn_run: Any) -> None:
    trainings = sklearn_run.record["trainings"]
    assert [t["class"] for t in trainings] == ["Pipeline", "GridSearchCV", "LinearRegression", "KNeighborsRegressor"]
    assert len(trainings[3]["sweep"]) == 8
    assert [t["alpha"] for t in trainings[1]["trials"]] == [0.1, 1.0, 10.0]


def test_secrets_do_not_reach_the_disk(sklearn_run: Any) -> None:
    assert "hunter2" not in sklearn_run.text


def test_data_and_environment(sklearn_run: Any) -> None:
    record = sklearn_run.record
    [data] = [d for d in record["data"] if d["name"] == "sklearn.datasets.load_diabetes"]
    assert (data["shape"]["rows"], data["shape"]["columns"][0]) == (442, "age")
    assert any(p.startswith("scikit-learn==") for p in record["environment"]["packages"])
    assert record["notes"] == []


def test_boosting_natively(run: Run) -> None:
    done = run("""
        import lightgbm as lgb
        import numpy as np
        import xgboost as xgb
        X = np.random.RandomState(0).rand(60, 3); y = (X[:, 0] > .5).astype(int)
        train, valid = xgb.DMatrix(X[:40], y[:40]), xgb.DMatrix(X[40:], y[40:])
        b = xgb.train([("max_depth", 2), ("objective", "binary:logistic")], train, 5, evals=[(valid, "eval")], verbose_eval=False)
        data = lgb.Dataset(X[:40], y[:40])
        l = lgb.train({"objective": "binary", "verbose": -1, "num_leaves": 4}, data, num_boost_round=6,
            valid_sets=[data.create_valid(X[40:], y[40:])])
        c = xgb.cv({"max_depth": 2, "objective": "binary:logistic"}, train, num_boost_round=4, nfold=2)
    """)
    assert done.code == 0, done.err
    params = done.params
    assert (params["max_depth"], params["num_boost_round"], params["num_leaves"]) == (2, 5, 4)
    lengths = {k: len(v) for k, v in done.metrics.items()}
    assert lengths["eval-logloss"] == 5
    assert lengths["valid_0-binary_logloss"] == 6
    assert lengths["test-logloss-mean"] == 4
    assert [m["class"] for m in done.record["models"] if m["folder"]] == ["Booster", "Booster"]


def test_a_comment_switches_a_line_or_a_file_off(run: Run) -> None:
    done = run("import math\nloss = math.sqrt(2)\nprint('loss', loss)  # headway: off\nprint('acc', math.sqrt(3))")
    assert not any(f["k"] == "print" and "loss" in f["v"] for f in done.facts)
    assert any(f["k"] == "print" and "acc" in f["v"] for f in done.facts)


def test_files_read_and_figures(run: Run) -> None:
    done = run(
        """
        import matplotlib.pyplot as plt
        import pandas as pd
        frame = pd.read_csv("sales.csv")
        plt.plot(frame.x); plt.savefig("out.png"); plt.show()
        """,
        files={"sales.csv": "x,label\n1,a\n2,b\n"},
    )
    record = done.record
    assert [d["shape"]["columns"] for d in record["data"] if d["kind"] == "call"] == [["x", "label"]]
    assert [d["path"].endswith("/sales.csv") for d in record["data"] if d["kind"] == "file"] == [True]
    assert sorted(f["how"] for f in record["figures"]) == ["savefig", "show"]


def test_local_modules_are_kept_as_code(run: Run) -> None:
    done = run("import helper\nprint('acc', helper.acc())", files={"helper.py": "def acc():\n    return 2 ** -0.5\n"})
    assert sorted(c["file"].rsplit("/", 1)[-1] for c in done.record["code"]) == ["helper.py", "program.py"]
    assert done.metrics == {"acc": [pytest.approx(0.7071, abs=1e-4)]}


def test_how_far_a_bar_is(run: Run) -> None:
    done = run("""
        import threading
        from tqdm import tqdm
        wait = threading.Event()
        for i in tqdm(range(30), desc='epochs'):
            wait.wait(0.05)
    """)
    assert done.code == 0
    told = done.record["progress"]
    assert (told["total"], told["text"]) == (30, "epochs")
    assert 0 <= told["n"] <= 30


def test_environment_variables_are_known_by_name(run: Run) -> None:
    done = run(
        """
        import os
        lr = float(os.environ['MY_LR'])
        value = os.environ.get('MY_API_KEY', 'x')
        loss = lr / 3
        print('loss', loss, value, 'with ' + value)
    """,
        env={"MY_LR": "0.25", "MY_API_KEY": "only-in-the-environment"},
    )
    assert done.record["environment"]["variables"] == ["MY_API_KEY", "MY_LR"]
    assert "only-in-the-environment" not in done.text
