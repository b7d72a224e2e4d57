"""Figures of scripts: kept at `show`, drawn by another process, under names that are the same in the next run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headway.capture.drawing import draw
from headway.capture.sources.figures import slug, unused
from tests.capture.conftest import Run

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Confusion matrix", "confusion-matrix"),
        ("Loss\n(lr=0.1, epoch 3)", "loss-lr-epoch-3"),
        ("ROC (AUC = 0.9731)", "roc-auc"),
        ("accuracy: -1.5e-3", "accuracy"),
        ("Überblick", "überblick"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "figure"),
        ("0.5", "figure"),
    ],
)
def test_a_title_becomes_a_name_without_what_was_measured(title: str, name: str) -> None:
    assert slug(title) == name


def test_a_name_is_used_once() -> None:
    assert [unused("loss", n) for n in ((), ("loss",), ("loss", "loss-2"))] == ["loss", "loss-2", "loss-3"]


def test_shown_figures_are_drawn_beside_the_program_and_called_by_their_titles(run: Run) -> None:
    done = run("""
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.title("Loss"); plt.show()
        plt.figure(); plt.plot([2, 1]); plt.xlabel("epoch"); plt.ylabel("accuracy"); plt.show()
        plt.figure(); plt.plot([2, 1]); plt.title("Loss"); plt.show(); plt.show()
    """)
    told = [(f["name"], Path(f["path"])) for f in done.record["figures"]]
    assert [name for name, _ in told] == ["loss", "accuracy-by-epoch", "loss-2"]  # each once, though all stay open
    assert not any(path.exists() for _, path in told)
    draw(done.spool / "figures", sys.executable)
    assert all(path.read_bytes().startswith(b"\x89PNG") for _, path in told)
    assert not list((done.spool / "figures").glob("*.figure"))


def test_a_figure_that_changed_is_kept_as_it_was_at_last(run: Run) -> None:
    done = run("""
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.title("Loss"); plt.show()
        plt.plot([5, 6]); plt.show()
    """)
    [path] = {f["path"] for f in done.record["figures"]}
    import pickle

    _, figure = pickle.loads(Path(path).with_suffix(".figure").read_bytes())
    assert len(figure.axes[0].lines) == 2


@pytest.mark.parametrize(
    "line",
    [
        "plt.gca().yaxis.set_major_formatter(lambda value, at: f'{value} %')",
        "class Mine(Line2D): pass\nplt.gca().add_line(Mine([0, 1], [0, 1]))",
    ],
)
def test_what_only_the_program_can_draw_is_drawn_there(run: Run, line: str) -> None:
    done = run(
        f"import matplotlib.pyplot as plt\nfrom matplotlib.lines import Line2D\nplt.plot([1, 2])\n{line}\nplt.show()"
    )
    [figure] = done.record["figures"]
    assert Path(figure["path"]).read_bytes().startswith(b"\x89PNG")


def test_showing_changes_nothing_of_the_figure_and_says_nothing(run: Run) -> None:
    program = """
        import random, matplotlib.pyplot as plt
        figure, axes = plt.subplots(1, 2, layout="constrained")
        axes[0].plot([1, 2]); axes[0].set_title("\\N{CJK UNIFIED IDEOGRAPH-4E00} a glyph that no font has")
        plt.show()
        print(axes[0].get_position().bounds, axes[0].stale, figure.stale, random.random() < 2)
    """
    plain, captured = run(program, capture=False), run(program)
    assert (captured.code, captured.out, captured.err) == (plain.code, plain.out, plain.err)
    assert len(captured.record["figures"]) == 1


def test_a_figure_that_needs_a_foreign_module_is_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1-evil.figure").write_bytes(b"cposix\nsystem\n(S'touch here'\ntR.")
    draw(tmp_path, sys.executable)
    assert list(tmp_path.iterdir()) == []
    assert "1-evil was not drawn: UnpicklingError: posix is the program's own" in capfd.readouterr().err
