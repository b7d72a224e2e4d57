"""Processes that a program starts: one run, no doubled facts, no hang, and the same end."""

from __future__ import annotations

import pytest

from .conftest import Run

PROGRAMS = {
    "loky workers": """
        from joblib import Parallel, delayed
        from sklearn.linear_model import Ridge
        def fit(alpha):
            model = Ridge(alpha=alpha).fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.5])
            print('worker', flush=True)
            return model.score([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.5])
        scores = Parallel(n_jobs=2)(delayed(fit)(a) for a in (0.1, 0.2))
        loss = 1 - max(scores)
        print('loss', round(loss, 6))
    """,
    "a spawned pool": """
        import multiprocessing as mp
        def work(x):
            score = x / 10
            print('score', score, flush=True)
            return score
        if __name__ == '__main__':
            with mp.get_context('spawn').Pool(1) as pool:
                found = pool.map(work, [1, 2])
            loss = 1 - sum(found)
            print('loss', loss)
    """,
    "a fork server": """
        import multiprocessing as mp
        def work(x):
            print('score', x / 10, flush=True)
        if __name__ == '__main__':
            p = mp.get_context('forkserver').Process(target=work, args=(1,))
            p.start(); p.join()
            loss = float('0.25')
            print('loss', loss, p.exitcode)
    """,
    "forked processes": """
        import multiprocessing as mp
        def work(q, x):
            print('score', x / 10, flush=True)
            q.put(x)
        if __name__ == '__main__':
            c = mp.get_context('fork'); q = c.Queue()
            ps = [c.Process(target=work, args=(q, i)) for i in range(2)]
            for p in ps: p.start(); p.join()
            loss = float('0.5')
            print('loss', loss, sorted(q.get() for _ in ps))
    """,
    "a subprocess": """
        import subprocess, sys
        done = subprocess.run([sys.executable, '-c', "score = 0.75; print('score', score)"], capture_output=True, text=True)
        print(done.stdout.strip(), done.returncode)
        loss = float('0.125')
        print('loss', loss)
    """,
    "a subprocess with its own environment": """
        import subprocess, sys
        print(subprocess.run([sys.executable, '-I', '-c', 'print(1)'], env={}, capture_output=True, text=True).stdout)
        loss = float('0.125')
        print('loss', loss)
    """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda x: x * x, range(5)))
        loss = float('0.125')
        print('loss', loss, found)
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_they_are_one_run(run: Run, name: str) -> None:
    plain = run(PROGRAMS[name], capture=False)
    done = run(PROGRAMS[name])
    assert (done.code, sorted(done.out.split()), done.err) == (plain.code, sorted(plain.out.split()), plain.err)
    metrics = done.metrics
    assert len(metrics["loss"]) == 1
    assert "score" not in metrics
    assert sum(f["k"] == "start" and f["role"] == "main" for f in done.facts) == 1
