"""What a run's pages are made of, piece by piece: tables of cases, nothing around them."""

from __future__ import annotations

import importlib
import io
import json
from typing import Any

import pytest

from headway.tracking.artifacts import Entry
from headway.tracking.show import (
    codeview,
    compare_pages,
    comparing,
    endings,
    lineage,
    parquet,
    previews,
    run_tabs,
    standing,
    told,
)
from headway.tracking.show.lineage import Node
from headway.tracking.show.runtable import DiffRow
from headway.tracking.store.readout import DataInput, RunFacts, Series


def facts(**more: Any) -> RunFacts:
    values: dict[str, Any] = {
        "id": 1, "uuid": "a" * 32, "experiment_id": 1, "project_id": "p", "name": "one", "user_id": "ada", "status": "FINISHED",
        "cause": "", "start_time": 1000, "end_time": 4000, "lifecycle": "active", "artifact_uri": "", "parent_uuid": None,
        "version": 1,
    }  # fmt: skip
    return RunFacts(**(values | more))


def series(last: float, points: int = 1) -> Series:
    return Series(last, points - 1, 0, last, last + points - 1, points)


# ------------------------------------------------------------------ told
RECORD = {
    "params": {"lr": {"value": 0.1, "witnesses": [{"source": "fit", "file": "/tmp/ipykernel_7/99.py", "line": 4}]}},
    "metrics": {
        "auc": {
            "points": [[0, 0.5, 1], [1, 0.9, 2]],
            "witnesses": [
                {"source": "names", "file": "/x/headway/runner/kernelside.py", "line": 7},
                {"source": "print", "file": "/p/work/train.py", "line": 9, "expression": "auc"},
                {"source": "print", "file": "/p/work/train.py", "line": 9, "expression": "auc"},
                {"source": "score", "file": "/tmp/ipykernel_7/404.py", "line": 2},
            ],
        }
    },
    "code": [{"file": "/tmp/ipykernel_7/99.py", "cell": 3, "ok": True}],
    "figures": [{"artifact": "headway/figures/01-7-01.png", "file": "/tmp/ipykernel_7/99.py", "line": 8}],
    "trainings": [
        {"inner": "SVC", "line": 4, "file": "/tmp/ipykernel_7/99.py", "best_params": {"svc__C": 2},
         "trials": [{"mean_fit_time": 0.1, "svc__C": 1, "cv": 3, "score": 0.7},
                    {"mean_fit_time": 0.2, "svc__C": 2, "cv": 3, "score": 0.8}]}
    ],
    "notes": [],
}  # fmt: skip


def test_witnesses_are_said_as_people_say_them() -> None:
    found = told.read(json.dumps(RECORD))
    assert found is not None
    lr, auc = found.why("param", "lr"), found.why("metric", "auc")
    assert lr is not None and auc is not None and found.why("metric", "lr") is None
    assert [(w.source, w.where, w.file, w.line) for w in lr.witnesses] == [
        ("fit", "cell 3, line 4", "cells/0003.py", 4)
    ]
    # each once; lines of headway's own files, and of cells that nobody knows, are no places
    assert [(w.source, w.where) for w in auc.witnesses] == [("print", "train.py:9"), ("names", ""), ("score", "")]
    assert auc.short == "print, train.py:9; names; score"
    assert found.figures == {"headway/figures/01-7-01.png": "cell 3, line 8"}


def test_a_sweep_shows_what_differs_and_which_won() -> None:
    found = told.read(json.dumps(RECORD))
    assert found is not None
    (training,) = found.trainings
    assert training.columns == ["svc__C", "score", "mean_fit_time"] and training.best == 1
    assert training.rows[1] == [2, 0.8, 0.2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"params": 3, "metrics": {"a": 1}, "trainings": [4], "notes": {}, "code": [1, {}], "figures": [2]}',
    ],
)
def test_broken_records(text: str) -> None:
    found = told.read(text)
    assert found is None or found.trainings == []


