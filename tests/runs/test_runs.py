"""Runs from the submission to the verdict, in real processes: how each ends, and that the cause is true."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from headway.clock import now_ms
from headway.errors import BadPath, Conflict, Forbidden, NotFound, Unprocessable
from headway.people.rules import Who
from headway.people.tables import Token
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs import service
from headway.runs.launch import RunLimits
from headway.tracking import service as tracking

from .conftest import Bench, lives

SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


def tracked(bench: Bench, run_id: str) -> tracking.RunFacts:
    with bench.host.database.read() as db:
        return tracking.facts(db, bench.who, run_id)


def test_a_script_runs_with_its_parameters_in_a_copy_of_the_project(bench: Bench) -> None:
    bench.script("VALUE = 7\n", "lib/part.py")
    source = (
        "import argparse, os, sys\nsys.path.insert(0, 'lib')\nimport part\n"
        "p = argparse.ArgumentParser()\np.add_argument('--learning-rate', type=float, default=0.1)\n"
        "p.add_argument('--fast', action='store_true')\np.add_argument('--name')\na = p.parse_args()\n"
        "print(a.learning_rate, a.fast, a.name, part.VALUE)\n"
        "print(sorted(n for n in os.environ if n.startswith(('HEADWAY', 'MLFLOW'))))\n"
        "open('made', 'w').write(os.environ['MLFLOW_TRACKING_TOKEN'])\n"
    )
    run_id = bench.submit(bench.script(source), {"learning_rate": "0.5", "fast": True, "name": "-x y"})
    row = bench.over(run_id)
    assert (row.status, row.cause) == ("finished", "")
    lines = bench.output(run_id).splitlines()
    assert lines[0] == "0.5 True -x y 7"
    for name in (
        "HEADWAY_RUN",
        "HEADWAY_SPOOL",
        "HEADWAY_TOKEN_FILE",
        "HEADWAY_URL",
        "HEADWAY_PROJECT",
        "HEADWAY_RUNTIME",
        "MLFLOW_RUN_ID",
    ):
        assert f"'{name}'" in lines[1]
    assert not (bench.folder / "made").exists(), "the run works in its own copy"
    assert (bench.place(run_id) / "work" / "made").read_text().startswith("hw_")
    facts = tracked(bench, run_id)
    assert facts.status == "FINISHED" and facts.end_time is not None and facts.tags["mlflow.source.name"] == "train.py"
    assert row.peak_memory_mb and row.peak_memory_mb > 3
    assert row.started_at and row.ended_at and row.created_at <= row.started_at <= row.ended_at


def test_a_notebook_runs_with_its_parameters(bench: Bench) -> None:
    path = bench.notebook(
        "print(epochs * 2, rate, name)", parameters="epochs: int = 3  # how often\nrate = 0.1\nname = 'a'"
    )
    run_id = bench.submit(path, {"epochs": "5", "name": "x'; import os #"})
    assert bench.over(run_id).status == "finished"
    out = json.loads((bench.place(run_id) / "out.ipynb").read_text())
    assert out["cells"][1]["metadata"]["tags"] == ["injected-parameters"]
    assert out["cells"][2]["outputs"][0]["text"] == "10 0.1 x'; import os #\n"


@pytest.mark.parametrize(
    ("source", "status", "cause"),
    [
        ("import sys\ndef f():\n    raise ValueError('bad column')\nf()", "failed", "ValueError: bad column (train.py, line 3)"),
        ("raise SystemExit('no data for today')", "failed", "no data for today (exit code 1)"),
        ("import sys; sys.exit(3)", "failed", "exit code 3"),
        ("import argparse; p = argparse.ArgumentParser(); p.add_argument('--x', type=int); p.parse_args(['--x', 'y'])",
         "failed", "invalid int value: 'y' (exit code 2)"),
        ("1 +", "failed", "SyntaxError: invalid syntax"),
        ("import os; os.kill(os.getpid(), 9)", "killed", "killed by signal 9 (SIGKILL)"),
        ("import os; os.abort()", "killed", "killed by signal 6 (SIGABRT)"),
        ("import no_such_module", "failed", "ModuleNotFoundError: No module named 'no_such_module' (train.py, line 1)"),
    ],
)  # fmt: skip
def test_how_a_script_ends_is_told_in_words(bench: Bench, source: str, status: str, cause: str) -> None:
    run_id = bench.submit(bench.script(source))
    row = bench.over(run_id)
    assert row.status == status and cause in row.cause
    assert tracked(bench, run_id).status == ("KILLED" if status == "killed" else "FAILED")
    assert cause in tracked(bench, run_id).cause


def test_an_error_in_a_notebook_names_its_cell(bench: Bench) -> None:
    run_id = bench.submit(bench.notebook("x = 1", "raise ValueError('bad column')", "print('never')"))
    row = bench.over(run_id)
    assert (row.status, row.cause) == ("failed", "ValueError: bad column in cell 2")
    assert json.loads(row.error) == {"ename": "ValueError", "evalue": "bad column", "cell": 2}


@pytest.mark.parametrize("kind", ["script", "notebook"])
def test_out_of_memory(bench: Bench, kind: str) -> None:
    source = "print('up', flush=True)\nheld = []\nwhile True: held.append(bytearray(8 << 20))"
    path = bench.script(source) if kind == "script" else bench.notebook("x = 1", source)
    run_id = bench.submit(path, limits=RunLimits(memory_mb=300))
    row = bench.over(run_id)
    where = " in cell 2" if kind == "notebook" else ""
    assert (row.status, row.cause) == ("out_of_memory", f"needed more memory than its limit of 300 MiB{where}")
    if kind == "notebook":
        out = bench.place(run_id) / "out.ipynb"
        bench.until(out.exists)
        assert json.loads(out.read_text())["cells"][1]["outputs"][0]["text"] == "up\n"


@pytest.mark.parametrize("kind", ["script", "notebook"])
def test_the_time_limit(bench: Bench, kind: str) -> None:
    run_id = bench.submit(
        bench.script(SLEEP) if kind == "script" else bench.notebook(SLEEP), limits=RunLimits(timeout_s=3)
    )
    row = bench.over(run_id)
    assert row.status == "timed_out" and row.cause.startswith("ran longer than its limit of 3 s")


@pytest.mark.parametrize("kind", ["script", "notebook"])
def test_cancel_while_it_runs(bench: Bench, kind: str) -> None:
    run_id = bench.submit(bench.script(SLEEP) if kind == "script" else bench.notebook(SLEEP))
    bench.status(run_id, "running")
    bench.saw(run_id, "up", "output.log" if kind == "script" else "events.jsonl")
    with bench.host.database.write() as db:
        service.cancel(db, bench.who, service.get(db, bench.who, bench.project, run_id))
    row = bench.over(run_id)
    assert (row.status, row.cause) == ("cancelled", "cancelled")
    assert tracked(bench, run_id).status == "KILLED"
    with pytest.raises(Conflict), bench.host.database.write() as db:
        service.cancel(db, bench.who, service.get(db, bench.who, bench.project, run_id))


def test_cancel_before_it_began(bench: Bench) -> None:
    run_id = bench.submit(bench.script(SLEEP))
    with bench.host.database.write() as db:
        service.cancel(db, bench.who, service.get(db, bench.who, bench.project, run_id))
    assert bench.row(run_id).cause == "cancelled before it began"
    bench.turn()
    assert bench.host.engine.list() == []


def test_a_killed_shim_is_told_as_lost(bench: Bench) -> None:
    run_id = bench.submit(bench.notebook("print('up', flush=True)", SLEEP))
    bench.saw(run_id, "up", "events.jsonl") if bench.status(run_id, "running") else None
    kernel = json.loads((bench.place(run_id) / "kernel.json").read_text())
    os.kill(bench.process(run_id)["shim"]["pid"], signal.SIGKILL)
    row = bench.over(run_id)
    assert (row.status, row.cause) == ("lost", "its supervisor was killed")
    assert not lives(kernel["pid"])
    bench.until((bench.place(run_id) / "out.ipynb").exists)
    assert "up" in (bench.place(run_id) / "out.ipynb").read_text()
    assert not Path(kernel["sockets"]).exists()


def test_the_runs_token_dies_with_it(bench: Bench) -> None:
    run_id = bench.submit(bench.script(SLEEP))
    bench.status(run_id, "running")
    path = bench.place(run_id) / "token"
    assert path.read_text().startswith("hw_") and path.stat().st_mode & 0o777 == 0o600

    def token() -> Token:
        with bench.host.database.read() as db:
            return db.query(Token).filter(Token.owner == f"run:{run_id}.a1").one()

    assert token().revoked_at is None and token().scope == "run" and token().project_id == bench.project.id
    os.kill(bench.process(run_id)["pid"], signal.SIGKILL)
    assert bench.over(run_id).status == "killed"
    assert token().revoked_at is not None and not path.exists()


def test_what_is_edited_after_the_start_changes_nothing(bench: Bench) -> None:
    run_id = bench.submit(bench.script("print('first')"))
    bench.until(lambda: bench.row(run_id).prepared_at)
    bench.script("print('second')")
    bench.over(run_id)
    assert bench.output(run_id) == "first\n"


def test_slots_are_kept_and_the_waiting_say_why(bench: Bench) -> None:
    object.__setattr__(bench.host.settings, "slots", 1)
    first, second = bench.submit(bench.script(SLEEP)), bench.submit(bench.script("print('done')", "quick.py"))
    bench.status(first, "running")
    bench.until(lambda: bench.row(second).waits_for)
    assert bench.row(second).waits_for == "1 runs are active, as many as there are slots"
    with bench.host.database.write() as db:
        service.cancel(db, bench.who, service.get(db, bench.who, bench.project, first))
    assert bench.over(second).status == "finished"


def test_rerun(bench: Bench) -> None:
    path = bench.script(
        "import argparse; p = argparse.ArgumentParser(); p.add_argument('--n', type=int); print(p.parse_args().n)"
    )
    first = bench.submit(path, {"n": 4}, limits=RunLimits(timeout_s=60))
    bench.over(first)
    with bench.host.database.write() as db:
        again = service.rerun(db, bench.host, bench.who, bench.project, bench.row(first))
    row = bench.over(again.run_id)
    assert (row.rerun_of, row.limits, bench.output(again.run_id)) == (first, '{"timeout_s": 60}', "4\n")


BROKEN = [
    ("broken.ipynb", '{"cells": [,]}', Unprocessable, "line 1, column 12"),
    ("broken.ipynb", '{\n"cells": [\n{"cell_type"', Unprocessable, "line 3"),
    ("broken.ipynb", "[]", Unprocessable, "no list of cells"),
    ("broken.ipynb", '{"nbformat": 4, "cells": [{"cell_type": "code"}]}', Unprocessable, "cell 1 has no source"),
    (
        "broken.ipynb",
        '{"nbformat": 4, "cells": [{"cell_type": "rap", "source": ""}]}',
        Unprocessable,
        "cell 1 is neither",
    ),
    ("broken.ipynb", '{"nbformat": 9, "cells": []}', Unprocessable, "format is 9"),
    (
        "broken.ipynb",
        '{"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"language": "R"}}}',
        Unprocessable,
        "written in R",
    ),
    ("data.csv", "a,b", Unprocessable, "can't be run"),
    ("missing.py", None, NotFound, "missing.py"),
    ("../up.py", None, BadPath, "inside the project"),
    ("/etc/passwd.py", None, BadPath, "inside the project"),
]


@pytest.mark.parametrize(("path", "text", "error", "says"), BROKEN)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    bench: Bench, path: str, text: str | None, error: type[Exception], says: str
) -> None:
    if text is not None:
        (bench.folder / path).write_text(text)
    with pytest.raises(error, match=says):
        bench.submit(path)
    with bench.host.database.read() as db:
        assert service.listed(db, bench.who, bench.project) == []
    assert not (bench.host.settings.home / "runs").exists()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"epochs": "many"}, "must be a whole number"),
        ({"epoch": 3}, "there are: epochs, rate"),
        ({"rate": float("nan")}, "finite"),
        ({"1x": 1}, "not a name"),
        ({"class": 1}, "not a name"),
        ({"epochs": True}, "must be a whole number"),
    ],
)
def test_values_that_a_parameter_cannot_have(bench: Bench, params: dict, says: str) -> None:
    path = bench.notebook("print(1)", parameters="epochs = 3\nrate = 0.5")
    with pytest.raises(Unprocessable, match=says):
        bench.submit(path, params)


@pytest.mark.parametrize("limits", [{"memory_mb": 1}, {"timeout_s": 0}, {"timeout_s": -5}, {"cpu": 1e12}])
def test_limits_that_make_no_sense(bench: Bench, limits: dict) -> None:
    with pytest.raises(Unprocessable):
        bench.submit(bench.script(""), limits=RunLimits(**limits))


def test_who_may(bench: Bench) -> None:
    bench.script("")
    stranger = Who("0" * 32, "eve")
    with pytest.raises(NotFound), bench.host.database.write() as db:
        service.submit(db, bench.host, stranger, bench.project, "train.py")
    viewer = Who(bench.who.user_id, "ada", True, scopes=frozenset({"view"}))
    with pytest.raises(Forbidden), bench.host.database.write() as db:
        service.submit(db, bench.host, viewer, bench.project, "train.py")
    run_id = bench.submit("train.py")
    with pytest.raises(Forbidden), bench.host.database.write() as db:
        service.cancel(db, viewer, service.get(db, viewer, bench.project, run_id))
    with pytest.raises(NotFound), bench.host.database.read() as db:
        service.get(db, stranger, bench.project, run_id)


def test_a_file_that_broke_after_the_submission_fails_in_words(bench: Bench) -> None:
    run_id = bench.submit(bench.notebook("print(1)"))
    (bench.folder / "train.ipynb").write_text("{")
    row = bench.over(run_id)
    assert row.status == "failed" and "broken at line 1" in row.cause


def test_the_trainings_a_killed_run_left_open_end_with_it(bench: Bench) -> None:
    run_id = bench.submit(bench.script(SLEEP))
    bench.status(run_id, "running")
    with bench.host.database.write() as db:
        parent = tracking.get_run(db, bench.who, run_id)
        child = tracking.create_run(db, bench.who, project_id=bench.project.id, experiment_id=parent.experiment_id,
                                    tags={"mlflow.parentRunId": run_id}, start_time=now_ms()).uuid  # fmt: skip
    os.kill(bench.process(run_id)["pid"], signal.SIGKILL)
    bench.over(run_id)
    assert tracked(bench, child).status == "KILLED"


def test_git_works_in_the_copy_and_environments_are_left_out(bench: Bench, tmp_path: Path) -> None:
    env = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
    bench.script(
        "import subprocess; print(subprocess.run(['git', 'status', '--short'], capture_output=True, text=True))"
    )
    assert os.system(f"cd {bench.folder} && git init -q && git add -A && {env} git commit -qm one") == 0
    (bench.folder / "myenv").mkdir()
    (bench.folder / "myenv" / "pyvenv.cfg").write_text("")
    (bench.folder / "node_modules").mkdir()
    (bench.folder / "new.txt").write_text("x")
    (bench.folder / "link").symlink_to("new.txt")
    run_id = bench.submit("train.py")
    assert bench.over(run_id).status == "finished"
    assert "returncode=0" in bench.output(run_id) and "?? new.txt" in bench.output(run_id)
    names = {path.name for path in (bench.place(run_id) / "work").iterdir()}
    assert names == {".git", "train.py", "new.txt", "link"}
    assert sum(1 for _ in (bench.place(run_id) / "work" / ".git" / "objects").rglob("*")) == 2


def test_a_project_that_does_without_recording(bench: Bench) -> None:
    with bench.host.database.write() as db:
        project = db.get(Project, bench.project.id)
        assert project is not None
        projects.record(db, bench.who, project, False)
    run_id = bench.submit(
        bench.script("import os\nprint(os.environ['HEADWAY_CAPTURE'])\nloss = float('0.5')\nprint('loss', loss)\n")
    )
    assert bench.over(run_id).status == "finished"
    assert bench.output(run_id).splitlines()[0] == "off"
    assert not list((bench.place(run_id) / "spool").glob("facts.*"))
