"""Hostile programs behave exactly as without capture: output, errors, exit status, random streams."""

from __future__ import annotations

import re

import pytest

from .conftest import Run

PROGRAMS = {
    "exit status": "import sys\nprint('loss', 0.5)\nsys.exit(7)",
    "exit with a message": "import sys\nsys.exit('no data')",
    "uncaught error": "def f(x):\n    print('acc', x)\n    raise ValueError('bad ' + str(x))\nf(0.5)",
    "os._exit": "import os\nprint('loss', 0.25, flush=True)\nos._exit(3)",
    "error chain": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('k') from error",
    "error through a hooked call": """
        from sklearn.linear_model import Ridge
        Ridge().fit([[1.0], [2.0]], [1.0])
    """,
    "fork": """
        import os, sys
        print('loss', 1.5, flush=True)
        child = os.fork()
        if child == 0:
            print('child loss', 2.5, flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
    """,
    "processes": """
        import multiprocessing as mp
        def work(x):
            print('work', x, flush=True)
            return x * x
        if __name__ == '__main__':
            with mp.get_context('fork').Pool(1) as pool:
                print(pool.map(work, range(3)))
    """,
    "threads": """
        import threading
        print(threading.active_count(), [t.name for t in threading.enumerate()])
        t = threading.Thread(target=lambda: print('in thread', 0.5))
        t.start(); t.join()
        print(threading.active_count())
    """,
    "patched builtins": """
        import builtins
        seen = []
        real = builtins.print
        builtins.print = lambda *a, **k: (seen.append(a), real(*a, **k))[1]
        print('loss', 0.5)
        builtins.print = real
        print(len(seen))
    """,
    "deleted builtins": "import builtins\np = builtins.print\ndel builtins.open\np('acc', 0.5)",
    "evil objects": """
        class Evil:
            def __repr__(self): raise RuntimeError('repr')
            def __str__(self): return 'evil'
            def __float__(self): raise RuntimeError('float')
            def __getattr__(self, name): raise RuntimeError('attr ' + name)
            def __eq__(self, other): raise RuntimeError('eq')
            __hash__ = None
        loss = Evil()
        def f():
            score = Evil()
            print('loss', loss, score)
        f()
        print(f'{loss!s:>6}')
        accs = [Evil(), Evil()]
    """,
    "evil estimator": """
        from sklearn.base import BaseEstimator
        class Mine(BaseEstimator):
            def __init__(self, a=1): self.a = a
            def fit(self, X, y=None): return self
            def get_params(self, deep=True): raise SystemError('no params')
            def predict(self, X): raise SystemExit(5)
            def __getstate__(self): raise RuntimeError('no pickle')
        m = Mine().fit([[1]])
        print(type(m).__name__)
    """,
    "deep recursion": """
        import sys
        def f(n):
            if n: return f(n - 1)
            print('loss', 0.5)
            return 0
        print(f(800))
        def g(): return g()
        try: g()
        except RecursionError as e: print(type(e).__name__)
    """,
    "huge objects": """
        big = list(range(2_000_000)); text = 'x' * 5_000_000; number = 10 ** 5000
        d = {i: i for i in range(300_000)}
        def f():
            loss = big; acc = d
            print('loss', len(loss), len(text), number % 7, text[:3])
        f()
        nested = []
        for _ in range(3000): nested = [nested]
    """,
    "streams": """
        import sys, io
        print('a', file=sys.stderr); print('x', 1, sep='-', end='!\\n')
        s = io.StringIO(); print('loss', 0.5, file=s); print(repr(s.getvalue()))
        try: print('x', nonsense=1)
        except TypeError as e: print(e)
        sys.stdout = io.StringIO(); print('hidden'); sys.stdout = sys.__stdout__
        print('shown')
    """,
    "random streams": """
        import random
        import numpy as np
        random.seed(3); np.random.seed(3)
        from sklearn.ensemble import RandomForestClassifier
        X = np.random.rand(40, 3); y = (X[:, 0] > .5).astype(int)
        m = RandomForestClassifier(5).fit(X, y)
        print(m.score(X, y), random.random(), np.random.rand())
    """,
    "warnings": """
        import warnings
        import numpy as np
        from sklearn.metrics import precision_score
        from sklearn.linear_model import LogisticRegression
        print(precision_score([0, 1], [0, 0]))
        print(precision_score([0, 1], [0, 0]))
        m = LogisticRegression(max_iter=1).fit(np.arange(20.).reshape(10, 2), [0, 1] * 5)
        def f(): warnings.warn('here', stacklevel=2)
        f()
    """,
    "signals": """
        import signal, time
        class Late(Exception): pass
        def ring(*_): raise Late
        signal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 0.2)
        n = 0
        try:
            while True: n += 1; x = n * 2
        except Late: print('late')
    """,
    "inspection": """
        import inspect, pickle
        from sklearn.linear_model import Ridge
        from sklearn.metrics import accuracy_score
        import sklearn.metrics
        print(inspect.signature(Ridge.fit), inspect.signature(accuracy_score))
        print(accuracy_score.__name__, Ridge.fit.__doc__[:20])
        again = pickle.loads(pickle.dumps(accuracy_score))
        print(pickle.loads(pickle.dumps(Ridge(alpha=2))), again is sklearn.metrics.accuracy_score)
        print('def fit' in inspect.getsource(Ridge.fit), print.__name__)
    """,
    "pickle by value": """
        import cloudpickle, pickle
        from sklearn.base import BaseEstimator
        from sklearn.metrics import accuracy_score
        class Mine(BaseEstimator):
            def fit(self, X, y=None): self.n_ = len(X); return self
            def score(self, X, y=None): return accuracy_score([1], [1])
        m = Mine().fit([1, 2])
        again = pickle.loads(cloudpickle.dumps(m))
        def use(): print(accuracy_score([0, 1], [0, 1]))
        pickle.loads(cloudpickle.dumps(use))()
        print(again.n_, type(again).__name__, again.fit([1]).n_, again.score([1]), Mine.fit.__name__)
    """,
    "atexit": "import atexit\natexit.register(lambda: print('bye'))\nprint('loss', 0.5)",
    "exec": "exec('print(\"acc\", 0.5)')\nprint(eval('1+1'))\ncode = compile('print(3)', '<made up>', 'exec')\nexec(code)",
}