# ------------------------------------------------------------------ previews
@pytest.mark.parametrize(
    ("end", "text", "kind", "language"),
    [
        ("csv", "a,b\n1,2\n", "table", "text"),
        ("tsv", "a\tb\n1\t2\n", "table", "text"),
        ("csv", "", "none", "text"),
        ("json", '{"a":1}', "text", "json"),
        ("json", "{", "text", "text"),
        ("md", "# Title", "prose", "markdown"),
        ("py", "print(1)", "text", "python"),
        ("txt", "a\0b", "none", "text"),
        ("diff", "-a\n+b", "text", "diff"),
    ],
)
def test_texts_are_shown_by_their_ending(end: str, text: str, kind: str, language: str) -> None:
    found = previews.shown(end, text, False)
    assert (found.kind, found.language) == (kind, language)
    if kind == "table":
        assert found.head == ["a", "b"] and found.rows == [["1", "2"]]


def test_markdown_of_files_runs_nothing() -> None:
    html = previews.shown("md", "<script>x()</script><img src=x onerror=y()> [a](javascript:z())", False).html
    assert not any(bad in html for bad in ("<script", "onerror", "src=", 'href="javascript'))


def test_a_parquet_file_says_its_columns() -> None:
    pa, pq = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")

    table = pa.table(
        {"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", None], "x": [0.5, 1.5, 2.5], "on": [True, False, None],
         "day": pa.array([1, 2, 3], pa.date32()), "deep": [{"a": 1, "b": "x"}] * 3, "many": [[1], [2, 3], []]}
    )  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=2)
    data = out.getvalue()
    found = parquet.footer(lambda start, end: data[start:end], len(data))
    assert (found.rows, found.groups) == (3, 2)
    columns = dict(found.columns)
    assert {k: columns[k] for k in ("id", "name", "x", "on", "day", "deep.a", "deep.b")} == {
        "id": "int64", "name": "text", "x": "double", "on": "bool", "day": "date", "deep.a": "int64", "deep.b": "text",
    }  # fmt: skip
    assert any(name.startswith("many.") for name in columns)
    refused = 0
    for cut in range(
        len(data) - 400, len(data) - 8, 7
    ):  # torn anywhere, it may be misread, but it never fails in another way
        torn = data[:cut] + data[-8:]
        try:
            parquet.footer(lambda start, end, torn=torn: torn[start:end], len(torn))  # type: ignore[misc]
        except parquet.NotParquet:
            refused += 1
    assert refused > 40


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 20, b"\xff\xff\xff\x7fPAR1", b"\x15" * 9 + b"\x09\0\0\0PAR1"])
def test_what_is_no_parquet_file(data: bytes) -> None:
    with pytest.raises(parquet.NotParquet):
        parquet.footer(lambda start, end: data[start:end], len(data))


# ------------------------------------------------------------------ code
def test_lines_close_what_they_open() -> None:
    lines = codeview.coloured('x = """one\ntwo"""\nprint(x)\n', "python")
    assert len(lines) == 3 and all(line.count("<span") == line.count("</span>") for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "state", "counts"),
    [
        ("a\nb\n", "a\nc\n", "changed", (1, 1)),
        (None, "a\n", "added", (1, 0)),
        ("a\nb\n", None, "removed", (0, 2)),
        ("a", "a\nb", "changed", (1, 0)),
        ("<b>\n", "<i>\n", "changed", (1, 1)),
    ],
)
def test_differences_of_files(old: str | None, new: str | None, state: str, counts: tuple[int, int]) -> None:
    found = codeview.file_diff("x.py", old, new, "text")
    assert found is not None and (found.state, (found.added, found.removed)) == (state, counts)
    assert "<b>" not in str(found.lines) and codeview.file_diff("x", old, old, "text") is None


def test_equal_stretches_are_folded_and_can_be_opened() -> None:
    old = [f"line {i}" for i in range(40)]
    new = [*old[:20], "new", *old[20:]]
    found = codeview.file_diff("x", "\n".join(old), "\n".join(new), "text")
    assert found is not None
    assert [line.kind for line in found.lines] == [
        "gap",
        "same",
        "same",
        "same",
        "added",
        "same",
        "same",
        "same",
        "gap",
    ]
    assert [line.hidden for line in found.lines if line.kind == "gap"] == [17, 17]
    unfolded = [one for line in found.lines for one in (line.folded or (line,))]
    assert [line.right[0] for line in unfolded if line.right] == list(range(1, 42))


