# ruff: noqa: E501  programs are easier to read in as many lines as they have
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
        part = pickle.loads(cloudpickle.dumps(m.fit))
        print(part([1, 2, 3]).n_, pickle.loads(cloudpickle.dumps(Mine.fit))(m, [1]) is m)
    """,
    "methods of a class of the script": """
        import inspect, sklearn
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.utils.metadata_routing import get_routing_for_object
        sklearn.set_config(enable_metadata_routing=True)
        class Mine(ClassifierMixin, BaseEstimator):
            def fit(self, X, y=None, sample_weight=None):
                'Fits.'
                if not len(X): raise ValueError('nothing')
                return self
            def predict(self, X): return X
            def score(self, X, y=None, sample_weight=None): return 0.5
        class Sub(Mine):
            def fit(self, X, y=None, sample_weight=None, more=None): return super().fit(X, y)
        for cls in (Mine, Sub):
            print(inspect.isfunction(cls.fit), inspect.ismethod(cls().fit), inspect.isroutine(cls.score), inspect.signature(cls.fit))
            print(cls.fit is cls.fit, cls.fit.__doc__, cls.fit.__qualname__, inspect.getsource(cls.fit)[:30])
            print([n for n, _ in inspect.getmembers(cls, inspect.isfunction) if n in ('fit', 'predict', 'score')])
            print(cls().set_fit_request(sample_weight=True).get_metadata_routing(), get_routing_for_object(cls()))
        Sub().fit([1], [1], sample_weight=[1])
        Mine().fit([])
    """,
    "methods that workers run": """
        from joblib import Parallel, delayed
        from sklearn.base import BaseEstimator
        class Mine(BaseEstimator):
            def fit(self, X, y=None): self.n_ = len(X); return self
            def score(self, X): return len(X) / 2
        if __name__ == '__main__':
            fitted = Parallel(n_jobs=2)(delayed(Mine().fit)([1] * n) for n in (1, 2))
            print([f.n_ for f in fitted], Parallel(n_jobs=2)(delayed(f.score)([1]) for f in fitted))
    """,
    "tracing functions": """
        import sys
        seen = []
        def tracer(frame, event, arg):
            if frame.f_code.co_filename.endswith('program.py'): seen.append((event, frame.f_lineno))
            return tracer
        def f(x):
            loss = x / 2
            print('loss', loss)
            return loss
        sys.settrace(tracer); f(1.0); sys.settrace(None)
        print(seen)
        calls = []
        sys.setprofile(lambda frame, event, arg: calls.append((event, frame.f_code.co_name)) if 'program.py' in frame.f_code.co_filename else None)
        f(2.0); sys.setprofile(None)
        print(len([c for c in calls if c[1] == 'f' and c[0] in ('call', 'return')]))
    """,
    "import hooks": """
        import builtins, importlib.abc, sys
        names = []
        class Hook(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                names.append(name)
        sys.meta_path.insert(0, Hook())
        plain = builtins.__import__
        builtins.__import__ = lambda *a, **k: plain(*a, **k)
        import colorsys, argparse, logging
        print('colorsys' in names, 'argparse' in names, [type(f).__name__ for f in sys.meta_path][0])
        print(type(argparse.__loader__).__name__, argparse.__spec__.loader is argparse.__loader__)
    """,
    "coverage": """
        import coverage, io
        cov = coverage.Coverage(data_file=None, include=['*/part.py'])
        cov.start()
        import part
        part.f(1); part.f(-1)
        cov.stop()
        print(cov.analysis2('part.py')[1:4])
    """,
    "pytest rewrites assertions": """
        import pytest, sys
        sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--no-header', '-k', 'right', 'test_part.py']))
    """,
    "closed streams": """
        import os, sys
        print('loss', 0.5, flush=True)
        sys.stdout.close(); os.close(2)
        try: print('x')
        except ValueError as error: os._exit(9)
    """,
    "a broken pipe": """
        import os, signal, sys
        r, w = os.pipe(); os.close(r); os.dup2(w, 1)
        try:
            print('loss', 0.5, flush=True)
        except BrokenPipeError:
            sys.stderr.write('broken'); sys.stderr.flush(); os._exit(4)
    """,
    "attributes that fail": """
        class Bad:
            def __getattr__(self, name): raise ValueError(name)
            def __len__(self): raise ValueError('len')
            def __iter__(self): raise ValueError('iter')
            def __bool__(self): raise ValueError('bool')
            @property
            def __dict__(self): raise ValueError('dict')
            @property
            def __class__(self): raise ValueError('class')
        class BadConfig(Bad): pass
        loss, cfg, scores = Bad(), BadConfig(), [Bad()] * 3
        print('made')
    """,
    "garbage and memory": """
        import gc, sys, tracemalloc
        gc.disable(); tracemalloc.start()
        class Node: pass
        a = Node(); a.me = a
        refs = sys.getrefcount(a)
        print('loss', 0.5, refs, gc.isenabled(), tracemalloc.is_tracing())
        import weakref
        big = Node(); seen = weakref.ref(big)
        print('big', big is not None); del big
        print(seen() is None)
    """,
    "limits and flags": """
        import sys, locale, threading, faulthandler, signal, warnings
        print(sys.getrecursionlimit(), sys.flags.optimize, sys.dont_write_bytecode, faulthandler.is_enabled(), locale.getlocale())
        print(sys.getswitchinterval(), threading.stack_size(), len(warnings.filters), sys.gettrace(), sys.getprofile())
        print({s.name: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)})
        sys.setrecursionlimit(150)
        def f(n): return n if n == 0 else f(n - 1)
        print('loss', f(60))
    """,
    "exec another program": """
        import os, sys
        print('loss', 0.5, flush=True)
        os.execv(sys.executable, [sys.executable, '-c', 'print("second")'])
    """,
    "a thread that outlives main": """
        import threading, time
        def late():
            threading.main_thread().join()
            print('late', 0.25)
        threading.Thread(target=late).start()
        print('main', 0.5)
    """,
    "exit in a thread and at exit": """
        import atexit, sys, threading
        threading.Thread(target=lambda: sys.exit(3)).start()
        @atexit.register
        def last(): print('last'); raise SystemExit(5)
        print('loss', 0.5)
    """,
    "keyboard interrupt": "import os, signal\nprint('loss', 0.5, flush=True)\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(10**9): pass",
    "atexit": "import atexit\natexit.register(lambda: print('bye'))\nprint('loss', 0.5)",
    "exec": "exec('print(\"acc\", 0.5)')\nprint(eval('1+1'))\ncode = compile('print(3)', '<made up>', 'exec')\nexec(code)",
}


def _same_text(text: str) -> str:
    """Without the folder, which is another, and addresses."""
    text = re.sub(r"in \d+\.\d+s", "in s", text)
    return re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"\S*/(?:captured|plain)/", "", text))


FILES = {"part.py": "def f(x):\n    if x > 0:\n        return 1\n    y = 2\n    return y\n",
         "test_part.py": "def test_right():\n    print('acc', 0.5)\n    assert 1 + 1 == 2\n"}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same(run: Run, name: str) -> None:
    if name == "coverage":
        pytest.importorskip("coverage")
    plain = run(PROGRAMS[name], capture=False, files=FILES)
    captured = run(PROGRAMS[name], files=FILES)
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