def _same_text(text: str) -> str:
    """Without the folder, which is another, and addresses."""
    return re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"\S*/(?:captured|plain)/", "", text))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same(run: Run, name: str) -> None:
    plain = run(PROGRAMS[name], capture=False)
    captured = run(PROGRAMS[name])
    assert (captured.code, _same_text(captured.out), _same_text(captured.err)) == (
        plain.code, _same_text(plain.out), _same_text(plain.err)
    )  # fmt: skip
    kinds = {f["k"] for f in captured.facts}
    assert "start" in kinds


def test_a_hundred_thousand_prints_come_out_and_are_thinned(run: Run) -> None:
    done = run("for step in range(100_000):\n    loss = 1 / (step + 1)\n    print(step, loss)")
    assert done.out.count("\n") == 100_000
    points = done.metrics["loss"]
    assert 2_000 < len(points) < 30_000
    assert points[0] == 1.0
    assert done.spool.joinpath(f"facts.{(done.spool / 'main.pid').read_text()}.jsonl").stat().st_size < 20_000_000


def test_facts_survive_os_exit(run: Run) -> None:
    assert run("import os\nloss = float('0.125')\nprint('loss', loss, flush=True)\nos._exit(1)").metrics == {
        "loss": [0.125]
    }


def test_a_forked_child_writes_its_own_file_and_is_no_run(run: Run) -> None:
    done = run("""
        import os
        loss = float('0.5')
        print('loss', loss, flush=True)
        child = os.fork()
        if child == 0:
            loss = 0.75
            print('loss', loss, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert len(list(done.spool.glob("facts.*.jsonl"))) == 2
    assert done.metrics == {"loss": [0.5]}


def test_off_by_environment(run: Run) -> None:
    done = run("print('loss', 0.5)", env={"HEADWAY_CAPTURE": "off"})
    assert done.out == "loss 0.5\n"
    assert not done.spool.exists()


def test_a_spool_that_cannot_be_written_breaks_nothing(run: Run) -> None:
    done = run("print('loss', 0.5)", env={"HEADWAY_SPOOL": "/proc/no/such/folder"})
    assert (done.code, done.out, done.err) == (0, "loss 0.5\n", "")