# ------------------------------------------------------------------ how a run stands
@pytest.mark.parametrize(
    ("key", "value", "better"),
    [
        ("val_loss", 0.3, "min"),
        ("accuracy", 0.9, "max"),
        ("cv_root_mean_squared_error", -3.0, "max"),
        ("rmse", 2.0, "min"),
    ],
)
def test_what_is_better(key: str, value: float, better: str) -> None:
    assert standing.towards(key, value) == better


@pytest.mark.parametrize(
    ("figure", "tone", "best"),
    [
        (standing.Figure("loss", 0.3, "min", previous=0.4, best=0.35), "ok", True),
        (standing.Figure("loss", 0.5, "min", previous=0.4, best=0.35), "bad", False),
        (standing.Figure("auc", 0.5, "max", previous=0.4, best=0.5), "ok", True),
        (standing.Figure("auc", 0.5, "max", previous=0.5), "", False),
        (standing.Figure("auc", 0.5, "max"), "", False),
    ],
)
def test_better_or_worse(figure: standing.Figure, tone: str, best: bool) -> None:
    assert (figure.tone, figure.is_best) == (tone, best)


def test_one_headline_of_each_kind() -> None:
    names = [
        "baseline_rmse",
        "rmse",
        "r2",
        "val_loss",
        "train_loss",
        "fit_seconds",
        "mae",
        "accuracy_train",
        "accuracy",
    ]
    assert standing.telling({name: series(1.0) for name in names}) == ["accuracy", "r2", "rmse", "mae"]
    assert standing.telling({"system/cpu_percent": series(1.0), "x": series(float("nan"))}) == []


def test_of_several_models_the_best_ones_figures_are_told() -> None:
    told = {
        "r2/ridge": 0.8,
        "r2/forest": 0.9,
        "rmse/ridge": 3.2,
        "rmse/forest": 2.1,
        "acc/train": 1.0,
        "acc/test": 0.7,
        "steps": 7.0,
    }
    found = standing.telling({name: series(value) for name, value in told.items()}, most=9)
    assert found == ["acc/test", "r2/forest", "rmse/forest", "steps", "acc/train"]
    negative = {"cv_neg_rmse/ridge": -3.0, "cv_neg_rmse/forest": -2.0}  # errors turned around
    assert standing.telling({name: series(value) for name, value in negative.items()}) == ["cv_neg_rmse/forest"]


@pytest.mark.parametrize(
    ("state", "cause", "ours", "title"),
    [
        ("finished", "", True, None),
        ("running", "", True, None),
        ("out_of_memory", "", True, "It ran out of memory"),
        ("failed", "ValueError: no", True, "It failed"),
        ("cancelled", "", True, "It was cancelled"),
        ("lost", "", False, "It was lost"),
    ],
)
def test_how_it_ended(state: str, cause: str, ours: bool, title: str | None) -> None:
    found = endings.ending(state, cause, ours=ours)
    assert (found.title if found else None) == title
    assert found is None or (found.advice and (not cause or found.text == cause))


def test_files_as_a_tree() -> None:
    entries = [Entry(path, 10, "") for path in ("a.txt", "plots/roc.png", "plots/deep/x.csv", "plots.txt")]
    found = run_tabs.tree(entries)
    assert ([f.path for f in found.files], found.count, found.size) == (["a.txt", "plots.txt"], 4, 40)
    (plots,) = found.folders
    assert (plots.path, plots.count, [f.path for f in plots.files]) == ("plots", 2, ["plots/roc.png"])
    assert plots.folders[0].path == "plots/deep"


# ------------------------------------------------------------------ lineage
def test_lineage_is_laid_out_in_columns_and_cut_where_it_is_long() -> None:
    made = [Node(f"m{i}", "box", f"a model with a long name {i}") for i in range(9)]
    me = Node("run", "activity", "run", here=True, feeds=tuple(n.key for n in made))
    found = lineage.layout(
        [("Data", [Node("d", "database", "cars.csv", feeds=("run",))]), ("Run", [me]), ("Models", made)]
    )
    labels = [box.node.label for box in found.boxes]
    assert (
        labels[-1] == "and 4 more" and len(found.boxes) == 2 + lineage.MOST and len(found.paths) == 1 + lineage.MOST - 1
    )
    assert all(len(label) <= lineage.CHARS for label in labels)
    assert len({(box.x, box.y) for box in found.boxes}) == len(found.boxes)
    assert max(box.y for box in found.boxes) + lineage.HEIGHT < found.height
    assert lineage.drawn("p", facts(), [], {}, {}) is None


