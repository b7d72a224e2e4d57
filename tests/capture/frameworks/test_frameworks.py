"""Frameworks in a real environment of their own: nothing of a run is missing, nothing of it is changed, models load."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.capture.conftest import SOURCE, Done, Run, run

from .programs import END, PROGRAMS, START

# In the model's environment, where our own code is only the replica's: the proof before traffic, then plain MLflow.
PROVE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import numpy, pandas
from headway import bundle
from headway.modelserver.prove import prove
from headway.modelserver.predictor import close, listed
import mlflow.pyfunc
found = {}
for folder in sys.argv[1:]:
    verdict = prove(Path(folder))
    examples = bundle.read_examples(Path(folder))
    plain = None
    if examples is not None and examples.tensors is None:
        data = numpy.array(examples.data, dtype=examples.dtype)
        if examples.columns is not None:
            data = pandas.DataFrame(examples.data, columns=examples.columns)
        try:
            plain = close(listed(numpy.asarray(mlflow.pyfunc.load_model(folder).predict(data)), len(examples.data)),
                          listed(numpy.asarray(examples.predictions), len(examples.data)), 1e-4)
        except TypeError as error:
            plain = str(error)
    found[folder] = {"ok": verdict.ok, "reason": verdict.reason, "examples": verdict.examples, "plain": plain}
print("\\n" + json.dumps(found))
"""


class Pair:
    """One program, run plainly and captured, and the proofs of its models."""

    def __init__(self, name: str, start: Run, python: str) -> None:
        program = START + PROGRAMS[name].source + END
        self.plain: Done = start(program, python=python, capture=False)
        self.done: Done = start(program, python=python)
        assert self.plain.code == 0, self.plain.err
        self.record = self.done.record
        folders = [m["folder"] for m in self.record["models"] if m["folder"]]
        self.proofs = _prove(python, folders, self.done.folder) if folders else {}


def _prove(python: str, folders: list[str], work: Path) -> dict[str, Any]:
    environ = {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin", "HOME": str(work)}
    done = subprocess.run(
        [python, "-c", PROVE, *folders], cwd=work, env=environ, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module", params=list(PROGRAMS))
def pair(request: pytest.FixtureRequest, frameworks: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Pair]:
    start = run.__wrapped__(tmp_path_factory.mktemp("framework"))  # type: ignore[attr-defined]
    return request.param, Pair(request.param, start, frameworks)


def test_it_runs_as_without_capture(pair: tuple[str, Pair]) -> None:
    name, ran = pair
    quiet = PROGRAMS[name].quiet

    def told(text: str) -> list[str]:
        return [line for line in text.splitlines() if not (quiet and line.startswith(quiet))]

    assert (ran.done.code, told(ran.done.out)) == (ran.plain.code, told(ran.plain.out))
    assert "streams" in ran.done.out
    assert ran.record["notes"] == []


def test_parameters(pair: tuple[str, Pair]) -> None:
    name, ran = pair
    wanted = PROGRAMS[name].params
    assert {k: ran.done.params.get(k) for k in wanted} == wanted


def test_metrics_and_series(pair: tuple[str, Pair]) -> None:
    name, ran = pair
    wanted = PROGRAMS[name].metrics
    found = {k: len(v) for k, v in ran.done.metrics.items()}
    assert {k: found.get(k) for k in wanted} == wanted


def test_models_are_saved_and_answer_in_a_replica_and_in_plain_mlflow(pair: tuple[str, Pair]) -> None:
    name, ran = pair
    saved = {m["class"]: m["folder"] for m in ran.record["models"] if m["folder"]}
    assert saved.keys() == PROGRAMS[name].models.keys()
    for folder, proof in ran.proofs.items():
        assert (proof["ok"], proof["examples"]) == (True, 5), (folder, proof)
        assert proof["plain"] in (True, None) or "single output tensor" in proof["plain"], (folder, proof)


def test_tables(pair: tuple[str, Pair]) -> None:
    name, ran = pair
    assert set(PROGRAMS[name].tables) <= {t["name"] for t in ran.record["tables"]}
