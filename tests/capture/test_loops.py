"""Losses of training loops become series under the names that the code gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Record = Callable[..., dict[str, Any]]

LINES: dict[str, tuple[str, str, list[int]]] = {
    # how `backward` is called: (the line, the metric's name, where the call stands: column, end column)
    "a variable": ("loss.backward()", "loss", [0, 15]),
    "a variable with a role": ("d_loss.backward()", "d_loss", [0, 17]),
    "a short name": ("l.backward()", "loss", [0, 12]),
    "scaled": ("scaler.scale(train_loss).backward()", "train_loss", [0, 35]),
    "a share": ("(nll / 4).backward()", "nll", [0, 20]),
    "reduced": ("losses.mean().backward()", "losses", [0, 24]),
    "by a library": ("accelerator.backward(val_loss)", "val_loss", [0, 30]),
    "a call": ("criterion(out, y).backward()", "loss", [0, 28]),
    "inside a library": ("learner.train(3)", "loss", [0, 16]),
}


def facts(values: list[float], at: list[int], **more: Any) -> list[dict[str, Any]]:
    site = {
        "k": "site",
        "t": 1,
        "s": 0,
        "file": "/w/a.py",
        "at": [1, at[0], 1, at[1]],
        "fn": "<module>",
        "names": [],
        "up": [],
    }
    return [site, {"k": "loss", "t": 900, "t0": 100, "s": 0, "r": 1, "i": 0, "e": 1, "v": values, **more}]


@pytest.mark.parametrize("name", LINES)
def test_the_name_is_that_of_the_code(record: Record, name: str) -> None:
    line, metric, at = LINES[name]
    found = record(line, *facts([3.0, 2.0, 1.5], at))["metrics"]
    assert {k: [p[:2] for p in m["points"]] for k, m in found.items()} == {metric: [[0, 3.0], [1, 2.0], [2, 1.5]]}


def test_batches_continue_and_thinned_ones_keep_their_steps(record: Record) -> None:
    site, first = facts([3.0, 2.0], [0, 15])
    found = record("loss.backward()", site, first, {**first, "i": 2, "e": 4, "v": [1.5, 1.25]})["metrics"]["loss"]
    assert [p[0] for p in found["points"]] == [0, 1, 2, 6]
    assert [p[2] for p in found["points"]] == [100, 900, 100, 900]


def test_another_training_at_the_same_line_is_another_series_up_to_a_limit(record: Record) -> None:
    site, first = facts([3.0, 2.0], [0, 15])
    found = record("loss.backward()", site, *({**first, "r": n} for n in range(30)))["metrics"]
    assert list(found) == ["loss", *(f"loss_{n}" for n in range(2, 9))]


def test_a_print_of_the_same_variable_is_a_witness_and_no_second_metric(record: Record) -> None:
    source = "for i in range(3):\n    loss = step()\n    loss.backward()\n    print(loss.item())\n"
    site = {"k": "site", "t": 1, "file": "/w/a.py", "fn": "<module>", "up": []}
    found = record(
        source,
        {**site, "s": 0, "at": [3, 4, 3, 19], "names": ["loss", "i"]},
        {**site, "s": 1, "at": [4, 4, 4, 22], "names": ["loss", "i"]},
        {"k": "loss", "t": 9, "t0": 1, "s": 0, "r": 1, "i": 0, "e": 1, "v": [0.30000001, 0.2000002, 0.1000003]},
        {"k": "print", "t": 9, "s": 1, "v": [0.1000003], "n": {"i": 2}},
    )["metrics"]
    assert {k: (len(m["points"]), sorted(w["source"] for w in m["witnesses"])) for k, m in found.items()} == {
        "loss": (3, ["loss", "print"])
    }


def test_an_optimizer_over_bare_tensors_is_a_training_but_no_model(record: Record) -> None:
    site, _ = facts([], [0, 11])
    fit = {"k": "fit", "t": 2, "s": 0, "cls": "SGD", "module": "torch", "type": "loop", "params": {"lr": 0.1}, "defaults": {},
           "found": {"steps": 7}, "seconds": 1.0}  # fmt: skip
    found = record("opt.step(1)", site, fit)
    assert (found["models"], [t["class"] for t in found["trainings"]]) == ([], ["SGD"])
    assert found["trainings"][0]["found"] == {"steps": 7}
    assert found["params"]["lr"]["value"] == 0.1


def test_a_number_taken_of_the_loss_is_the_same_metric(record: Record) -> None:
    source = "for i in range(2):\n    output.backward()\n    loss = output.item()\nprint(loss)\n"
    site = {"k": "site", "t": 1, "file": "/w/a.py", "fn": "<module>", "up": []}
    found = record(
        source,
        {**site, "s": 0, "at": [2, 4, 2, 21], "names": ["output", "i"]},
        {**site, "s": 1, "at": [4, 0, 4, 11], "names": ["loss"]},
        {"k": "loss", "t": 9, "t0": 1, "s": 0, "r": 1, "i": 0, "e": 1, "v": [0.5, 0.25]},
        {"k": "print", "t": 9, "s": 1, "v": [0.25], "n": {"loss": 0.25}},
    )["metrics"]
    assert {k: len(m["points"]) for k, m in found.items()} == {"loss": 2}