# ------------------------------------------------------------------ comparing
def data(
    name: str, digest: str, rows: int, columns: dict[str, str], kind: str = "code", source: str = "{}"
) -> DataInput:
    schema = json.dumps({"mlflow_colspec": [{"name": k, "type": v} for k, v in columns.items()]}) if columns else ""
    return DataInput(
        name,
        digest,
        kind,
        source,
        schema,
        json.dumps({"num_rows": rows}) if rows else "",
        {"mlflow.data.context": "training"},
    )


def test_several_witnesses_of_one_file_are_one_dataset() -> None:
    run = facts(inputs=[
        data("cars.csv", "aa", 0, {}, "local", json.dumps({"uri": f"/home/runs/{'a' * 32}/a1/work/sub/cars.csv"})),
        data("cars.csv", "bb", 406, {"x": "float64"}, source='{"path": "cars.csv"}'),
    ])  # fmt: skip
    (one,) = comparing.datasets(run)
    assert (one.rows, one.columns, one.digests, one.contexts) == (406, [("x", "float64")], ["aa", "bb"], ["training"])
    assert [where for _, where in one.sources] == ["sub/cars.csv", "cars.csv"]


def test_data_differs_in_hash_rows_and_columns() -> None:
    runs = [
        facts(inputs=[data("a", "1", 5, {"x": "int64", "y": "int64"}), data("same", "9", 1, {"z": "str"})]),
        facts(inputs=[data("a", "2", 6, {"x": "float64"}), data("same", "9", 1, {"z": "str"})]),
    ]
    found = {row.name: row for row in comparing.data(runs)}
    assert found["a"].differs and not found["same"].differs
    assert {(c.key, c.values) for c in found["a"].columns} == {("x", ("int64", "float64")), ("y", ("int64", None))}


@pytest.mark.parametrize(
    ("path", "name"),
    [("headway/figures/01-4711-03.png", "Figure 1"), ("headway/figures/roc.png", "roc.png"), ("plots/01-a.png", "plots/01-a.png"),
     ("headway/figures/02-loss.png", "02-loss.png")],
)  # fmt: skip
def test_pictures_are_aligned_by_name(path: str, name: str) -> None:
    assert comparing.aligned(path) == name


def test_packages_that_changed() -> None:
    old, new = comparing.pins("numpy==1.0\nPandas==2.0\n# x==1\n"), comparing.pins("numpy==2.0\nscipy==1\n-e .\n")
    assert comparing.package_changes(old, new) == [
        ("numpy", "changed", "1.0", "2.0"), ("pandas", "removed", "2.0", ""), ("scipy", "added", "", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "values", "best"),
    [
        ("loss", (0.3, 0.2, None), 0.2),
        ("auc", (0.3, 0.2), 0.3),
        ("auc", (0.3, 0.3), None),
        ("auc", (0.3, float("nan")), None),
        ("auc", (None, None), None),
    ],
)
def test_the_best_of_a_row(key: str, values: tuple[float | None, ...], best: float | None) -> None:
    assert compare_pages.best_of(DiffRow(key, values, True)) == best


def test_tables_to_take_away() -> None:
    runs = [
        facts(
            params={"lr": "0.1", "same": "1", "x": "=cmd()"},
            metrics={"auc": series(0.5), "system/cpu_percent": series(9.0)},
        ),
        facts(uuid="b" * 32, name="a|b", params={"lr": "-0.2", "same": "1"}, metrics={"auc": series(0.75)}),
    ]
    rows = compare_pages.table(runs, False)
    assert rows[0] == ["", "", "one", "a|b"] and ["metric", "auc", "0.5", "0.75"] in rows
    assert not [row for row in rows if row[1] in ("same", "system/cpu_percent")]
    assert ["param", "same", "1", "1"] in compare_pages.table(runs, True)
    text = compare_pages._csv(rows)
    assert "'=cmd()" in text and ",-0.2\n" in text  # a number keeps its sign
    assert "| a\\|b |" in compare_pages._markdown(rows)
