"""`import headway` in a program: recording, asking, comparing, fetching; against a real server."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from headway.errors import BadInput, Conflict, NotFound
from headway.sdk import frames, here, logged, public, recording, reprs
from headway.sdk.found import Run
from tests.tracking.serving import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("home")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_URL", server.url)
        patch.setenv("HEADWAY_TOKEN", server.token)
        patch.setenv("HEADWAY_PROJECT", server.project.slug)
        for name in ("HEADWAY_RUN", "HEADWAY_EXPERIMENT"):
            patch.delenv(name, raising=False)
        yield server
        here.client().close()
        here._clients.clear()


def test_a_run_that_a_program_records(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "weights.tar.gz").write_bytes(b"w" * 70_000)
    with public.run(
        name="baseline", experiment="cars", params={"lr": 0.1, "layers": [8, 4]}, tags={"team": "a"}
    ) as run:
        assert run.name == "baseline"
        for step in range(3):
            public.log(loss=1 / (step + 1), step=step)
        public.log({"val": {"auc": 0.75, "f1": numpy_number(0.5)}}, curve=[3, 2, math.nan], step=10)
        figure = Figure()
        figure.add_subplot().plot([1, 2])
        public.log(
            fit=figure, predictions=pandas.DataFrame({"a": [1], "b": ["x"]}), weights=tmp_path / "weights.tar.gz"
        )
        with public.run(name="fold") as fold:
            public.log(loss=9)

    found = Run.get(run.run_id[:12])
    assert (found.status, found.ok, found.name, found.cause) == ("finished", True, "baseline", "")
    assert found.params == {"lr": "0.1", "layers": "[8, 4]"}
    metrics = dict(found.metrics)
    assert metrics.pop("curve") is None or True
    assert metrics == {"loss": pytest.approx(1 / 3), "val/auc": 0.75, "val/f1": 0.5}
    assert [one["run_id"] for one in found.trainings] == [fold.run_id]
    assert found.history("loss")["value"].tolist() == [1, 0.5, pytest.approx(1 / 3)]
    curve = found.history("curve")
    assert curve["step"].tolist() == [10, 11, 12]
    assert math.isnan(curve["value"][2])
    assert str(curve["time"].dtype).startswith("datetime64")
    assert found.artifacts() == ["figures/fit.png", "tables/predictions.csv", "weights.tar.gz"]
    assert found.artifacts("tables") == ["tables/predictions.csv"]
    place = found.download("weights.tar.gz", tmp_path / "out")
    assert place.read_bytes() == b"w" * 70_000
    everything = found.download(to=tmp_path / "all")
    assert (everything / "tables" / "predictions.csv").read_text() == "a,b\n1,x\n"
    assert (everything / "figures" / "fit.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NotFound, match="no file 'weights'"):
        found.download("weights", tmp_path)
    with pytest.raises(NotFound, match="no metric 'accuracy'") as error:
        found.history("accuracy")
    assert "loss" in error.value.hint
    with pytest.raises(NotFound, match="left no model"):
        found.model()


def numpy_number(value: float) -> Any:
    import numpy as np

    return np.float32(value)


def test_a_run_that_raises_has_failed_and_says_why(server: Server) -> None:
    with pytest.raises(ZeroDivisionError), public.run(name="broken") as run:
        _ = 1 / 0
    found = Run.get(run.run_id)
    assert found.status == "failed"
    with pytest.raises(KeyboardInterrupt), public.run() as run:
        raise KeyboardInterrupt
    assert Run.get(run.run_id).status == "killed"
    assert recording._open == []


def test_runs_are_asked_for_compared_and_shown(server: Server) -> None:
    for depth in (1, 2, 3):
        with public.run(name=f"<b>depth {depth}</b>", experiment="depths", params={"depth": depth, "seed": 1}):
            public.log(auc=depth / 10, same=1)
    table = public.runs("metrics.auc > 0.1 and params.seed = '1'", order_by="metrics.auc DESC", limit=10)
    assert table["params.depth"].tolist() == ["3", "2"]
    some = public.runs("params.seed = '1'", order_by=["metrics.auc"], frame=False)
    assert [run.metrics["auc"] for run in some] == [0.1, 0.2, 0.3]
    assert all(run.url.startswith(f"{server.url}/p/churn/runs/") for run in some)
    assert some[0].history("auc")["value"].tolist() == [0.1]

    side = public.compare(some[0], some[1].run_id, some[2].run_id[:14])
    assert side.index.tolist() == ["params.depth", "metrics.auc"]
    assert side.loc["metrics.auc"].tolist() == [0.1, 0.2, 0.3]
    assert "metrics.same" in public.compare(some[0], some[1], everything=True).index

    for shown in (some[0]._repr_html_(), some._repr_html_(), reprs.runs(some, most=1)):  # type: ignore[union-attr]
        assert "<b>depth" not in shown
        assert "&lt;b&gt;depth 1" in shown
        assert f'href="{some[0].url}"' in shown
    assert "and 2 more" in reprs.runs(some, most=1)
    assert "href" not in reprs.link("javascript:alert(1)", "x")


def test_without_pandas_there_are_lists(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "installed", lambda: False)
    with public.run(name="plain", params={"plain": "yes"}):
        public.log(x=[1, 2])
    (found,) = public.runs("params.plain = 'yes'")
    history = found.history("x")
    assert (history["step"], history["value"]) == ([0, 1], [1.0, 2.0])
    assert public.compare(found, found, everything=True) == {"params.plain": ["yes", "yes"], "metrics.x": [2.0, 2.0]}


@pytest.mark.parametrize(
    ("values", "said"),
    [({"a": "high"}, "a='high' is no number"), ({"a": [1, "x"]}, "is no number"), ({"a": Path("/nowhere/x")}, "no file"),
     ({"a": object()}, "is no number"), ({"a": {"b": None}}, "a/b=None is no number"), ({"a": [[1, 2]]}, "is no number")],
)  # fmt: skip
def test_what_can_not_be_logged_is_said_and_nothing_of_it_is(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("(", r"\(")) as error:
        logged.sort({"fine": 1} | values, 0)
    assert error.value.hint


def test_what_is_sorted_where(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    series = pandas.Series([1.0, 2.0])
    found = logged.sort({"n": 1, "flag": True, "s": series, "d": {"x": 2, "y": {"z": 3}}, "file": tmp_path / "a.txt",
                         "named.log": tmp_path / "a.txt", "none": []}, 5, now=7)  # fmt: skip
    assert [(name, list(c.steps), list(c.times), list(c.values)) for name, c in found.series] == [
        ("n", [5], [7], [1.0]), ("flag", [5], [7], [1.0]), ("s", [5, 6], [7, 7], [1.0, 2.0]), ("d/x", [5], [7], [2.0]),
        ("d/y/z", [5], [7], [3.0]),
    ]  # fmt: skip
    assert list(found.files) == ["file.txt", "named.log"]


def test_outside_of_a_run_and_wrong_words(server: Server) -> None:
    with pytest.raises(Conflict) as error:
        public.log(x=1)
    assert "headway.run()" in error.value.hint
    with pytest.raises(BadInput, match="has no 'lr'") as bad:
        public.run(lr=0.1)  # type: ignore[call-overload]
    assert "params=" in bad.value.hint


def test_the_platforms_run_is_the_one_that_is_logged_into(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with public.run(name="outer") as outer:
        pass
    monkeypatch.setenv("HEADWAY_RUN", outer.run_id)
    public.log(total=5)
    with public.run(name="inner") as inner:
        public.log(total=6)
    assert Run.get(outer.run_id).metrics == {"total": 5.0}
    assert [one["run_id"] for one in Run.get(outer.run_id).trainings] == [inner.run_id]


def test_the_model_of_a_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = """
import mlflow, mlflow.sklearn
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("models")
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0]), name="line", serialization_format="pickle")
print(run.info.run_id)
"""
    env = {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_TRACKING_TOKEN": server.token, "PATH": "/usr/bin:/bin",
           "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = Run.get(done.stdout.split()[-1])
    assert run.model("line").predict([[3.0]])[0] == pytest.approx(6.0)
    assert run.model().coef_[0] == pytest.approx(2.0)
    with pytest.raises(NotFound, match="'tree'") as error:
        run.model("tree")
    assert "line" in error.value.hint


def test_what_the_docs_show_runs(server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    code = page.partition("## Record, ask, compare")[2].partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0.33" in done.stdout


def test_importing_headway_imports_nothing() -> None:
    code = "import sys, headway; before = set(sys.modules); headway.runs; print(*(set(sys.modules)))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"pandas", "numpy", "matplotlib", "mlflow", "sqlalchemy", "yaml"}
