"""What functions hold: results that are never printed, nor returned to the top. With every Python that is there."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from headway.capture.outputs import results_in

from .conftest import Run, other_pythons

OTHERS = other_pythons()
PYTHONS = [sys.executable, *OTHERS]
WATCHING = PYTHONS if sys.version_info >= (3, 12) else [p for p in OTHERS if "3.11" not in p]

# What goes somewhere, with any Python: {name: (program, parameters, {metric: points})}
SOMEWHERE: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "a history in a file": (
        """
        import json
        def train(rate, epochs):
            w, history = 5.0, {"loss": [], "val_loss": []}
            for epoch in range(epochs):
                w -= rate * 2 * w
                history["loss"].append(w * w)
                history["val_loss"].append(w * w * 1.5)
            return history
        json.dump(train(0.1, 20), open("history.json", "w"))
        """,
        {"rate": 0.1, "epochs": 20},
        {"loss": 20, "val_loss": 20},
    ),
    "rows of a table": (
        """
        import csv
        def main(rate=0.2):
            w = 5.0
            with open("log.csv", "w", newline="") as f:
                out = csv.writer(f)
                out.writerow(["epoch", "train_loss", "val_acc"])
                for epoch in range(12):
                    train_loss = w * w
                    w -= rate * 2 * w
                    out.writerow([epoch, train_loss, 1 / (1 + train_loss)])
        main()
        """,
        {"rate": 0.2},
        {"train_loss": 12, "val_acc": 12},
    ),
    "lines of a log": (
        """
        def fit(rate, steps):
            w = 5.0
            log = open("train.log", "w")
            for step in range(steps):
                loss = w * w
                w -= rate * 2 * w
                log.write(f"step {step} loss {loss:.6f}\\n")
            log.close()
        fit(0.1, 15)
        """,
        {"rate": 0.1, "steps": 15},
        {"loss": 15},
    ),
    "one object a line": (
        """
        import json
        def log(**row):
            with open("metrics.jsonl", "a") as f:
                f.write(json.dumps(row) + "\\n")
        def main():
            w = 3.0
            for step in range(14):
                w *= 0.8
                log(step=step, loss=w * w)
        main()
        """,
        {},
        {"loss": 14},
    ),
    "what a function holds when it opens a file": (
        """
        import pickle
        def main():
            best_acc = 0.0
            for one in [0.5, 0.75, 0.8125]:
                if one > best_acc:
                    best_acc = one + 0.001
            pickle.dump({"best": best_acc}, open("best.pkl", "wb"))
        main()
        """,
        {},
        {"best_acc": 1},
    ),
    "a list that is returned to the top": (
        """
        def descend(rate=0.1, rounds=30):
            w, costs = 5.0, []
            for i in range(rounds):
                w -= rate * 2 * w
                costs.append(w * w)
            return w, costs
        w, costs = descend(0.2)
        """,
        {"rate": 0.2, "rounds": 30},
        {"costs": 30},
    ),
    "a list that grows on after the last print": (
        """
        def main(rate=0.01):
            w, val_losses = 5.0, []
            for epoch in range(37):
                w -= rate * 2 * w
                val_losses.append(w * w)
                if epoch % 10 == 0:
                    print(f"epoch {epoch}: w {w:.3f}")
        main()
        """,
        {"rate": 0.01},
        {"val_losses": 37},
    ),
}

# What goes nowhere: Python 3.12 and later.
NOWHERE: dict[str, tuple[str, dict[str, int]]] = {
    "a loop over texts": (
        """
def main():
    for line in [f"a line of text, number {i}" for i in range(120)]:
        loss = 1 / (1 + int(line.split()[-1]))
