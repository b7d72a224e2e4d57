"""Programs made from a grammar: what they compute is known by construction, and so is what must be found."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.capture.reduce import reduce
from headway.capture.shipper import Reader

from .conftest import BOOT, PYTHON, SOURCE

PARAMETERS = ("learning_rate", "momentum", "decay", "dropout", "temperature")
METRICS = ("loss", "val_loss", "accuracy", "rmse", "f1_score")
PRINTS = (
    "print({m})", "print('{m}', {m})", "print(f'{m}: {{{m}}}')", "print(f'step {{step}} {m} {{{m}:.6f}}')",
    "print('%s = %.6f' % ('{m}', {m}))", "print('{m} {{}}'.format({m}))", "print(step, {m}, sep=';')",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One loop: its metric, how it is printed, its length, whether it stands in a function, and its numbers."""

    metric: str
    shown: str
    steps: int
    function: bool
    start: float
    rate: float

    def source(self, number: int, parameter: str) -> str:
        body = [f"{self.metric} = {self.start!r}", f"for step in range({self.steps}):",
                f"    {self.metric} = {self.metric} * (1 - {parameter} * {self.rate!r})",
                f"    {self.shown.format(m=self.metric)}"]  # fmt: skip
        if not self.function:
            return "\n".join(body)
        return (
            f"def train_{number}():\n"
            + "\n".join("    " + line for line in body)
            + f"\n    return {self.metric}\ntrain_{number}()"
        )


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, dict[str, float], dict[str, tuple[int, float]]]:
    """(source, parameters, {metric: (points, last value)})."""
    names = draw(st.lists(st.sampled_from(PARAMETERS), min_size=1, max_size=3, unique=True))
    values = {name: draw(st.integers(1, 99)) / 1000 for name in names}
    metrics = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=3, unique=True))
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    wanted: dict[str, tuple[int, float]] = {}
    for number, metric in enumerate(metrics):
        part = Part(metric, draw(st.sampled_from(PRINTS)), draw(st.integers(3, 12)), draw(st.booleans()),
                    draw(st.integers(1, 50)) / 7, draw(st.integers(1, 9)) / 10)  # fmt: skip
        parameter = names[number % len(names)]
        lines.append(part.source(number, parameter))
        last = part.start
        for _ in range(part.steps):
            last = last * (1 - values[parameter] * part.rate)
        wanted[metric] = (part.steps, last)
    used = {names[n % len(names)] for n in range(len(metrics))}
    return "\n".join(lines) + "\n", {k: v for k, v in values.items() if k in used}, wanted


def captured(source: str) -> tuple[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(BOOT)
        (folder / "program.py").write_text(source)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWAY", "PYTHON"))}
        env |= {"PYTHONPATH": name, "HEADWAY_SPOOL": f"{name}/spool", "HEADWAY_RUNTIME": str(SOURCE)}
        done = subprocess.run([PYTHON, "program.py"], cwd=name, env=env, capture_output=True, text=True, check=True)
        reader = Reader(folder / "spool")
        reader.read()
        return done.stdout, reduce(reader.facts)


@pytest.mark.usefixtures("monkeypatch")
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(program=programs())
def test_what_is_known_by_construction_is_found(program: Any) -> None:
    source, parameters, metrics = program
    plain = io.StringIO()
    with contextlib.redirect_stdout(plain):
        exec(compile(source, "plain", "exec"), {"__name__": "__main__"})
    out, record = captured(source)
    assert out == plain.getvalue()
    found = {k: v["value"] for k, v in record["params"].items()}
    assert {k: found.get(k) for k in parameters} == parameters
    series = {k: (len(m["points"]), m["points"][-1][1]) for k, m in record["metrics"].items()}
    assert series == {k: (n, pytest.approx(last, abs=1e-12)) for k, (n, last) in metrics.items()}