main()
""",
        {"loss": 120},
    ),
    "a number of each turn": (
        """
        def evaluate(k):
            val_acc = 1 - 1 / (k + 3)
            return val_acc
        def main():
            best_acc = 0.0
            for epoch in range(10):
                val_acc = evaluate(epoch)
                best_acc = max(best_acc, val_acc) - 0.001
        main()
        """,
        {"val_acc": 10, "best_acc": 1},
    ),
    "attributes": (
        """
        class Trainer:
            def __init__(self):
                self.history = []
                self.best_loss = None
            def run(self):
                w = 5.0
                for epoch in range(8):
                    w *= 0.9
                    self.history.append({"epoch": epoch, "loss": w * w})
                self.best_loss = w * w / 3
        def main():
            Trainer().run()
        main()
        """,
        {"loss": 8, "best_loss": 1},
    ),
    "a dict of results": (
        """
        def experiment(depth):
            accuracy = 1 - 1 / (depth + 7)
            return {"accuracy": accuracy}
        def main():
            return [experiment(d) for d in (1, 2, 3)]
        main()
        """,
        {"accuracy": 3},
    ),
    "coroutines and generators": (
        """
        import asyncio
        def epochs(n):
            w = 4.0
            for i in range(n):
                w *= 0.9
                yield w * w
        async def train(n):
            losses = []
            for one in epochs(n):
                losses.append(one)
                await asyncio.sleep(0)
        asyncio.run(train(9))
        """,
        {"losses": 9},
    ),
    "a loop in no function": (
        """
        def evaluate(k):
            return 1 - 1 / (k + 3)
        for epoch in range(6):
            val_acc = evaluate(epoch)
        """,
        {"val_acc": 6},
    ),
    "what comes too often": (
        """
        def step(x):
            return x
        def main():
            for i in range(20_000):
                err = step(i)
        main()
        """,
        {"err": 1},
    ),
}

# Programs in which a look at functions could be felt: the same output with capture and without.
HOSTILE: dict[str, str] = {
    "what a name held is gone when it is deleted": """
        class Loud:
            def __del__(self): print('gone')
        def main():
            score, big = 0.5, Loud()
            print('score', score)
            del big
            print('after')
        main()
    """,
    "names made by exec": """
        def main():
            loss = 0.5
            exec('found = 3')
            print('loss', loss)
            print(sorted(locals()))
        main()
    """,
    "the limit of recursion": """
        def deep(n):
            loss = n
            return deep(n - 1) if n else loss
        low, high = 1, 5000
        while low < high:
            middle = (low + high + 1) // 2
            try: deep(middle); low = middle
            except RecursionError: high = middle - 1
        print(low)
    """,
    "the same code": """
        import contextlib, dis, doctest, inspect, io, pickle
        def evaluate(n):
            '''
            >>> evaluate(2)
            0.5
            '''
            acc = 1 / n
            return acc
        before, bytes_before = evaluate.__code__, evaluate.__code__.co_code
        with contextlib.redirect_stdout(io.StringIO()) as shown: dis.dis(evaluate)
        print(evaluate(4), evaluate.__code__ is before, bytes_before == evaluate.__code__.co_code)
        print(doctest.testmod(), inspect.getsource(evaluate)[:20], shown.getvalue().count('RETURN'))
        print(pickle.loads(pickle.dumps(evaluate)) is evaluate)
    """,
    "errors in functions": """
        import traceback
        def train(n):
            for epoch in range(n):
                loss = 1 / (2 - epoch)
            return loss
        try: train(3)
        except ZeroDivisionError: print(traceback.format_exc())
        def values():
            try:
                for acc in (0.5, 0.25): yield acc
            finally: print('closed')
        one = values(); print(next(one)); one.close()
    """,
    "another tool that monitors": """
        import sys
        seen = []
        m = getattr(sys, 'monitoring', None)
        if m is not None:
            m.use_tool_id(m.PROFILER_ID, 'mine')
            m.register_callback(m.PROFILER_ID, m.events.PY_RETURN, lambda code, at, value: seen.append((code.co_name, value)))
            m.set_events(m.PROFILER_ID, m.events.PY_RETURN)
        def score(n):
            acc = n / 2
            return acc
        score(1); score(2)
        if m is not None:
            m.set_events(m.PROFILER_ID, 0); m.free_tool_id(m.PROFILER_ID)
        print([s for s in seen if s[0] == 'score'])
        calls = []
        sys.setprofile(lambda frame, event, arg: calls.append(event) if frame.f_code is score.__code__ else None)
        score(3); sys.setprofile(None)
        print(calls)
    """,
}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", SOMEWHERE)
def test_results_that_go_somewhere(run: Run, name: str, python: str) -> None:
    program, params, metrics = SOMEWHERE[name]
    done = run(program, python=python)
    assert (done.code, done.err) == (0, "")
    assert {k: len(v) for k, v in done.metrics.items()} == metrics
    assert {k: done.params.get(k) for k in params} == params
    assert done.record["notes"] == []


@pytest.mark.skipif(not WATCHING, reason="no Python 3.12 or later is here, or none is named by HEADWAY_TEST_PYTHONS")
@pytest.mark.parametrize("python", WATCHING)
@pytest.mark.parametrize("name", NOWHERE)
def test_results_that_go_nowhere(run: Run, name: str, python: str) -> None:
    program, metrics = NOWHERE[name]
    done = run(program, python=python)
    assert (done.code, done.err) == (0, "")
    assert {k: len(v) for k, v in done.metrics.items()} == metrics
    assert done.record["notes"] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_felt(run: Run, name: str, python: str) -> None:
    plain = run(HOSTILE[name], capture=False, python=python)
    captured = run(HOSTILE[name], python=python)
    assert (captured.code, captured.out.replace("/captured/", "/plain/"), captured.err) == (0, plain.out, plain.err)
    assert plain.out


FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    # name: (suffix, text, what is found)
    "a history": (".json", json.dumps({"loss": [0.5, 0.25], "lr": [1, 2]}), {"h": {"loss": [0.5, 0.25]}}),
    "numbers, nested": (".json", json.dumps({"test": {"acc": 0.5, "n": 3}}), {"v": {"test.acc": 0.5}}),
    "settings": (".json", json.dumps({"loss_weight": 0.5, "dropout": 0.1, "metric": "auc"}), {}),
    "rows": (
        ".json",
        json.dumps([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]),
        {"r": {"epoch": [1, 2], "loss": [2.0, 1.0]}},
    ),
    "steps": (".csv", "epoch;loss;time\n1;2.0;9\n2;1.0;8\n", {"r": {"epoch": [1, 2], "loss": [2.0, 1.0]}}),
    "named rows": (".csv", "model,auc\na,0.5\nb,0.25\n", {"r": {"model": ["a", "b"], "auc": [0.5, 0.25]}}),
    "a frame's index": (".csv", ",loss,acc\n0,2.0,3.0\n1,1.0,2.0\n", {"r": {"loss": [2.0, 1.0], "acc": [3.0, 2.0]}}),
    "data with a score in each row": (".csv", "id,city,age,score\n1,a,3,0.5\n2,a,4,0.25\n", {}),
    "predictions": (".csv", "id,y_true,y_pred,error\n1,1.0,1.0,0.0\n2,2.0,1.0,1.0\n", {}),
    "a log": (
        ".log",
        "Epoch 1: loss=0.5 acc=0.7\nEpoch 2: loss=0.25 acc=0.8\n",
        {"r": {"step": [1, 2], "loss": [0.5, 0.25], "acc": [0.7, 0.8]}},
    ),
    "prose": (".txt", "The loss of 3.5 m was an error.\nNothing else.\n", {}),
    "no JSON": (".json", "{", {}),
}


@pytest.mark.parametrize("name", FILES)
def test_results_in_files(name: str) -> None:
    suffix, text, found = FILES[name]
    assert results_in(text, suffix) == found


def test_a_secret_in_a_file_of_results_does_not_reach_the_disk(run: Run) -> None:
    done = run(
        "import json\nloss = 0.5 / 3\n"
        "json.dump({'loss': loss, 'api_key': 'hunter2' * 2, 'key_loss': 'x'}, open('out.json', 'w'))"
    )
    assert "wrote" in {f["k"] for f in done.facts}
    assert "hunter2hunter2" not in done.text


def test_a_comment_keeps_a_file_from_being_read(run: Run) -> None:
    done = run("import json\nout = open('out.json', 'w')  # headway: off\njson.dump({'loss': 0.5}, out)\nout.close()")
    assert "wrote" not in {f["k"] for f in done.facts}


@pytest.mark.skipif(not WATCHING, reason="no Python 3.12 or later is here, or none is named by HEADWAY_TEST_PYTHONS")
def test_what_comes_too_often_is_left_alone(run: Run) -> None:
    """A function that is called a million times costs what 256 calls cost: its rows stop there."""
    program = "def step(x):\n    loss = x * 0.5\n    return x\nfor i in range(300_000):\n    step(i)"
    done = run(program, python=WATCHING[0])
    told = [f for f in done.facts if f["k"] == "returns"]
    assert [f["cut"] for f in told][-1:] == [True]
    assert sum(len(f["rows"]) for f in told) <= 257
